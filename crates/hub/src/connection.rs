//! What is kept of a connection where fan-out looks: one cache line.

use std::io::IoSlice;

use bytes::Bytes;

use crate::outbox::Outbox;
use crate::outlet::{Outlet, Wire};
use crate::rate::Rate;
use crate::session::Session;

/// A connection of this shard. Never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ConnectionId {
    /// Where the hub keeps it: unique among the connections that are open.
    pub fn slot(self) -> u32 {
        self.slot
    }
}

// Without the alignment, most would begin in the middle of a cache line and be two.
#[repr(align(64))]
pub(crate) struct Connection<O> {
    pub(crate) outlet: O,
    pub(crate) outbox: Outbox,
    /// `None` until `connect` was accepted.
    pub(crate) session: Option<Box<Session>>,
    pub(crate) rate: Rate,
    pub(crate) generation: u32,
    pub(crate) wire: Wire,
    /// Heartbeats since the client was last heard.
    pub(crate) missed: u8,
    /// Said good-bye: nothing more is sent or taken.
    pub(crate) closing: bool,
    /// The write side was shut after the good-bye.
    pub(crate) finished: bool,
    /// Told the transport to stop reading.
    pub(crate) paused: bool,
    /// It stays so until there are tokens for commands again.
    pub(crate) slowed: bool,
}

const _: () = {
    // As the table keeps it.
    enum Entry {
        _Vacant(usize),
        _Occupied(Connection<[u64; 3]>),
    }
    assert!(size_of::<Entry>() == 64, "one cache line, with an outlet of 24 bytes");
};

/// The outlet refused: the connection is lost.
pub(crate) struct Lost;

impl<O: Outlet> Connection<O> {
    /// Writes `buffers` unless something waits already; how many bytes were taken. The rest has to wait.
    pub(crate) fn offer(&mut self, buffers: &[IoSlice<'_>]) -> Result<usize, Lost> {
        // Once the peer takes no more, the rest waits: it says when it takes more only if it was offered too much.
        match self.outbox.is_empty() {
            true => self.outlet.write(buffers).map_err(|_| Lost),
            false => Ok(0),
        }
    }

    /// Writes bytes that only this connection is sent: they are copied if they have to wait.
    pub(crate) fn send_own(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let taken = self.offer(&[IoSlice::new(bytes)])?;
        if taken < bytes.len() {
            self.outbox.push(Bytes::copy_from_slice(&bytes[taken..]), taken > 0);
        }
        Ok(())
    }
}
