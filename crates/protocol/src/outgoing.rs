//! What a client is told, whatever its dialect.

use crate::codes::ErrorCode;
use crate::command::Refusal;
use crate::position::{Epoch, Position};
use crate::presence::{MembersPage, Occupancy, PresenceEvent};
use crate::publication::Publication;
use crate::session::SessionId;

/// One message to a client.
#[derive(Debug, Clone, Copy)]
pub enum Outgoing<'a> {
    /// The answer to the command with this id.
    Reply(u64, Reply<'a>),
    /// The refusal of the command with this id, where it could be read.
    Error(Option<u64>, &'a Refusal),
    /// Something that happened on a channel.
    Push(&'a str, Push<'a>),
    /// The node is about to end: the connection will be closed in so many milliseconds. Connect elsewhere.
    Reconnect(u64),
}

/// How a command was answered.
#[derive(Debug, Clone, Copy)]
pub enum Reply<'a> {
    /// The session is open.
    Connect(Connected<'a>),
    /// The session goes on for longer.
    Refresh(Refreshed<'a>),
    /// The subscription stands.
    Subscribe(&'a Subscribed),
    /// Each of the subscriptions stands, or was refused.
    SubscribeMany(&'a [(String, Result<Subscribed, Refusal>)]),
    /// The subscription has ended.
    Unsubscribe,
    /// The broker took the publication; its position, on a recoverable channel.
    Publish(Option<Position>),
    /// What was published before.
    History(&'a HistoryPage),
    /// Who is in the channel.
    Presence(&'a MembersPage),
    /// How many are in the channel.
    PresenceCount(Occupancy),
    /// Here I am.
    Ping,
}

/// What a client learns when its session opens.
#[derive(Debug, Clone, Copy)]
pub struct Connected<'a> {
    /// The session's public id.
    pub session: SessionId,
    /// What resumes the session on another connection; `None` where none could be made.
    pub resume: Option<&'a str>,
    /// Whether this is the session that the client wanted to resume.
    pub resumed: bool,
    /// Who the client is; `None` when anonymous.
    pub user: Option<&'a str>,
    /// When the session ends unless it is refreshed, in Unix seconds; `None` when anonymous.
    pub expires: Option<u64>,
    /// The heartbeat interval, in milliseconds.
    pub ping_ms: u64,
    /// The most bytes of a message from the client.
    pub message_bytes: usize,
    /// The most subscriptions of the connection.
    pub subscriptions: usize,
}

/// What a client learns when its session is refreshed.
#[derive(Debug, Clone, Copy)]
pub struct Refreshed<'a> {
    /// When the session ends now unless it is refreshed again, in Unix seconds.
    pub expires: Option<u64>,
    /// What resumes the session from now on; `None` where none could be made.
    pub resume: Option<&'a str>,
}

/// What a client learns when a subscription stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscribed {
    /// The first page of the channel's members, where it was asked for.
    pub presence: Option<MembersPage>,
    /// Where the channel stands; `None` for a live one.
    pub position: Option<Position>,
    /// Whether all is there that was published since the position from which the client wanted to recover; `None` if it
    /// named none.
    pub recovered: Option<bool>,
    /// What it has missed, oldest first; or the latest publication, in a namespace that keeps it.
    pub publications: Vec<Publication>,
    /// The epoch in which the client believes to be before the first of them, if it has recovered.
    pub since: Option<Epoch>,
}

/// Some of a channel's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// Where the channel stands.
    pub position: Position,
    /// In the order that was asked for.
    pub publications: Vec<Publication>,
    /// Whether there is more behind them, in that order.
    pub more: bool,
}

/// What this version of the protocol can do, as `connect` lists it.
pub const FEATURES: &[&str] = &["publish", "presence", "refresh", "resume", "recover", "history", "reconnect"];

/// What happened on a channel.
#[derive(Debug, Clone, Copy)]
pub enum Push<'a> {
    /// Something was published.
    Publication(&'a Publication),
    /// Somebody has come or gone.
    Presence(&'a PresenceEvent),
    /// Something that was published may be missing here.
    Gap(Gap),
    /// The channel has come so far without anything for this client.
    Position(Position),
    /// The node ended the subscription.
    Unsubscribed(&'a ErrorCode),
}

/// "You may have missed what was published between these times", in Unix milliseconds by the broker's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The earliest time of what may be missing.
    pub from: u64,
    /// The latest.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
    /// Where the channel goes on: the next publication is the one behind it. `None` on a live channel.
    pub position: Option<Position>,
}

/// Why publications may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// The node's link to the broker was down.
    BrokerLink,
    /// The node could not keep up.
    Overload,
    /// A publication could not be decoded.
    Undecodable,
    /// The broker has lost what it knew of who is in the channel: comings and goings may be missing, publications are
    /// not. Only those who asked for events are told.
    Presence,
    /// The broker has lost, or may have lost, some of the history that it had taken.
    History,
    /// The client reads too slowly, and its namespace drops the oldest.
    SlowConsumer,
}

impl GapReason {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::BrokerLink => "broker_link",
            Self::Overload => "overload",
            Self::Undecodable => "undecodable",
            Self::Presence => "presence",
            Self::History => "history",
            Self::SlowConsumer => "slow_consumer",
        }
    }
}
