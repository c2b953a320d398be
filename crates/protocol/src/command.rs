//! What a client asks for, whatever its dialect.

use smallvec::SmallVec;

use crate::codes::ErrorCode;
use crate::position::Position;
use crate::publication::{Data, Headers};

/// A command and the number that its reply repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the client, 1 to 2^53 − 1.
    pub id: u64,
    /// What it asks for.
    pub command: Command,
}

/// Channel names are as the client wrote them: whether they are names at all is answered per channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Open the session, or go on with one.
    Connect {
        /// A JWT; without one the client is anonymous, or who it was in the session that it resumes.
        token: Option<String>,
        /// What an earlier `connect` or `refresh` said to go on with its session.
        resume: Option<String>,
    },
    /// Open the session as a configured user, or with a token for a passcode.
    Login {
        /// Who.
        login: Option<String>,
        /// The user's passcode, or a JWT.
        passcode: Option<String>,
    },
    /// Stay longer, with a newer token of the same user.
    Refresh {
        /// A JWT.
        token: String,
    },
    /// Hear one channel.
    Subscribe(Subscribe),
    /// Hear several channels.
    SubscribeMany(Vec<Subscribe>),
    /// Hear a channel no longer.
    Unsubscribe(String),
    /// Hear a channel no longer under this label. With the last one the subscription ends.
    Withdraw {
        /// Which.
        channel: String,
        /// [`Label::number`].
        label: u32,
    },
    /// What a label has got was dealt with: there is room in its window again.
    Acknowledge(Acknowledge),
    /// Say something on a channel.
    Publish(Publish),
    /// Who is in a channel?
    Presence(MembersOf),
    /// How many are in this channel?
    PresenceCount(String),
    /// What was published before?
    History(HistoryOf),
    /// Answer me.
    Ping,
}

/// A channel to be heard, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscribe {
    /// Which.
    pub channel: String,
    /// A subscription token, for channels that ask for one.
    pub token: Option<String>,
    /// Whether the reply is to name the channel's members: the first page of them.
    pub presence: bool,
    /// Whether joins and leaves are to be heard too.
    pub events: bool,
    /// What was published behind this position is to be heard first.
    pub recover: Option<Position>,
    /// How the dialect addresses what comes, where it does.
    pub label: Option<Box<Label>>,
}

/// How a dialect addresses what comes for a subscription. A session has one subscription to a channel, but may hear it
/// under several labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// What tells it from all others of the connection.
    pub number: u32,
    /// What the dialect writes before every message. Mostly short: it lies beside the rest, where fan-out looks.
    pub text: SmallVec<[u8; 80]>,
    /// Whether it wants to be told of gaps.
    pub gaps: bool,
    /// The most publications that are sent before earlier ones are acknowledged; `None`: all are sent at once.
    pub window: Option<u32>,
}

/// Publications that were dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledge {
    /// Of which channel.
    pub channel: String,
    /// Under which label: [`Label::number`].
    pub label: u32,
    /// The label's how manieth.
    pub number: u64,
    /// Whether all before it are meant too.
    pub cumulative: bool,
}

impl Subscribe {
    /// A channel to be heard without anything else.
    pub fn plain(channel: impl Into<String>) -> Self {
        Self { channel: channel.into(), ..Self::default() }
    }
}

/// Which members of a channel are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersOf {
    /// Where.
    pub channel: String,
    /// How many, about: 1 to [`MAX_PAGE`](crate::presence::MAX_PAGE).
    pub limit: usize,
    /// What the page before named; `None` for the first.
    pub cursor: Option<String>,
}

/// Which part of a channel's history is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryOf {
    /// Where.
    pub channel: String,
    /// What lies behind this position, or before it if reversed; `None`: from the oldest on, or the newest back.
    pub since: Option<Position>,
    /// How many: 1 to [`MAX_HISTORY`].
    pub limit: usize,
    /// Newest first.
    pub reverse: bool,
}

/// The most publications that one `history` is answered with.
pub const MAX_HISTORY: usize = 1000;

/// How many publications a `history` is answered with that does not say.
pub const DEFAULT_HISTORY: usize = 100;

/// The most bytes of a publication's idempotency id.
pub const MAX_PUBLICATION_ID: usize = 128;

/// A client's publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Where.
    pub channel: String,
    /// What.
    pub data: Data,
    /// What goes with it.
    pub headers: Option<Headers>,
    /// Whether this session wants to hear it too.
    pub echo: bool,
    /// Of two publications with the same id within five minutes the second is not one. Not on live channels. 1 to
    /// [`MAX_PUBLICATION_ID`] bytes.
    pub id: Option<String>,
}

/// A message or a command that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for programs.
    pub code: &'static ErrorCode,
    /// Why, for people: what was wrong, and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with its explanation.
    pub fn new(code: &'static ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A message that holds no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The message's id, where it could be read.
    pub id: Option<u64>,
    /// What is wrong with it.
    pub refusal: Refusal,
}
