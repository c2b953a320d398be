//! The internal listener: health, metrics, and the HTTP API by which backends publish.
//!
//! * [`health`]: whether this node lives, and whether clients should be sent to it
//! * [`metrics`]: what it has counted, for Prometheus
//! * `publish`: `POST /api/publish`
//! * `refusal`: how a request is refused

pub mod config;
pub mod health;
pub mod metrics;
mod publish;
mod refusal;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use ullim_auth::Secret;
use ullim_broker::Broker;
use ullim_hub::config::Namespaces;

pub use health::Readiness;
pub use metrics::{ClientCounters, CounterSource};

/// What the listener speaks of.
#[derive(Clone)]
pub struct ApiState {
    /// What backends have to know to publish; without it they cannot.
    pub api_key: Option<Secret>,
    /// Where they publish.
    pub broker: Arc<dyn Broker>,
    /// The namespaces that they may publish in.
    pub namespaces: Arc<Namespaces>,
    /// The most bytes of a request's body.
    pub body_bytes: usize,
    /// How far the node is.
    pub readiness: Readiness,
    /// What was counted on the clients' side.
    pub counters: CounterSource,
}

/// Serves requests until `shutdown`, and ends those that are under way.
pub async fn serve(listener: TcpListener, state: ApiState, shutdown: CancellationToken) -> io::Result<()> {
    axum::serve(listener, router(state)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn router(state: ApiState) -> Router {
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .route("/api/publish", post(publish::publish))
        .with_state(state)
}
