//! Links that break: restart, freeze, kill, absence. And a link that does not.

use std::time::Duration;

use tokio::time::Instant;
use ullim_broker::redis::RedisBroker;
use ullim_broker::{Broker, ChannelRules, PublishError, Relayed, Status};

use super::proxy::Proxy;
use super::publisher::{Publisher, hear_past_gaps};
use super::shard::Shard;
use super::wait::until;
use super::{ROOMY, broker, broker_at, config, publish, up};
use ullim_tests::redis::server::{Data, Server};

const CHANNELS: &[&str] = &["a", "b", "c"];

/// What Redis' return may cost.
const BACK: Duration = Duration::from_secs(2);

struct Scene {
    broker: std::sync::Arc<RedisBroker>,
    shards: Vec<Shard>,
    publisher: Publisher,
}

/// Two shards that hear what a backend publishes to three channels.
async fn scene(server: &Server) -> Scene {
    scene_by(server, server.url()).await
}

/// The same, with the broker's links going another way.
async fn scene_by(server: &Server, url: String) -> Scene {
    let broker = broker_at(url).await;
    let mut shards: Vec<Shard> = (0..2).map(|_| Shard::attach(&*broker, ROOMY)).collect();
    for shard in &mut shards {
        for channel in CHANNELS {
            shard.join(&*broker, channel).await;
        }
    }
    let publisher = Publisher::start(server.url(), CHANNELS);
    until("published", || broker.counters().received > 100).await;
    Scene { broker, shards, publisher }
}

impl Scene {
    /// Every shard is told of one outage of each channel. Returns how long it took until all were back.
    async fn one_gap_each(mut self) -> Duration {
        let since = Instant::now();
        let mut all = Vec::new();
        for shard in &mut self.shards {
            all.extend(hear_past_gaps(shard, CHANNELS).await.into_values());
        }
        let took = since.elapsed();
        let published = self.publisher.finish().await;
        assert_eq!(all.len(), self.shards.len() * CHANNELS.len());
        for heard in all {
            heard.check(&published);
        }
        let counters = self.broker.counters();
        assert_eq!(counters.gaps, 6, "{counters:?}");
        assert_eq!((counters.undecodable, counters.stray), (0, 0));
        assert!(counters.reconnects >= 1);
        up(&self.broker).await;
        assert_eq!(publish(&self.broker, "a", "after").await, Ok(()));
        took
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_one_gap() {
    let mut server = Server::running(&[]).await;
    let scene = scene(&server).await;
    server.kill();
    until("down", || scene.broker.status() == Status::Down).await;
    // Either link makes the broker Down. Until the command link has noticed too, what it sends may have been published.
    let refused = loop {
        match publish(&scene.broker, "a", "x").await {
            Err(PublishError::Timeout) => {}
            answer => break answer,
        }
    };
    assert_eq!(refused, Err(PublishError::Unreachable));
    server.start(Data::None).await;
    let took = scene.one_gap_each().await;
    assert!(took < BACK, "{took:?}");
    eprintln!("back {took:?} after a restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_is_one_gap() {
    let server = Server::running(&[]).await;
    let scene = scene(&server).await;
    let frozen = Instant::now();
    server.freeze();
    assert_eq!(publish(&scene.broker, "a", "0").await, Err(PublishError::Timeout));
    until("down", || scene.broker.status() == Status::Down).await;
    let detected = frozen.elapsed();
    // The length of the freeze is what is tried here.
    tokio::time::sleep_until(frozen + Duration::from_secs(4)).await;
    server.thaw();
    let took = scene.one_gap_each().await;
    assert!(took < BACK, "{took:?}");
    eprintln!("noticed {detected:?} after a freeze, back {took:?} after its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_subscription_link_is_one_gap() {
    let server = Server::running(&[]).await;
    let scene = scene(&server).await;
    let killed: u64 = server.run(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert_eq!(killed, 1);
    let took = scene.one_gap_each().await;
    assert!(took < BACK, "{took:?}");
    eprintln!("back {took:?} after a kill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_link_is_one_gap() {
    let server = Server::running(&[]).await;
    let proxy = Proxy::start(server.url().replace("redis://", "")).await;
    let scene = scene_by(&server, proxy.url()).await;
    // Redis goes on publishing into the hole.
    proxy.swallow();
    let took = scene.one_gap_each().await;
    eprintln!("noticed, and back, {took:?} after a link went half-open");
}

#[tokio::test]
async fn a_node_that_was_held_up_itself_does_not_blame_the_link() {
    let server = Server::running(&[]).await;
    let broker = broker(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "a").await;
    for round in 0..3 {
        // The links' tasks are on this very thread, and miss every deadline.
        std::thread::sleep(2 * config(String::new()).redis.ping_timeout);
        let mut client = server.client().await.unwrap();
        let mut command = redis::cmd("PUBLISH");
        command.arg("ullim:{a}").arg(round);
        command.query_async::<()>(&mut client).await.unwrap();
        assert_eq!(shard.next_data("a").await, round.to_string());
    }
    assert_eq!(broker.counters().gaps, 0);
}

#[tokio::test]
async fn a_killed_command_link_is_no_gap_and_is_rebuilt() {
    let server = Server::running(&[]).await;
    let broker = broker(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "a").await;
    // With the link for presence.
    let deadline = Instant::now() + BACK;
    while server.run::<String>(&["CLIENT", "LIST"]).await.lines().count() < 4 {
        assert!(Instant::now() < deadline, "a link is missing");
    }
    server.run::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    until("rebuilt", || broker.counters().reconnects == 2).await;
    up(&broker).await;
    assert_eq!(publish(&broker, "a", "heard").await, Ok(()));
    assert_eq!(shard.next_data("a").await, "heard");
    assert_eq!(broker.counters().gaps, 0);
}

#[tokio::test]
async fn a_node_that_starts_before_redis_joins_when_it_comes() {
    let mut server = Server::new(&[]);
    let broker = RedisBroker::start(&config(server.url()), ChannelRules::default()).unwrap();
    let mut shard = Shard::attach(&*broker, ROOMY);
    broker.subscribe(shard.id, &super::wait::name("a"));
    assert_eq!(publish(&broker, "a", "x").await, Err(PublishError::Unreachable));
    assert_eq!(broker.status(), Status::Starting);
    server.start(Data::None).await;
    let since = Instant::now();
    assert!(matches!(shard.next().await, Relayed::Joined(..)));
    assert!(since.elapsed() < BACK, "{:?}", since.elapsed());
    up(&broker).await;
    assert_eq!(publish(&broker, "a", "heard").await, Ok(()));
    assert_eq!(shard.next_data("a").await, "heard");
    let counters = broker.counters();
    assert_eq!((counters.gaps, counters.reconnects), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_fault_nothing_is_lost_and_no_gap_is_told() {
    let server = Server::running(&[]).await;
    let mut config = config(server.url());
    config.redis.ping_interval = Duration::from_millis(5);
    let broker = RedisBroker::start(&config, ChannelRules::default()).unwrap();
    up(&broker).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "a").await;
    let publisher = Publisher::start(server.url(), &["a"]);
    until("published", || broker.counters().received >= 600).await;
    let published = publisher.finish().await;
    for number in published.keys() {
        assert_eq!(shard.next_data("a").await, number.to_string());
    }
    // It is counted once it is told.
    until("counted", || broker.counters().received == published.len() as u64).await;
    let counters = broker.counters();
    assert_eq!((counters.gaps, counters.reconnects), (0, 0));
}

#[tokio::test]
async fn all_links_end_with_the_broker() {
    let server = Server::running(&[]).await;
    let clients = async || server.run::<String>(&["CLIENT", "LIST"]).await.lines().count();
    for drops in [true, false] {
        let broker = broker(&server).await;
        let deadline = Instant::now() + BACK;
        while clients().await < 4 {
            assert!(Instant::now() < deadline, "a link is missing");
        }
        match drops {
            true => drop(broker),
            false => {
                broker.stop().await;
                let refused = publish(&broker, "a", "x").await;
                assert_eq!(refused, Err(PublishError::Unreachable));
            }
        }
        let deadline = Instant::now() + BACK;
        while clients().await > 1 {
            assert!(Instant::now() < deadline, "links outlive the broker");
        }
    }
}
