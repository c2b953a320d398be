//! Something to tell Redis of a session in a channel.

use std::sync::Arc;
use std::time::Duration;

use ullim_protocol::channel::ChannelName;
use ullim_protocol::session::SessionId;

use crate::Entry;

/// Something to tell Redis.
#[derive(Debug)]
pub(in super::super) struct Order {
    pub(in super::super) channel: ChannelName,
    pub(in super::super) session: SessionId,
    pub(in super::super) node: Arc<str>,
    pub(in super::super) what: What,
    pub(super) version: u64,
}

#[derive(Debug)]
pub(in super::super) enum What {
    /// With the names of the node if this is a repetition.
    Enter {
        entry: Arc<Entry>,
        since: u64,
        names: String,
        /// After which Redis is to refuse it: others may have taken the node for dead.
        lease_end: u64,
    },
    Leave {
        user: Arc<str>,
        grace: Duration,
    },
}
