//! The section `client.stomp`: the listeners for STOMP over TCP, and the limits of STOMP on every transport.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use ullim_protocol::stomp::destination::NamespaceSeparator;

/// STOMP, over TCP and WebSocket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StompConfig {
    /// Where clients connect over TCP; none for no such listener.
    pub listen: Option<SocketAddr>,
    /// Where clients connect over TLS, with the certificate of `client.tls`; none for no such listener.
    pub tls_listen: Option<SocketAddr>,
    /// What in `/topic/NAME` ends the channel's namespace.
    pub namespace_separator: NamespaceSeparator,
    /// The most headers of a frame.
    pub headers: usize,
    /// The most bytes of a frame's command and headers.
    pub header_bytes: usize,
    /// The most transactions of a connection that are open.
    pub transactions: usize,
    /// The most frames of a transaction.
    pub transaction_frames: usize,
}

impl Default for StompConfig {
    fn default() -> Self {
        Self {
            listen: None,
            tls_listen: None,
            namespace_separator: NamespaceSeparator::default(),
            headers: 64,
            header_bytes: 16 << 10,
            transactions: 16,
            transaction_frames: 256,
        }
    }
}
