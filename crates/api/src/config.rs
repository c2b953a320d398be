//! The `internal` section of the configuration: the listener for operators and backends.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ullim_auth::Secret;

/// The fewest bytes of an API key.
pub const MIN_KEY_BYTES: usize = 16;

/// The internal listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where health, metrics and the HTTP API are served.
    pub listen: SocketAddr,
    /// What backends send as `Authorization: Bearer …`: [`MIN_KEY_BYTES`] at least. Without it the HTTP API is off.
    pub api_key: Option<Secret>,
    /// The most connections.
    pub max_connections: usize,
    /// The most requests to the HTTP API that are served at once.
    pub max_requests: usize,
    /// How long a connection may take to send a request's head, and so how long it may be idle.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// How long a request's body may take, then the work on it, and how long an answer may stand still.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8001).into(),
            api_key: None,
            max_connections: 256,
            max_requests: 64,
            idle_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
        }
    }
}
