//! What is kept of a connection where fan-out looks: one cache line.

use std::io::IoSlice;

use bytes::Bytes;

use crate::outbox::{GATHERED, Outbox};
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
}

const _: () = assert!(size_of::<Connection<[u64; 3]>>() <= 64, "one cache line, with an outlet of 24 bytes");

/// The outlet refused: the connection is lost.
pub(crate) struct Lost;

impl<O: Outlet> Connection<O> {
    /// Writes `frames` in order behind what waits already, and keeps what is not taken.
    pub(crate) fn send(&mut self, frames: &[Bytes]) -> Result<(), Lost> {
        for gathered in frames.chunks(GATHERED) {
            // Once the peer takes no more, the rest waits: it says when it takes more only if it was offered too much.
            let written = match self.outbox.is_empty() {
                true => write(&mut self.outlet, gathered)?,
                false => 0,
            };
            self.keep(gathered, written);
        }
        Ok(())
    }

    /// Keeps what of `frames` is behind the first `written` bytes.
    fn keep(&mut self, frames: &[Bytes], mut written: usize) {
        for frame in frames {
            let done = written.min(frame.len());
            written -= done;
            match done {
                done if done == frame.len() => {}
                0 => self.outbox.push(frame.clone()),
                done => self.outbox.push_rest(frame.slice(done..)),
            }
        }
    }

    /// As [`send`](Self::send), for bytes that only this connection is sent: they are copied if they have to wait.
    pub(crate) fn send_own(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let written = match self.outbox.is_empty() {
            true => self.outlet.write(&[IoSlice::new(bytes)]).map_err(|_| Lost)?,
            false => 0,
        };
        match written {
            0 => self.outbox.push(Bytes::copy_from_slice(bytes)),
            written if written < bytes.len() => self.outbox.push_rest(Bytes::copy_from_slice(&bytes[written..])),
            _ => {}
        }
        Ok(())
    }
}

fn write(outlet: &mut impl Outlet, frames: &[Bytes]) -> Result<usize, Lost> {
    let written = match frames {
        [frame] => outlet.write(&[IoSlice::new(frame)]),
        _ => {
            let slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
            outlet.write(&slices)
        }
    };
    written.map_err(|_| Lost)
}
