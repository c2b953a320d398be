//! This shard's part in accepting: whether it has the turn, and how much of a storm it takes at a time.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::Token;
use mio::net::TcpStream;
use rustix::io::Errno;
use tokio::time::Instant;

use super::Shard;
use super::sockets::Sockets;
use crate::door::Door;
use crate::listener::{Acceptor, Arrival};

/// The most connections that one turn accepts from a listener: between two bursts what is relayed goes out. Also the
/// most that one shard gets before another.
const BURST: usize = 32;

/// How long to wait when the process is out of file descriptors, a tick more at most.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// The token of the last listener; those of the others are below it. No socket has one of these.
const LAST: usize = usize::MAX;

/// A shard among those that accept.
pub(super) struct Accepting {
    acceptor: Arc<Acceptor>,
    /// Its number among the acceptor's.
    shard: usize,
    turn: Turn,
    /// At which listeners somebody may be waiting: they make no further event.
    waiting: [bool; Acceptor::LISTENERS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Another shard has it.
    Elsewhere,
    /// The listeners are among this shard's sockets.
    Here,
    /// It is here, but there is nothing to accept with before then.
    Paused(Instant),
}

impl Accepting {
    pub(super) fn new(acceptor: Arc<Acceptor>, shard: usize) -> Self {
        Self { acceptor, shard, turn: Turn::Elsewhere, waiting: Default::default() }
    }

    /// Waits until it has the turn.
    pub(super) async fn called(&self) {
        self.acceptor.called(self.shard).await;
    }

    /// Notes that somebody waits at the listener that an event is about, if it is about one.
    pub(super) fn has_event(&mut self, token: Token) -> bool {
        let listener = LAST - token.0;
        let is_listener = listener < Acceptor::LISTENERS;
        if is_listener {
            self.waiting[listener] = self.turn == Turn::Here;
        }
        is_listener
    }

    /// Whether somebody may be waiting.
    pub(super) fn is_behind(&self) -> bool {
        self.waiting.contains(&true)
    }

    /// It has the turn.
    pub(super) fn begin(&mut self, sockets: &Sockets) {
        let watched = self.acceptor.each(|index, listener| sockets.listen(listener, Token(LAST - index)));
        self.turn = Turn::Here;
        if let Err(error) = watched {
            tracing::error!(%error, "the listeners cannot be watched, connections have to wait");
            self.pause(sockets);
        }
    }

    /// Goes on if a pause is over.
    pub(super) fn go_on(&mut self, sockets: &Sockets) {
        if let Turn::Paused(until) = self.turn
            && Instant::now() >= until
        {
            self.begin(sockets);
        }
    }

    /// The next connection of a listener.
    fn accept(&mut self, listener: usize, sockets: &Sockets) -> Option<(TcpStream, IpAddr)> {
        match self.acceptor.accept(listener) {
            Ok(accepted) => return Some(accepted),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.waiting[listener] = false,
            Err(error) if is_exhausted(&error) => {
                tracing::warn!(%error, "out of file descriptors or memory, connections have to wait");
                self.pause(sockets);
            }
            Err(error) => tracing::debug!(%error, "a connection was gone before it was accepted"),
        }
        None
    }

    fn pause(&mut self, sockets: &Sockets) {
        self.leave(sockets);
        self.turn = Turn::Paused(Instant::now() + EXHAUSTED_PAUSE);
    }

    /// Gives the turn to a shard that has fewer connections, if there is one.
    fn pass_on(&mut self, sockets: &Sockets) {
        if self.turn == Turn::Here
            && let Some(next) = self.acceptor.next_after(self.shard)
        {
            self.leave(sockets);
            self.acceptor.call(next);
        }
    }

    fn leave(&mut self, sockets: &Sockets) {
        // One that is not watched is not watched any longer.
        let _ = self.acceptor.each(|_, listener| sockets.forget(listener).or(Ok(())));
        self.waiting = Default::default();
        self.turn = Turn::Elsewhere;
    }
}

/// Whether the system lacks something, so that the connection waits on. Other errors belong to the connection that was to
/// be accepted, and it is gone.
fn is_exhausted(error: &io::Error) -> bool {
    const LACKS: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|error| LACKS.contains(&error))
}

impl Shard {
    /// Accepts a burst of those who wait, then lets another shard accept.
    pub(super) fn accept_waiting(&mut self) {
        self.accepting.go_on(&self.sockets);
        let was_behind = self.accepting.is_behind();
        for (listener, door) in Door::ALL.into_iter().enumerate() {
            for _ in 0..BURST {
                if !self.accepting.waiting[listener] {
                    break;
                }
                let Some((stream, peer)) = self.accepting.accept(listener, &self.sockets) else { continue };
                if let Some(visitor) = self.accepting.acceptor.judge(peer, door) {
                    self.take_arrival(Arrival { stream, visitor });
                }
            }
        }
        let connections = self.hub.connections() + self.arriving.slab.len();
        self.accepting.acceptor.report(self.accepting.shard, connections);
        if was_behind {
            self.accepting.pass_on(&self.sockets);
        }
    }
}
