//! The native dialect in JSON.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::epochs::Epochs;
use super::wire::{Body, Message, OnlyId, unreadable};
use crate::command::{DecodeError, Refusal, Request};
use crate::json::{FieldNames, Object, check, present};
use crate::outgoing::{Connected, FEATURES, Gap, HistoryPage, Outgoing, Push, Refreshed, Reply, Subscribed};
use crate::position::Position;
use crate::presence::{Info, Member, MembersPage, Occupancy, PresenceEvent};
use crate::publication::{Data, Headers, Publication, utf8};

#[derive(Deserialize)]
struct PublishBody<'a> {
    channel: String,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    text: Option<String>,
    #[serde(borrow)]
    b64: Option<Cow<'a, str>>,
    headers: Option<IndexMap<String, String>>,
    echo: Option<bool>,
    id: Option<String>,
}

/// Reads one command.
pub fn decode(text: &str) -> Result<Request, DecodeError> {
    let Object(message): Object<Message<PublishBody<'_>>> = serde_json::from_str(text).map_err(|error| {
        let id = serde_json::from_str::<Object<OnlyId>>(text).ok().and_then(|Object(only)| only.id);
        unreadable(id, &error.to_string())
    })?;
    let names = || serde_json::from_str::<FieldNames>(text).map(|names| names.0).unwrap_or_default();
    message.into_request(PublishBody::into_body, names)
}

impl PublishBody<'_> {
    fn into_body(self) -> Body {
        let data = self.data.map(|raw| {
            let bytes = raw.get().as_bytes();
            let refused = "\"data\" is nested deeper than 127, or holds a lone surrogate or a number too large";
            check(bytes).then(|| Data::Json(Bytes::copy_from_slice(bytes))).ok_or(refused)
        });
        let binary = self.b64.map(|b64| {
            let decoded = STANDARD.decode(b64.as_bytes());
            decoded.map(|bytes| Data::Binary(Bytes::from(bytes))).map_err(|_| "\"b64\" is not base64 with padding")
        });
        Body {
            channel: self.channel,
            data,
            text: self.text,
            binary,
            headers: self.headers,
            echo: self.echo,
            id: self.id,
        }
    }
}

/// Appends one message to `out`.
pub fn encode(outgoing: &Outgoing<'_>, out: &mut Vec<u8>) {
    match outgoing {
        Outgoing::Reply(id, reply) => {
            text(out, "{\"id\":");
            value(out, id);
            text(out, ",");
            encode_reply(reply, out);
            text(out, "}");
        }
        Outgoing::Error(id, refusal) => {
            text(out, "{");
            if let Some(id) = id {
                text(out, "\"id\":");
                value(out, id);
                text(out, ",");
            }
            encode_refusal(refusal, out);
            text(out, "}");
        }
        Outgoing::Push(channel, push) => {
            text(out, "{\"push\":{\"channel\":");
            value(out, channel);
            text(out, ",");
            encode_push(push, out);
            text(out, "}}");
        }
        Outgoing::Reconnect(delay) => {
            text(out, "{\"push\":{\"reconnect\":{\"delay\":");
            value(out, delay);
            text(out, "}}}");
        }
    }
}

fn encode_reply(reply: &Reply<'_>, out: &mut Vec<u8>) {
    match reply {
        Reply::Connect(connected) => encode_connected(connected, out),
        Reply::Refresh(refreshed) => encode_refreshed(refreshed, out),
        Reply::Subscribe(subscribed) => {
            text(out, "\"subscribe\":{");
            encode_subscribed(subscribed, false, out);
            text(out, "}");
        }
        Reply::SubscribeMany(results) => {
            text(out, "\"subscribe\":{\"channels\":[");
            for (index, (channel, result)) in results.iter().enumerate() {
                text(out, if index == 0 { "{\"channel\":" } else { ",{\"channel\":" });
                value(out, channel);
                match result {
                    Ok(subscribed) => encode_subscribed(subscribed, true, out),
                    Err(refusal) => {
                        text(out, ",");
                        encode_refusal(refusal, out);
                    }
                }
                text(out, "}");
            }
            text(out, "]}");
        }
        Reply::Unsubscribe => text(out, "\"unsubscribe\":{}"),
        Reply::Publish(None) => text(out, "\"publish\":{}"),
        Reply::Publish(Some(position)) => {
            text(out, "\"publish\":{");
            encode_position(position, out);
            text(out, "}");
        }
        Reply::History(HistoryPage { position, publications, more }) => {
            text(out, "\"history\":{");
            encode_position(position, out);
            encode_publications(publications, Epochs::Each, out);
            text(out, if *more { ",\"more\":true}" } else { "}" });
        }
        Reply::Presence(page) => encode_page(page, out),
        Reply::PresenceCount(Occupancy { connections, users }) => {
            text(out, "\"presence_count\":{\"connections\":");
            value(out, connections);
            text(out, ",\"users\":");
            value(out, users);
            text(out, "}");
        }
        Reply::Ping => text(out, "\"ping\":{}"),
    }
}

/// The fields of a subscription that stands; `behind` another one.
fn encode_subscribed(subscribed: &Subscribed, behind: bool, out: &mut Vec<u8>) {
    let Subscribed { presence, position, recovered, publications, since } = subscribed;
    let mut separate = behind;
    let mut comma = |out: &mut Vec<u8>| {
        if std::mem::replace(&mut separate, true) {
            text(out, ",");
        }
    };
    if let Some(recovered) = recovered {
        comma(out);
        text(out, if *recovered { "\"recovered\":true" } else { "\"recovered\":false" });
    }
    if let Some(position) = position {
        comma(out);
        encode_position(position, out);
    }
    if !publications.is_empty() {
        // Never the first: only recoverable channels have any.
        encode_publications(publications, Epochs::Changed(*since), out);
    }
    if let Some(page) = presence {
        comma(out);
        encode_page(page, out);
    }
}

fn encode_position(Position { epoch, offset }: &Position, out: &mut Vec<u8>) {
    text(out, "\"epoch\":\"");
    value(out, &epoch.micros());
    text(out, "\",\"offset\":");
    value(out, offset);
}

/// The field `pubs`, behind another one.
fn encode_publications(publications: &[Publication], mut epochs: Epochs, out: &mut Vec<u8>) {
    text(out, ",\"pubs\":[");
    for (index, publication) in publications.iter().enumerate() {
        text(out, if index == 0 { "{" } else { ",{" });
        encode_fields(publication, epochs.are_told_with(publication), out);
        text(out, "}");
    }
    text(out, "]");
}

fn encode_connected(connected: &Connected<'_>, out: &mut Vec<u8>) {
    text(out, "\"connect\":{\"session\":");
    value(out, &connected.session.to_string());
    if let Some(resume) = connected.resume {
        text(out, ",\"resume\":");
        value(out, resume);
    }
    if connected.resumed {
        text(out, ",\"resumed\":true");
    }
    if let Some(user) = connected.user {
        text(out, ",\"user\":");
        value(out, user);
    }
    if let Some(expires) = connected.expires {
        text(out, ",\"expires\":");
        value(out, &expires);
    }
    text(out, ",\"ping\":");
    value(out, &connected.ping_ms);
    text(out, ",\"features\":");
    value(out, FEATURES);
    text(out, ",\"limits\":{\"message\":");
    value(out, &connected.message_bytes);
    text(out, ",\"subscriptions\":");
    value(out, &connected.subscriptions);
    text(out, "}}");
}

fn encode_refreshed(Refreshed { expires, resume }: &Refreshed<'_>, out: &mut Vec<u8>) {
    text(out, "\"refresh\":{");
    if let Some(expires) = expires {
        text(out, "\"expires\":");
        value(out, expires);
    }
    if let Some(resume) = resume {
        text(out, if expires.is_some() { ",\"resume\":" } else { "\"resume\":" });
        value(out, resume);
    }
    text(out, "}");
}

/// Some members of a channel, as the field `presence`.
fn encode_page(MembersPage { members, cursor }: &MembersPage, out: &mut Vec<u8>) {
    text(out, "\"presence\":{\"members\":[");
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            text(out, ",");
        }
        encode_member(member, out);
    }
    text(out, "]");
    if let Some(cursor) = cursor {
        text(out, ",\"cursor\":");
        value(out, cursor);
    }
    text(out, "}");
}

fn encode_member(Member { session, user, info, since }: &Member, out: &mut Vec<u8>) {
    text(out, "{\"session\":");
    value(out, &session.to_string());
    if let Some(user) = user {
        text(out, ",\"user\":");
        value(out, &**user);
    }
    encode_info(info.as_ref(), out);
    text(out, ",\"since\":");
    value(out, since);
    text(out, "}");
}

/// What the application says of a member, behind another field.
fn encode_info(info: Option<&Info>, out: &mut Vec<u8>) {
    if let Some(info) = info {
        text(out, ",\"info\":");
        text(out, info.as_str());
    }
}

fn encode_refusal(refusal: &Refusal, out: &mut Vec<u8>) {
    text(out, "\"error\":{\"code\":");
    value(out, &refusal.code.number);
    text(out, ",\"name\":");
    value(out, refusal.code.name);
    text(out, ",\"message\":");
    value(out, &refusal.message);
    text(out, ",\"retry\":");
    value(out, &refusal.code.retry);
    text(out, "}");
}

fn encode_push(push: &Push<'_>, out: &mut Vec<u8>) {
    match push {
        Push::Publication(publication) => encode_publication(publication, out),
        Push::Presence(PresenceEvent { joined, user, info }) => {
            text(out, if *joined { "\"join\":{\"user\":" } else { "\"leave\":{\"user\":" });
            value(out, &**user);
            encode_info(info.as_ref(), out);
            text(out, "}");
        }
        Push::Gap(Gap { from, to, reason, position }) => {
            text(out, "\"gap\":{\"from\":");
            value(out, from);
            text(out, ",\"to\":");
            value(out, to);
            text(out, ",\"reason\":");
            value(out, reason.name());
            if let Some(position) = position {
                text(out, ",");
                encode_position(position, out);
            }
            text(out, "}");
        }
        Push::Position(position) => {
            text(out, "\"position\":{");
            encode_position(position, out);
            text(out, "}");
        }
        Push::Unsubscribed(code) => {
            text(out, "\"unsubscribed\":{\"code\":");
            value(out, &code.number);
            text(out, ",\"name\":");
            value(out, code.name);
            text(out, "}");
        }
    }
}

fn encode_publication(publication: &Publication, out: &mut Vec<u8>) {
    text(out, "\"pub\":{");
    encode_fields(publication, false, out);
    text(out, "}");
}

/// The epoch is told where it is new to whoever hears the channel, or where it is asked for.
fn encode_fields(publication: &Publication, with_epoch: bool, out: &mut Vec<u8>) {
    if let Some(position) = &publication.position {
        if with_epoch || position.offset == 1 {
            encode_position(position, out);
        } else {
            text(out, "\"offset\":");
            value(out, &position.offset);
        }
        text(out, ",");
    }
    match &publication.data {
        Data::Json(json) => {
            text(out, "\"data\":");
            out.extend_from_slice(json);
        }
        Data::Text(bytes) => {
            text(out, "\"text\":");
            value(out, &*utf8(bytes));
        }
        Data::Binary(bytes) => {
            text(out, "\"b64\":\"");
            base64(out, bytes);
            text(out, "\"");
        }
    }
    if let Some(headers) = publication.headers.as_ref().map(Headers::entries) {
        text(out, ",\"headers\":");
        value(out, headers);
    }
    text(out, ",\"time\":");
    value(out, &publication.time);
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    // Four characters for three bytes begun.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // They fit exactly.
    let _ = STANDARD.encode_slice(bytes, &mut out[start..]);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn value<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing numbers, strings and maps of strings to a `Vec` cannot fail.
    let _ = serde_json::to_writer(out, value);
}
