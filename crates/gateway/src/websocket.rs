//! A WebSocket's messages → the native dialect's commands, and what broken frames are told.

use ullim_protocol::codes::{self, CloseCode};
use ullim_protocol::command::{DecodeError, Request};
use ullim_protocol::native::{Encoding, json, msgpack};
use ullim_protocol::websocket::{Event, Violation};

/// The command in a message, or why the connection has to be closed for it.
pub(crate) fn command(
    encoding: Encoding,
    message: &Event<'_>,
) -> Result<Result<Request, DecodeError>, (&'static CloseCode, &'static str)> {
    match (encoding, message) {
        (Encoding::Json, Event::Text(text)) => Ok(json::decode(text)),
        (Encoding::MessagePack, Event::Binary(bytes)) => Ok(msgpack::decode(bytes)),
        (Encoding::Json, _) => Err((&codes::UNSUPPORTED_DATA, "ullim.v1.json takes text messages")),
        (Encoding::MessagePack, _) => Err((&codes::UNSUPPORTED_DATA, "ullim.v1.msgpack takes binary messages")),
    }
}

/// How a broken rule is told to the client that broke it.
pub(crate) fn close_for(violation: Violation) -> (&'static CloseCode, String) {
    match violation {
        Violation::Protocol(rule) => (&codes::PROTOCOL_ERROR, rule.to_owned()),
        Violation::Utf8 => (&codes::INVALID_UTF8, "the text is not UTF-8".to_owned()),
        Violation::MessageBytes(limit) => (&codes::MESSAGE_TOO_BIG, format!("a message has at most {limit} bytes")),
        Violation::Fragments(limit) => (&codes::MESSAGE_TOO_BIG, format!("a message has at most {limit} fragments")),
    }
}
