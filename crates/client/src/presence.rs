//! Owns who is in a channel, as the user asks and hears it.

use serde::Deserialize;

use crate::data::Info;

/// Which members to ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// How many at most, up to 500; the node gives 100 where nothing is said.
    pub limit: Option<u32>,
    /// Where the page begins: the cursor of the one before. `None` is the beginning.
    pub cursor: Option<String>,
}

/// Some members of a channel. Their order means nothing; a member may occur on two pages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MembersPage {
    /// The members.
    pub members: Vec<Member>,
    /// Where the next page begins; `None` on the last.
    pub cursor: Option<String>,
}

/// One session in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Its public id.
    pub session: String,
    /// Whose it is; `None` for an anonymous one.
    pub user: Option<String>,
    /// What the application says of it.
    pub info: Option<Info>,
    /// When it entered, in Unix milliseconds by the broker's clock.
    pub since: u64,
}

/// How many are in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Occupancy {
    /// Sessions.
    pub connections: u64,
    /// People: an anonymous session counts as one.
    pub users: u64,
}
