//! A session's place in a channel: what is wanted of it, and what is known of it in Redis.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::{Entry, PresenceError};

#[derive(Debug)]
pub(super) struct Place {
    pub(super) wanted: Wanted,
    /// Rises with each change of what is wanted.
    pub(super) version: u64,
    pub(super) known: Known,
    /// Its turn, while Redis is to be told of it.
    pub(super) turn: Option<u64>,
    pub(super) since: u64,
    pub(super) waiting: Vec<oneshot::Sender<Result<(), PresenceError>>>,
}

#[derive(Debug, Clone)]
pub(super) enum Wanted {
    In(Arc<Entry>),
    Out { user: Arc<str>, grace: Duration },
}

/// What is known of the place in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Redis has never heard of it.
    Unsent,
    /// Redis may have heard of it, and has not said what it has of what is wanted now.
    InDoubt,
    /// Redis has said that it has the entry.
    Confirmed,
    /// Redis had the entry, and may not have it now.
    Suspect,
    /// When this node repeated its entry, Redis had another node's, so many times in turn.
    Anothers { times: u32 },
}

impl Place {
    pub(super) fn new(wanted: Wanted, known: Known) -> Self {
        Self { wanted, version: 0, known, turn: None, since: 0, waiting: Vec::new() }
    }

    /// Something else is wanted than before. Returns what was.
    pub(super) fn want(&mut self, wanted: Wanted) -> Wanted {
        self.version += 1;
        if self.known != Known::Unsent {
            self.known = Known::InDoubt;
        }
        std::mem::replace(&mut self.wanted, wanted)
    }

    /// Redis may have lost it, or have got it from somebody else.
    pub(super) fn doubt(&mut self) {
        self.known = match self.known {
            Known::Confirmed => Known::Suspect,
            Known::Anothers { .. } => Known::Anothers { times: 0 },
            known @ (Known::Unsent | Known::InDoubt | Known::Suspect) => known,
        };
    }

    /// What Redis is told repeats what it had confirmed.
    pub(super) fn is_repeated(&self) -> bool {
        matches!(self.known, Known::Suspect | Known::Anothers { .. })
    }

    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.wanted, Wanted::In(_))
    }

    pub(super) fn answer(&mut self, result: &Result<(), PresenceError>) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(result.clone());
        }
    }
}
