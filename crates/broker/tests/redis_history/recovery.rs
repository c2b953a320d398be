//! Coming back, and looking at a history.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use ullim_broker::redis::RedisBroker;
use ullim_broker::{
    Broker as _, ChannelRules, History, HistoryError, HistoryPart, HistoryRequest, HistoryRule, Outcome,
    RecoverRequest, Status,
};
use ullim_protocol::position::Position;
use ullim_tests::redis::server::Server;

use super::node::{ROOMY, answer, heard, join, node, node_at, publish, recover, rules};
use super::server_calls::calls_of;
use super::shard::Shard;
use super::wait::{name, until};

fn from(since: Position, reached: Position, limit: usize) -> RecoverRequest {
    RecoverRequest { channel: name("orders:1"), since, reached, limit, bytes: usize::MAX }
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
async fn a_history_is_paged_over_what_cannot_be_decoded() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let at = publish(&broker, "orders:1", "first").await.unwrap();
    let broken = async |times| {
        for _ in 0..times {
            let call = ["FCALL", "ullim_publish", "1", "ullim:{orders:1}", "{", "type", "json"];
            let _: (String, u64) = server.run(&call).await;
        }
    };
    broken(100).await;
    for text in ["102", "103", "104"] {
        publish(&broker, "orders:1", text).await.unwrap();
    }
    broken(10).await;
    let part = async |since: Option<u64>, limit, reverse| {
        let since = since.map(|offset| Position { offset, ..at });
        let request = HistoryRequest { channel: name("orders:1"), since, limit, reverse };
        offsets(answer(broker.history(request)).await.unwrap())
    };
    assert_eq!(part(None, 5, false).await, (vec![1], true));
    assert_eq!(part(Some(1), 2, false).await, (vec![102, 103], true));
    assert_eq!(part(Some(103), 2, false).await, (vec![104], true));
    assert_eq!(part(Some(104), 2, false).await, (vec![], false));
    assert_eq!(part(None, 1, true).await, (vec![104], true));
    assert_eq!(part(Some(102), 3, true).await, (vec![1], false));
}

#[tokio::test]
async fn many_who_read_large_entries_at_once_are_answered_over_a_link_that_stands() {
    let server = Server::running(&[]).await;
    let mut config = super::node::config(server.url());
    config.redis.command_timeout = Duration::from_secs(30);
    let broker = RedisBroker::start(&config, rules(1000, Duration::from_secs(3600))).unwrap();
    until("up", || broker.status() == Status::Up).await;
    let large = "x".repeat(6 << 20);
    let first = publish(&broker, "orders:1", &large).await.unwrap();
    let last = publish(&broker, "orders:1", "small").await.unwrap();
    let request = HistoryRequest { channel: name("orders:1"), since: None, limit: 10, reverse: false };
    let parts = join_all((0..40).map(|_| answer(broker.history(request.clone())))).await;
    for part in parts {
        let part = part.unwrap();
        assert!(part.publications[0].publication.data.bytes().len() == large.len() && part.position == last);
        assert_eq!(offsets(part), (vec![1], true));
    }
    let recovery = recover(&broker, from(Position { offset: 0, ..first }, last, 10)).await.unwrap();
    assert_eq!((recovery.outcome, recovery.publications.len()), (Outcome::Whole, 2));
    assert_eq!(broker.counters().history_errors, 0);
}

#[tokio::test]
async fn who_knows_no_configuration_learns_which_namespaces_are_recoverable() {
    let server = Server::running(&[]).await;
    let start = |rules| RedisBroker::start(&super::node::config(server.url()), rules).unwrap();
    let without = start(ChannelRules::default());
    assert_eq!(without.loaded_rules().await.unwrap().recoverable().count(), 0);
    let broker = node(&server).await;
    publish(&broker, "orders:1", "x").await.unwrap();
    let learnt = without.loaded_rules().await.unwrap();
    let rule = HistoryRule { size: 1000, ttl: Duration::from_secs(3600) };
    assert_eq!(learnt.recoverable().collect::<Vec<_>>(), [("orders", rule)]);
}

#[tokio::test]
async fn no_more_is_read_than_is_of_use() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let text = "x".repeat(60_000);
    let first = publish(&broker, "orders:1", &text).await.unwrap();
    let mut last = first;
    for _ in 0..60 {
        last = publish(&broker, "orders:1", &text).await.unwrap();
    }
    let sent = async || {
        let info: String = server.run(&["INFO", "stats"]).await;
        let bytes = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
        bytes.trim().parse::<u64>().unwrap()
    };
    let before = sent().await;
    let request = RecoverRequest { bytes: 400_000, ..from(first, last, 100) };
    assert_eq!(recover(&broker, request).await.unwrap().outcome, Outcome::Lost);
    let read = sent().await - before;
    assert!((400_000..1_000_000).contains(&read), "{read} of 3,600,000");
    let recovery = recover(&broker, from(first, last, 100)).await.unwrap();
    assert_eq!((recovery.outcome, recovery.publications.len()), (Outcome::Whole, 60));
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
        bytes: usize::MAX,
    };
    for n in 0..32 {
        assert!(recover(&broker, at(n)).now_or_never().is_none());
    }
    for n in [0, 20, 99] {
        assert_eq!(recover(&broker, at(n)).await.unwrap().outcome, Outcome::Lost);
    }
}
