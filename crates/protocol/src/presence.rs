//! Who is in a channel: members, how they are counted, and how their coming and going is told.

use std::sync::Arc;

use crate::json;
use crate::session::SessionId;

/// The most bytes of a member's info.
pub const MAX_INFO_BYTES: usize = 4096;

/// The most members of one page.
pub const MAX_PAGE: usize = 500;

/// How many members a page has when nobody says otherwise.
pub const DEFAULT_PAGE: usize = 100;

/// The most lists of members that one `subscribe` is answered with.
pub const MAX_LISTS: usize = 16;

/// What an application says of a client: one JSON value of at most [`MAX_INFO_BYTES`], which every encoding can carry.
#[derive(Clone, PartialEq, Eq)]
pub struct Info(Arc<str>);

impl Info {
    /// Takes `text` if it is such a value.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= MAX_INFO_BYTES && json::check(text.as_bytes())).then(|| Self(text.into()))
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Info {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One session in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its public id.
    pub session: SessionId,
    /// Whose it is; `None` for an anonymous one.
    pub user: Option<Arc<str>>,
    /// What the application says of it.
    pub info: Option<Info>,
    /// When it entered, in Unix milliseconds by the broker's clock.
    pub since: u64,
}

/// Some members of a channel. Their order means nothing; a member may occur on two pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MembersPage {
    /// The members.
    pub members: Vec<Member>,
    /// Where the next page begins; `None` on the last.
    pub cursor: Option<String>,
}

/// How many are in a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Sessions.
    pub connections: u64,
    /// People: an anonymous session counts as one.
    pub users: u64,
}

/// Somebody comes or goes. A user with several sessions comes with the first and goes with the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceEvent {
    /// Whether they come.
    pub joined: bool,
    /// Who: the user, or `~` and the session id of an anonymous session.
    pub user: Arc<str>,
    /// What the application says of them; not told when they go.
    pub info: Option<Info>,
}
