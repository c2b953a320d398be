//! A client that can stop reading.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;

use ullim_hub::Outlet;

/// The other end of an outlet: what a client was written, and how much more it takes.
#[derive(Clone, Default)]
pub(crate) struct Client(Rc<ClientState>);

#[derive(Default)]
struct ClientState {
    written: RefCell<Vec<u8>>,
    writes: Cell<usize>,
    room: Cell<Option<usize>>,
    finished: Cell<bool>,
    admitted: Cell<usize>,
    gathers: Cell<Option<usize>>,
    holds_back: Cell<bool>,
}

impl Client {
    /// The lines written since the last call.
    pub(crate) fn lines(&self) -> Vec<String> {
        let written = self.0.written.take();
        String::from_utf8(written).unwrap().lines().map(str::to_owned).collect()
    }

    /// How many writes there were since the last call.
    pub(crate) fn writes(&self) -> usize {
        self.0.writes.take()
    }

    /// From now on the client takes so many bytes and no more; `None` for all.
    pub(crate) fn takes(&self, bytes: Option<usize>) {
        self.0.room.set(bytes);
    }

    /// Takes so many buffers of one write and no more, as systems do.
    pub(crate) fn gathers_at_most(&self, buffers: usize) {
        self.0.gathers.set(Some(buffers));
    }

    /// Whether what it took has not left the outlet yet, as within TLS.
    pub(crate) fn holds_back(&self, holds_back: bool) {
        self.0.holds_back.set(holds_back);
    }

    /// How often it was said that the client may be here.
    pub(crate) fn admitted(&self) -> usize {
        self.0.admitted.get()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.0.finished.get()
    }
}

impl Outlet for Client {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let gathered = self.0.gathers.get().unwrap_or(buffers.len());
        let offered = buffers.iter().take(gathered).flat_map(|buffer| buffer.iter().copied());
        let offered: Vec<u8> = offered.collect();
        let taken = self.0.room.get().map_or(offered.len(), |room| room.min(offered.len()));
        self.0.room.set(self.0.room.get().map(|room| room - taken));
        self.0.written.borrow_mut().extend_from_slice(&offered[..taken]);
        self.0.writes.set(self.0.writes.get() + 1);
        Ok(taken)
    }

    fn is_flushed(&self) -> bool {
        !self.0.holds_back.get()
    }

    fn admitted(&mut self) {
        self.0.admitted.set(self.0.admitted.get() + 1);
    }

    fn finish(&mut self) {
        self.0.finished.set(true);
    }
}
