//! The `hub` and `namespaces` sections of the configuration.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ullim_auth::Audience;
use ullim_broker::PayloadRules;
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
}

impl Default for NamespaceConfig {
    fn default() -> Self {
        Self {
            subscribe: Audience::User,
            publish: Audience::Nobody,
            payload: PayloadRule::Auto,
            presence: false,
            presence_grace: Duration::from_secs(5),
        }
    }
}

/// Every namespace by its name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespaces(pub BTreeMap<String, NamespaceConfig>);

impl Namespaces {
    /// What the broker has to know of them.
    pub fn payload_rules(&self) -> PayloadRules {
        let rules: HashMap<_, _> = self.0.iter().map(|(name, namespace)| (name.clone(), namespace.payload)).collect();
        PayloadRules::new(rules)
    }
}
