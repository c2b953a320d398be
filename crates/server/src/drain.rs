//! How a node ends, in one place: readiness fails → accept stops → every client is told when to go elsewhere, and closed
//! (1001) at that time, one after the other over a window → what is queued is written → the internal listener ends → the
//! sessions' places in channels are given up. A backend can ask for it as a signal can; a second signal ends at once.

use std::io;
use std::time::Duration;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::node::Node;

/// The `drain` section of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DrainConfig {
    /// Over how long the clients' connections are closed when the node ends, so that the others are not stormed.
    #[serde(with = "humantime_serde")]
    pub(crate) window: Duration,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { window: Duration::from_secs(10) }
    }
}

/// How long a request to the internal listener may still take.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// SIGTERM and SIGINT (Ctrl-C), caught from the moment that this is made.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them.
    pub(crate) async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Serves until a signal comes or a backend asks for the end. Then ends `node` in order; in disorder at the next signal.
pub(crate) async fn serve(node: Node, signals: &mut Signals) -> anyhow::Result<()> {
    tokio::select! {
        () = signals.first() => info!(window = ?node.drain_window, "draining; a second signal ends the node at once"),
        () = node.end_asked.cancelled() => info!(window = ?node.drain_window, "draining, as the HTTP API was asked to"),
    }
    tokio::select! {
        () = in_order(node) => Ok(()),
        () = signals.first() => bail!("a second signal ended the node before it was drained"),
    }
}

async fn in_order(mut node: Node) {
    node.readiness.draining();
    node.gateway.drain(node.drain_window).await;
    node.stop_api.cancel();
    if tokio::time::timeout(LAST_REQUESTS, node.api.join_next()).await.is_err() {
        warn!("a request to the internal listener was cut off");
    }
    if let Some(redis) = node.redis {
        redis.stop().await;
    }
    info!("drained");
}
