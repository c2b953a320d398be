//! Sentinels: the master is found by them, and followed when it changes.

use std::time::Duration;

use tokio::time::Instant;

use ullim_broker::{Broker, Config, Relayed};
use ullim_protocol::outgoing::GapReason;

use super::member::{enter, occupancy, until_occupancy};
use super::shard::Shard;
use super::wait::{PATIENCE, until};
use super::{ROOMY, config, publish, started};
use ullim_tests::redis::server::Server;

/// A master, a replica, three sentinels.
struct Watched {
    master: Server,
    replica: Server,
    sentinels: Vec<Server>,
}

impl Watched {
    async fn start() -> Self {
        let master = Server::running(&[]).await;
        let port = master.port().to_string();
        let replica = Server::running(&["--replicaof", "127.0.0.1", &port]).await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let configuration = format!(
                "sentinel monitor ours 127.0.0.1 {port} 2\nsentinel down-after-milliseconds ours 700\n\
                 sentinel failover-timeout ours 5000\n"
            );
            let mut sentinel = Server::new(&[]);
            sentinel.start_as_sentinel(&configuration).await;
            sentinels.push(sentinel);
        }
        let watched = Self { master, replica, sentinels };
        watched.until_known().await;
        watched
    }

    /// Until all know all.
    async fn until_known(&self) {
        let deadline = Instant::now() + PATIENCE;
        for sentinel in &self.sentinels {
            loop {
                let about: std::collections::HashMap<String, String> =
                    sentinel.run(&["SENTINEL", "MASTER", "ours"]).await;
                if about["num-slaves"] == "1" && about["num-other-sentinels"] == "2" {
                    break;
                }
                assert!(Instant::now() < deadline, "{about:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while !self.replica.run::<String>(&["INFO", "replication"]).await.contains("master_link_status:up") {
            assert!(Instant::now() < deadline, "the replica has no link");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn config(&self) -> Config {
        // The host means nothing.
        let mut config = config("redis://nowhere.invalid:1".to_owned());
        config.redis.sentinels = self.sentinels.iter().map(|sentinel| sentinel.address().to_string()).collect();
        config.redis.master = "ours".to_owned();
        config
    }

    /// Until the replica is the master.
    async fn until_promoted(&self) -> Instant {
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            // A sentinel cuts all connections of the server that it promotes: this one may be among them.
            let info = self.replica.try_run::<String>(&["INFO", "replication"]).await.unwrap_or_default();
            if info.contains("role:master") {
                return Instant::now();
            }
            assert!(Instant::now() < deadline, "{info}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Publishes until something comes, and says how long that took. There is one gap before it.
async fn flows_again(broker: &ullim_broker::redis::RedisBroker, shard: &mut Shard, since: Instant) -> Duration {
    let mut number = 0;
    let deadline = Instant::now() + PATIENCE;
    // The gap is told as soon as the link is back.
    let gap = loop {
        tokio::select! {
            item = shard.next() => break item,
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                assert!(Instant::now() < deadline, "no gap");
            }
        }
    };
    assert!(matches!(&gap, Relayed::Gap(_, gap) if gap.reason == GapReason::BrokerLink), "{gap:?}");
    while publish(broker, "a", &number.to_string()).await.is_err() {
        number += 1;
        assert!(Instant::now() < deadline, "nothing can be published");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(shard.next_data("a").await, number.to_string());
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_after_kill_9_is_followed_with_one_gap() {
    let mut watched = Watched::start().await;
    let broker = started(&watched.config()).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "a").await;
    assert_eq!(publish(&broker, "a", "before").await, Ok(()));
    assert_eq!(shard.next_data("a").await, "before");
    enter(&*broker, "b", 1, "alice").await;

    watched.master.kill();
    let promoted = watched.until_promoted().await;
    let took = flows_again(&broker, &mut shard, promoted).await;
    eprintln!("publications flow {took:?} after the promotion");
    assert!(took < Duration::from_secs(10), "{took:?}");
    until_occupancy(&*broker, "b", (1, 1)).await;
    // No gap later.
    for number in 0..20 {
        assert_eq!(publish(&broker, "a", &number.to_string()).await, Ok(()));
        assert_eq!(shard.next_data("a").await, number.to_string());
    }
    assert_eq!(broker.counters().gaps, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_followed_while_the_old_masters_sockets_stay_open() {
    let watched = Watched::start().await;
    let broker = started(&watched.config()).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "a").await;
    enter(&*broker, "b", 1, "alice").await;
    assert_eq!(occupancy(&*broker, "b").await, (1, 1));

    // It runs on, and would take subscriptions for ever.
    watched.sentinels[0].run::<()>(&["SENTINEL", "FAILOVER", "ours"]).await;
    let promoted = watched.until_promoted().await;
    let took = flows_again(&broker, &mut shard, promoted).await;
    eprintln!("publications flow {took:?} after the promotion");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let mut client = watched.replica.client().await.unwrap();
    redis::cmd("PUBLISH").arg("ullim:{a}").arg("of the new").query_async::<()>(&mut client).await.unwrap();
    assert_eq!(shard.next_data("a").await, "of the new");
    until_occupancy(&*broker, "b", (1, 1)).await;
    until("up", || broker.status() == ullim_broker::Status::Up).await;
}
