//! Owns what a user asks of a channel's history, and what there is of it.

use ullim_protocol::position::Position;

use crate::event::Publication;

/// Which part of a history is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// What lies behind this position, or before it if reversed; `None`: from the oldest on, or the newest back.
    pub since: Option<Position>,
    /// How many publications at most, 1 to 1000; `None`: 100.
    pub limit: Option<u32>,
    /// Newest first.
    pub reverse: bool,
}

/// A part of a history.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Where the channel stands.
    pub position: Position,
    /// In the order that was asked for.
    pub publications: Vec<Publication>,
    /// Whether there is more behind them, in that order: it is asked for with the position of the last one.
    pub more: bool,
}
