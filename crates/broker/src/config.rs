//! The `broker` section of the configuration.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use ahash::AHashMap;
use serde::{Deserialize, Serialize, Serializer};
use ullim_protocol::channel::{ChannelName, DEFAULT_NAMESPACE};
use ullim_protocol::publication::PayloadRule;

/// What joins the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nothing: this node is alone.
    #[default]
    Memory,
    /// A Redis server.
    Redis,
}

/// How publications travel between nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `memory` or `redis`.
    pub kind: Kind,
    /// The most bytes of a payload that a node relays. Larger ones are told as gaps.
    pub payload_bytes: usize,
    /// The most bytes that wait for one shard. What exceeds it is told as gaps.
    pub shard_queue_bytes: usize,
    /// Where `kind` is `redis`.
    pub redis: RedisConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::default(),
            payload_bytes: 16 << 20,
            shard_queue_bytes: 64 << 20,
            redis: RedisConfig::default(),
        }
    }
}

/// How to reach Redis.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://[user][:password@]host[:port]`, or `rediss://` for TLS. Where there are `sentinels` or a `cluster` it says
    /// who we are and whether there is TLS, and its host means nothing.
    #[serde(serialize_with = "without_password")]
    pub url: String,
    /// Sentinels that know where `master` is, each as `host:port`.
    pub sentinels: Vec<String>,
    /// What the sentinels call the master.
    pub master: String,
    /// Who we are at the sentinels; nobody if both are empty.
    pub sentinel_username: String,
    /// The password at the sentinels.
    #[serde(serialize_with = "hidden")]
    pub sentinel_password: String,
    /// Some nodes of a Redis Cluster, each as `host:port`. The others are found.
    pub cluster: Vec<String>,
    /// With `rediss://`: PEM with the authorities that are trusted, in place of the public ones.
    pub ca_file: Option<PathBuf>,
    /// With `rediss://`: PEM with this node's own certificate, if Redis asks for one.
    pub certificate: Option<PathBuf>,
    /// With `rediss://`: PEM with the key of `certificate`.
    pub key: Option<PathBuf>,
    /// What the names of all channels and keys begin with.
    pub prefix: String,
    /// How often each link is proved.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// How long the proof may take, and how long a link's set-up.
    #[serde(with = "humantime_serde")]
    pub ping_timeout: Duration,
    /// How often something is published through the command link that the subscription link must hear.
    #[serde(with = "humantime_serde")]
    pub canary_interval: Duration,
    /// How long a command may take.
    #[serde(with = "humantime_serde")]
    pub command_timeout: Duration,
    /// How long a channel without subscribers stays subscribed.
    #[serde(with = "humantime_serde")]
    pub cooldown: Duration,
    /// Holes in recoverable channels are passed on, and nothing is verified. For the proof that a check finds it.
    #[cfg(feature = "sabotage")]
    pub break_repair: bool,
    /// Epochs go on when Redis has lost data. For the proof that a check finds it.
    #[cfg(feature = "sabotage")]
    pub break_epoch: bool,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            sentinels: Vec::new(),
            master: "mymaster".to_owned(),
            sentinel_username: String::new(),
            sentinel_password: String::new(),
            cluster: Vec::new(),
            ca_file: None,
            certificate: None,
            key: None,
            prefix: "ullim".to_owned(),
            ping_interval: Duration::from_secs(1),
            ping_timeout: Duration::from_secs(2),
            canary_interval: Duration::from_secs(3),
            command_timeout: Duration::from_secs(2),
            cooldown: Duration::from_secs(5),
            #[cfg(feature = "sabotage")]
            break_repair: false,
            #[cfg(feature = "sabotage")]
            break_epoch: false,
        }
    }
}

impl std::fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConfig").field("url", &redacted(&self.url)).field("prefix", &self.prefix).finish()
    }
}

fn without_password<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&redacted(url))
}

fn hidden<S: Serializer>(secret: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.is_empty() { "" } else { "***" })
}

/// `url` with `***` for what stands between the scheme and the `@`.
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "***".to_owned();
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}"),
        None => url.to_owned(),
    }
}

/// What a broker has to know of each namespace.
#[derive(Debug, Clone, Default)]
pub struct ChannelRules(AHashMap<String, ChannelRule>);

/// What a broker has to know of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelRule {
    /// What a raw payload is.
    pub payload: PayloadRule,
    /// What is kept of its channels; `None`: they are live.
    pub history: Option<HistoryRule>,
}

/// What is kept of a recoverable channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryRule {
    /// The most publications.
    pub size: usize,
    /// How long it outlives the last publication.
    pub ttl: Duration,
}

impl ChannelRules {
    /// The rules by namespace.
    pub fn new(rules: HashMap<String, ChannelRule>) -> Self {
        Self(rules.into_iter().collect())
    }

    /// The rule of the channel's namespace; live and `auto` where none is configured.
    pub fn of(&self, channel: &ChannelName) -> ChannelRule {
        self.of_name(channel.as_str())
    }

    /// The same for a name that may not be one: without a copy of it.
    pub(crate) fn of_name(&self, channel: &str) -> ChannelRule {
        let namespace = channel.split_once(':').map_or(DEFAULT_NAMESPACE, |(namespace, _)| namespace);
        self.0.get(namespace).copied().unwrap_or_default()
    }

    /// Every namespace whose channels are recoverable.
    pub fn recoverable(&self) -> impl Iterator<Item = (&str, HistoryRule)> {
        self.0.iter().filter_map(|(name, rule)| rule.history.map(|history| (name.as_str(), history)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_printed_configuration_shows_the_password() {
        let config = RedisConfig {
            url: "redis://u:p%40ss@db:6379".to_owned(),
            sentinel_password: "p%40ss".to_owned(),
            ..RedisConfig::default()
        };
        assert!(!format!("{config:?}").contains("p%40ss"));
        assert!(!serde_json::to_string(&config).unwrap().contains("p%40ss"));
        assert_eq!(redacted(&config.url), "redis://***@db:6379");
        assert_eq!(redacted("p@ss"), "***");
    }
}
