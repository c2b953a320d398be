//! The `hub` and `namespaces` sections of the configuration.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ullim_auth::Audience;
use ullim_broker::{ChannelRule, ChannelRules, HistoryRule};
use ullim_protocol::publication::PayloadRule;

/// Limits of sessions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a connection may take until its `connect` is accepted.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How often each connection is pinged. One that was not heard for two intervals is closed.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// How long a `subscribe` waits for the broker.
    #[serde(with = "humantime_serde")]
    pub subscribe_timeout: Duration,
    /// The most subscriptions of a connection.
    pub subscriptions: usize,
    /// The most bytes that wait to be read by a connection's client.
    pub queue_bytes: usize,
    /// The most commands and control frames per second of a connection, and at once.
    pub commands_per_second: u32,
    /// Holes in recoverable channels are passed on. For the proof that a check finds them.
    #[cfg(feature = "sabotage")]
    pub break_repair: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            subscribe_timeout: Duration::from_secs(5),
            subscriptions: 128,
            queue_bytes: 1 << 20,
            commands_per_second: 200,
            #[cfg(feature = "sabotage")]
            break_repair: false,
        }
    }
}

/// The options of one namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceConfig {
    /// Which clients may subscribe.
    pub subscribe: Audience,
    /// Which clients may publish. Backends always may.
    pub publish: Audience,
    /// What a raw payload is.
    pub payload: PayloadRule,
    /// Whether it is known who is in a channel.
    pub presence: bool,
    /// How long a user may be away before it is told that they have left.
    #[serde(with = "humantime_serde")]
    pub presence_grace: Duration,
    /// Whether what is published on its channels is kept, so that nothing is lost.
    pub recoverable: bool,
    /// The most publications that are kept of a channel.
    pub history_size: usize,
    /// How long they outlive the last of them.
    #[serde(with = "humantime_serde")]
    pub history_ttl: Duration,
    /// The most publications that one recovery brings.
    pub recover_limit: usize,
    /// Whether whoever subscribes is given the latest publication.
    pub cache: bool,
    /// What becomes of a client that reads too slowly.
    pub slow_consumer: SlowConsumer,
}

/// What becomes of a client for which more than [`Config::queue_bytes`] wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlowConsumer {
    /// Its connection is closed: it comes back when it can, and recovers.
    #[default]
    Close,
    /// The oldest publications give way, and it is told a gap.
    DropOldest,
    /// Of each channel only the newest publication waits.
    Latest,
}

impl Default for NamespaceConfig {
    fn default() -> Self {
        Self {
            subscribe: Audience::User,
            publish: Audience::Nobody,
            payload: PayloadRule::Auto,
            presence: false,
            presence_grace: Duration::from_secs(5),
            recoverable: false,
            history_size: 100,
            history_ttl: Duration::from_secs(24 * 60 * 60),
            recover_limit: 1000,
            cache: false,
            slow_consumer: SlowConsumer::Close,
        }
    }
}

impl NamespaceConfig {
    fn rule(&self) -> ChannelRule {
        let history = HistoryRule { size: self.history_size, ttl: self.history_ttl };
        ChannelRule { payload: self.payload, history: self.recoverable.then_some(history) }
    }
}

/// Every namespace by its name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespaces(pub BTreeMap<String, NamespaceConfig>);

impl Namespaces {
    /// What the broker has to know of them.
    pub fn channel_rules(&self) -> ChannelRules {
        let rules: HashMap<_, _> = self.0.iter().map(|(name, namespace)| (name.clone(), namespace.rule())).collect();
        ChannelRules::new(rules)
    }
}
