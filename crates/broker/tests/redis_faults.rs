//! What the Redis broker does when Redis, or the way to it, fails: every hole is told once, nothing else is.

// Clippy exempts only functions that are marked as tests, and this is all test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "redis_faults/contents.rs"]
mod contents;
#[path = "fixture/member.rs"]
mod member;
#[path = "redis_faults/outages.rs"]
mod outages;
#[path = "fixture/proxy.rs"]
mod proxy;
#[path = "redis_faults/publisher.rs"]
mod publisher;
#[path = "fixture/shard.rs"]
mod shard;
#[path = "fixture/wait.rs"]
mod wait;

use std::sync::Arc;
use std::time::Duration;

use ullim_broker::redis::RedisBroker;
use ullim_broker::{Answer, Broker, ChannelRules, Config, PublishError, PublishRequest, Status};
use ullim_protocol::publication::Data;
use ullim_tests::redis::server::Server;

const ROOMY: usize = 256 << 20;

fn config(url: String) -> Config {
    let mut config = Config::default();
    config.redis.url = url;
    config.redis.ping_interval = Duration::from_millis(200);
    config.redis.ping_timeout = Duration::from_secs(1);
    config.redis.command_timeout = Duration::from_secs(1);
    config
}

async fn up(broker: &RedisBroker) {
    wait::until("up", || broker.status() == Status::Up).await;
}

async fn broker(server: &Server) -> Arc<RedisBroker> {
    broker_at(server.url()).await
}

async fn broker_at(url: String) -> Arc<RedisBroker> {
    let broker = RedisBroker::start(&config(url), ChannelRules::default()).unwrap();
    up(&broker).await;
    broker
}

async fn publish(broker: &RedisBroker, channel: &str, text: &str) -> Result<(), PublishError> {
    let request = PublishRequest {
        channel: wait::name(channel),
        data: Data::Text(text.to_owned().into()),
        headers: None,
        exclude: None,
        id: None,
    };
    match broker.publish(request) {
        Answer::Ready(result) => result.map(drop),
        Answer::Pending(result) => result.await.map(drop),
    }
}
