//! Whether this node lives, and whether clients should be sent to it. Liveness never depends on the broker: a restart
//! would not bring Redis back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use ullim_broker::Status;

use crate::Shared;

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

/// How far the node is. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// The listeners are up.
    pub fn serving(&self) {
        self.0.store(SERVING, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.load(Ordering::Acquire) == DRAINING
    }

    /// The node is about to leave.
    pub fn draining(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }
}

/// The answer of `/health/ready`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

pub(crate) async fn live() -> Json<Report> {
    Json(Report { status: "live", reason: None })
}

pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, Json<Report>) {
    let state = &shared.state;
    let (code, status, reason) = judge(state.readiness.0.load(Ordering::Acquire), state.broker.status());
    (code, Json(Report { status, reason }))
}

/// A broker that is down for everyone leaves the nodes ready: to remove them all would help nobody, and the clients'
/// return would be a storm.
fn judge(phase: u8, broker: Status) -> (StatusCode, &'static str, Option<&'static str>) {
    match (phase, broker) {
        (STARTING, _) => (StatusCode::SERVICE_UNAVAILABLE, "starting", Some("the listeners are not up yet")),
        (SERVING, Status::Starting) => {
            (StatusCode::SERVICE_UNAVAILABLE, "starting", Some("the broker has not been reached yet"))
        }
        (SERVING, Status::Up) => (StatusCode::OK, "ready", None),
        (SERVING, Status::Down) => (StatusCode::OK, "degraded", Some("the broker cannot be reached")),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "draining", Some("the node is shutting down")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_once_it_listens_and_has_met_its_broker() {
        let code = |phase, broker| judge(phase, broker).0;
        assert_eq!(code(STARTING, Status::Up), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(code(SERVING, Status::Starting), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(code(SERVING, Status::Up), StatusCode::OK);
        assert_eq!(code(DRAINING, Status::Up), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_node_that_lost_its_broker_stays_ready_and_says_so() {
        assert_eq!(judge(SERVING, Status::Down).0, StatusCode::OK);
        assert_eq!(judge(SERVING, Status::Down).1, "degraded");
    }
}
