//! Histories as `ullim_read` answers them. What Redis says is hostile until it is parsed.

use std::sync::Arc;

use bytes::Bytes;
use redis::{Cmd, Value};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::Position;
use ullim_protocol::publication::{Headers, Kind, Publication};
use ullim_protocol::session::SessionId;

use crate::interest::{Kept, Read};
use crate::queue::{Routed, Window};
use crate::redis::Shared;

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Behind this, or before it if reversed.
    pub(super) since: Option<Position>,
    /// How many at most.
    pub(super) limit: usize,
    /// How many bytes at most, but for the first.
    pub(super) bytes: usize,
    pub(super) reverse: bool,
}

/// The call that reads a part of a history.
pub(super) fn call(shared: &Shared, channel: &ChannelName, wanted: Wanted) -> Cmd {
    let Wanted { since, limit, bytes, reverse } = wanted;
    let mut call = redis::cmd("FCALL");
    call.arg("ullim_read").arg(1).arg(shared.names.write(channel.as_str()));
    call.arg(since.map_or_else(String::new, |since| since.to_string())).arg(limit).arg(bytes);
    if reverse {
        call.arg("r");
    }
    call
}

/// The same, but if the first entry does not fit into the bytes, the answer is [`too_large`].
pub(super) fn call_within(shared: &Shared, channel: &ChannelName, wanted: Wanted) -> Cmd {
    let mut call = call(shared, channel, wanted);
    if !wanted.reverse {
        call.arg("");
    }
    call.arg("all");
    call
}

/// How many bytes the first entry has, if it was left out because it has more than were asked for.
pub(super) fn too_large(answer: &Value) -> Option<usize> {
    let Value::Array(parts) = answer else { return None };
    match &parts[..] {
        [_, _, Value::Array(entries), Value::Int(bytes), ..] if entries.is_empty() && *bytes > 0 => {
            usize::try_from(*bytes).ok()
        }
        _ => None,
    }
}

/// What the answer says; `None` if it is none.
pub(super) fn parse(shared: &Shared, channel: &ChannelName, answer: Value) -> Option<Read> {
    let Value::Array(parts) = answer else { return None };
    let [position, cut, entries, more, time, since] = <[Value; 6]>::try_from(parts).ok()?;
    let position = Position::parse(&text(position)?)?;
    let cut = text(cut)?;
    let cut = if cut.is_empty() { None } else { Some(Position::parse(&cut)?) };
    let (Value::Array(entries), Value::Int(more)) = (entries, more) else { return None };
    let time = text(time)?.parse().ok()?;
    let since_time = text(since)?.parse().ok();
    let count = entries.len();
    let entries: Option<Vec<Option<Kept>>> = entries.into_iter().map(|entry| kept(shared, channel, entry)).collect();
    let entries: Vec<Kept> = entries?.into_iter().flatten().collect();
    // Nobody could go on behind a part of which nothing has a place.
    let more = more != 0 && (count == 0 || !entries.is_empty());
    Some(Read { position, cut, entries, more, time, since_time })
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

/// An entry; nothing if its id is no position, because somebody else wrote it: it is a hole like any other. What is not as
/// it should be in it makes it one that cannot be decoded.
fn kept(shared: &Shared, channel: &ChannelName, entry: Value) -> Option<Option<Kept>> {
    let Value::Array(parts) = entry else { return None };
    let [id, fields] = <[Value; 2]>::try_from(parts).ok()?;
    let Some(position) = Position::parse(&text(id)?) else { return Some(None) };
    let Value::Array(fields) = fields else { return None };
    let mut found = Fields::default();
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        found.take(&bytes(name)?, bytes(value)?);
    }
    let time = found.time.unwrap_or(position.epoch.opened());
    let cut = found.cut;
    let publication = found.publication(shared, channel, position, time);
    let routed = publication.map(|(publication, exclude)| {
        Arc::new(Routed { channel: channel.clone(), publication, exclude, published: Window::at(time) })
    });
    if routed.is_none() {
        tracing::debug!(%channel, %position, "an entry of a history cannot be decoded");
    }
    Some(Some(Kept { position, cut, time, routed }))
}

#[derive(Debug, Default)]
struct Fields {
    time: Option<u64>,
    cut: Option<Position>,
    data: Option<Bytes>,
    kind: Option<Kind>,
    headers: Option<Headers>,
    exclude: Option<SessionId>,
    /// A field has a value that it cannot have.
    is_invalid: bool,
}

impl Fields {
    fn take(&mut self, name: &[u8], value: Vec<u8>) {
        if name == b"data" {
            self.data = Some(value.into());
            return;
        }
        let value = String::from_utf8(value).unwrap_or_default();
        let is_valid = match name {
            b"time" => set(&mut self.time, value.parse().ok()),
            b"cut" => set(&mut self.cut, Position::parse(&value)),
            b"type" => {
                let kind = match &*value {
                    "json" => Some(Kind::Json),
                    "text" => Some(Kind::Text),
                    "binary" => Some(Kind::Binary),
                    _ => None,
                };
                set(&mut self.kind, kind)
            }
            b"headers" => set(&mut self.headers, Headers::from_json(value.as_bytes())),
            b"exclude" => set(&mut self.exclude, SessionId::parse(&value)),
            // Something newer that may be left out.
            _ => true,
        };
        self.is_invalid |= !is_valid;
    }

    fn publication(
        self,
        shared: &Shared,
        channel: &ChannelName,
        position: Position,
        time: u64,
    ) -> Option<(Publication, Option<SessionId>)> {
        let data = self.data.filter(|data| !self.is_invalid && data.len() <= shared.payload_bytes)?;
        let data = match self.kind {
            Some(kind) => kind.accept(data),
            None => shared.rules.of(channel).payload.classify(data),
        }?;
        Some((Publication { data, time, headers: self.headers, position: Some(position) }, self.exclude))
    }
}

fn set<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    *slot = value;
    slot.is_some()
}
