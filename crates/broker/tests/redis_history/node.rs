//! A broker with recoverable channels, and what is asked of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ullim_broker::redis::RedisBroker;
use ullim_broker::{
    Answer, Broker, ChannelRule, ChannelRules, Config, History, HistoryError, HistoryRule, PublishError,
    PublishRequest, RecoverRequest, Recovery, Relayed, Status,
};
use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::position::Position;
use ullim_protocol::publication::Data;

use super::shard::Shard;
use super::wait::{name, until};
use ullim_tests::redis::server::Server;

pub(crate) const ROOMY: usize = 256 << 20;

pub(crate) fn rules(size: usize, ttl: Duration) -> ChannelRules {
    let rule = ChannelRule { history: Some(HistoryRule { size, ttl }), ..ChannelRule::default() };
    ChannelRules::new(HashMap::from([("orders".to_owned(), rule)]))
}

pub(crate) fn config(url: String) -> Config {
    let mut config = Config::default();
    config.redis.url = url;
    config.redis.ping_interval = Duration::from_millis(200);
    config.redis.ping_timeout = Duration::from_secs(2);
    config.redis.command_timeout = Duration::from_secs(5);
    config
}

pub(crate) async fn node_at(url: String, rules: ChannelRules) -> Arc<RedisBroker> {
    let broker = RedisBroker::start(&config(url), rules).unwrap();
    until("up", || broker.status() == Status::Up).await;
    broker
}

pub(crate) async fn node(server: &Server) -> Arc<RedisBroker> {
    node_at(server.url(), rules(1000, Duration::from_secs(3600))).await
}

pub(crate) fn request(channel: &str, text: &str) -> PublishRequest {
    PublishRequest {
        channel: name(channel),
        data: Data::Text(text.to_owned().into()),
        headers: None,
        exclude: None,
        id: None,
    }
}

pub(crate) async fn answer<T>(answer: Answer<T>) -> T {
    match answer {
        Answer::Ready(result) => result,
        Answer::Pending(result) => result.await,
    }
}

pub(crate) async fn publish(broker: &RedisBroker, channel: &str, text: &str) -> Result<Position, PublishError> {
    answer(broker.publish(request(channel, text))).await.map(|position| position.expect("no position"))
}

pub(crate) async fn recover(broker: &RedisBroker, request: RecoverRequest) -> Result<Recovery, HistoryError> {
    answer(broker.recover(request)).await
}

/// Subscribes, and says where the channel stood when the shard had joined.
pub(crate) async fn join(shard: &mut Shard, broker: &RedisBroker, channel: &str) -> Position {
    broker.subscribe(shard.id, &name(channel));
    match shard.next().await {
        Relayed::Joined(joined, Some(position)) if joined.as_str() == channel => position,
        other => panic!("not joined: {other:?}"),
    }
}

/// The position and the data of what comes next, which is a publication.
pub(crate) async fn heard(shard: &mut Shard) -> (Position, String) {
    match shard.next().await {
        Relayed::Publication(routed) => {
            let text = String::from_utf8_lossy(routed.publication.data.bytes()).into_owned();
            (routed.publication.position.expect("no position"), text)
        }
        other => panic!("not a publication: {other:?}"),
    }
}

/// What comes next, which is a gap in the history.
pub(crate) async fn gap(shard: &mut Shard) -> Gap {
    match shard.next().await {
        Relayed::Gap(_, gap) => {
            assert_eq!(gap.reason, GapReason::History);
            gap
        }
        other => panic!("not a gap: {other:?}"),
    }
}
