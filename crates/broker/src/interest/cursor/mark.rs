//! What is kept of a publication to tell it from another one that has its position.

use ahash::RandomState;

use crate::queue::Routed;

/// When it was published, and what. Equal for what was relayed and what the history has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    time: u64,
    hash: u64,
}

impl Mark {
    pub(super) fn of(routed: &Routed) -> Self {
        let publication = &routed.publication;
        // The same in all channels. It guards against accidents: who can write to Redis has easier ways to deceive.
        let hash = RandomState::with_seeds(1, 2, 3, 4).hash_one(&publication.data.bytes()[..]);
        Self { time: publication.time, hash }
    }
}
