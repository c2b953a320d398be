//! What is read of a channel's history.

use std::sync::Arc;

use ullim_protocol::position::Position;

use crate::queue::Routed;

/// A publication as the history keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) position: Position,
    /// The last position before it, if it is the first of an epoch that followed another.
    pub(crate) cut: Option<Position>,
    /// When it was published, in Unix milliseconds.
    pub(crate) time: u64,
    /// `None` if it cannot be decoded.
    pub(crate) routed: Option<Arc<Routed>>,
}

impl Kept {
    /// What it takes of memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.routed.as_ref().map_or(0, |routed| routed.size()) + size_of::<Self>()
    }
}

/// A part of a history, from a position on.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// Where the channel stands.
    pub(crate) position: Position,
    /// The last position before its epoch, if that followed another and has had no publication yet.
    pub(crate) cut: Option<Position>,
    /// Oldest first.
    pub(crate) entries: Vec<Kept>,
    /// There are others behind them.
    pub(crate) more: bool,
    /// When it was read, in Unix milliseconds.
    pub(crate) time: u64,
    /// When the position was published behind which it was read, if another epoch has followed and that is known.
    pub(crate) since_time: Option<u64>,
}
