//! What a client is told, whatever its dialect.

use crate::codes::ErrorCode;
use crate::command::Refusal;
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
}

/// How a command was answered.
#[derive(Debug, Clone, Copy)]
pub enum Reply<'a> {
    /// The session is open.
    Connect(Connected<'a>),
    /// The subscription stands.
    Subscribe,
    /// Each of the subscriptions stands, or was refused.
    SubscribeMany(&'a [(String, Result<(), Refusal>)]),
    /// The subscription has ended.
    Unsubscribe,
    /// The broker took the publication.
    Publish,
    /// Here I am.
    Ping,
}

/// What a client learns when its session opens.
#[derive(Debug, Clone, Copy)]
pub struct Connected<'a> {
    /// The session's public id.
    pub session: SessionId,
    /// Who the client is; `None` when anonymous.
    pub user: Option<&'a str>,
    /// The heartbeat interval, in milliseconds.
    pub ping_ms: u64,
    /// The most bytes of a message from the client.
    pub message_bytes: usize,
    /// The most subscriptions of the connection.
    pub subscriptions: usize,
}

/// What this version of the protocol can do, as `connect` lists it.
pub const FEATURES: &[&str] = &["publish"];

/// What happened on a channel.
#[derive(Debug, Clone, Copy)]
pub enum Push<'a> {
    /// Something was published.
    Publication(&'a Publication),
    /// Something that was published may be missing here.
    Gap(Gap),
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
}

impl GapReason {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::BrokerLink => "broker_link",
            Self::Overload => "overload",
            Self::Undecodable => "undecodable",
        }
    }
}
