//! What becomes of the members of channels when a node, Redis, or what it keeps fails. Each going is told once.

// Clippy exempts only functions that are marked as tests, and this is all test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "presence_faults/churn.rs"]
mod churn;
#[path = "presence_faults/contents.rs"]
mod contents;
#[path = "presence_faults/departures.rs"]
mod departures;
#[path = "presence_faults/failover.rs"]
mod failover;
#[path = "fixture/member.rs"]
mod member;
#[path = "presence_faults/nodes.rs"]
mod nodes;
#[path = "presence_faults/outages.rs"]
mod outages;
#[path = "fixture/proxy.rs"]
mod proxy;
#[path = "fixture/wait.rs"]
mod wait;
#[path = "presence_faults/watcher.rs"]
mod watcher;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ullim_broker::redis::RedisBroker;
use ullim_broker::{Broker, ChannelRules, Config, Status};
use ullim_tests::redis::server::Server;

/// What a death or a fault may cost.
const REPAIRED: Duration = Duration::from_secs(10);

fn config(url: String) -> Config {
    let mut config = Config::default();
    config.redis.url = url;
    config
}

/// A node.
async fn node(server: &Server) -> Arc<RedisBroker> {
    let broker = RedisBroker::start(&config(server.url()), ChannelRules::default()).unwrap();
    wait::until("up", || broker.status() == Status::Up).await;
    broker
}

/// The users of a channel and how many sessions each has.
async fn users(server: &Server, channel: &str) -> BTreeMap<String, u64> {
    server.run(&["HGETALL", &format!("ullim:{{{channel}}}:users")]).await
}

/// The sessions of a channel by node.
async fn by_node(server: &Server, channel: &str) -> BTreeMap<String, usize> {
    let entries: BTreeMap<String, String> = server.run(&["HGETALL", &format!("ullim:{{{channel}}}:presence")]).await;
    let mut nodes = BTreeMap::new();
    for entry in entries.values() {
        let node = entry.split("\"node\":\"").nth(1).unwrap().split('"').next().unwrap();
        *nodes.entry(node.to_owned()).or_default() += 1;
    }
    nodes
}

/// The nodes that renew their lease.
async fn node_names(server: &Server) -> Vec<String> {
    server.run(&["HKEYS", "ullim:nodes"]).await
}

/// Waits until `question` is answered with `expected`.
async fn until_equal<T: PartialEq + std::fmt::Debug>(expected: T, mut question: impl AsyncFnMut() -> T) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    loop {
        let now = question().await;
        if now == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{now:?} and never {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
