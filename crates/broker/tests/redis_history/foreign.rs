//! What others do to a stream: no position is issued twice for it, and who publishes is told what is wrong.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, cmd};

use super::node::{node, publish};
use ullim_tests::redis::server::Server;

const KEY: &str = "ullim:{orders:1}";

/// A server that has the functions, and a client that publishes on its own.
async fn backend() -> (Server, MultiplexedConnection) {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    publish(&broker, "orders:loaded", "x").await.unwrap();
    let client = server.client().await.unwrap();
    (server, client)
}

async fn say(client: &mut MultiplexedConnection, text: &str) -> RedisResult<(u64, u64)> {
    let call: (String, u64) = cmd("FCALL").arg(&["ullim_publish", "1", KEY, text]).query_async(client).await?;
    Ok((call.0.parse().unwrap(), call.1))
}

#[tokio::test]
async fn a_restored_dump_issues_nothing_again_while_the_functions_stay() {
    let (_server, mut client) = backend().await;
    let (epoch, _) = say(&mut client, "1").await.unwrap();
    say(&mut client, "2").await.unwrap();
    let dump: Vec<u8> = cmd("DUMP").arg(KEY).query_async(&mut client).await.unwrap();
    for offset in 3..=9 {
        assert_eq!(say(&mut client, "x").await.unwrap(), (epoch, offset));
    }
    let restore = cmd("RESTORE").arg(KEY).arg(0).arg(dump).arg("REPLACE").to_owned();
    let _: String = restore.query_async(&mut client).await.unwrap();
    assert_eq!(say(&mut client, "10").await.unwrap(), (epoch, 10), "3 to 9 were issued before");
}

#[tokio::test]
async fn a_deleted_stream_and_another_in_its_place_have_later_epochs() {
    let (_server, mut client) = backend().await;
    let mut before = 0;
    let copy = "ullim:{orders:2}";
    for round in 0..3 {
        let (epoch, offset) = say(&mut client, "x").await.unwrap();
        assert!(epoch > before && offset == 1, "{round}");
        assert_eq!(say(&mut client, "x").await.unwrap(), (epoch, 2));
        before = epoch;
        let _: u64 = cmd("DEL").arg(KEY).query_async(&mut client).await.unwrap();
        if round == 1 {
            let other: (String, u64) =
                cmd("FCALL").arg(&["ullim_publish", "1", copy, "x"]).query_async(&mut client).await.unwrap();
            let _: String = cmd("RENAME").arg(copy).arg(KEY).query_async(&mut client).await.unwrap();
            let (epoch, offset) = say(&mut client, "x").await.unwrap();
            assert_eq!((epoch.to_string(), offset), (other.0, 2), "it goes on behind what is there");
            let _: u64 = cmd("DEL").arg(KEY).query_async(&mut client).await.unwrap();
        }
    }
}

#[tokio::test]
async fn databases_have_histories_of_their_own() {
    let (_server, mut client) = backend().await;
    let mut epochs = [0; 2];
    for offset in 1..=3 {
        for database in [0, 1] {
            let _: String = cmd("SELECT").arg(database).query_async(&mut client).await.unwrap();
            let (epoch, at) = say(&mut client, "x").await.unwrap();
            assert_eq!(at, offset, "in {database}");
            assert!(offset == 1 || epochs[database] == epoch);
            epochs[database] = epoch;
        }
    }
    assert_ne!(epochs[0], epochs[1]);
}

#[tokio::test]
async fn ids_and_groups_of_others_are_passed_over_or_told() {
    let (_server, mut client) = backend().await;
    let (first, _) = say(&mut client, "x").await.unwrap();
    let add = |id: String| cmd("XADD").arg(&[KEY, &id, "a", "b"]).to_owned();
    // In the open epoch, and in a later one.
    let _: String = add(format!("{first}-5")).query_async(&mut client).await.unwrap();
    assert_eq!(say(&mut client, "x").await.unwrap(), (first, 6));
    let later = first + 1_000_000_000_000;
    let _: String = add(format!("{later}-5")).query_async(&mut client).await.unwrap();
    let (epoch, offset) = say(&mut client, "x").await.unwrap();
    assert!(epoch > later && offset == 1, "{epoch}-{offset}");
    let entry: Vec<(String, Vec<String>)> =
        cmd("XREVRANGE").arg(&[KEY, "+", "-", "COUNT", "1"]).query_async(&mut client).await.unwrap();
    assert_eq!(entry[0].1.last().unwrap(), &format!("{later}-5"), "the cut");
    for group in ["mine", "u:5:x", "u:99999999999999999999:x"] {
        let _: String = cmd("XGROUP").arg(&["CREATE", KEY, group, "$"]).query_async(&mut client).await.unwrap();
        let _: String =
            cmd("FCALL").arg(&["ullim_position", "1", KEY]).query_async::<(String, u64)>(&mut client).await.unwrap().0;
    }
    assert_eq!(say(&mut client, "x").await.unwrap(), (epoch, 2));

    let _: String = add("18446744073709551615-1".to_owned()).query_async(&mut client).await.unwrap();
    for command in ["ullim_publish", "ullim_position"] {
        let refused: RedisResult<(String, u64)> =
            cmd("FCALL").arg(&[command, "1", KEY, "x"]).query_async(&mut client).await;
        let reason = refused.unwrap_err().to_string();
        assert!(
            reason.contains(KEY) && reason.contains("18446744073709551615-1") && reason.contains("DEL"),
            "{reason}"
        );
    }
    let _: String = cmd("SET").arg(&[KEY, "x"]).query_async(&mut client).await.unwrap();
    let reason = say(&mut client, "x").await.unwrap_err().to_string();
    assert!(reason.contains(KEY) && reason.contains("not a stream"), "{reason}");
}

#[tokio::test]
async fn ids_that_are_old_are_forgotten_and_the_rest_is_known() {
    let (_server, mut client) = backend().await;
    let ids = format!("{KEY}:ids");
    let mut old = cmd("HSET");
    old.arg(&ids);
    // As this revision and the one before have written them.
    for n in 0..300 {
        old.arg(format!("i:{n}")).arg("1763700000000 1763700000000000-1");
        old.arg(format!("~i:{n}")).arg("1763700000000 1763700000000000-1");
        old.arg(format!("#{n}")).arg(format!("1763700000000 {n}"));
    }
    let _: u64 = old.arg("#h").arg("0").arg("#t").arg("300").query_async(&mut client).await.unwrap();
    let publish = |id: String| {
        let mut call = cmd("FCALL");
        call.arg("ullim_publish").arg(2).arg(KEY).arg(&ids).arg("x").arg("id").arg(id);
        call
    };
    let first: (String, u64) = publish("7".to_owned()).query_async(&mut client).await.unwrap();
    assert_eq!(first.1, 1, "the one that is known is too old");
    let mut left = u64::MAX;
    let mut published = 1;
    while left > published + 2 {
        assert!(published < 20_000, "{left} are left");
        for _ in 0..100 {
            published += 1;
            let _: (String, u64) = publish(format!("new {published}")).query_async(&mut client).await.unwrap();
        }
        left = cmd("HLEN").arg(&ids).query_async(&mut client).await.unwrap();
    }
    assert_eq!(publish("7".to_owned()).query_async::<(String, u64)>(&mut client).await.unwrap(), first);
    let ends: u64 = cmd("PTTL").arg(&ids).query_async(&mut client).await.unwrap();
    assert!(Duration::from_millis(ends) > Duration::from_secs(200) && ends <= 360_000, "{ends}");
}
