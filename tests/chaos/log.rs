//! What publishers did and what subscribers heard, each in the order in which it was seen. All times are Unix
//! milliseconds by this machine's clock, which is also that of the Redis servers.

use serde::Serialize;

/// Unix milliseconds.
pub type Ms = u64;

/// A place in the history of a recoverable channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// Which incarnation of the history.
    pub epoch: u64,
    /// Dense from 1 within the epoch; 0 where nothing has been published.
    pub offset: u64,
}

/// What a channel promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Promise {
    /// At most once; holes are told as gaps.
    Live,
    /// Every publication once, in one order.
    Recoverable,
}

/// A channel of the run. It is named by its place in [`Log::channels`].
#[derive(Debug, Clone)]
pub struct Channel {
    /// As clients name it.
    pub name: String,
    /// What it promises.
    pub promise: Promise,
    /// Whether there is so much traffic that silence says something.
    pub busy: bool,
}

/// What a publication is known by: it is in its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Mark {
    /// Who published.
    pub publisher: u32,
    /// Rises with each publication of this publisher on this channel.
    pub number: u64,
}

/// One publication, as its publisher saw it.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where.
    pub channel: usize,
    /// What.
    pub mark: Mark,
    /// When it was sent first.
    pub sent: Ms,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a publisher knows of a publication in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The broker took it.
    Answered {
        /// When the answer came.
        at: Ms,
        /// On recoverable channels: where it stands.
        position: Option<Position>,
    },
    /// It may have been published or not.
    Unknown,
}

/// One thing that a subscriber saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When.
    pub at: Ms,
    /// What.
    pub what: What,
}

/// What a subscriber can see.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A session stands.
    Connected {
        /// On which node.
        node: usize,
    },
    /// The connection is gone, with all its subscriptions.
    Lost {
        /// Until when all that had been published has surely been read: the time at which the last ping was sent
        /// that was answered.
        since: Ms,
        /// The code of the close frame, 0 if there was none.
        code: u16,
    },
    /// A subscription was confirmed.
    Subscribed {
        /// The channel.
        channel: usize,
        /// The position from which recovery was asked for.
        asked: Option<Position>,
        /// What was said of it.
        recovered: Option<bool>,
        /// The position in the reply.
        position: Option<Position>,
        /// How many of the next [`What::Heard`] of this channel were in the reply; `usize::MAX` where that is not
        /// known: those up to its position, or up to a gap.
        replayed: usize,
    },
    /// The subscriber asked to leave the channel.
    Left {
        /// The channel.
        channel: usize,
        /// Until when all that had been published has surely been read.
        since: Ms,
    },
    /// A subscription or another command was refused.
    Refused {
        /// The channel.
        channel: usize,
        /// The error's name.
        error: String,
    },
    /// A publication.
    Heard {
        /// The channel.
        channel: usize,
        /// Which.
        mark: Mark,
        /// Its position, on recoverable channels.
        position: Option<Position>,
    },
    /// A gap.
    Gap {
        /// The channel.
        channel: usize,
        /// Begin of the window.
        from: Ms,
        /// End of the window.
        to: Ms,
        /// Why.
        reason: String,
        /// Where it goes on, on recoverable channels.
        position: Option<Position>,
    },
    /// Somebody came to or went from a channel with presence.
    Presence {
        /// The channel.
        channel: usize,
        /// Who.
        user: String,
        /// Whether they came.
        came: bool,
    },
    /// The subscriber stops reading.
    Stalled {
        /// Until then.
        until: Ms,
    },
    /// The server said something that the protocol does not allow; the connection was given up.
    Malformed {
        /// Which rule it breaks.
        detail: String,
    },
}

impl What {
    /// The channel that it is about; `None` if it is about the connection.
    pub fn channel(&self) -> Option<usize> {
        match self {
            Self::Subscribed { channel, .. }
            | Self::Left { channel, .. }
            | Self::Refused { channel, .. }
            | Self::Heard { channel, .. }
            | Self::Gap { channel, .. }
            | Self::Presence { channel, .. } => Some(*channel),
            Self::Connected { .. } | Self::Lost { .. } | Self::Stalled { .. } | Self::Malformed { .. } => None,
        }
    }
}

/// One subscriber.
#[derive(Debug, Clone, Default)]
pub struct Subscriber {
    /// Its name, also the user of its session.
    pub name: String,
    /// What it saw, in order.
    pub entries: Vec<Entry>,
    /// The channels that it wants.
    pub wants: Vec<usize>,
    /// Who it is in presence, if it is watched there.
    pub member: Option<Member>,
}

/// How a member of a presence channel behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// It comes back at once.
    Returns,
    /// When its node dies it stays away for longer than a grace.
    Vanishes,
}

/// Whom a fault may touch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    /// Nobody.
    #[default]
    Nobody,
    /// Only these: nodes, or channels.
    Only(Vec<usize>),
    /// Everybody.
    Everybody,
}

impl Reach {
    /// Whether `index` is one of them.
    pub fn includes(&self, index: usize) -> bool {
        match self {
            Self::Nobody => false,
            Self::Only(indices) => indices.contains(&index),
            Self::Everybody => true,
        }
    }
}

/// What a fault may be the reason of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touches {
    /// Nodes whose subscribers may be told gaps on live channels.
    pub links: Reach,
    /// Live channels on which they may.
    pub live: Reach,
    /// Recoverable channels whose history may have suffered.
    pub history: Reach,
    /// Whether the history's loss may be noticed long after, because no link breaks.
    pub unnoticed: bool,
    /// Nodes whose clients lose their connections for good: `kill -9`.
    pub killed: Vec<usize>,
    /// Nodes that send their clients away in order.
    pub drained: Vec<usize>,
}

/// A fault as it happened.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// Which node, how long.
    pub detail: String,
    /// When it began.
    pub begin: Ms,
    /// When everything was there again.
    pub end: Ms,
    /// What it may be the reason of.
    pub touches: Touches,
}

/// All of a run.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The channels.
    pub channels: Vec<Channel>,
    /// What was published.
    pub publications: Vec<Publication>,
    /// What was heard.
    pub subscribers: Vec<Subscriber>,
    /// What was done to it.
    pub faults: Vec<Fault>,
    /// When the subscribers were told to end: until then they had time to hear what was published last.
    pub end: Ms,
}
