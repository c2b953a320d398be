//! The native dialect in MessagePack: the shapes of the JSON encoding, with named fields.

use bytes::Bytes;
use indexmap::IndexMap;
use rmp::encode as mp;
use serde::Deserialize;
use serde_bytes::ByteBuf;

use super::epochs::Epochs;
use super::wire::{Body, Message, OnlyId, unreadable};
use crate::command::{DecodeError, Refusal, Request};
use crate::json::{FieldNames, Object, present};
use crate::outgoing::{Connected, FEATURES, Gap, HistoryPage, Outgoing, Push, Refreshed, Reply, Subscribed};
use crate::position::Position;
use crate::presence::{Info, Member, MembersPage, Occupancy, PresenceEvent};
use crate::publication::{Data, Publication, utf8};

/// How deep a message may be nested: the data's 127, and what is around it.
const MAX_DEPTH: usize = 130;

/// How deep a message may be nested for its id to be found in it: every level costs stack.
const MAX_SKIPPED_DEPTH: usize = 256;

#[derive(Deserialize)]
struct PublishBody {
    channel: String,
    #[serde(default, deserialize_with = "present")]
    data: Option<serde_json::Value>,
    text: Option<String>,
    bin: Option<ByteBuf>,
    headers: Option<IndexMap<String, String>>,
    echo: Option<bool>,
    id: Option<String>,
}

/// Reads one command.
pub fn decode(bytes: &[u8]) -> Result<Request, DecodeError> {
    let Object(message): Object<Message<PublishBody>> = read(bytes, MAX_DEPTH).map_err(|error| {
        let id = read::<Object<OnlyId>>(bytes, MAX_SKIPPED_DEPTH).ok().and_then(|Object(only)| only.id);
        unreadable(id, &error)
    })?;
    let names = || read::<FieldNames>(bytes, MAX_SKIPPED_DEPTH).map(|names| names.0).unwrap_or_default();
    message.into_request(PublishBody::into_body, names)
}

/// Reads one value with nothing behind it, nested at most `max_depth` deep.
fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8], max_depth: usize) -> Result<T, String> {
    let mut rest = bytes;
    let value = {
        let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
        deserializer.set_max_depth(max_depth);
        T::deserialize(&mut deserializer).map_err(|error| error.to_string())?
    };
    match rest.len() {
        0 => Ok(value),
        trailing => Err(format!("{trailing} bytes follow the message")),
    }
}

impl PublishBody {
    fn into_body(self) -> Body {
        let data = self.data.map(|value| {
            let json = Bytes::from(value.to_string());
            crate::json::check(&json).then_some(Data::Json(json)).ok_or("\"data\" is nested deeper than 127")
        });
        let binary = self.bin.map(|bytes| Ok(Data::Binary(Bytes::from(bytes.into_vec()))));
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
            map(out, 2);
            text(out, "id");
            number(out, *id);
            encode_reply(reply, out);
        }
        Outgoing::Error(id, refusal) => {
            map(out, 1 + usize::from(id.is_some()));
            if let Some(id) = id {
                text(out, "id");
                number(out, *id);
            }
            encode_refusal(refusal, out);
        }
        Outgoing::Push(channel, push) => {
            map(out, 1);
            text(out, "push");
            map(out, 2);
            text(out, "channel");
            text(out, channel);
            encode_push(push, out);
        }
        Outgoing::Reconnect(delay) => {
            map(out, 1);
            text(out, "push");
            map(out, 1);
            text(out, "reconnect");
            map(out, 1);
            text(out, "delay");
            number(out, *delay);
        }
    }
}

fn encode_reply(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let empty = |out: &mut Vec<u8>, name| {
        text(out, name);
        map(out, 0);
    };
    match reply {
        Reply::Connect(connected) => encode_connected(connected, out),
        Reply::Refresh(refreshed) => encode_refreshed(refreshed, out),
        Reply::Subscribe(subscribed) => {
            text(out, "subscribe");
            map(out, fields_of(subscribed));
            encode_subscribed(subscribed, out);
        }
        Reply::SubscribeMany(results) => {
            text(out, "subscribe");
            map(out, 1);
            text(out, "channels");
            array(out, results.len());
            for (channel, result) in *results {
                map(out, 1 + result.as_ref().map_or(1, fields_of));
                text(out, "channel");
                text(out, channel);
                match result {
                    Ok(subscribed) => encode_subscribed(subscribed, out),
                    Err(refusal) => encode_refusal(refusal, out),
                }
            }
        }
        Reply::Unsubscribe => empty(out, "unsubscribe"),
        Reply::Publish(None) => empty(out, "publish"),
        Reply::Publish(Some(position)) => {
            text(out, "publish");
            map(out, 2);
            encode_position(position, out);
        }
        Reply::History(HistoryPage { position, publications, more }) => {
            text(out, "history");
            map(out, 3 + usize::from(*more));
            encode_position(position, out);
            encode_publications(publications, Epochs::Each, out);
            if *more {
                text(out, "more");
                boolean(out, true);
            }
        }
        Reply::Presence(page) => encode_page(page, out),
        Reply::PresenceCount(Occupancy { connections, users }) => {
            text(out, "presence_count");
            map(out, 2);
            text(out, "connections");
            number(out, *connections);
            text(out, "users");
            number(out, *users);
        }
        Reply::Ping => empty(out, "ping"),
    }
}

/// How many fields [`encode_subscribed`] writes.
fn fields_of(subscribed: &Subscribed) -> usize {
    let Subscribed { presence, position, recovered, publications, .. } = subscribed;
    let single = [presence.is_some(), recovered.is_some(), !publications.is_empty()];
    single.into_iter().filter(|is_there| *is_there).count() + if position.is_some() { 2 } else { 0 }
}

fn encode_subscribed(subscribed: &Subscribed, out: &mut Vec<u8>) {
    let Subscribed { presence, position, recovered, publications, since } = subscribed;
    if let Some(recovered) = recovered {
        text(out, "recovered");
        boolean(out, *recovered);
    }
    if let Some(position) = position {
        encode_position(position, out);
    }
    if !publications.is_empty() {
        encode_publications(publications, Epochs::Changed(*since), out);
    }
    if let Some(page) = presence {
        encode_page(page, out);
    }
}

/// Two fields.
fn encode_position(Position { epoch, offset }: &Position, out: &mut Vec<u8>) {
    text(out, "epoch");
    text(out, &epoch.to_string());
    text(out, "offset");
    number(out, *offset);
}

/// The field `pubs`.
fn encode_publications(publications: &[Publication], mut epochs: Epochs, out: &mut Vec<u8>) {
    text(out, "pubs");
    array(out, publications.len());
    for publication in publications {
        encode_fields(publication, epochs.are_told_with(publication), out);
    }
}

fn encode_connected(connected: &Connected<'_>, out: &mut Vec<u8>) {
    text(out, "connect");
    let Connected { resume, resumed, user, expires, .. } = connected;
    let optional = [resume.is_some(), *resumed, user.is_some(), expires.is_some()];
    map(out, 4 + optional.into_iter().filter(|is_there| *is_there).count());
    text(out, "session");
    text(out, &connected.session.to_string());
    if let Some(resume) = resume {
        text(out, "resume");
        text(out, resume);
    }
    if *resumed {
        text(out, "resumed");
        boolean(out, true);
    }
    if let Some(user) = user {
        text(out, "user");
        text(out, user);
    }
    if let Some(expires) = expires {
        text(out, "expires");
        number(out, *expires);
    }
    text(out, "ping");
    number(out, connected.ping_ms);
    text(out, "features");
    array(out, FEATURES.len());
    for feature in FEATURES {
        text(out, feature);
    }
    text(out, "limits");
    map(out, 2);
    text(out, "message");
    number(out, connected.message_bytes as u64);
    text(out, "subscriptions");
    number(out, connected.subscriptions as u64);
}

fn encode_refreshed(Refreshed { expires, resume }: &Refreshed<'_>, out: &mut Vec<u8>) {
    text(out, "refresh");
    map(out, usize::from(expires.is_some()) + usize::from(resume.is_some()));
    if let Some(expires) = expires {
        text(out, "expires");
        number(out, *expires);
    }
    if let Some(resume) = resume {
        text(out, "resume");
        text(out, resume);
    }
}

/// Some members of a channel, as the field `presence`.
fn encode_page(MembersPage { members, cursor }: &MembersPage, out: &mut Vec<u8>) {
    text(out, "presence");
    map(out, 1 + usize::from(cursor.is_some()));
    text(out, "members");
    array(out, members.len());
    for member in members {
        encode_member(member, out);
    }
    if let Some(cursor) = cursor {
        text(out, "cursor");
        text(out, cursor);
    }
}

fn encode_member(Member { session, user, info, since }: &Member, out: &mut Vec<u8>) {
    map(out, 2 + usize::from(user.is_some()) + usize::from(info.is_some()));
    text(out, "session");
    text(out, &session.to_string());
    if let Some(user) = user {
        text(out, "user");
        text(out, user);
    }
    encode_info(info.as_ref(), out);
    text(out, "since");
    number(out, *since);
}

fn encode_info(info: Option<&Info>, out: &mut Vec<u8>) {
    if let Some(info) = info {
        text(out, "info");
        transcode(info.as_str().as_bytes(), out);
    }
}

fn encode_refusal(refusal: &Refusal, out: &mut Vec<u8>) {
    text(out, "error");
    map(out, 4);
    text(out, "code");
    number(out, refusal.code.number.into());
    text(out, "name");
    text(out, refusal.code.name);
    text(out, "message");
    text(out, &refusal.message);
    text(out, "retry");
    boolean(out, refusal.code.retry);
}

fn encode_push(push: &Push<'_>, out: &mut Vec<u8>) {
    match push {
        Push::Publication(publication) => encode_publication(publication, out),
        Push::Presence(PresenceEvent { joined, user, info }) => {
            text(out, if *joined { "join" } else { "leave" });
            map(out, 1 + usize::from(info.is_some()));
            text(out, "user");
            text(out, user);
            encode_info(info.as_ref(), out);
        }
        Push::Gap(Gap { from, to, reason, position }) => {
            text(out, "gap");
            map(out, if position.is_some() { 5 } else { 3 });
            text(out, "from");
            number(out, *from);
            text(out, "to");
            number(out, *to);
            text(out, "reason");
            text(out, reason.name());
            if let Some(position) = position {
                encode_position(position, out);
            }
        }
        Push::Position(position) => {
            text(out, "position");
            map(out, 2);
            encode_position(position, out);
        }
        Push::Unsubscribed(code) => {
            text(out, "unsubscribed");
            map(out, 2);
            text(out, "code");
            number(out, code.number.into());
            text(out, "name");
            text(out, code.name);
        }
    }
}

fn encode_publication(publication: &Publication, out: &mut Vec<u8>) {
    text(out, "pub");
    encode_fields(publication, false, out);
}

/// As a map. The epoch is told where it is new to whoever hears the channel, or where it is asked for.
fn encode_fields(publication: &Publication, with_epoch: bool, out: &mut Vec<u8>) {
    let position = publication.position.as_ref();
    let epoch = position.filter(|position| with_epoch || position.offset == 1);
    let optional = [publication.headers.is_some(), position.is_some(), epoch.is_some()];
    map(out, 2 + optional.into_iter().filter(|is_there| *is_there).count());
    match (epoch, position) {
        (Some(position), _) => encode_position(position, out),
        (None, Some(Position { offset, .. })) => {
            text(out, "offset");
            number(out, *offset);
        }
        (None, None) => {}
    }
    match &publication.data {
        Data::Json(json) => {
            text(out, "data");
            transcode(json, out);
        }
        Data::Text(bytes) => {
            text(out, "text");
            text(out, &utf8(bytes));
        }
        Data::Binary(bytes) => {
            text(out, "bin");
            let _ = mp::write_bin(out, bytes);
        }
    }
    if let Some(headers) = &publication.headers {
        text(out, "headers");
        map(out, headers.entries().len());
        for (name, value) in headers.entries() {
            text(out, name);
            text(out, value);
        }
    }
    text(out, "time");
    number(out, publication.time);
}

/// Appends a JSON value. [`Data::Json`] and [`Info`] have passed [`crate::json::check`], so it can be read; if it could not be, nil
/// keeps the message whole.
fn transcode(json: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut serializer = rmp_serde::Serializer::new(&mut *out);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    if serde_transcode::transcode(&mut deserializer, &mut serializer).is_err() {
        out.truncate(start);
        let _ = mp::write_nil(out);
    }
}

// Writing to a `Vec` cannot fail: what these return is an I/O error of the writer.

fn map(out: &mut Vec<u8>, entries: usize) {
    let _ = mp::write_map_len(out, entries as u32);
}

fn array(out: &mut Vec<u8>, items: usize) {
    let _ = mp::write_array_len(out, items as u32);
}

fn text(out: &mut Vec<u8>, text: &str) {
    let _ = mp::write_str(out, text);
}

fn number(out: &mut Vec<u8>, number: u64) {
    let _ = mp::write_uint(out, number);
}

fn boolean(out: &mut Vec<u8>, boolean: bool) {
    let _ = mp::write_bool(out, boolean);
}
