//! Messages as JSON values, whatever the encoding of the connection.
//!
//! What MessagePack calls bin is `{"$bin": "<base64>"}` here, so that a test sees the difference.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;

/// How a connection writes its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `ullim.v1.json`
    Json,
    /// `ullim.v1.msgpack`
    MessagePack,
}

impl Encoding {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Json, Self::MessagePack];

    /// The WebSocket subprotocol.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "ullim.v1.json",
            Self::MessagePack => "ullim.v1.msgpack",
        }
    }

    /// A binary value, where it can be said.
    pub fn binary(self, bytes: &[u8]) -> (&'static str, Value) {
        let text = STANDARD.encode(bytes);
        match self {
            Self::Json => ("b64", json!(text)),
            Self::MessagePack => ("bin", json!({ "$bin": text })),
        }
    }

    /// One WebSocket message.
    pub fn encode(self, message: &Value) -> Message {
        match self {
            Self::Json => Message::text(message.to_string()),
            Self::MessagePack => Message::binary(message_pack(message)),
        }
    }

    /// The value in a WebSocket message.
    ///
    /// # Panics
    /// If it is of the other type, or not decodable.
    pub fn decode(self, message: &Message) -> Value {
        match (self, message) {
            (Self::Json, Message::Text(text)) => from_json(text.as_str()),
            (Self::MessagePack, Message::Binary(bytes)) => {
                let mut rest = &bytes[..];
                let value = rmpv::decode::read_value(&mut rest).unwrap();
                assert!(rest.is_empty(), "bytes after the message: {rest:?}");
                from_message_pack(value)
            }
            (encoding, message) => panic!("{message:?} on a connection of {encoding:?}"),
        }
    }
}

/// JSON of any depth: serde_json's own limit is below the contract's.
fn from_json(text: &str) -> Value {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value = Value::deserialize(&mut deserializer).unwrap();
    deserializer.end().unwrap();
    value
}

/// The MessagePack of `value`.
pub(crate) fn message_pack(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &to_message_pack(value)).unwrap();
    bytes
}

fn to_message_pack(value: &Value) -> rmpv::Value {
    match value {
        Value::Null => rmpv::Value::Nil,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), _, _) => number.into(),
            (_, Some(number), _) => number.into(),
            (_, _, number) => number.unwrap().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => rmpv::Value::Array(values.iter().map(to_message_pack).collect()),
        Value::Object(fields) => match fields.get("$bin") {
            Some(Value::String(text)) => rmpv::Value::Binary(STANDARD.decode(text).unwrap()),
            _ => {
                let pair = |(key, value): (&String, &Value)| (key.as_str().into(), to_message_pack(value));
                rmpv::Value::Map(fields.iter().map(pair).collect())
            }
        },
    }
}

fn from_message_pack(value: rmpv::Value) -> Value {
    match value {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(value) => value.into(),
        rmpv::Value::Integer(number) => {
            number.as_u64().map_or_else(|| json!(number.as_i64().unwrap()), |number| json!(number))
        }
        rmpv::Value::F32(number) => json!(number),
        rmpv::Value::F64(number) => json!(number),
        rmpv::Value::String(text) => text.into_str().unwrap().into(),
        rmpv::Value::Binary(bytes) => json!({ "$bin": STANDARD.encode(bytes) }),
        rmpv::Value::Array(values) => values.into_iter().map(from_message_pack).collect(),
        rmpv::Value::Map(fields) => {
            let pair =
                |(key, value): (rmpv::Value, rmpv::Value)| (key.as_str().unwrap().to_owned(), from_message_pack(value));
            Value::Object(fields.into_iter().map(pair).collect::<Map<_, _>>())
        }
        rmpv::Value::Ext(kind, _) => panic!("extension type {kind} in a message"),
    }
}
