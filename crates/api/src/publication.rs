//! What a backend publishes, as the body of its request says it.

use std::fmt;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use ullim_broker::PublishRequest;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::command::MAX_PUBLICATION_ID;
use ullim_protocol::json::present;
use ullim_protocol::publication::{Data, Headers, Kind};
use ullim_protocol::session::SessionId;

use crate::refusal::Refusal;
use crate::request::{bounded, parse};

/// The body of a request. An unknown field is an error: one that is misspelt would change what is published.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(default, deserialize_with = "present")]
    channel: Option<String>,
    #[serde(default, deserialize_with = "present")]
    channels: Option<Vec<String>>,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "present")]
    text: Option<String>,
    #[serde(default, deserialize_with = "present")]
    b64: Option<String>,
    #[serde(default, deserialize_with = "present")]
    headers: Option<Entries>,
    #[serde(default, deserialize_with = "present")]
    exclude: Option<String>,
    #[serde(default, deserialize_with = "present")]
    id: Option<String>,
}

/// A publication without its place.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) data: Data,
    headers: Option<Headers>,
    exclude: Option<SessionId>,
    /// The same for each channel: it means something within one only.
    id: Option<String>,
}

impl Content {
    pub(crate) fn to(&self, channel: ChannelName) -> PublishRequest {
        let Self { data, headers, exclude, id } = self;
        PublishRequest { channel, data: data.clone(), headers: headers.clone(), exclude: *exclude, id: id.clone() }
    }
}

/// The channel and what is for it.
pub(crate) fn for_one(body: &Bytes) -> Result<(String, Content), Refusal> {
    let fields: Fields = parse(body)?;
    match (&fields.channel, &fields.channels) {
        (Some(channel), None) => Ok((channel.clone(), content(fields, body)?)),
        _ => Err(Refusal::Malformed("\"channel\" is needed, and this request takes no \"channels\"".to_owned())),
    }
}

/// The channels, at most `limit`, and what is for all of them.
pub(crate) fn for_many(body: &Bytes, limit: usize) -> Result<(Vec<String>, Content), Refusal> {
    let mut fields: Fields = parse(body)?;
    match (&fields.channel, fields.channels.take()) {
        (None, Some(channels)) if (1..=limit).contains(&channels.len()) => Ok((channels, content(fields, body)?)),
        (None, Some(channels)) => {
            let count = channels.len();
            Err(Refusal::Malformed(format!("\"channels\" names 1 to {limit} channels, this one {count}")))
        }
        _ => Err(Refusal::Malformed("\"channels\" is needed, and this request takes no \"channel\"".to_owned())),
    }
}

fn content(fields: Fields, body: &Bytes) -> Result<Content, Refusal> {
    let data = match (fields.data, fields.text, fields.b64) {
        (Some(json), None, None) => Kind::Json.accept(body.slice_ref(json.get().as_bytes())).ok_or(Refusal::Data(
            "\"data\" is nested too deep, or holds a number or an escape that cannot be carried",
        ))?,
        (None, Some(text), None) => Data::Text(text.into()),
        (None, None, Some(b64)) => {
            let bytes = STANDARD.decode(b64).map_err(|_| Refusal::Data("\"b64\" is not base64 with padding"))?;
            Data::Binary(bytes.into())
        }
        _ => return Err(Refusal::Malformed("exactly one of \"data\", \"text\" and \"b64\" is needed".to_owned())),
    };
    let headers = fields.headers.map(|Entries(entries)| {
        Headers::new(entries).ok_or(Refusal::Data("\"headers\" has more than 16 entries or 4096 bytes"))
    });
    let session = |text: &str| {
        SessionId::parse(text).ok_or_else(|| Refusal::Malformed("\"exclude\" is not a session id".to_owned()))
    };
    if let Some(id) = &fields.id {
        bounded("id", id, 1..=MAX_PUBLICATION_ID)?;
    }
    let exclude = fields.exclude.as_deref().map(session).transpose()?;
    Ok(Content { data, headers: headers.transpose()?, exclude, id: fields.id })
}

/// An object of strings, each name once.
struct Entries(IndexMap<String, String>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesWalk)
    }
}

struct EntriesWalk;

impl<'de> Visitor<'de> for EntriesWalk {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Entries, A::Error> {
        let mut entries = IndexMap::new();
        while let Some((name, value)) = source.next_entry::<String, String>()? {
            if entries.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the header {name:?} is there twice")));
            }
            entries.insert(name, value);
        }
        Ok(Entries(entries))
    }
}

#[cfg(test)]
mod tests;
