//! What this node has counted, for Prometheus. Labels never carry a user or a channel. `docs/metrics.md` lists all.
//!
//! * `exposition`: which number is told under which name
//! * `family`: how one is written; `process`: what the kernel says of the process

mod exposition;
mod family;
mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ullim_broker::Histogram;

use crate::Shared;
use process::Process;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the clients' side of a node has counted since its start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClientCounters {
    /// The sum of all shards.
    pub hub: ullim_hub::Counters,
    /// Handshakes that were refused, by HTTP status.
    pub handshakes_refused: BTreeMap<u16, u64>,
    /// How long handshakes took, from the accepted connection to the answer 101.
    pub handshake_duration: Histogram,
    /// Connections refused because their address had too many, by the limit: `connections`, `unauthenticated`,
    /// `handshakes`.
    pub address_limited: BTreeMap<&'static str, u64>,
    /// Where clients come over TLS.
    pub tls: Option<TlsCounters>,
    /// What tokens are checked with.
    pub keys: ullim_auth::KeyCounters,
}

/// What the TLS of a node's clients has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsCounters {
    /// Handshakes that succeeded.
    pub handshakes: u64,
    /// Handshakes that failed.
    pub failures: u64,
    /// Handshakes that went on with an earlier session.
    pub resumed: u64,
    /// Times that the certificate was read anew.
    pub reloads: u64,
    /// Times that it could not be.
    pub reload_failures: u64,
    /// When the certificate expires, in Unix seconds.
    pub certificate_expires: Option<u64>,
}

/// Where a scrape finds them.
#[derive(Clone)]
pub struct CounterSource(Arc<dyn Fn() -> ClientCounters + Send + Sync>);

impl CounterSource {
    /// `snapshot` is called at each scrape, and must not wait.
    pub fn new(snapshot: impl Fn() -> ClientCounters + Send + Sync + 'static) -> Self {
        Self(Arc::new(snapshot))
    }
}

/// The numbers as they stand at one moment.
#[derive(Debug)]
struct Snapshot {
    clients: ClientCounters,
    broker: ullim_broker::Counters,
    status: ullim_broker::Status,
    draining: bool,
    config_hash: u64,
    process: Process,
}

pub(crate) async fn scrape(State(shared): State<Arc<Shared>>) -> Response {
    // It reads files.
    let process = tokio::task::spawn_blocking(Process::read).await.unwrap_or_default();
    let state = &shared.state;
    let snapshot = Snapshot {
        clients: (state.counters.0)(),
        broker: state.broker.counters(),
        status: state.broker.status(),
        draining: state.readiness.is_draining(),
        config_hash: state.config_hash,
        process,
    };
    match exposition::text(snapshot) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
