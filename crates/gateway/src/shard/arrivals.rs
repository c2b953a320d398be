//! From an accepted socket to a connection of the hub: the opening handshake.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use mio::Token;
use mio::net::TcpStream;
use slab::Slab;
use tokio::time::Instant;
use ullim_hub::ConnectionId;

use super::{ARRIVALS_PER_TURN, Shard};
use crate::handshake::{Accepted, Opening, Refused, open};
use crate::http;
use crate::listener::{Arrival, Place};
use crate::socket::{Socket, would_block};

/// How many reads a handshake may need when an event comes.
const READS: usize = 64;

/// What tells a handshake's events from a connection's.
const HANDSHAKE: usize = 1 << (usize::BITS - 1);

/// Sockets that have not sent their whole request yet, or that were refused and have still to end.
pub(super) struct Handshakes {
    slab: Slab<Handshake>,
    deadlines: VecDeque<(Instant, Key)>,
    timeout: Duration,
    next_serial: u64,
}

/// A handshake. `serial` tells it from others that have been in the same place.
#[derive(Debug, Clone, Copy)]
struct Key {
    index: usize,
    serial: u64,
}

struct Handshake {
    serial: u64,
    stream: TcpStream,
    place: Place,
    /// What has come of the request.
    request: Vec<u8>,
    /// Answered with an error: what still comes is thrown away.
    refused: bool,
    /// Among the shard's sockets.
    watched: bool,
}

impl Handshakes {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { slab: Slab::new(), deadlines: VecDeque::new(), timeout, next_serial: 0 }
    }

    /// The place of the handshake that an event is about, if it is about one.
    pub(super) fn index_of(token: Token) -> Option<usize> {
        (token.0 & HANDSHAKE != 0).then_some(token.0 & !HANDSHAKE)
    }

    fn token(index: usize) -> Token {
        Token(index | HANDSHAKE)
    }

    fn insert(&mut self, stream: TcpStream, place: Place) -> usize {
        self.next_serial += 1;
        let serial = self.next_serial;
        let request = Vec::new();
        let handshake = Handshake { serial, stream, place, request, refused: false, watched: false };
        let index = self.slab.insert(handshake);
        self.start_timer(index);
        index
    }

    fn start_timer(&mut self, index: usize) {
        let serial = self.slab[index].serial;
        self.deadlines.push_back((Instant::now() + self.timeout, Key { index, serial }));
    }

    /// The next handshake whose time is over.
    fn next_overdue(&mut self, now: Instant) -> Option<usize> {
        while let Some((deadline, key)) = self.deadlines.front().copied() {
            if deadline > now {
                return None;
            }
            self.deadlines.pop_front();
            if self.slab.get(key.index).is_some_and(|handshake| handshake.serial == key.serial) {
                return Some(key.index);
            }
        }
        None
    }
}

impl Shard {
    pub(super) fn take_arrivals(&mut self, first: Arrival) {
        self.take_arrival(first);
        for _ in 1..ARRIVALS_PER_TURN {
            let Ok(next) = self.arrivals.try_recv() else { return };
            self.take_arrival(next);
        }
    }

    fn take_arrival(&mut self, Arrival { stream, place }: Arrival) {
        let index = self.handshakes.insert(TcpStream::from_std(stream), place);
        // Often the request is there already; else the socket is watched.
        if self.advance_handshake(index) {
            self.watch(index);
        }
    }

    fn watch(&mut self, index: usize) {
        let Some(handshake) = self.handshakes.slab.get_mut(index) else { return };
        handshake.watched = true;
        if let Err(error) = self.sockets.watch(&mut handshake.stream, Handshakes::token(index)) {
            tracing::debug!(%error, "a socket cannot be watched");
            self.handshakes.slab.remove(index);
        }
    }

    /// Reads on; whether the handshake is still there and has to be watched.
    pub(super) fn advance_handshake(&mut self, index: usize) -> bool {
        for _ in 0..READS {
            let Some(handshake) = self.handshakes.slab.get_mut(index) else { return false };
            let count = match would_block(handshake.stream.read(&mut self.buffer)) {
                Ok(None) => return true,
                Ok(Some(0)) | Err(_) => {
                    self.handshakes.slab.remove(index);
                    return false;
                }
                Ok(Some(count)) => count,
            };
            if handshake.refused {
                continue;
            }
            handshake.request.extend_from_slice(&self.buffer[..count]);
            let opening = match handshake.place {
                _ if self.draining.is_some() => Opening::Refused(Refused::draining()),
                Place::Full(_) if is_head_complete(&handshake.request) => Opening::Refused(Refused::full()),
                _ => open(&handshake.request, &self.rules),
            };
            match opening {
                Opening::Incomplete => {}
                Opening::Refused(refused) => self.refuse(index, &refused),
                Opening::Accepted(accepted) => {
                    self.accept(index, accepted);
                    return false;
                }
                Opening::Http => {
                    self.hand_to_http(index);
                    return false;
                }
            }
        }
        // Far more than a request may have: it was refused, and floods us all the same.
        self.handshakes.slab.remove(index);
        false
    }

    fn refuse(&mut self, index: usize, refused: &Refused) {
        *self.refused.entry(refused.status).or_default() += 1;
        let Some(handshake) = self.handshakes.slab.get_mut(index) else { return };
        handshake.refused = true;
        handshake.request = Vec::new();
        // A few hundred bytes into an empty socket: what it does not take is lost on this client alone. Then the
        // client is left to end, because closing with unread input would take the answer from it.
        let _ = handshake.stream.write(&refused.response());
        let _ = handshake.stream.shutdown(Shutdown::Write);
    }

    fn accept(&mut self, index: usize, accepted: Accepted) {
        let Some(handshake) = self.handshakes.slab.try_remove(index) else { return };
        let Handshake { mut stream, place, mut request, watched, .. } = handshake;
        // An empty socket takes 200 bytes at once; if not, the client is beyond help.
        if !matches!(stream.write(&accepted.response), Ok(written) if written == accepted.response.len()) {
            return;
        }
        let id = self.hub.open(Socket::new(stream, place.into_permit()), accepted.wire);
        if self.watch_connection(id, watched) {
            self.feed(id, &mut request[accepted.request_bytes..]);
        }
    }

    fn watch_connection(&mut self, id: ConnectionId, watched: bool) -> bool {
        let Some(socket) = self.hub.outlet(id) else { return false };
        let token = Token(id.slot() as usize);
        let result = match watched {
            true => self.sockets.rename(socket.stream(), token),
            false => self.sockets.watch(socket.stream(), token),
        };
        match result {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a socket cannot be watched");
                self.hub.lost(id);
                false
            }
        }
    }

    fn hand_to_http(&mut self, index: usize) {
        let Some(mut handshake) = self.handshakes.slab.try_remove(index) else { return };
        if handshake.watched && self.sockets.unwatch(&mut handshake.stream).is_err() {
            return;
        }
        let Handshake { stream, request, place, .. } = handshake;
        self.http.spawn(http::serve(stream.into(), request, place.into_permit()));
    }

    /// Answers those that have not sent their whole request: this node is ending.
    pub(super) fn refuse_handshakes(&mut self) {
        let pending = self.handshakes.slab.iter().filter(|(_, handshake)| !handshake.refused);
        let pending: Vec<usize> = pending.map(|(index, _)| index).collect();
        for index in pending {
            self.refuse(index, &Refused::draining());
        }
    }

    /// Answers those that were too slow with 408; ends those that were refused and did not go.
    pub(super) fn time_out_handshakes(&mut self) {
        let now = Instant::now();
        while let Some(index) = self.handshakes.next_overdue(now) {
            if self.handshakes.slab[index].refused {
                self.handshakes.slab.remove(index);
            } else {
                self.refuse(index, &Refused::timeout());
                self.handshakes.start_timer(index);
            }
        }
    }
}

fn is_head_complete(request: &[u8]) -> bool {
    request.windows(4).any(|window| window == b"\r\n\r\n")
}
