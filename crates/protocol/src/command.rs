//! What a client asks for, whatever its dialect.

use crate::codes::ErrorCode;
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
    /// Open the session.
    Connect {
        /// A JWT; without one the client is anonymous.
        token: Option<String>,
    },
    /// Hear one channel.
    Subscribe(String),
    /// Hear several channels.
    SubscribeMany(Vec<String>),
    /// Hear a channel no longer.
    Unsubscribe(String),
    /// Say something on a channel.
    Publish(Publish),
    /// Answer me.
    Ping,
}

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
