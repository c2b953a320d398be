//! How a node ends, in one place: readiness fails → accept stops → every client is told to go elsewhere (1001) → what
//! is queued is written → the internal listener ends → the sessions' places in channels are given up. A second signal
//! ends at once.

use std::io;
use std::time::Duration;

use anyhow::bail;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::node::Node;

/// How long clients may take to read what is queued for them.
const WINDOW: Duration = Duration::from_secs(10);

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

/// Ends `node` in order; in disorder at the next signal.
pub(crate) async fn drain(node: Node, signals: &mut Signals) -> anyhow::Result<()> {
    info!("draining");
    tokio::select! {
        () = in_order(node) => Ok(()),
        () = signals.first() => bail!("a second signal ended the node before it was drained"),
    }
}

async fn in_order(mut node: Node) {
    node.readiness.draining();
    node.gateway.drain(WINDOW).await;
    node.stop_api.cancel();
    if tokio::time::timeout(LAST_REQUESTS, node.api.join_next()).await.is_err() {
        warn!("a request to the internal listener was cut off");
    }
    if let Some(redis) = node.redis {
        redis.stop().await;
    }
    info!("drained");
}
