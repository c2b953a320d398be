//! Epochs follow Redis' own history: nothing is issued twice, and what Redis lost is told once.

use std::collections::BTreeMap;
use std::time::Duration;

use ullim_broker::{Broker, Outcome, RecoverRequest};
use ullim_protocol::position::Position;

use super::node::{ROOMY, gap, heard, join, node, node_at, publish, recover, rules};
use super::shard::Shard;
use super::wait::{name, until};
use ullim_tests::redis::server::{Data, Server};

#[tokio::test]
async fn a_restart_with_older_data_opens_an_epoch_and_is_told_as_one_gap() {
    let mut server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let start = join(&mut shard, &broker, "orders:1").await;
    for n in 0..10 {
        publish(&broker, "orders:1", &n.to_string()).await.unwrap();
    }
    let _: String = server.run(&["SAVE"]).await;
    for n in 10..15 {
        publish(&broker, "orders:1", &n.to_string()).await.unwrap();
    }
    for n in 0..15 {
        assert_eq!(heard(&mut shard).await.1, n.to_string());
    }
    server.kill();
    server.start(Data::Dump).await;
    let goes_on = gap(&mut shard).await;
    let position = goes_on.position.unwrap();
    assert!(position.epoch > start.epoch && position.offset == 0 && goes_on.from <= goes_on.to);
    until("up", || broker.status() == ullim_broker::Status::Up).await;
    assert_eq!(publish(&broker, "orders:1", "new").await.unwrap(), position.next());
    assert_eq!(heard(&mut shard).await, (position.next(), "new".to_owned()));

    let from = |since| RecoverRequest {
        channel: name("orders:1"),
        since,
        reached: position.next(),
        limit: 100,
        bytes: usize::MAX,
    };
    // What remains, and a gap: up to the cut.
    for (since, remains) in [(start, 11), (Position { offset: 9, ..start }, 2), (Position { offset: 10, ..start }, 1)] {
        let recovery = recover(&broker, from(since)).await.unwrap();
        let Outcome::Cut(gap) = recovery.outcome else { panic!("{recovery:?}") };
        assert_eq!((recovery.publications.len(), gap.position), (remains, Some(recovery.position)));
    }
    // Beyond it nobody knows.
    for offset in [11, 15] {
        let recovery = recover(&broker, from(Position { offset, ..start })).await.unwrap();
        assert_eq!((recovery.outcome, recovery.publications.len()), (Outcome::Lost, 0));
    }
    assert_eq!(broker.counters().gaps, 1);
}

#[tokio::test]
async fn no_position_is_issued_twice_whoever_is_promoted() {
    let first = Server::running(&[]).await;
    let second = Server::running(&[]).await;
    let call = ["FCALL", "ullim_publish", "1", "ullim:{orders:1}"];
    let broker = node(&first).await;
    publish(&broker, "orders:1", "made the functions").await.unwrap();
    drop(broker);
    let mut issued = BTreeMap::<(String, u64), String>::new();
    let (mut master, mut replica) = (&first, &second);
    for round in 0..4 {
        let _: String = replica.run(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]).await;
        replicated(replica).await;
        for n in 0..20 {
            let text = format!("{round} {n}");
            let mut command = call.to_vec();
            command.push(&text);
            let position: (String, u64) = master.run(&command).await;
            assert_eq!(issued.insert(position.clone(), text), None, "issued twice: {position:?}");
            // Half of them do not reach the replica.
            if n == 10 {
                replicated(replica).await;
                let _: String = replica.run(&["REPLICAOF", "NO", "ONE"]).await;
            }
        }
        std::mem::swap(&mut master, &mut replica);
    }
    assert_eq!(issued.len(), 80);
}

#[tokio::test]
async fn who_stands_before_an_epoch_without_publications_recovers_behind_the_next() {
    let mut server = Server::running(&[]).await;
    let broker = node(&server).await;
    let start = position(&server).await;
    for n in 0..7 {
        publish(&broker, "orders:1", &n.to_string()).await.unwrap();
    }
    drop(broker);
    // Epochs in which nothing is published.
    let mut empty = Vec::new();
    for _ in 0..2 {
        restart(&mut server).await;
        empty.push(position(&server).await);
    }
    assert!(start.epoch < empty[0].epoch && empty[0].epoch < empty[1].epoch);
    assert!(empty.iter().all(|position| position.offset == 0));
    let heard = Position { offset: 7, ..start };
    let since = [(start, 7), (Position { offset: 5, ..start }, 2), (heard, 0), (empty[0], 0)];
    recovers(&server, &since, empty[1]).await;
    let broker = node(&server).await;
    let first = publish(&broker, "orders:1", "new").await.unwrap();
    assert_eq!(first, empty[1].next());
    drop(broker);
    let since = since.map(|(since, count)| (since, count + 1));
    recovers(&server, &since, first).await;
    // What nobody vouches for stays lost.
    let broker = node(&server).await;
    let beyond = Position { offset: 8, ..start };
    let request =
        RecoverRequest { channel: name("orders:1"), since: beyond, reached: first, limit: 100, bytes: usize::MAX };
    assert_eq!(recover(&broker, request).await.unwrap().outcome, Outcome::Lost);
}

#[tokio::test]
async fn who_joined_before_any_publication_recovers_across_empty_epochs() {
    let mut server = Server::running(&[]).await;
    drop(node(&server).await);
    let mut stood = Vec::new();
    for _ in 0..3 {
        stood.push((position(&server).await, 0));
        restart(&mut server).await;
    }
    let at = position(&server).await;
    recovers(&server, &stood, at).await;
}

/// Saves, and starts anew from that.
async fn restart(server: &mut Server) {
    let _: String = server.run(&["SAVE"]).await;
    server.kill();
    server.start(Data::Dump).await;
}

/// Where the channel stands; opens an epoch if need be.
async fn position(server: &Server) -> Position {
    let loaded: Vec<redis::Value> = server.run(&["FUNCTION", "LIST"]).await;
    assert!(!loaded.is_empty(), "no functions");
    let (epoch, offset): (String, u64) = server.run(&["FCALL", "ullim_position", "1", "ullim:{orders:1}"]).await;
    Position::parse(&format!("{epoch}-{offset}")).unwrap()
}

/// From each position that many publications are recovered, with one gap up to `at`.
async fn recovers(server: &Server, since: &[(Position, usize)], at: Position) {
    for &(since, count) in since {
        // A node that has read nothing yet.
        let broker = node(server).await;
        let request =
            RecoverRequest { channel: name("orders:1"), since, reached: since, limit: 100, bytes: usize::MAX };
        let recovery = recover(&broker, request).await.unwrap();
        let Outcome::Cut(gap) = recovery.outcome else { panic!("from {since}: {recovery:?}") };
        assert_eq!((recovery.publications.len(), recovery.position, gap.position), (count, at, Some(at)), "{since}");
    }
}

/// Waits until a replica has all that its master has.
async fn replicated(replica: &Server) {
    let deadline = tokio::time::Instant::now() + super::wait::PATIENCE;
    loop {
        let info: String = replica.run(&["INFO", "replication"]).await;
        let number = |field: &str| {
            let at = info.find(field)? + field.len();
            info[at..].split("\r\n").next()?.parse::<u64>().ok()
        };
        if info.contains("master_link_status:up") && number("slave_read_repl_offset:") == number("slave_repl_offset:") {
            let (host, port) = (field(&info, "master_host:"), field(&info, "master_port:"));
            let client = redis::Client::open(format!("redis://{host}:{port}")).unwrap();
            let mut master = client.get_multiplexed_async_connection().await.unwrap();
            let acknowledged: u64 = redis::cmd("WAIT").arg(1).arg(1000).query_async(&mut master).await.unwrap();
            if acknowledged == 1 {
                return;
            }
        }
        assert!(tokio::time::Instant::now() < deadline, "never replicated: {info}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn field<'a>(info: &'a str, name: &str) -> &'a str {
    info[info.find(name).unwrap() + name.len()..].split("\r\n").next().unwrap()
}

#[tokio::test]
async fn history_that_is_gone_is_no_gap_while_the_link_stands() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let mut before = join(&mut shard, &broker, "orders:1").await;
    for command in [&["DEL", "ullim:{orders:1}"][..], &["FLUSHALL"]] {
        publish(&broker, "orders:1", "a").await.unwrap();
        heard(&mut shard).await;
        let _: redis::Value = server.run(command).await;
        let position = publish(&broker, "orders:1", "b").await.unwrap();
        assert!(position.epoch > before.epoch && position.offset == 1);
        assert_eq!(heard(&mut shard).await, (position, "b".to_owned()));
        let recovery = recover(
            &broker,
            RecoverRequest {
                channel: name("orders:1"),
                since: before,
                reached: position,
                limit: 100,
                bytes: usize::MAX,
            },
        );
        assert_eq!(recovery.await.unwrap().outcome, Outcome::Lost);
        before = position;
    }
    assert_eq!(broker.counters().gaps, 0);
}

#[tokio::test]
async fn an_idle_history_expires() {
    let server = Server::running(&[]).await;
    let broker = node_at(server.url(), rules(5, Duration::from_millis(300))).await;
    let first = publish(&broker, "orders:1", "a").await.unwrap();
    for _ in 0..7 {
        publish(&broker, "orders:1", "b").await.unwrap();
    }
    let kept: u64 = server.run(&["XLEN", "ullim:{orders:1}"]).await;
    assert_eq!(kept, 5);
    let deadline = tokio::time::Instant::now() + super::wait::PATIENCE;
    while server.run::<u64>(&["EXISTS", "ullim:{orders:1}"]).await == 1 {
        assert!(tokio::time::Instant::now() < deadline, "never expired");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let second = publish(&broker, "orders:1", "b").await.unwrap();
    assert!(second.epoch > first.epoch && second.offset == 1);
}
