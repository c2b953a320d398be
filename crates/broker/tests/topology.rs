//! Redis in all its forms, with real processes: TLS, Sentinel, Cluster; and links that are on the wrong server.

// Clippy exempts only functions that are marked as tests, and this is all test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "topology/canary.rs"]
mod canary;
#[path = "topology/cluster.rs"]
mod cluster;
#[path = "topology/load.rs"]
mod load;
#[path = "fixture/member.rs"]
#[allow(dead_code)]
mod member;
#[path = "fixture/nodes.rs"]
mod nodes;
#[path = "fixture/proxy.rs"]
#[allow(dead_code)]
mod proxy;
#[path = "topology/sentinel.rs"]
mod sentinel;
#[path = "fixture/shard.rs"]
mod shard;
#[path = "topology/tls.rs"]
mod tls;
#[path = "fixture/wait.rs"]
mod wait;

use std::sync::Arc;
use std::time::Duration;

use ullim_broker::redis::RedisBroker;
use ullim_broker::{Answer, Broker, ChannelRules, Config, PublishError, PublishRequest, Status};
use ullim_protocol::publication::Data;

const ROOMY: usize = 256 << 20;

fn config(url: String) -> Config {
    let mut config = Config::default();
    config.redis.url = url;
    config.redis.ping_interval = Duration::from_millis(200);
    config.redis.ping_timeout = Duration::from_secs(1);
    config.redis.command_timeout = Duration::from_secs(1);
    config.redis.canary_interval = Duration::from_millis(200);
    config
}

fn start(config: &Config) -> Arc<RedisBroker> {
    RedisBroker::start(config, ChannelRules::default()).unwrap()
}

async fn started(config: &Config) -> Arc<RedisBroker> {
    let broker = start(config);
    wait::until("up", || broker.status() == Status::Up).await;
    wait::until("with presence", || broker.counters().presence_up == Some(true)).await;
    broker
}

async fn publish(broker: &RedisBroker, channel: &str, text: &str) -> Result<(), PublishError> {
    let data = Data::Text(text.to_owned().into());
    let request = PublishRequest { channel: wait::name(channel), data, headers: None, exclude: None, id: None };
    match broker.publish(request) {
        Answer::Ready(result) => result.map(drop),
        Answer::Pending(result) => result.await.map(drop),
    }
}
