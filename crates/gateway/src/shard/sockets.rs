//! The shard's own set of sockets: one event queue for all of them, of which the runtime knows a single descriptor. A
//! connection costs no object of the runtime's this way.

use std::io;
use std::time::Duration;

use futures_util::FutureExt as _;
use mio::event::Source;
use mio::{Events, Poll, Token};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Every socket is watched for both from the start: a second registration would cost a call. Events are edges.
const BOTH: mio::Interest = mio::Interest::READABLE.add(mio::Interest::WRITABLE);

/// The event queue of a shard.
pub(super) struct Sockets(AsyncFd<Poll>);

impl Sockets {
    /// An empty one. Must be called within the runtime that will wait for it.
    #[expect(unsafe_code, reason = "tokio marks the registration of a descriptor as unsafe")]
    pub(super) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        // SAFETY: `Poll` owns its descriptor and keeps it until it is dropped, which is when the `AsyncFd` is; nothing
        // in this file puts another `Poll` in its place.
        let registered = unsafe { AsyncFd::register_with_interest(poll, Interest::READABLE) };
        registered.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Watches a socket. What is ready already makes an event.
    pub(super) fn watch(&self, socket: &mut impl Source, token: Token) -> io::Result<()> {
        self.0.get_ref().registry().register(socket, token, BOTH)
    }

    /// Watches a socket under another token.
    pub(super) fn rename(&self, socket: &mut impl Source, token: Token) -> io::Result<()> {
        self.0.get_ref().registry().reregister(socket, token, BOTH)
    }

    /// Watches a listener. Connections that wait already make an event.
    pub(super) fn listen(&self, listener: &mut impl Source, token: Token) -> io::Result<()> {
        self.0.get_ref().registry().register(listener, token, mio::Interest::READABLE)
    }

    /// Watches a socket or a listener no longer.
    pub(super) fn forget(&self, source: &mut impl Source) -> io::Result<()> {
        self.0.get_ref().registry().deregister(source)
    }

    /// Waits until there are events.
    pub(super) async fn ready(&self) {
        // It fails when the runtime ends, and nobody waits then.
        let _ = self.0.readable().await;
    }

    /// Takes the events that are there; fewer than `events` holds means that it was all of them.
    pub(super) fn take(&mut self, events: &mut Events) -> io::Result<()> {
        match self.0.get_mut().poll(events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        if events.iter().count() < events.capacity()
            && let Some(Ok(mut ready)) = self.0.readable().now_or_never()
        {
            // An event that has come since is not lost: it makes the descriptor ready anew.
            ready.clear_ready();
        }
        Ok(())
    }
}
