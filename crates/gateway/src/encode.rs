//! The hub's messages in each dialect, on each transport.

use ullim_hub::{Encode, Patience, Then, Wire};
use ullim_protocol::codes::CloseCode;
use ullim_protocol::command::Label;
use ullim_protocol::native::{Encoding, json, msgpack};
use ullim_protocol::outgoing::{Outgoing, Push};
use ullim_protocol::websocket::{OpCode, write_close, write_frame, write_message};

use crate::routes::{Dialect, Route, Transport, route};
use crate::socket::Socket;
use crate::stomp;

/// Writes for every route.
pub(crate) struct Frames;

impl Encode<Socket> for Frames {
    fn shared(&self, wire: Wire, message: &Outgoing<'_>, out: &mut Vec<u8>) {
        match route(wire).dialect {
            Dialect::Native(Encoding::Json) => write_message(OpCode::Text, out, |out| json::encode(message, out)),
            Dialect::Native(Encoding::MessagePack) => {
                write_message(OpCode::Binary, out, |out| msgpack::encode(message, out));
            }
            Dialect::Stomp(version) => stomp::tail(version, message, out),
        }
    }

    fn message(&self, wire: Wire, socket: &mut Socket, message: &Outgoing<'_>, out: &mut Vec<u8>) -> Then {
        let Some(session) = socket.stomp() else {
            self.shared(wire, message, out);
            return Then::GoOn;
        };
        framed(route(wire).transport, out, |out| session.tell(message, out))
    }

    #[inline]
    fn has_labels(&self, wire: Wire) -> bool {
        matches!(route(wire).dialect, Dialect::Stomp(_))
    }

    fn head(&self, wire: Wire, label: &Label, number: u64, push: &Push<'_>, tail: usize, out: &mut Vec<u8>) -> bool {
        match *route(wire) {
            Route { transport, dialect: Dialect::Stomp(version), .. } => {
                stomp::head((transport, version), label, number, push, tail, out)
            }
            _ => false,
        }
    }

    fn refusals_end(&self, wire: Wire) -> bool {
        matches!(route(wire).dialect, Dialect::Stomp(_))
    }

    fn heartbeat(&self, wire: Wire, socket: &mut Socket, out: &mut Vec<u8>) {
        let transport = route(wire).transport;
        if transport == Transport::WebSocket {
            write_frame(OpCode::Ping, &[], out);
        }
        if socket.stomp().is_some_and(|session| session.sends_heart_beats()) {
            framed(transport, out, |out| out.push(b'\n'));
        }
    }

    fn patience(&self, wire: Wire, socket: &Socket) -> Patience {
        match (route(wire).transport, socket.patience()) {
            // It answers pings, whatever it said.
            (Transport::WebSocket, Patience::Endless) => Patience::USUAL,
            (_, agreed) => agreed,
        }
    }

    fn close(&self, wire: Wire, socket: &mut Socket, code: &CloseCode, detail: &str, out: &mut Vec<u8>) {
        let transport = route(wire).transport;
        if let Some(session) = socket.stomp() {
            framed(transport, out, |out| session.tell_end(code, detail, out));
        }
        if transport == Transport::WebSocket {
            write_close(code.number, &code.reason(detail), out);
        }
    }
}

/// Appends what `write` does, if it does anything, as a message of the transport.
fn framed<T>(transport: Transport, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    match transport {
        Transport::Tcp => write(out),
        Transport::WebSocket => {
            let mut message = Vec::new();
            let result = write(&mut message);
            if !message.is_empty() {
                write_frame(OpCode::Text, &message, out);
            }
            result
        }
    }
}
