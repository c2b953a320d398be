//! What this node is called in Redis, and how long others take it for alive.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

/// How many former names of the node are remembered.
pub(super) const FORMER: usize = 8;

/// What this node is called.
#[derive(Debug, Clone)]
pub(in super::super) struct Name {
    pub(in super::super) node: Arc<str>,
    /// Redis has not heard of it.
    pub(in super::super) is_new: bool,
    /// What it was called before, the latest first. At most [`FORMER`].
    pub(in super::super) before: VecDeque<Arc<str>>,
}

impl Name {
    /// All of them, between spaces.
    pub(super) fn all(&self) -> String {
        std::iter::once(&self.node).chain(&self.before).fold(" ".to_owned(), |all, name| all + name + " ")
    }
}

/// How long others take this node for alive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    /// When the renewal was asked for.
    pub(super) asked: Instant,
    /// Until when it holds, by Redis' clock, in Unix milliseconds.
    pub(super) until: u64,
}
