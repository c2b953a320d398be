//! The `internal` section of the configuration: the listener for operators and backends.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use ullim_auth::Secret;

/// The internal listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where health, metrics and the HTTP API are served.
    pub listen: SocketAddr,
    /// What backends send as `Authorization: Bearer …` to publish. Without it the HTTP API is off.
    pub api_key: Option<Secret>,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 8001).into(), api_key: None }
    }
}
