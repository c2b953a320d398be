//! Publishing through Redis, as a backend does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use ullim_broker::config::{Config, Kind, RedisConfig};
use ullim_broker::redis::RedisBroker;
use ullim_broker::{Answer, Broker as _, ChannelRules, PublishRequest, Status};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::Position;
use ullim_protocol::publication::Data;

use crate::cli;
use crate::configuration;
use crate::failure::Failure;

/// How long Redis may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A link to Redis.
pub(super) struct Backend(Arc<RedisBroker>);

impl Backend {
    /// `file` is the nodes' configuration. Without it all channels are taken for live ones.
    pub(super) async fn connect(url: String, prefix: String, file: Option<PathBuf>) -> Result<Self, Failure> {
        let rules = match file {
            Some(_) => {
                let loaded = configuration::load(&cli::file_and_environment(file, Vec::new()))?;
                loaded.settings.namespaces.channel_rules()
            }
            None => ChannelRules::default(),
        };
        let redis = RedisConfig { url, prefix, ..RedisConfig::default() };
        let config = Config { kind: Kind::Redis, redis, ..Config::default() };
        let broker = RedisBroker::start(&config, rules).map_err(Failure::usage)?;
        let up = async {
            while broker.status() != Status::Up {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        let in_time = tokio::time::timeout(CONNECT_TIMEOUT, up).await;
        in_time.map_err(|_| Failure::Runtime(anyhow!("Redis was not reached in {} s", CONNECT_TIMEOUT.as_secs())))?;
        Ok(Self(broker))
    }

    pub(super) async fn publish(
        &self,
        channel: ChannelName,
        data: Data,
        id: Option<String>,
    ) -> anyhow::Result<Option<Position>> {
        let answer = self.0.publish(PublishRequest { channel, data, headers: None, exclude: None, id });
        Ok(match answer {
            Answer::Ready(result) => result?,
            Answer::Pending(later) => later.await?,
        })
    }
}
