//! Owns what the user hears: publications, gaps, and what becomes of the connection.

use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::mpsc;
use ullim_protocol::position::Position;

use crate::data::{Data, Info};
use crate::presence::MembersPage;
use crate::reason::Reason;

/// What happened, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An attempt to connect begins.
    Connecting {
        /// The node that is tried.
        url: String,
        /// Which attempt this is, from 1, since a connection last held.
        attempt: u32,
    },
    /// The session stands.
    Connected {
        /// Its public id.
        session: String,
        /// Whose it is; `None` if anonymous.
        user: Option<String>,
        /// The node that holds it.
        url: String,
        /// Whether it is the session of the connection before, which goes on: to others it was never away. What was
        /// published meanwhile comes all the same on recoverable channels only; on others it is told as [`Event::Gap`].
        resumed: bool,
    },
    /// A connection broke, or an attempt failed.
    Disconnected {
        /// The code of the node's close frame, if there was one.
        code: Option<u16>,
        /// What is known about the cause.
        reason: Reason,
        /// When the next attempt begins; `None`: there will be none, and [`Event::Closed`] follows.
        retry_in: Option<Duration>,
    },
    /// Somebody published.
    Publication {
        /// Where.
        channel: String,
        /// What.
        publication: Publication,
    },
    /// Publications of a channel from `from` to `to` may be missing. It stands where they would have stood.
    ///
    /// Where the reason is [`GapReason::Disconnected`], `from` is when this client was last known to have read all that
    /// had reached it. It knows neither how far the clocks differ nor how long a publication was on its way: whoever
    /// fetches what is missing does well to begin a little earlier.
    Gap {
        /// The channel.
        channel: String,
        /// Unix milliseconds: by the broker's clock; by this machine's for [`GapReason::Disconnected`].
        from: u64,
        /// Unix milliseconds, by the same clock as `from`.
        to: u64,
        /// What happened.
        reason: GapReason,
        /// Where the channel goes on, if it is recoverable: the next publication is the one behind that.
        position: Option<Position>,
    },
    /// A subscription to a recoverable channel goes on where it was: what was missed follows, each publication once.
    Recovered {
        /// The channel.
        channel: String,
        /// What was heard last.
        since: Position,
        /// Where the channel stands: the position of the last one that follows at once.
        position: Position,
    },
    /// A subscription cannot go on where it was: what was published behind `since` and up to `position` is missing. The
    /// history does not reach back so far, holds more than the node recovers at once, or does not know the position. What
    /// there is of it, [`crate::Client::history`] gives.
    NotRecovered {
        /// The channel.
        channel: String,
        /// What was heard last.
        since: Position,
        /// Where the channel stands: the next publication is the one behind that. `None` if it is not recoverable any
        /// more.
        position: Option<Position>,
    },
    /// The first members of a channel: upon a subscription with [`crate::SubscribeOptions::presence`], and whenever a
    /// subscription with [`crate::SubscribeOptions::events`] may have missed who came and went. It replaces what was
    /// known. If there is a cursor, [`crate::Client::presence`] gives the rest.
    Members {
        /// The channel.
        channel: String,
        /// The members.
        page: MembersPage,
    },
    /// Somebody came to a channel, with the first of their sessions.
    Joined {
        /// The channel.
        channel: String,
        /// Who: the user, or `~` and the session id of an anonymous session.
        user: String,
        /// What the application says of them.
        info: Option<Info>,
    },
    /// Somebody left a channel, with the last of their sessions.
    Left {
        /// The channel.
        channel: String,
        /// Who: the user, or `~` and the session id of an anonymous session.
        user: String,
    },
    /// A subscription ended without having been asked to, and is not renewed. Where its callback for a token said
    /// [`crate::TokenError::Denied`], the code is that of `permission_denied`.
    Unsubscribed {
        /// The channel.
        channel: String,
        /// The number of the error (see `ullim_protocol::codes`).
        code: u16,
        /// The name of the error.
        name: String,
    },
    /// The client has stopped and will not connect again: the last event.
    Closed {
        /// Why.
        reason: Reason,
    },
}

/// Something published.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// What was published.
    pub data: Data,
    /// When, in Unix milliseconds.
    pub time: u64,
    /// What the publisher attached, in its order; often empty.
    pub headers: IndexMap<String, String>,
    /// Its place in the channel's history, if the channel is recoverable.
    pub position: Option<Position>,
}

/// Why publications may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GapReason {
    /// The node's link to the broker was down.
    BrokerLink,
    /// The node could not keep up and dropped publications.
    Overload,
    /// A publication could not be decoded, by the node or by this client.
    Undecodable,
    /// The broker has lost who is in the channel: joins and leaves may be missing, publications are not. Told only to
    /// subscriptions with events.
    Presence,
    /// The broker has lost, or may have lost, some of the history of a recoverable channel.
    History,
    /// This client read too slowly, and the channel's namespace drops the oldest.
    SlowConsumer,
    /// This client was not connected.
    Disconnected,
    /// A reason that this client does not know, as the node named it.
    Other(String),
}

impl From<String> for GapReason {
    fn from(name: String) -> Self {
        match name.as_str() {
            "broker_link" => Self::BrokerLink,
            "overload" => Self::Overload,
            "undecodable" => Self::Undecodable,
            "presence" => Self::Presence,
            "history" => Self::History,
            "slow_consumer" => Self::SlowConsumer,
            _ => Self::Other(name),
        }
    }
}

/// The events of a client. Nothing is dropped: when as many wait as [`crate::Config::events`] allows, the socket is not
/// read until there is room. Commands time out meanwhile, and in the end the node closes the connection as a slow
/// consumer's. Once this is dropped, events are thrown away.
#[derive(Debug)]
pub struct Events {
    pub(crate) receiver: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event; `None` after [`Event::Closed`]. Safe to cancel: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }
}
