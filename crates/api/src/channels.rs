//! `POST /api/channels`: which channels have subscribers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use ullim_broker::ChannelsRequest;
use ullim_protocol::json::present;

use crate::Shared;
use crate::page::Limit;
use crate::refusal::Refusal;
use crate::request::{MAX_TEXT_BYTES, Order, bounded, settled};

/// The most channels of one page.
const MAX_PAGE: usize = 1000;

/// How many channels a page has when nobody says otherwise.
const DEFAULT_PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    prefix: String,
    #[serde(default, deserialize_with = "present")]
    after: Option<String>,
    #[serde(default)]
    limit: Limit<MAX_PAGE, DEFAULT_PAGE>,
}

#[derive(Serialize)]
pub(crate) struct Page {
    channels: Vec<String>,
    more: bool,
}

pub(crate) async fn channels(State(shared): State<Arc<Shared>>, order: Order) -> Result<Json<Page>, Refusal> {
    let Which { prefix, after, limit: Limit(limit) } = order.parse()?;
    bounded("prefix", &prefix, 0..=MAX_TEXT_BYTES)?;
    bounded("after", after.as_deref().unwrap_or_default(), 0..=MAX_TEXT_BYTES)?;
    let page = settled(shared.state.broker.channels(ChannelsRequest { prefix, after, limit })).await?;
    let channels = page.channels.iter().map(|channel| channel.as_str().to_owned()).collect();
    Ok(Json(Page { channels, more: page.more }))
}
