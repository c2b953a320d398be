//! The `client` section of the configuration: the listeners for clients and their limits.

mod stomp;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use stomp::StompConfig;

/// The listeners for clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients connect without TLS.
    pub listen: SocketAddr,
    /// Threads that serve connections; 0 for one per core.
    pub shards: usize,
    /// Origins that browsers may come from, compared exactly; `*` for all. Clients without an Origin are let in.
    pub origins: Vec<String>,
    /// The most connections of this node; none for what the file-descriptor limit allows.
    pub max_connections: Option<usize>,
    /// How long a client may take from being accepted to the end of its request, a TLS handshake included.
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
    /// Proxies that are believed when they say in `X-Forwarded-For` whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
    /// What clients of one address may take.
    pub per_address: PerAddress,
    /// The listener with TLS.
    pub tls: TlsConfig,
    /// STOMP, which has listeners of its own.
    pub stomp: StompConfig,
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
            trusted_proxies: Vec::new(),
            per_address: PerAddress::default(),
            tls: TlsConfig::default(),
            stomp: StompConfig::default(),
        }
    }
}

impl Config {
    /// Whether a listener needs the certificate.
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.listen.is_some() || self.stomp.tls_listen.is_some()
    }
}

/// What clients of one address may take, of IPv6 a /64. Zero is no limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerAddress {
    /// The most connections.
    pub connections: u32,
    /// The most connections whose client has not been admitted yet.
    pub unauthenticated: u32,
    /// The most new connections per second, and at once.
    pub handshakes_per_second: u32,
    /// Whether loopback addresses are limited too.
    pub loopback: bool,
}

impl Default for PerAddress {
    fn default() -> Self {
        Self { connections: 1000, unauthenticated: 100, handshakes_per_second: 100, loopback: false }
    }
}

/// The listener with TLS.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Where clients connect with TLS; none for no such listener.
    pub listen: Option<SocketAddr>,
    /// A PEM file: the certificate, then those that lead from it to a root.
    pub certificate: Option<PathBuf>,
    /// A PEM file: the certificate's private key, in PKCS#8, PKCS#1 or SEC1.
    pub key: Option<PathBuf>,
    /// How often the two files are looked at for a new certificate.
    #[serde(with = "humantime_serde")]
    pub reload_interval: Duration,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { listen: None, certificate: None, key: None, reload_interval: Duration::from_secs(10) }
    }
}
