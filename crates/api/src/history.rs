//! `POST /api/history`: what was published on a recoverable channel, and where it stands.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ullim_broker::{HistoryPart, HistoryRequest, Routed};
use ullim_protocol::command::{DEFAULT_HISTORY, MAX_HISTORY};
use ullim_protocol::json::present;
use ullim_protocol::position::{Epoch, MAX_NUMBER, Position};
use ullim_protocol::publication::{Data, Headers};

use crate::Shared;
use crate::page::Limit;
use crate::refusal::Refusal;
use crate::request::{Order, channel, settled};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    channel: String,
    #[serde(default, deserialize_with = "present")]
    since: Option<Since>,
    #[serde(default)]
    limit: Limit<MAX_HISTORY, DEFAULT_HISTORY>,
    #[serde(default)]
    reverse: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with \"epoch\" and \"offset\"")]
struct Since {
    epoch: String,
    offset: Offset,
}

impl Since {
    fn position(&self) -> Result<Position, Refusal> {
        let wrong = "\"epoch\" is the text of digits that an earlier answer or message held";
        let epoch = Epoch::parse(&self.epoch).ok_or_else(|| Refusal::Malformed(wrong.to_owned()))?;
        Ok(Position { epoch, offset: self.offset.0 })
    }
}

/// From 0 to [`MAX_NUMBER`].
struct Offset(u64);

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(OffsetWalk).map(Self)
    }
}

struct OffsetWalk;

impl Visitor<'_> for OffsetWalk {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from 0 to {MAX_NUMBER}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        let is_offset = number <= MAX_NUMBER;
        is_offset.then_some(number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    /// To JSON Schema 1.0 is an integer, and so it is to JavaScript.
    fn visit_f64<E: Error>(self, number: f64) -> Result<u64, E> {
        let is_offset = number.fract() == 0.0 && (0.0..=MAX_NUMBER as f64).contains(&number);
        is_offset.then_some(number as u64).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

#[derive(Serialize)]
struct Part<'a> {
    epoch: String,
    offset: u64,
    pubs: Vec<Kept<'a>>,
    more: bool,
}

/// As a client hears it.
#[derive(Serialize)]
struct Kept<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<&'a IndexMap<String, String>>,
    time: u64,
}

impl<'a> From<&'a Routed> for Kept<'a> {
    fn from(routed: &'a Routed) -> Self {
        let publication = &routed.publication;
        // What is JSON and text was checked when it came.
        let (data, text, b64) = match &publication.data {
            Data::Json(bytes) => (serde_json::from_slice(bytes).ok(), None, None),
            Data::Text(bytes) => (None, std::str::from_utf8(bytes).ok(), None),
            Data::Binary(bytes) => (None, None, Some(STANDARD.encode(bytes))),
        };
        Self {
            epoch: publication.position.map(|position| position.epoch.to_string()),
            offset: publication.position.map(|position| position.offset),
            data,
            text,
            b64,
            headers: publication.headers.as_ref().map(Headers::entries),
            time: publication.time,
        }
    }
}

pub(crate) async fn history(State(shared): State<Arc<Shared>>, order: Order) -> Result<Response, Refusal> {
    let Which { channel: name, since, limit: Limit(limit), reverse } = order.parse()?;
    let since = since.map(|since| since.position()).transpose()?;
    let (channel, namespace) = channel(&shared, &name)?;
    if !namespace.recoverable {
        return Err(Refusal::NoHistory(channel.namespace().to_owned()));
    }
    let part = settled(shared.state.history.history(HistoryRequest { channel, since, limit, reverse })).await?;
    Ok(told(&part))
}

fn told(HistoryPart { position, publications, more }: &HistoryPart) -> Response {
    let pubs = publications.iter().map(|routed| Kept::from(&**routed)).collect();
    let part = Part { epoch: position.epoch.to_string(), offset: position.offset, pubs, more: *more };
    Json(part).into_response()
}
