//! `POST /api/drain`: has this node end in order.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::Shared;
use crate::refusal::Refusal;
use crate::request::{Done, Order};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// As often as one likes: it is the same end.
pub(crate) async fn drain(State(shared): State<Arc<Shared>>, order: Order) -> Result<Json<Done>, Refusal> {
    let Nothing {} = order.parse()?;
    shared.state.end.cancel();
    Ok(Json(Done {}))
}
