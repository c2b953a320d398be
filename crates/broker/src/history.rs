//! What a hub and the API see of a recoverable channel's history.

use std::sync::Arc;

use ullim_protocol::channel::ChannelName;
use ullim_protocol::outgoing::Gap;
use ullim_protocol::position::Position;

use crate::Answer;
use crate::queue::Routed;

/// Keeps what was published on recoverable channels. No method waits.
pub trait History: Send + Sync + 'static {
    /// What was published behind `request.since`. Many that ask for the same at once cost the broker one read.
    fn recover(&self, request: RecoverRequest) -> Answer<Result<Recovery, HistoryError>>;

    /// A part of the history, for whoever wants to look.
    fn history(&self, request: HistoryRequest) -> Answer<Result<HistoryPart, HistoryError>>;
}

/// What a subscriber wants to recover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverRequest {
    /// Where.
    pub channel: ChannelName,
    /// What it has heard last.
    pub since: Position,
    /// What the answer has to reach at least: the publications behind it come through the shard's queue.
    pub reached: Position,
    /// How many publications may be recovered at most.
    pub limit: usize,
    /// How many bytes of them are of use, about. More are not read where reading costs anything, and never more than
    /// 64 MiB.
    pub bytes: usize,
}

/// What could be recovered.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// In order, each the one behind the one before, but for what [`Outcome::Cut`] tells.
    pub publications: Vec<Arc<Routed>>,
    /// Where the channel stood: the position of the last publication, if there is one. Not before what was to be
    /// reached.
    pub position: Position,
    /// Whether that is all.
    pub outcome: Outcome,
}

/// Whether all could be recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is there.
    Whole,
    /// The epoch has changed in between: what remains is there, and what the broker has lost nobody can know.
    Cut(Gap),
    /// The history does not reach back, holds more than the limit, or does not vouch for the position: there are no
    /// publications.
    Lost,
}

/// Which part of a history is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Where.
    pub channel: ChannelName,
    /// What lies behind this position, or before it if reversed; `None`: from the oldest on, or the newest back.
    pub since: Option<Position>,
    /// How many, at most; 0: only where the channel stands.
    pub limit: usize,
    /// Newest first.
    pub reverse: bool,
}

/// The most bytes of data that one answer to [`History::history`] holds, but for its first publication.
pub const MAX_PART_BYTES: usize = 1 << 20;

/// A part of a history.
#[derive(Debug, Clone)]
pub struct HistoryPart {
    /// Where the channel stands.
    pub position: Position,
    /// In the order that was asked for. What cannot be decoded is left out, and counted. Empty only if there is nothing
    /// more: else the last one is where to go on.
    pub publications: Vec<Arc<Routed>>,
    /// Whether there is more behind them, in that order.
    pub more: bool,
}

/// Why history could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The channel's namespace keeps none.
    #[error("the channel's namespace keeps no history")]
    NotKept,
    /// The broker cannot be reached, or did not answer in time.
    #[error("the broker cannot be reached, or did not answer in time")]
    Unavailable,
    /// The broker refused, and said why.
    #[error("the broker refused: {0}")]
    Refused(String),
}
