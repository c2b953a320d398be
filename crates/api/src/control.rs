//! `POST /api/disconnect` and `POST /api/unsubscribe`: orders about a user, to every node.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use ullim_broker::Control;

use crate::Shared;
use crate::refusal::Refusal;
use crate::request::{Done, MAX_TEXT_BYTES, Order, bounded, channel, settled};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    user: String,
}

pub(crate) async fn disconnect(State(shared): State<Arc<Shared>>, order: Order) -> Result<Json<Done>, Refusal> {
    let Disconnect { user } = order.parse()?;
    bounded("user", &user, 1..=MAX_TEXT_BYTES)?;
    give(&shared, Control::Disconnect { user: user.into() }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsubscribe {
    user: String,
    channel: String,
}

pub(crate) async fn unsubscribe(State(shared): State<Arc<Shared>>, order: Order) -> Result<Json<Done>, Refusal> {
    let Unsubscribe { user, channel: name } = order.parse()?;
    bounded("user", &user, 1..=MAX_TEXT_BYTES)?;
    let (channel, _) = channel(&shared, &name)?;
    give(&shared, Control::Unsubscribe { user: user.into(), channel }).await
}

async fn give(shared: &Shared, control: Control) -> Result<Json<Done>, Refusal> {
    settled(shared.state.broker.control(control)).await?;
    Ok(Json(Done {}))
}
