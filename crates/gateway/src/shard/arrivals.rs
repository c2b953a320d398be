//! Sockets on their way to become connections of the hub: a table, a deadline for each, and which step is next.

use std::collections::VecDeque;
use std::time::Duration;

use mio::Token;
use mio::net::TcpStream;
use slab::Slab;
use tokio::time::Instant;

use super::{ARRIVALS_PER_TURN, Shard};
use crate::answer::{Answer, Refused};
use crate::listener::{Arrival, Place};
use crate::stream::Stream;
use crate::tls::Session;

/// What tells an arriving socket's events from a connection's.
const ARRIVING: usize = 1 << (usize::BITS - 1);

/// Sockets that have not sent their whole request yet, or that were answered and have still to end.
pub(super) struct ArrivingSockets {
    pub(super) slab: Slab<Arriving>,
    deadlines: VecDeque<(Instant, Key)>,
    timeout: Duration,
    next_serial: u64,
}

/// An arriving socket. `serial` tells it from others that have been in the same place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(super) index: usize,
    serial: u64,
}

pub(super) struct Arriving {
    serial: u64,
    deadline: Instant,
    pub(super) stage: Stage,
    pub(super) accepted: Instant,
    pub(super) proxied: bool,
    pub(super) place: Place,
    /// What it will be told, whatever it asks for.
    pub(super) refused: Option<Box<Refused>>,
    /// Among the shard's sockets.
    pub(super) watched: bool,
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
        Self { slab: Slab::new(), deadlines: VecDeque::new(), timeout, next_serial: 0 }
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

    fn insert(&mut self, arrival: Arrival, stage: Stage) -> usize {
        self.next_serial += 1;
        let Arrival { accepted, proxied, place, refused, .. } = arrival;
        let (serial, deadline, refused) = (self.next_serial, Instant::now(), refused.map(Box::new));
        let index =
            self.slab.insert(Arriving { serial, deadline, stage, accepted, proxied, place, refused, watched: false });
        self.start_timer(index);
        index
    }

    /// Gives a socket its time, from now on.
    pub(super) fn start_timer(&mut self, index: usize) {
        if let Some(arriving) = self.slab.get_mut(index) {
            arriving.deadline = Instant::now() + self.timeout;
            self.deadlines.push_back((arriving.deadline, Key { index, serial: arriving.serial }));
        }
    }

    /// The next socket whose time is over.
    fn next_overdue(&mut self, now: Instant) -> Option<usize> {
        while let Some((deadline, key)) = self.deadlines.front().copied() {
            if deadline > now {
                return None;
            }
            self.deadlines.pop_front();
            // It may have been given more time since.
            if self.get(key).is_some_and(|arriving| arriving.deadline == deadline) {
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

    fn take_arrival(&mut self, mut arrival: Arrival) {
        let Some(stream) = arrival.stream.take().map(TcpStream::from_std) else { return };
        let stage = match (arrival.secure, &self.securing) {
            (false, _) => Stage::Asking { stream: Stream::Plain(stream), request: Vec::new() },
            (true, Some(securing)) => match securing.begin(stream) {
                Ok(session) => Stage::Securing(session),
                Err(error) => return tracing::error!(%error, "a TLS handshake cannot begin"),
            },
            // No such listener, no such arrival.
            (true, None) => return,
        };
        let is_plain = matches!(stage, Stage::Asking { .. });
        let index = self.arriving.insert(arrival, stage);
        // Often the whole request is there already, and the socket never watched as one that arrives.
        if is_plain && self.advance(index) {
            self.watch(index);
        } else if !is_plain && self.watch(index) {
            self.advance(index);
        }
    }

    /// Whether it worked.
    fn watch(&mut self, index: usize) -> bool {
        let Some(arriving) = self.arriving.slab.get_mut(index) else { return false };
        let tcp = match &mut arriving.stage {
            Stage::Securing(session) | Stage::Queued(session) => session.tcp(),
            Stage::Asking { stream, .. } | Stage::Answering { stream, .. } => stream.tcp(),
            // It was watched before a worker got it.
            Stage::AtWork => return true,
        };
        match self.sockets.watch(tcp, Token(index | ARRIVING)) {
            Ok(()) => arriving.watched = true,
            Err(error) => {
                tracing::debug!(%error, "a socket cannot be watched");
                self.arriving.remove(index);
                return false;
            }
        }
        true
    }

    /// Does what can be done for an arriving socket now; whether it is still one, and has to be watched.
    pub(super) fn advance(&mut self, index: usize) -> bool {
        let Some(arriving) = self.arriving.slab.get_mut(index) else { return false };
        match &arriving.stage {
            Stage::Securing(_) => self.shake_hands(index),
            Stage::Queued(_) | Stage::AtWork => true,
            Stage::Asking { .. } => self.read_request(index),
            Stage::Answering { .. } => self.go_on_answering(index),
        }
    }

    /// Answers those that have not sent their whole request: this node is ending.
    pub(super) fn refuse_arriving(&mut self) {
        let all: Vec<usize> = self.arriving.slab.iter().map(|(index, _)| index).collect();
        for index in all {
            match self.arriving.slab[index].stage {
                Stage::Asking { .. } => drop(self.refuse(index, Refused::draining())),
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
                Stage::Asking { .. } => drop(self.refuse(index, Refused::timeout())),
                Stage::Answering { .. } => drop(self.arriving.remove(index)),
                // There is no answer before there is a common key.
                Stage::Securing(_) | Stage::Queued(_) | Stage::AtWork => self.break_off(index),
            }
        }
    }
}
