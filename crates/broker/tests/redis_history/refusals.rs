//! What is refused is refused whole.

use ullim_broker::PublishError;

use super::node::{ROOMY, heard, join, node, publish};
use super::shard::Shard;
use ullim_tests::redis::server::Server;

const KEY: &str = "ullim:{orders:1}";

#[tokio::test]
async fn every_option_that_is_wrong_is_refused_with_a_reason() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let first = publish(&broker, "orders:1", "a").await.unwrap();
    let long = "x".repeat(129);
    let many = format!("{{{}}}", (0..17).map(|n| format!("\"{n}\":\"\"")).collect::<Vec<_>>().join(","));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(4096));
    let cases: [(&[&str], &str); 17] = [
        (&["foo", "x"], "unknown option foo"),
        (&["type"], "has no value"),
        (&["type", "text", "type", "text"], "twice"),
        (&["type", "xml"], "type must be"),
        (&["id", ""], "1 to 128"),
        (&["id", &long], "1 to 128"),
        (&["id", "x"], "second key"),
        (&["headers", "[]"], "JSON object"),
        (&["headers", "nonsense"], "JSON object"),
        (&["headers", "{\"a\":1}"], "JSON object"),
        (&["headers", "{\"a\":null}"], "JSON object"),
        (&["headers", &many], "16 headers"),
        (&["headers", &large], "4096 bytes"),
        (&["exclude", ""], "22 characters"),
        (&["exclude", "AAECAwQFBgcICQoLDA0OD"], "22 characters"),
        (&["exclude", "AAECAwQFBgcICQoLDA0OD/"], "22 characters"),
        // Bits that no byte has.
        (&["exclude", "AAECAwQFBgcICQoLDA0ODx"], "22 characters"),
    ];
    for (options, reason) in cases {
        let mut call = vec!["FCALL", "ullim_publish", "1", KEY, "b"];
        call.extend(options);
        assert!(refusal(&server, &call).await.contains(reason), "{options:?}");
    }
    for (key, reason) in [("orders:1", "must be"), ("ullim:{chat:1}", "use PUBLISH"), ("other:{orders:1}", "prefix")] {
        assert!(refusal(&server, &["FCALL", "ullim_publish", "1", key, "b"]).await.contains(reason), "{key}");
    }
    let long = format!("orders:{}", "x".repeat(249));
    for name in [
        "orders:a*",
        "orders:a?",
        "orders:[a",
        "orders:]",
        "orders:\\",
        "orders:%4",
        "orders:%zz",
        "$orders:a",
        "",
        &long,
    ] {
        for control in ["", "\u{1}", "\u{7f}", "\u{85}"] {
            let key = format!("ullim:{{{name}{control}}}");
            let said = refusal(&server, &["FCALL", "ullim_publish", "1", &key, "b"]).await;
            assert!(said.contains("names no channel"), "{key:?}: {said}");
        }
    }
    for name in ["orders:a b", "orders:%41", "orders:\u{fc}\u{1F980}", "orders:", "orders:a:b/c@d", &long[..255]] {
        let key = format!("ullim:{{{name}}}");
        let _: (String, u64) = server.run(&["FCALL", "ullim_publish", "1", &key, "b"]).await;
    }
    let all = ["type", "text", "headers", "{}", "exclude", "AAECAwQFBgcICQoLDA0ODw"];
    let _: (String, u64) = server.run(&[&["FCALL", "ullim_publish", "1", KEY, "b"], &all[..]].concat()).await;
    assert_eq!(publish(&broker, "orders:1", "c").await.unwrap(), first.next().next());
}

async fn refusal(server: &Server, command: &[&str]) -> String {
    let mut client = server.client().await.unwrap();
    let answer: redis::RedisResult<redis::Value> =
        redis::cmd(command[0]).arg(&command[1..]).query_async(&mut client).await;
    answer.unwrap_err().to_string()
}

#[tokio::test]
async fn a_publication_is_refused_whole_when_redis_is_out_of_memory() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let start = join(&mut shard, &broker, "orders:1").await;
    let _: String = server.run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = publish(&broker, "orders:1", "a").await.unwrap_err();
    assert!(matches!(&refused, PublishError::Refused(reason) if reason.contains("OOM")), "{refused:?}");
    // Reading goes on, and so does subscribing.
    assert_eq!(join(&mut shard, &broker, "orders:2").await.offset, 0);
    let _: String = server.run(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(publish(&broker, "orders:1", "b").await.unwrap(), start.next());
    assert_eq!(heard(&mut shard).await, (start.next(), "b".to_owned()));
}

#[tokio::test]
async fn without_a_right_nothing_is_half_done() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    publish(&broker, "orders:1", "a").await.unwrap();
    drop(broker);
    let rights = ["xadd", "publish", "pexpire", "xinfo", "time", "hset", "hdel", "hmget", "hscan", "xgroup", "xsetid"];
    for right in rights {
        let user = ["ACL", "SETUSER", "u", "reset", "on", ">p", "~*", "&*", "+@all", &format!("-{right}")];
        let _: String = server.run(&user).await;
        let client = redis::Client::open(server.url().replace("//", "//u:p@")).unwrap();
        let mut client = client.get_multiplexed_async_connection().await.unwrap();
        let before = state(&server).await;
        // An epoch that is open, and one that is to be opened.
        for key in [KEY, "ullim:{orders:2}"] {
            let ids = format!("{key}:ids");
            let mut call = redis::cmd("FCALL");
            call.arg("ullim_publish").arg(2).arg(key).arg(ids).arg("b").arg("id").arg(format!("{right} {key}"));
            let answer: redis::RedisResult<redis::Value> = call.query_async(&mut client).await;
            let opens = matches!(right, "xgroup" | "xsetid");
            match opens && key == KEY {
                true => drop(answer.unwrap()),
                false => {
                    let reason = answer.unwrap_err().to_string();
                    assert!(reason.contains(right) || reason.contains("can't run this command"), "{right}: {reason}");
                }
            }
        }
        let after = state(&server).await;
        assert!(before == after || matches!(right, "xgroup" | "xsetid") && before.1 == after.1, "{right} is half done");
    }
}

/// The last of one channel, and whether there is anything of the other.
async fn state(server: &Server) -> (u64, u64) {
    (server.run(&["XLEN", KEY]).await, server.run(&["EXISTS", "ullim:{orders:2}", "ullim:{orders:2}:ids"]).await)
}
