//! The latest publications of a channel that was recovered from lately: what many ask for at once is read once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ullim_protocol::position::Position;

use super::cursor::Kept;

/// The most bytes that are kept of one channel, and of all of them.
pub(crate) const RECENT_BYTES: usize = 4 << 20;
pub(crate) const ALL_RECENT_BYTES: usize = 64 << 20;

/// A dense run of publications.
#[derive(Debug)]
pub(crate) struct Recent {
    /// They begin behind this.
    after: Position,
    /// They reach this.
    upto: Position,
    entries: VecDeque<Kept>,
    bytes: usize,
    all: Arc<AtomicUsize>,
    /// When somebody last wanted it: the node's own time.
    used: Duration,
}

impl Recent {
    /// An empty run behind `after`. What all of them hold is counted in `all`.
    pub(crate) fn new(after: Position, all: &Arc<AtomicUsize>, now: Duration) -> Self {
        Self { after, upto: after, entries: VecDeque::new(), bytes: 0, all: Arc::clone(all), used: now }
    }

    /// Takes the next publication, if it does not have it. Says whether it is of use any more: not if it does not
    /// fit.
    pub(crate) fn push(&mut self, kept: Kept) -> bool {
        if kept.position <= self.upto {
            return true;
        }
        let size = kept.size();
        if self.bytes + size > RECENT_BYTES || self.all.load(Ordering::Relaxed) + size > ALL_RECENT_BYTES {
            return false;
        }
        self.bytes += size;
        self.all.fetch_add(size, Ordering::Relaxed);
        self.upto = kept.position;
        self.entries.push_back(kept);
        true
    }

    /// What comes behind `since`, and what it reaches; `None` if it does not begin early enough.
    pub(crate) fn behind(&mut self, since: Position, now: Duration) -> Option<(Vec<Kept>, Position)> {
        if since < self.after || since > self.upto {
            return None;
        }
        self.used = now;
        let first = self.entries.partition_point(|kept| kept.position <= since);
        Some((self.entries.range(first..).cloned().collect(), self.upto))
    }

    /// Where it begins.
    pub(crate) fn after(&self) -> Position {
        self.after
    }

    /// Its entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Kept> {
        self.entries.iter()
    }

    /// When somebody last wanted it.
    pub(crate) fn used(&self) -> Duration {
        self.used
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
