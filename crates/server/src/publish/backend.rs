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
    /// `file` is the nodes' configuration. Without it the nodes have told Redis which namespaces are recoverable.
    pub(super) async fn connect(url: String, prefix: String, file: Option<PathBuf>) -> Result<Self, Failure> {
        let redis = RedisConfig { url, prefix, ..RedisConfig::default() };
        let config = Config { kind: Kind::Redis, redis, ..Config::default() };
        if file.is_some() {
            let loaded = configuration::load(&cli::file_and_environment(file, Vec::new()))?;
            return start(&config, loaded.settings.namespaces.channel_rules()).await.map(Self);
        }
        let broker = start(&config, ChannelRules::default()).await?;
        match broker.loaded_rules().await {
            Ok(rules) if rules.recoverable().next().is_some() => {
                broker.stop().await;
                start(&config, rules).await.map(Self)
            }
            Ok(_) => Ok(Self(broker)),
            Err(error) => {
                eprintln!("ullim: all channels are taken for live ones, as Redis does not say which are not: {error}");
                Ok(Self(broker))
            }
        }
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

async fn start(config: &Config, rules: ChannelRules) -> Result<Arc<RedisBroker>, Failure> {
    let broker = RedisBroker::start(config, rules).map_err(Failure::usage)?;
    let up = async {
        while broker.status() != Status::Up {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let in_time = tokio::time::timeout(CONNECT_TIMEOUT, up).await;
    in_time.map_err(|_| Failure::Runtime(anyhow!("Redis was not reached in {} s", CONNECT_TIMEOUT.as_secs())))?;
    Ok(broker)
}
