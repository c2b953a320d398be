//! A history that goes back without Redis' noticing is told, and the channel goes on from where it stands.

use redis::{Pipeline, Value};
use ullim_broker::{Broker, Outcome, RecoverRequest, Relayed};
use ullim_protocol::position::Position;

use super::node::{ROOMY, heard, join, node, publish, recover};
use super::shard::Shard;
use super::wait::name;
use ullim_tests::redis::server::Server;

const KEY: &str = "ullim:{orders:1}";

/// Where the channel goes on, which has gone back.
async fn reset(shard: &mut Shard) -> Position {
    match shard.next().await {
        Relayed::Reset(channel, position) if channel.as_str() == "orders:1" => position,
        other => panic!("not a reset: {other:?}"),
    }
}

/// The channel as it is, to be restored.
async fn dump(server: &Server) -> Value {
    let mut client = server.client().await.unwrap();
    redis::cmd("DUMP").arg(KEY).query_async(&mut client).await.unwrap()
}

/// Sets the channel back, and does more `at_once`. The functions, which would not issue what they remember again, are new:
/// they forget channels in time, too.
async fn restore(server: &Server, dumped: &Value, at_once: impl FnOnce(&mut Pipeline)) {
    let Value::BulkString(dumped) = dumped else { panic!("no dump: {dumped:?}") };
    let mut client = server.client().await.unwrap();
    let functions: Vec<u8> = redis::cmd("FUNCTION").arg("DUMP").query_async(&mut client).await.unwrap();
    let mut calls = redis::pipe();
    calls.atomic().cmd("FUNCTION").arg("RESTORE").arg(functions).arg("FLUSH").ignore();
    calls.cmd("RESTORE").arg(KEY).arg(0).arg(dumped.as_slice()).arg("REPLACE").ignore();
    at_once(&mut calls);
    let _: () = calls.query_async(&mut client).await.unwrap();
}

/// Until Redis' time has passed the millisecond of what was published before.
async fn a_millisecond(server: &Server) {
    let mut client = server.client().await.unwrap();
    let mut first = None;
    loop {
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut client).await.unwrap();
        let now = (seconds, micros / 1000);
        if *first.get_or_insert(now) != now {
            return;
        }
    }
}

#[tokio::test]
async fn an_older_dump_that_is_restored_is_told_and_what_follows_is_heard() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let start = join(&mut shard, &broker, "orders:1").await;
    let mut dumped = None;
    for n in 1..=15 {
        publish(&broker, "orders:1", &n.to_string()).await.unwrap();
        if n == 10 {
            dumped = Some(dump(&server).await);
        }
    }
    for n in 1..=15 {
        assert_eq!(heard(&mut shard).await.1, n.to_string());
    }
    restore(&server, &dumped.unwrap(), |_| {}).await;
    a_millisecond(&server).await;
    // Under a position that was heard.
    let anew = publish(&broker, "orders:1", "anew").await.unwrap();
    assert_eq!(anew, Position { offset: 11, ..start });
    assert_eq!(reset(&mut shard).await, anew);
    let next = publish(&broker, "orders:1", "next").await.unwrap();
    assert_eq!(heard(&mut shard).await, (next, "next".to_owned()));
    let from =
        |since| RecoverRequest { channel: name("orders:1"), since, reached: next, limit: 100, bytes: usize::MAX };
    let recovery = recover(&broker, from(Position { offset: 15, ..start })).await.unwrap();
    assert_eq!((recovery.outcome, recovery.position), (Outcome::Lost, next));
    let recovery = recover(&broker, from(Position { offset: 9, ..start })).await.unwrap();
    let texts: Vec<_> = recovery.publications.iter().map(|it| it.publication.data.bytes().to_vec()).collect();
    assert_eq!(texts, [&b"10"[..], b"anew", b"next"]);
    assert_eq!(broker.counters().gaps, 0);
}

#[tokio::test]
async fn it_is_told_also_if_more_is_published_at_once_than_was_lost() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    join(&mut shard, &broker, "orders:1").await;
    publish(&broker, "orders:1", "kept").await.unwrap();
    let dumped = dump(&server).await;
    for n in 0..5 {
        publish(&broker, "orders:1", &n.to_string()).await.unwrap();
    }
    for _ in 0..6 {
        heard(&mut shard).await;
    }
    // In one go: no read comes between.
    restore(&server, &dumped, |calls| {
        for n in 0..20 {
            calls.cmd("FCALL").arg("ullim_publish").arg(1).arg(KEY).arg(format!("anew {n}")).ignore();
        }
    })
    .await;
    let at = reset(&mut shard).await;
    assert_eq!(at.offset, 21);
    let next = publish(&broker, "orders:1", "next").await.unwrap();
    assert_eq!(heard(&mut shard).await, (next, "next".to_owned()));
    assert_eq!(next, at.next());
}

#[tokio::test]
async fn an_epoch_that_nobody_opened_makes_the_channel_deaf_no_longer_than_to_the_next_publication() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let start = join(&mut shard, &broker, "orders:1").await;
    publish(&broker, "orders:1", "real").await.unwrap();
    heard(&mut shard).await;
    // An envelope with the first position of an epoch to come.
    let mut forged = b"\x89ULLIM\r\n\x01\x81\x00\x01\x02\x86\x00\x10".to_vec();
    forged.extend((start.epoch.micros() + 1_000_000_000).to_be_bytes());
    forged.extend(1_u64.to_be_bytes());
    forged.extend(b"\x00forged");
    let mut client = server.client().await.unwrap();
    let _: u64 = redis::cmd("PUBLISH").arg(KEY).arg(forged).query_async(&mut client).await.unwrap();
    assert_eq!(heard(&mut shard).await.1, "forged");
    let at = publish(&broker, "orders:1", "real again").await.unwrap();
    assert_eq!(reset(&mut shard).await, at);
    let next = publish(&broker, "orders:1", "next").await.unwrap();
    assert_eq!(heard(&mut shard).await, (next, "next".to_owned()));
}

#[tokio::test]
async fn a_quiet_channel_that_has_gone_back_while_the_link_was_down_is_told_when_it_is_back() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let start = join(&mut shard, &broker, "orders:1").await;
    publish(&broker, "orders:1", "a").await.unwrap();
    let dumped = dump(&server).await;
    publish(&broker, "orders:1", "b").await.unwrap();
    for _ in 0..2 {
        heard(&mut shard).await;
    }
    restore(&server, &dumped, |_| {}).await;
    let _: i64 = server.run(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert_eq!(reset(&mut shard).await, start.next());
    // Who subscribes on another shard begins there, too.
    let mut other = Shard::attach(&*broker, ROOMY);
    assert_eq!(join(&mut other, &broker, "orders:1").await, start.next());
    publish(&broker, "orders:1", "B").await.unwrap();
    for shard in [&mut shard, &mut other] {
        assert_eq!(heard(shard).await, (start.next().next(), "B".to_owned()));
    }
    assert_eq!(broker.counters().gaps, 0);
}
