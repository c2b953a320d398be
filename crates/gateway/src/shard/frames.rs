//! From the bytes of a STOMP connection to the hub's commands. Frames come split and packed anyhow, also within the
//! messages of a WebSocket.

use ullim_hub::{ConnectionId, Reading};
use ullim_protocol::codes;
use ullim_protocol::stomp::{ClientCommand, Decoder, Event, Frame};

use super::Shard;
use crate::routes::stomp_wire;
use crate::socket::{Input, Socket};
use crate::stomp::Fault;

impl Shard {
    /// Takes a stream without anything around the frames; whether the connection goes on.
    pub(super) fn take_stream(&mut self, id: ConnectionId, input: &mut Input, bytes: &[u8]) -> bool {
        let (reading, taken) = self.take_frames(id, &mut input.stomp, bytes);
        if reading == Reading::Wait {
            input.unread = bytes[taken..].to_vec();
        }
        reading != Reading::Discard
    }

    /// Takes what is left of a WebSocket's message.
    pub(super) fn go_on_with_message(&mut self, id: ConnectionId, input: &mut Input) -> Reading {
        let mut message = std::mem::take(&mut input.message);
        let (reading, taken) = self.take_frames(id, &mut input.stomp, &message);
        message.drain(..taken);
        input.message = message;
        reading
    }

    /// Takes frames until the hub has no more room; how many bytes they had.
    pub(super) fn take_frames(&mut self, id: ConnectionId, decoder: &mut Decoder, bytes: &[u8]) -> (Reading, usize) {
        let mut position = 0;
        loop {
            let Some(session) = self.hub.outlet(id).and_then(Socket::stomp) else {
                return (Reading::Discard, position);
            };
            let version = session.version();
            let reading = match decoder.next(bytes, &mut position, version, &self.stomp.limits) {
                Ok(None) => return (self.hub.reading(id), position),
                Ok(Some(Event::HeartBeat)) => continue,
                Ok(Some(Event::Frame(frame))) => self.take_frame(id, frame),
                Err(violation) => self.refuse_frame(id, violation.into()),
            };
            if reading != Reading::Go {
                return (reading, position);
            }
        }
    }

    fn take_frame(&mut self, id: ConnectionId, frame: Frame<'_>) -> Reading {
        let Some(session) = self.hub.outlet(id).and_then(Socket::stomp) else { return Reading::Discard };
        let is_connect = frame.command == ClientCommand::Connect;
        let taken = session.take(frame, &self.stomp);
        let version = session.version();
        // A WebSocket's subprotocol may have named another version than the one that is agreed.
        if is_connect && let Some(wire) = self.hub.wire(id) {
            self.hub.set_wire(id, stomp_wire(wire, version));
        }
        match taken {
            Ok(requests) => {
                for request in requests {
                    self.hub.command(id, Ok(request));
                }
                self.hub.reading(id)
            }
            Err(fault) => self.refuse_frame(id, fault),
        }
    }

    /// Every error is the last thing that a STOMP client is told.
    fn refuse_frame(&mut self, id: ConnectionId, fault: Fault) -> Reading {
        let text = fault.text.clone();
        if let Some(session) = self.hub.outlet(id).and_then(Socket::stomp) {
            session.blame(fault);
        }
        self.hub.close(id, &codes::PROTOCOL_ERROR, &text);
        Reading::Discard
    }
}
