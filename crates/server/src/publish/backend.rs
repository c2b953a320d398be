//! Publishing through Redis, as a backend does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use ullim_broker::config::{Config, Kind, RedisConfig};
use ullim_broker::redis::RedisBroker;
use ullim_broker::{Answer, Broker as _, ChannelRules, PublishRequest, Status};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::publication::Data;

use crate::failure::Failure;

/// How long Redis may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A link to Redis.
pub(super) struct Backend(Arc<RedisBroker>);

impl Backend {
    pub(super) async fn connect(url: String, prefix: String) -> Result<Self, Failure> {
        let redis = RedisConfig { url, prefix, ..RedisConfig::default() };
        let config = Config { kind: Kind::Redis, redis, ..Config::default() };
        let broker = RedisBroker::start(&config, ChannelRules::default()).map_err(Failure::usage)?;
        let up = async {
            while broker.status() != Status::Up {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        let in_time = tokio::time::timeout(CONNECT_TIMEOUT, up).await;
        in_time.map_err(|_| Failure::Runtime(anyhow!("Redis was not reached in {} s", CONNECT_TIMEOUT.as_secs())))?;
        Ok(Self(broker))
    }

    pub(super) async fn publish(&self, channel: ChannelName, data: Data) -> anyhow::Result<()> {
        let answer = self.0.publish(PublishRequest { channel, data, headers: None, exclude: None, id: None });
        match answer {
            Answer::Ready(result) => result?,
            Answer::Pending(later) => later.await?,
        };
        Ok(())
    }
}
