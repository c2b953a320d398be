//! What others do to a stream: no position is issued twice for it, and who publishes is told what is wrong.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, cmd};

use ullim_broker::{History, HistoryRequest, Outcome, RecoverRequest, Relayed};
use ullim_protocol::position::{Epoch, Position};
use ullim_tests::redis::server::Server;

use super::node::{ROOMY, answer, heard, join, node, publish, recover};
use super::shard::Shard;
use super::wait::name;

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
async fn an_id_at_the_end_of_all_numbers_costs_an_epoch_and_nobody_is_left_deaf() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    join(&mut shard, &broker, "orders:1").await;
    let mut client = server.client().await.unwrap();
    for (round, last) in ["9007199254740991", "9007199254740992", "18446744073709551615"].into_iter().enumerate() {
        let (epoch, _) = say(&mut client, "before").await.unwrap();
        assert_eq!(heard(&mut shard).await.1, "before");
        let add = cmd("XADD").arg(&[KEY, &format!("{epoch}-{last}"), "a", "b"]).to_owned();
        let _: String = add.query_async(&mut client).await.unwrap();
        if round == 1 {
            // To functions that remember nothing, too.
            server.renew_functions().await;
        }
        let (next, offset) = say(&mut client, "behind").await.unwrap();
        assert!(next > epoch && offset == 1, "{last}: {epoch}, {next}-{offset}");
        // What somebody else has written is a hole, whatever is told of it.
        loop {
            match shard.next().await {
                Relayed::Gap(..) => {}
                Relayed::Publication(routed) => {
                    assert_eq!(routed.publication.data.bytes()[..], b"behind"[..], "{last}");
                    break;
                }
                other => panic!("{last}: {other:?}"),
            }
        }
        let at = Position { epoch: Epoch::new(next).unwrap(), offset };
        let request = RecoverRequest { channel: name("orders:1"), since: at, reached: at, limit: 9, bytes: usize::MAX };
        assert_eq!(recover(&broker, request).await.unwrap().outcome, Outcome::Whole, "{last}");
        let request = HistoryRequest { channel: name("orders:1"), since: None, limit: 100, reverse: true };
        assert_eq!(answer(broker.history(request)).await.unwrap().position, at, "{last}");
    }
}

#[tokio::test]
async fn the_last_number_is_used_and_then_an_epoch_opened() {
    let (_server, mut client) = backend().await;
    let (epoch, _) = say(&mut client, "x").await.unwrap();
    let add = cmd("XADD").arg(&[KEY, &format!("{epoch}-9007199254740990"), "a", "b"]).to_owned();
    let _: String = add.query_async(&mut client).await.unwrap();
    assert_eq!(say(&mut client, "x").await.unwrap(), (epoch, 9_007_199_254_740_991));
    let (next, offset) = say(&mut client, "x").await.unwrap();
    assert!(next > epoch && offset == 1, "{epoch}, {next}-{offset}");
}

#[tokio::test]
async fn a_group_with_the_name_of_no_epoch_is_not_ours() {
    let (server, mut client) = backend().await;
    let info: String = server.run(&["INFO", "replication"]).await;
    let id = info.lines().find_map(|line| line.strip_prefix("master_replid:")).unwrap();
    let group = format!("u:0000000000000005:{id}");
    let create = cmd("XGROUP").arg(&["CREATE", KEY, &group, "$", "MKSTREAM"]).to_owned();
    let _: String = create.query_async(&mut client).await.unwrap();
    let (epoch, offset) = say(&mut client, "x").await.unwrap();
    assert!(epoch > 5 && offset == 1, "{epoch}-{offset}");
    assert_eq!(say(&mut client, "x").await.unwrap(), (epoch, 2));
}

#[tokio::test]
async fn ids_that_others_have_written_are_neither_believed_nor_in_the_way() {
    let (_server, mut client) = backend().await;
    let ids = format!("{KEY}:ids");
    let mut write = cmd("HSET");
    write.arg(&ids).arg(&["i:future", "9999999999999 1763700000000000-1", "#c", "99999999999999999999999999"]);
    let _: u64 = write.query_async(&mut client).await.unwrap();
    let mut publish = async |id: &str| {
        let mut call = cmd("FCALL");
        call.arg("ullim_publish").arg(2).arg(KEY).arg(&ids).arg("x").arg("id").arg(id);
        call.query_async::<(String, u64)>(&mut client).await.unwrap().1
    };
    assert_eq!(publish("future").await, 1);
    for n in 0..100 {
        assert_eq!(publish(&format!("{n}")).await, n + 2);
    }
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
