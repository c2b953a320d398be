//! The internal listener: health, metrics, and the HTTP API for backends.
//!
//! * [`health`]: whether this node lives, and whether clients should be sent to it
//! * [`metrics`]: what it has counted, for Prometheus
//! * `routes`: what there is; `openapi`: the same, described
//! * `publish` (and `publication`, what is published), `history`, `presence`, `channels`, `control`, `drain`: what backends
//!   ask for
//! * `request`: the key, the limits and the body of a request (`page`: of one for a page); `refusal`: how one is refused
//! * `listener`, `stall`: connections, and what bounds them

mod channels;
pub mod config;
mod control;
mod drain;
pub mod health;
mod history;
mod listener;
pub mod metrics;
mod openapi;
mod page;
mod presence;
mod publication;
mod publish;
mod refusal;
mod request;
mod routes;
mod stall;

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use ullim_broker::{Broker, History, Presence};
use ullim_hub::config::Namespaces;

pub use config::Config;
pub use health::Readiness;
pub use metrics::{ClientCounters, CounterSource, TlsCounters};

/// What the listener speaks of.
#[derive(Clone)]
pub struct ApiState {
    /// The key and the limits.
    pub config: Config,
    /// The most bytes of a request's body.
    pub body_bytes: usize,
    /// Where backends publish.
    pub broker: Arc<dyn Broker>,
    /// Who is where.
    pub presence: Arc<dyn Presence>,
    /// What was published before.
    pub history: Arc<dyn History>,
    /// The namespaces that there are.
    pub namespaces: Arc<Namespaces>,
    /// How far the node is.
    pub readiness: Readiness,
    /// Cancelled when a backend wants this node to end.
    pub end: CancellationToken,
    /// What was counted on the clients' side.
    pub counters: CounterSource,
    /// What tells this node's configuration from another.
    pub config_hash: u64,
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) state: ApiState,
    /// Requests to the HTTP API that may be served at once.
    pub(crate) places: Arc<Semaphore>,
}

/// Serves requests until `shutdown`, and ends those that are under way.
///
/// # Errors
/// None at present: what befalls a connection is its own.
pub async fn serve(listener: TcpListener, state: ApiState, shutdown: CancellationToken) -> io::Result<()> {
    let config = state.config.clone();
    let places = Arc::new(Semaphore::new(config.max_requests.min(Semaphore::MAX_PERMITS)));
    let shared = Arc::new(Shared { state, places });
    listener::serve(listener, &config, routes::routes(&shared), shutdown).await
}
