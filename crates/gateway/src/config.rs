//! The `client` section of the configuration: the listener for clients and its limits.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The listener for clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Threads that serve connections; 0 for one per core.
    pub shards: usize,
    /// Origins that browsers may come from, compared exactly; `*` for all. Clients without an Origin are let in.
    pub origins: Vec<String>,
    /// The most connections of this node; none for what the file-descriptor limit allows.
    pub max_connections: Option<usize>,
    /// How long a client may take to send its request.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// How long a client may take to answer a close frame.
    #[serde(with = "humantime_serde")]
    pub close_timeout: Duration,
    /// The most bytes of a request's head.
    pub header_bytes: usize,
    /// The most bytes of a message from a client, the sum of its fragments.
    pub message_bytes: usize,
    /// The most fragments of a message.
    pub message_fragments: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8000).into(),
            shards: 0,
            origins: Vec::new(),
            max_connections: None,
            handshake_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            header_bytes: 16 << 10,
            message_bytes: 64 << 10,
            message_fragments: 64,
        }
    }
}
