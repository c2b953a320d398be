//! What nodes tell each other about clients, on a path of its own beside the publications.

use std::sync::Arc;

use ullim_protocol::channel::ChannelName;
use ullim_protocol::session::SessionId;

/// An order to every node, this one included. One that is lost on the way is not repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// End every connection of a user.
    Disconnect {
        /// Whose.
        user: Arc<str>,
    },
    /// End a user's subscriptions to a channel.
    Unsubscribe {
        /// Whose.
        user: Arc<str>,
        /// To which.
        channel: ChannelName,
    },
    /// A session was resumed on a newer connection: end the older ones.
    Replace {
        /// Which.
        session: SessionId,
        /// What tells the newer connection from all others of the cluster.
        keep: u64,
    },
}

/// Which channels are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelsRequest {
    /// Only names that begin so.
    pub prefix: String,
    /// Only names behind this one, in the order of their bytes.
    pub after: Option<String>,
    /// How many, at most.
    pub limit: usize,
}

/// Some of the channels that have subscribers anywhere, in the order of their names' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelsPage {
    /// Their names.
    pub channels: Vec<ChannelName>,
    /// Whether there are more behind them.
    pub more: bool,
}
