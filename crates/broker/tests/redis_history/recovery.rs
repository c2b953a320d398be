//! Coming back, and looking at a history.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use ullim_broker::{History, HistoryError, HistoryPart, HistoryRequest, Outcome, RecoverRequest};
use ullim_protocol::position::Position;

use super::node::{ROOMY, answer, heard, join, node, node_at, publish, recover, rules};
use super::server_calls::calls_of;
use super::shard::Shard;
use super::wait::name;
use ullim_tests::redis::server::Server;

fn from(since: Position, reached: Position, limit: usize) -> RecoverRequest {
    RecoverRequest { channel: name("orders:1"), since, reached, limit }
}

#[tokio::test]
async fn thousands_who_come_back_at_once_cost_one_read() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let start = join(&mut shard, &broker, "orders:1").await;
    let mut at = start;
    for n in 0..100 {
        at = publish(&broker, "orders:1", &n.to_string()).await.unwrap();
        heard(&mut shard).await;
    }
    let before = calls_of(&server, "fcall").await;
    let recoveries = join_all((0..5000).map(|_| recover(&broker, from(start, at, 1000)))).await;
    for recovery in recoveries {
        let recovery = recovery.unwrap();
        assert_eq!((recovery.outcome, recovery.publications.len(), recovery.position), (Outcome::Whole, 100, at));
    }
    // Beside it the library is looked at now and then.
    let reads = calls_of(&server, "xrange").await;
    let spent = calls_of(&server, "fcall").await - before;
    assert!(reads < 40 && spent < 300, "{reads} reads, {spent} calls");
    // What is heard meanwhile is there, too, without a read.
    let next = publish(&broker, "orders:1", "next").await.unwrap();
    heard(&mut shard).await;
    let recovery = recover(&broker, from(start, next, 1000)).await.unwrap();
    assert_eq!((recovery.publications.len(), recovery.position), (101, next));
    let recovery = recover(&broker, from(next, next, 0)).await.unwrap();
    assert_eq!((recovery.publications.len(), recovery.outcome), (0, Outcome::Whole));
}

#[tokio::test]
async fn what_history_does_not_vouch_for_is_lost() {
    let server = Server::running(&[]).await;
    let broker = node_at(server.url(), rules(10, Duration::from_secs(60))).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let start = join(&mut shard, &broker, "orders:1").await;
    let mut at = start;
    for n in 0..30 {
        at = publish(&broker, "orders:1", &n.to_string()).await.unwrap();
        heard(&mut shard).await;
    }
    let back = |offset| Position { offset, ..at };
    let cases = [
        (back(20), 100, Outcome::Whole),
        (back(20), 10, Outcome::Whole),
        (back(20), 9, Outcome::Lost),
        (back(19), 100, Outcome::Lost),
        (start, 100, Outcome::Lost),
        (back(31), 100, Outcome::Lost),
        (Position::parse("5-3").unwrap(), 100, Outcome::Lost),
    ];
    for (since, limit, outcome) in cases {
        let recovery = recover(&broker, from(since, at, limit)).await.unwrap();
        assert_eq!(recovery.outcome, outcome, "{since} {limit}");
        assert_eq!(recovery.position, at);
    }
    // A hole.
    let _: u64 = server.run(&["XDEL", "ullim:{orders:1}", &back(25).to_string()]).await;
    let recovery = recover_fresh(&server, from(back(22), at, 100)).await;
    assert_eq!(recovery.outcome, Outcome::Lost);
    let live = RecoverRequest { channel: name("chat:1"), ..from(start, at, 1) };
    assert_eq!(recover(&broker, live).await.unwrap_err(), HistoryError::NotKept);
}

/// By a node that knows nothing yet.
async fn recover_fresh(server: &Server, request: RecoverRequest) -> ullim_broker::Recovery {
    let broker = node_at(server.url(), rules(10, Duration::from_secs(60))).await;
    recover(&broker, request).await.unwrap()
}

#[tokio::test]
async fn a_history_is_read_in_parts_both_ways() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut at = None;
    for n in 0..10 {
        at = Some(publish(&broker, "orders:1", &n.to_string()).await.unwrap());
    }
    let at = at.unwrap();
    let part = |since: Option<u64>, limit, reverse| {
        let since = since.map(|offset| Position { offset, ..at });
        let request = HistoryRequest { channel: name("orders:1"), since, limit, reverse };
        let broker = &broker;
        async move { offsets(answer(broker.history(request)).await.unwrap()) }
    };
    assert_eq!(part(None, 3, false).await, (vec![1, 2, 3], true));
    assert_eq!(part(Some(3), 100, false).await, ((4..=10).collect(), false));
    assert_eq!(part(Some(3), 7, false).await, ((4..=10).collect(), false));
    assert_eq!(part(None, 2, true).await, (vec![10, 9], true));
    assert_eq!(part(Some(3), 100, true).await, (vec![2, 1], false));
    assert_eq!(part(Some(10), 100, false).await, (vec![], false));
    assert_eq!(part(None, 0, false).await, (vec![], false));
    let large = "x".repeat(600_000);
    for _ in 0..3 {
        publish(&broker, "orders:1", &large).await.unwrap();
    }
    assert_eq!(part(Some(10), 100, false).await, (vec![11], true));
}

fn offsets(part: HistoryPart) -> (Vec<u64>, bool) {
    let offset = |routed: &Arc<ullim_broker::Routed>| routed.publication.position.unwrap().offset;
    (part.publications.iter().map(offset).collect(), part.more)
}

#[tokio::test]
async fn who_gives_up_leaves_no_read_behind() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let at = |n: usize| RecoverRequest {
        channel: name(&format!("orders:{n}")),
        since: Position::parse("5-1").unwrap(),
        reached: Position::parse("5-1").unwrap(),
        limit: 10,
    };
    for n in 0..32 {
        assert!(recover(&broker, at(n)).now_or_never().is_none());
    }
    for n in [0, 20, 99] {
        assert_eq!(recover(&broker, at(n)).await.unwrap().outcome, Outcome::Lost);
    }
}
