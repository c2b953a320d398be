//! The numbers behind [`Counters`], as a broker counts them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Counters;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) received: Count,
    pub(crate) undecodable: Count,
    pub(crate) overflowed: Count,
    pub(crate) stray: Count,
    /// Those that the queues tell of themselves are not among them.
    pub(crate) gaps: Count,
    pub(crate) published: Count,
    pub(crate) publish_errors: Count,
    pub(crate) reconnects: Count,
}

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tally {
    /// All of them, with the gaps that queues told of and the channels at the moment.
    pub(crate) fn counters(&self, overload_gaps: u64, channels: u64) -> Counters {
        Counters {
            received: self.received.get(),
            undecodable: self.undecodable.get(),
            overflowed: self.overflowed.get(),
            stray: self.stray.get(),
            gaps: self.gaps.get() + overload_gaps,
            published: self.published.get(),
            publish_errors: self.publish_errors.get(),
            reconnects: self.reconnects.get(),
            channels,
        }
    }
}
