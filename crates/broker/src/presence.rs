//! What a hub and the API see of presence: who is in a channel.

use std::sync::Arc;
use std::time::Duration;

use ullim_protocol::channel::ChannelName;
use ullim_protocol::presence::{Info, MembersPage, Occupancy, PresenceEvent};
use ullim_protocol::session::SessionId;

use crate::Answer;
use crate::queue::Window;

/// Keeps the members of channels, and tells their subscribers who comes and goes. No method waits.
pub trait Presence: Send + Sync + 'static {
    /// A session enters a channel, or enters anew with another claim or info. The answer is `Ok` once everybody can
    /// read it. Whatever the answer is, also after an error or none at all, the entry is wanted from the call on: it is
    /// tried again and kept up, whatever becomes of the broker, until [`leave`](Self::leave). Who gives up has to leave.
    fn enter(&self, entry: Entry) -> Answer<Result<(), PresenceError>>;

    /// A session leaves, unless it has since entered with another claim. Also ends an [`enter`](Self::enter) that is
    /// still under way. Its user may be away for at least `absence`, anonymous or not, before it is told that they have
    /// left: zero but for sessions that were sent elsewhere.
    fn leave(&self, channel: &ChannelName, session: SessionId, claim: Claim, absence: Duration);

    /// Some of a channel's members, on whichever node they are.
    fn members(&self, channel: &ChannelName, page: PageRequest) -> Answer<Result<MembersPage, PresenceError>>;

    /// How many members a channel has.
    fn occupancy(&self, channel: &ChannelName) -> Answer<Result<Occupancy, PresenceError>>;
}

/// Which of a node's connections holds a session's place in a channel: a session that was resumed on another connection
/// is not taken out by the end of the first. Unique within the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim(pub u64);

/// A session's place in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub channel: ChannelName,
    /// Who, publicly.
    pub session: SessionId,
    /// On which connection.
    pub claim: Claim,
    /// Whose session it is; `None` for an anonymous one, which has no grace.
    pub user: Option<Arc<str>>,
    /// What the application says of it.
    pub info: Option<Info>,
    /// How long the user may be away before it is told that they have left.
    pub grace: Duration,
}

/// Which members are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// [`MembersPage::cursor`] of the page before; `None` for the first.
    pub cursor: Option<String>,
    /// About how many: a page may hold some more, or fewer.
    pub limit: usize,
}

/// Why presence could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresenceError {
    /// The broker cannot be reached, or did not answer in time.
    #[error("the broker cannot be reached, or did not answer in time")]
    Unavailable,
    /// The cursor is none that a page has named.
    #[error("the cursor is not one that a page has named")]
    Cursor,
    /// The broker refused, and said why.
    #[error("the broker refused: {0}")]
    Refused(String),
}

/// A coming or going on its way to the subscribers of a channel.
#[derive(Debug)]
pub struct RoutedEvent {
    /// Where.
    pub channel: ChannelName,
    /// Who comes or goes.
    pub event: PresenceEvent,
    /// When it happened for certain.
    pub published: Window,
}

impl RoutedEvent {
    /// The bytes of what it says.
    pub(crate) fn size(&self) -> usize {
        self.event.user.len() + self.event.info.as_ref().map_or(0, |info| info.as_str().len())
    }
}

/// What a channel counts as a user: the user, or `~` and the id of an anonymous session.
pub(crate) fn user_name(user: Option<&Arc<str>>, session: SessionId) -> Arc<str> {
    user.map_or_else(|| format!("~{session}").into(), Arc::clone)
}
