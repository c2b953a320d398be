//! Frames ⇄ the dialects: a client's messages become commands, the hub's messages become frames.

use ullim_hub::{Encode, Wire};
use ullim_protocol::codes::{self, CloseCode};
use ullim_protocol::command::{DecodeError, Request};
use ullim_protocol::native::{Encoding, json, msgpack};
use ullim_protocol::outgoing::Outgoing;
use ullim_protocol::websocket::{Event, OpCode, Violation, write_close, write_frame, write_message};

use crate::routes::{Dialect, route};

/// The hub's messages as WebSocket frames.
pub(crate) struct Frames;

impl Encode for Frames {
    fn message(&self, wire: Wire, message: &Outgoing<'_>, out: &mut Vec<u8>) {
        match route(wire).dialect {
            Dialect::Native(Encoding::Json) => write_message(OpCode::Text, out, |out| json::encode(message, out)),
            Dialect::Native(Encoding::MessagePack) => {
                write_message(OpCode::Binary, out, |out| msgpack::encode(message, out));
            }
        }
    }

    fn heartbeat(&self, _: Wire, out: &mut Vec<u8>) {
        write_frame(OpCode::Ping, &[], out);
    }

    fn close(&self, _: Wire, code: &CloseCode, detail: &str, out: &mut Vec<u8>) {
        write_close(code.number, &code.reason(detail), out);
    }
}

/// The command in a message, or why the connection has to be closed for it.
pub(crate) fn command(
    wire: Wire,
    message: &Event<'_>,
) -> Result<Result<Request, DecodeError>, (&'static CloseCode, &'static str)> {
    match (route(wire).dialect, message) {
        (Dialect::Native(Encoding::Json), Event::Text(text)) => Ok(json::decode(text)),
        (Dialect::Native(Encoding::MessagePack), Event::Binary(bytes)) => Ok(msgpack::decode(bytes)),
        (Dialect::Native(Encoding::Json), _) => Err((&codes::UNSUPPORTED_DATA, "ullim.v1.json takes text messages")),
        (Dialect::Native(Encoding::MessagePack), _) => {
            Err((&codes::UNSUPPORTED_DATA, "ullim.v1.msgpack takes binary messages"))
        }
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
