//! The envelope: how a publication with metadata, or a coming or going, travels in Redis (`docs/redis.md`, "The
//! envelope").

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;
use crate::position::{Epoch, MAX_NUMBER, Position};
use crate::presence::{Info, PresenceEvent};
use crate::publication::{Data, Headers, Kind, PayloadRule};
use crate::session::SessionId;
pub use crate::user::MAX_USER_BYTES;

/// What every envelope begins with. Never valid UTF-8, so never JSON or text.
pub const MAGIC: [u8; 8] = *b"\x89ULLIM\r\n";

const VERSION: u8 = 1;
const CRITICAL: u8 = 0x80;
const END: u8 = 0x00;
const KIND: u8 = 0x81;
const TIME: u8 = 0x02;
const EXCLUDE: u8 = 0x83;
const HEADERS: u8 = 0x04;
const PRESENCE: u8 = 0x85;
const POSITION: u8 = 0x86;
const CUT: u8 = 0x87;

/// A publication and its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What was published.
    pub data: Data,
    /// When, in Unix milliseconds.
    pub time: Option<u64>,
    /// The session that is not to hear it.
    pub exclude: Option<SessionId>,
    /// What goes with it.
    pub headers: Option<Headers>,
    /// Its place in the channel's history; `None` on a live channel.
    pub position: Option<Position>,
    /// The last position before it, if it is the first of an epoch that followed another.
    pub cut: Option<Position>,
}

/// What an envelope holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A publication.
    Publication(Envelope),
    /// Somebody comes to the channel or goes.
    Presence(PresenceEvent),
}

/// Why a payload with the envelope's magic cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// No envelope at all.
    #[error("the payload does not begin with the envelope's magic")]
    NoMagic,
    /// Another version.
    #[error("envelope version {0} is not known")]
    Version(u8),
    /// It ends within a field, or has no end of fields.
    #[error("the envelope is cut short")]
    Truncated,
    /// A field that must be understood and is not.
    #[error("the critical envelope field {0:#04x} is not known")]
    Critical(u8),
    /// A field that is there already.
    #[error("the envelope field {0:#04x} occurs twice")]
    Repeated(u8),
    /// A field whose value is out of its bounds.
    #[error("the value of the envelope field {0:#04x} is not valid")]
    Value(u8),
    /// Neither a kind nor a position.
    #[error("the envelope does not say what its data is")]
    NoKind,
    /// Data that is not of the kind it claims.
    #[error("the envelope's data is not of its kind")]
    Data,
}

/// Whether `payload` is an envelope, and not raw.
pub fn is_envelope(payload: &[u8]) -> bool {
    payload.starts_with(&MAGIC)
}

/// Appends `envelope` to `out`.
pub fn encode(envelope: &Envelope, out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    let kind = match envelope.data.kind() {
        Kind::Json => 1,
        Kind::Text => 2,
        Kind::Binary => 3,
    };
    field(out, KIND, &[kind]);
    if let Some(time) = envelope.time {
        field(out, TIME, &time.to_be_bytes());
    }
    if let Some(SessionId(id)) = &envelope.exclude {
        field(out, EXCLUDE, id);
    }
    if let Some(position) = &envelope.position {
        field(out, POSITION, &position_bytes(position));
    }
    if let Some(cut) = &envelope.cut {
        field(out, CUT, &position_bytes(cut));
    }
    if let Some(headers) = &envelope.headers {
        field(out, HEADERS, headers.to_json().as_bytes());
    }
    out.push(END);
    out.extend_from_slice(envelope.data.bytes());
}

fn field(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    // Headers are the largest field, and escaping multiplies their 4 KiB by six at most.
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.push(tag);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&value[..usize::from(length)]);
}

fn position_bytes(position: &Position) -> [u8; 16] {
    (u128::from(position.epoch.micros()) << 64 | u128::from(position.offset)).to_be_bytes()
}

/// Reads an envelope whole. The data of a publication shares `payload`'s memory. On a recoverable channel it is what
/// the namespace's `rule` says, unless the envelope says otherwise.
pub fn decode(mut payload: Bytes, rule: PayloadRule) -> Result<Content, EnvelopeError> {
    let (fields, data_start) = read_fields(&payload)?;
    if fields.kind.is_none() && fields.position.is_none() {
        return Err(EnvelopeError::NoKind);
    }
    let data = payload.split_off(data_start);
    if let Some(joined) = fields.joined {
        let event = (fields.kind == Some(Kind::Json)).then(|| event_of(joined, &data)).flatten();
        return event.map(Content::Presence).ok_or(EnvelopeError::Data);
    }
    let data = match fields.kind {
        Some(kind) => kind.accept(data),
        None => rule.classify(data),
    };
    let data = data.ok_or(EnvelopeError::Data)?;
    let Fields { time, exclude, headers, position, cut, .. } = fields;
    Ok(Content::Publication(Envelope { data, time, exclude, headers, position, cut }))
}

/// The data of a coming or going.
#[derive(Deserialize)]
struct EventData<'a> {
    user: String,
    #[serde(borrow, default, deserialize_with = "json::present")]
    info: Option<&'a RawValue>,
}

fn event_of(joined: bool, data: &[u8]) -> Option<PresenceEvent> {
    let json::Object(EventData { user, info }) = serde_json::from_slice(data).ok()?;
    if user.is_empty() || user.len() > MAX_USER_BYTES {
        return None;
    }
    let info = match info {
        Some(info) => Some(Info::parse(info.get())?),
        None => None,
    };
    Some(PresenceEvent { joined, user: user.into(), info })
}

#[derive(Default)]
struct Fields {
    kind: Option<Kind>,
    time: Option<u64>,
    exclude: Option<SessionId>,
    headers: Option<Headers>,
    /// Somebody comes or goes, and which of the two.
    joined: Option<bool>,
    position: Option<Position>,
    cut: Option<Position>,
}

/// The fields, and where the data begins.
fn read_fields(payload: &[u8]) -> Result<(Fields, usize), EnvelopeError> {
    let rest = payload.strip_prefix(&MAGIC).ok_or(EnvelopeError::NoMagic)?;
    let (&version, mut rest) = rest.split_first().ok_or(EnvelopeError::Truncated)?;
    if version != VERSION {
        return Err(EnvelopeError::Version(version));
    }
    let mut fields = Fields::default();
    let mut seen = [false; 256];
    loop {
        let (&tag, after_tag) = rest.split_first().ok_or(EnvelopeError::Truncated)?;
        if tag == END {
            return Ok((fields, payload.len() - after_tag.len()));
        }
        let (length, after_length) = after_tag.split_first_chunk::<2>().ok_or(EnvelopeError::Truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, after_value) = after_length.split_at_checked(length).ok_or(EnvelopeError::Truncated)?;
        if std::mem::replace(&mut seen[usize::from(tag)], true) {
            return Err(EnvelopeError::Repeated(tag));
        }
        fields.take(tag, value)?;
        rest = after_value;
    }
}

impl Fields {
    fn take(&mut self, tag: u8, value: &[u8]) -> Result<(), EnvelopeError> {
        let invalid = EnvelopeError::Value(tag);
        match tag {
            KIND => self.kind = Some(kind_of(value).ok_or(invalid)?),
            TIME => self.time = Some(time_of(value).ok_or(invalid)?),
            EXCLUDE => self.exclude = Some(SessionId(value.try_into().map_err(|_| invalid)?)),
            HEADERS => self.headers = Some(Headers::from_json(value).ok_or(invalid)?),
            POSITION => self.position = Some(position_of(value).filter(|it| it.offset > 0).ok_or(invalid)?),
            CUT => self.cut = Some(position_of(value).ok_or(invalid)?),
            PRESENCE => self.joined = Some(joined_of(value).ok_or(invalid)?),
            _ if tag & CRITICAL != 0 => return Err(EnvelopeError::Critical(tag)),
            _ => {}
        }
        Ok(())
    }
}

fn kind_of(value: &[u8]) -> Option<Kind> {
    match value {
        [1] => Some(Kind::Json),
        [2] => Some(Kind::Text),
        [3] => Some(Kind::Binary),
        _ => None,
    }
}

fn joined_of(value: &[u8]) -> Option<bool> {
    match value {
        [1] => Some(true),
        [2] => Some(false),
        _ => None,
    }
}

fn position_of(value: &[u8]) -> Option<Position> {
    let both = u128::from_be_bytes(value.try_into().ok()?);
    // The upper half and the lower.
    let (epoch, offset) = ((both >> 64) as u64, both as u64);
    (offset <= MAX_NUMBER).then_some(Position { epoch: Epoch::new(epoch)?, offset })
}

fn time_of(value: &[u8]) -> Option<u64> {
    let time = u64::from_be_bytes(value.try_into().ok()?);
    (time <= MAX_NUMBER).then_some(time)
}
