//! Sockets on their way to become connections of the hub: a table, a deadline for each, and which step is next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use mio::Token;
use slab::Slab;
use tokio::time::Instant;

use super::Shard;
use crate::answer::{Answer, Refused};
use crate::door::Speech;
use crate::listener::{Arrival, Visitor};
use crate::stream::Stream;
use crate::tls::Session;

/// What tells an arriving socket's events from a connection's.
const ARRIVING: usize = 1 << (usize::BITS - 1);

/// Sockets that have not sent their whole request yet, or that were answered and have still to end.
pub(super) struct ArrivingSockets {
    pub(super) slab: Slab<Arriving>,
    /// Those of sockets that are gone, or were given more time since, are passed over.
    deadlines: BinaryHeap<Reverse<(Instant, Key)>>,
    timeout: Duration,
    next_serial: u64,
}

/// An arriving socket. `serial` tells it from others that have been in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(super) index: usize,
    serial: u64,
}

pub(super) struct Arriving {
    serial: u64,
    deadline: Instant,
    pub(super) stage: Stage,
    pub(super) visitor: Visitor,
    /// Among the shard's sockets.
    pub(super) watched: bool,
}

/// What has become of an arriving socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It is still one, and goes on when there is an event: it has to be watched.
    Watch,
    /// It is a connection now, or closed.
    Gone,
}

/// What happens next.
pub(super) enum Stage {
    /// The TLS handshake waits for the peer.
    Securing(Box<Session>),
    /// It waits for room with the workers.
    Queued(Box<Session>),
    /// A worker has it.
    AtWork,
    /// This has come of the request.
    Asking { stream: Stream, request: Vec<u8> },
    /// It is being answered; `finished`: the answer is out, and what still comes is thrown away.
    Answering { stream: Stream, answer: Answer, finished: bool },
}

impl ArrivingSockets {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { slab: Slab::new(), deadlines: BinaryHeap::new(), timeout, next_serial: 0 }
    }

    /// The place of the socket that an event is about, if it is about one of these.
    pub(super) fn index_of(token: Token) -> Option<usize> {
        (token.0 & ARRIVING != 0).then_some(token.0 & !ARRIVING)
    }

    /// The key of the socket in a place.
    pub(super) fn key(&self, index: usize) -> Option<Key> {
        self.slab.get(index).map(|arriving| Key { index, serial: arriving.serial })
    }

    /// The socket that a key was made for, if it is still there.
    pub(super) fn get(&mut self, key: Key) -> Option<&mut Arriving> {
        self.slab.get_mut(key.index).filter(|arriving| arriving.serial == key.serial)
    }

    /// Forgets a socket, which closes it unless its stream was taken out.
    pub(super) fn remove(&mut self, index: usize) -> Option<Arriving> {
        self.slab.try_remove(index)
    }

    /// Its time runs since it was accepted.
    pub(super) fn insert(&mut self, visitor: Visitor, stage: Stage) -> usize {
        self.next_serial += 1;
        let (serial, accepted) = (self.next_serial, visitor.accepted);
        let index = self.slab.insert(Arriving { serial, deadline: accepted, stage, visitor, watched: false });
        self.start_timer(index, accepted);
        index
    }

    /// Gives a socket its time, counted from `begun` on.
    pub(super) fn start_timer(&mut self, index: usize, begun: Instant) {
        if let Some(arriving) = self.slab.get_mut(index) {
            arriving.deadline = begun + self.timeout;
            self.deadlines.push(Reverse((arriving.deadline, Key { index, serial: arriving.serial })));
        }
    }

    /// The next socket whose time is over.
    fn next_overdue(&mut self, now: Instant) -> Option<usize> {
        while let Some(Reverse((deadline, key))) = self.deadlines.peek().copied() {
            if deadline > now {
                return None;
            }
            self.deadlines.pop();
            // It may have been given more time since.
            if self.get(key).is_some_and(|arriving| arriving.deadline == deadline) {
                return Some(key.index);
            }
        }
        None
    }
}

impl Shard {
    pub(super) fn take_arrival(&mut self, arrival: Arrival) {
        let Arrival { stream, visitor } = arrival;
        let door = visitor.door;
        if !door.is_secure() {
            return match door.speaks() {
                Speech::Http => self.greet(Stream::Plain(stream), visitor),
                Speech::Stomp => self.welcome_stomp(Stream::Plain(stream), visitor, false),
            };
        }
        // No such listener, no such arrival.
        let Some(securing) = &self.securing else { return };
        match securing.begin(stream, door.speaks()) {
            Ok(session) => {
                let index = self.arriving.insert(visitor, Stage::Securing(session));
                if self.watch(index) == After::Watch {
                    self.advance(index);
                }
            }
            Err(error) => tracing::error!(%error, "a TLS handshake cannot begin"),
        }
    }

    /// Where it does not work the socket is closed.
    pub(super) fn watch(&mut self, index: usize) -> After {
        let Some(arriving) = self.arriving.slab.get_mut(index) else { return After::Gone };
        let tcp = match &mut arriving.stage {
            Stage::Securing(session) | Stage::Queued(session) => session.tcp(),
            Stage::Asking { stream, .. } | Stage::Answering { stream, .. } => stream.tcp(),
            // It was watched before a worker got it.
            Stage::AtWork => return After::Watch,
        };
        match self.sockets.watch(tcp, Token(index | ARRIVING)) {
            Ok(()) => arriving.watched = true,
            Err(error) => {
                tracing::debug!(%error, "a socket cannot be watched");
                self.arriving.remove(index);
                return After::Gone;
            }
        }
        After::Watch
    }

    /// Does what can be done for an arriving socket now.
    pub(super) fn advance(&mut self, index: usize) -> After {
        let Some(arriving) = self.arriving.slab.get_mut(index) else { return After::Gone };
        match &arriving.stage {
            Stage::Securing(_) => self.shake_hands(index),
            Stage::Queued(_) | Stage::AtWork => After::Watch,
            Stage::Asking { .. } => self.read_request(index),
            Stage::Answering { .. } => self.go_on_answering(index),
        }
    }

    /// Answers those that have not sent their whole request: this node is ending.
    pub(super) fn refuse_arriving(&mut self) {
        let all: Vec<usize> = self.arriving.slab.iter().map(|(index, _)| index).collect();
        for index in all {
            match self.arriving.slab[index].stage {
                Stage::Asking { .. } => {
                    self.refuse(index, Refused::draining());
                }
                Stage::Answering { .. } => {}
                Stage::Securing(_) | Stage::Queued(_) | Stage::AtWork => drop(self.arriving.remove(index)),
            }
        }
    }

    /// Answers those that were too slow with 408; ends those that were answered and did not go.
    pub(super) fn time_out_arriving(&mut self) {
        let now = Instant::now();
        while let Some(index) = self.arriving.next_overdue(now) {
            match self.arriving.slab[index].stage {
                Stage::Asking { .. } => {
                    self.refuse(index, Refused::timeout());
                }
                Stage::Answering { .. } => drop(self.arriving.remove(index)),
                // There is no answer before there is a common key.
                Stage::Securing(_) | Stage::Queued(_) | Stage::AtWork => self.break_off(index),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::capacity::Capacity;
    use crate::door::Door;
    use crate::listener::Place;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn arrived(sockets: &mut ArrivingSockets, accepted: Instant) -> usize {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = Stream::Plain(mio::net::TcpStream::from_std(stream));
        let place = Place::new(Capacity::new(1).take().unwrap(), None);
        let visitor = Visitor { accepted, door: Door::Http, proxied: false, place, refused: None };
        sockets.insert(visitor, Stage::Asking { stream, request: Vec::new() })
    }

    #[test]
    fn the_time_of_a_socket_runs_from_when_it_was_accepted() {
        let (mut sockets, now) = (ArrivingSockets::new(TIMEOUT), Instant::now());
        let second = |count| now + Duration::from_secs(count);
        let punctual = arrived(&mut sockets, second(4));
        let delayed = arrived(&mut sockets, second(1));
        assert_eq!(sockets.next_overdue(second(6)), Some(delayed));
        assert_eq!(sockets.next_overdue(second(6)), None);
        sockets.start_timer(punctual, second(8));
        assert_eq!(sockets.next_overdue(second(12)), None, "it was given more time");
        assert_eq!(sockets.next_overdue(second(13)), Some(punctual));
    }
}
