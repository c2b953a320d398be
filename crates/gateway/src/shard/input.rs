//! From a socket's bytes to the hub's commands.

use ullim_hub::{ConnectionId, Reading};
use ullim_protocol::native::Encoding;
use ullim_protocol::websocket::{Event, OpCode, write_close, write_frame};

use super::Shard;
use crate::routes::{Dialect, Transport, route};
use crate::socket::Input;
use crate::stream::Taken;
use crate::websocket::{close_for, command};

/// How many reads one connection gets in a turn while others wait.
const READS_PER_TURN: usize = 4;

impl Shard {
    /// Reads what a connection has sent: first what was read before and not decoded, then the socket. `to_the_end`: an
    /// event may not come again, so that the socket has to be found empty.
    pub(super) fn read(&mut self, id: ConnectionId, to_the_end: bool) {
        for _ in 0..READS_PER_TURN {
            let reading = self.hub.reading(id);
            if reading == Reading::Wait {
                // Reading goes on when the hub has room again.
                return;
            }
            let Some(socket) = self.hub.outlet(id) else { return };
            let mut unread = socket.take_unread();
            if reading == Reading::Go && (!unread.is_empty() || socket.has_begun_message()) {
                self.feed(id, &mut unread);
                continue;
            }
            let (count, emptied) = match socket.read(&mut self.buffer) {
                Ok(Taken::End) | Err(_) => return self.hub.lost(id),
                Ok(Taken::Bytes { count, emptied }) => (count, emptied),
                Ok(Taken::Nothing) => return,
            };
            if reading == Reading::Go {
                self.hub.heard(id);
                let mut buffer = std::mem::take(&mut self.buffer);
                self.feed(id, &mut buffer[..count]);
                self.buffer = buffer;
            }
            // The next byte makes a new event.
            if emptied && !to_the_end {
                return;
            }
        }
        if self.hub.reading(id) != Reading::Wait {
            self.unfinished.push(id);
        }
    }

    /// Goes on where a turn had no time, or the hub no room.
    pub(super) fn go_on_reading(&mut self) {
        let unfinished = std::mem::take(&mut self.unfinished);
        for id in unfinished.into_iter().chain(self.hub.take_resumed()) {
            self.read(id, true);
        }
    }

    /// Decodes bytes and hands what they say to the hub.
    pub(super) fn feed(&mut self, id: ConnectionId, bytes: &mut [u8]) {
        let Some(socket) = self.hub.outlet(id) else {
            return;
        };
        let mut input = socket.take_input();
        let Some(route) = self.hub.wire(id).map(route) else { return };
        let goes_on = match (route.transport, route.dialect) {
            (Transport::WebSocket, dialect) => self.decode(id, &mut input, bytes, dialect),
            (Transport::Tcp, _) => self.take_stream(id, &mut input, bytes),
        };
        if goes_on && let Some(socket) = self.hub.outlet(id) {
            socket.keep(input);
        }
        self.hub.uncork();
    }

    /// Takes a WebSocket's frames; whether the connection goes on.
    fn decode(&mut self, id: ConnectionId, input: &mut Input, bytes: &mut [u8], dialect: Dialect) -> bool {
        let mut limits = self.limits;
        if let Dialect::Stomp(_) = dialect {
            limits.message_bytes += self.stomp.limits.header_bytes;
            match self.go_on_with_message(id, input) {
                Reading::Go => {}
                Reading::Wait => {
                    input.unread = bytes.to_vec();
                    return true;
                }
                Reading::Discard => return false,
            }
        }
        let mut position = 0;
        loop {
            let event = match input.websocket.next(bytes, &mut position, &limits) {
                Ok(Some(event)) => event,
                Ok(None) => return true,
                Err(violation) => {
                    let (code, detail) = close_for(violation);
                    self.hub.close(id, code, &detail);
                    return false;
                }
            };
            let reading = match &event {
                Event::Text(_) | Event::Binary(_) => match dialect {
                    Dialect::Native(encoding) => self.take_message(id, encoding, &event),
                    Dialect::Stomp(_) => {
                        let (stomp, message) = (&mut input.stomp, &mut input.message);
                        let (reading, taken) = self.take_frames(id, stomp, payload(&event));
                        message.extend_from_slice(&payload(&event)[taken..]);
                        reading
                    }
                },
                Event::Ping(payload) => {
                    if self.hub.control_frame(id) {
                        self.hub.send_own(id, |out| write_frame(OpCode::Pong, payload, out));
                    }
                    self.hub.reading(id)
                }
                Event::Pong => {
                    self.hub.control_frame(id);
                    self.hub.reading(id)
                }
                Event::Close(code) => {
                    self.closed_by_peer(id, *code);
                    return false;
                }
            };
            match reading {
                Reading::Go => {}
                Reading::Wait => {
                    input.unread = bytes[position..].to_vec();
                    return true;
                }
                Reading::Discard => return false,
            }
        }
    }

    /// A message is a command in the native dialect.
    fn take_message(&mut self, id: ConnectionId, encoding: Encoding, message: &Event<'_>) -> Reading {
        match command(encoding, message) {
            Ok(request) => self.hub.command(id, request),
            Err((code, detail)) => {
                self.hub.close(id, code, detail);
                Reading::Discard
            }
        }
    }

    /// Answers with the peer's own code (RFC 6455, 5.5.1).
    fn closed_by_peer(&mut self, id: ConnectionId, code: Option<u16>) {
        self.hub.closed_by_peer(id, code.unwrap_or(1005), |out| match code {
            Some(code) => write_close(code, "", out),
            None => write_frame(OpCode::Close, &[], out),
        });
    }
}

/// The bytes of a message, whatever it is called.
fn payload<'e>(message: &'e Event<'_>) -> &'e [u8] {
    match message {
        Event::Text(text) => text.as_bytes(),
        Event::Binary(bytes) => bytes,
        Event::Ping(_) | Event::Pong | Event::Close(_) => &[],
    }
}
