//! What a client is known by, and what it hears.

use ullim_auth::Identity;
use ullim_protocol::session::SessionId;

use crate::pipeline::Pipeline;
use crate::registry::ChannelKey;

/// An open session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) identity: Identity,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Commands that are not answered yet; `None` where there are none.
    pub(crate) pipeline: Option<Box<Pipeline>>,
}

/// A session's interest in a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    pub(crate) channel: ChannelKey,
    /// When it began, by the broker's clock in Unix milliseconds; `None` while the broker has not confirmed it.
    pub(crate) since: Option<u64>,
}

impl Session {
    pub(crate) fn subscription(&mut self, channel: ChannelKey) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.channel == channel)
    }
}
