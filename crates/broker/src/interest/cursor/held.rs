//! What waits on one channel until its history was read, bounded in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ullim_protocol::position::Position;

use crate::queue::Routed;

/// The most bytes of publications that wait on one channel, and on all of them. Beyond it they are dropped: they are in
/// the history, too.
const HELD_BYTES: usize = 1 << 20;
const ALL_HELD_BYTES: usize = 64 << 20;

/// The publications that wait.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) publications: Vec<Waiting>,
    bytes: usize,
    /// What all channels hold.
    all: Arc<AtomicUsize>,
    /// Something did not fit.
    pub(super) overflowed: bool,
}

/// A publication that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) routed: Arc<Routed>,
    pub(super) position: Position,
    pub(super) cut: Option<Position>,
}

impl Held {
    /// Empty. What all of them hold is counted in `all`.
    pub(super) fn new(all: Arc<AtomicUsize>) -> Self {
        Self { publications: Vec::new(), bytes: 0, all, overflowed: false }
    }

    /// Adds one. If it does not fit, all are dropped.
    pub(super) fn push(&mut self, waiting: Waiting) {
        let size = waiting.routed.size();
        if self.bytes + size > HELD_BYTES || self.all.load(Ordering::Relaxed) + size > ALL_HELD_BYTES {
            self.clear();
            self.overflowed = true;
            return;
        }
        self.all.fetch_add(size, Ordering::Relaxed);
        self.bytes += size;
        self.publications.push(waiting);
    }

    /// Drops all that wait.
    pub(super) fn clear(&mut self) {
        self.all.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        self.publications = Vec::new();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}
