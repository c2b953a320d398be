//! `POST /api/presence` and `POST /api/presence_count`: who is in a channel, and how many.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ullim_broker::PageRequest;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::json::present;
use ullim_protocol::presence::{DEFAULT_PAGE, Info, MAX_PAGE, Member, MembersPage, Occupancy};

use crate::Shared;
use crate::page::Limit;
use crate::refusal::Refusal;
use crate::request::{MAX_TEXT_BYTES, Order, bounded, channel, settled};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    channel: String,
    #[serde(default)]
    limit: Limit<MAX_PAGE, DEFAULT_PAGE>,
    #[serde(default, deserialize_with = "present")]
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Page<'a> {
    members: Vec<Listed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

#[derive(Serialize)]
struct Listed<'a> {
    session: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a RawValue>,
    since: u64,
}

impl<'a> From<&'a Member> for Listed<'a> {
    fn from(member: &'a Member) -> Self {
        // An `Info` is JSON.
        let json = |info: &'a Info| serde_json::from_str(info.as_str()).ok();
        Self {
            session: member.session.to_string(),
            user: member.user.as_deref(),
            info: member.info.as_ref().and_then(json),
            since: member.since,
        }
    }
}

pub(crate) async fn members(State(shared): State<Arc<Shared>>, order: Order) -> Result<Response, Refusal> {
    let Which { channel, limit: Limit(limit), cursor } = order.parse()?;
    if let Some(cursor) = &cursor {
        bounded("cursor", cursor, 0..=MAX_TEXT_BYTES)?;
    }
    let channel = with_presence(&shared, &channel)?;
    let page = settled(shared.state.presence.members(&channel, PageRequest { cursor, limit })).await?;
    Ok(told(&page))
}

fn told(page: &MembersPage) -> Response {
    let members = page.members.iter().map(Listed::from).collect();
    Json(Page { members, cursor: page.cursor.as_deref() }).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Where {
    channel: String,
}

#[derive(Serialize)]
pub(crate) struct Count {
    connections: u64,
    users: u64,
}

pub(crate) async fn occupancy(State(shared): State<Arc<Shared>>, order: Order) -> Result<Json<Count>, Refusal> {
    let Where { channel } = order.parse()?;
    let channel = with_presence(&shared, &channel)?;
    let Occupancy { connections, users } = settled(shared.state.presence.occupancy(&channel)).await?;
    Ok(Json(Count { connections, users }))
}

fn with_presence(shared: &Shared, name: &str) -> Result<ChannelName, Refusal> {
    let (channel, namespace) = channel(shared, name)?;
    match namespace.presence {
        true => Ok(channel),
        false => Err(Refusal::NoPresence(channel.namespace().to_owned())),
    }
}
