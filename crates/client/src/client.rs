//! Owns the handle: what a user can ask of a client, and how a command can fail.

use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use ullim_protocol::position::Position;

use crate::data::Data;
use crate::history::{History, Part};
use crate::presence::{MembersPage, Occupancy, Page};
use crate::token::{Token, TokenError};

/// A connection to a cluster that renews itself. Clones share it; it ends with [`Client::close`], or when the last
/// clone and the [`crate::Events`] are both gone.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) closing: CancellationToken,
    /// The owner task, to wait for.
    pub(crate) tasks: TaskTracker,
    pub(crate) command_timeout: Duration,
}

/// How to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishOptions {
    /// Whether this session, if it is subscribed to the channel, gets the publication too. It does by default.
    pub echo: bool,
    /// What to attach: up to 16 headers, 4 KiB in all; the node refuses more. They reach subscribers in this order.
    pub headers: IndexMap<String, String>,
    /// On a recoverable channel: of two publications with the same id within five minutes the second is not one, and is
    /// answered with the first one's position, so that it can be tried again. 1 to 128 bytes. Means nothing elsewhere.
    pub id: Option<String>,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { echo: true, headers: IndexMap::new(), id: None }
    }
}

/// How to subscribe.
#[derive(Debug, Clone, Default)]
pub struct SubscribeOptions {
    /// Whether to be told who is there, once, as [`crate::Event::Members`]. The channel's namespace must keep presence.
    pub presence: bool,
    /// Whether to be told who comes and goes, as [`crate::Event::Joined`] and [`crate::Event::Left`]. After each gap and
    /// each reconnect who is there is told as well. The channel's namespace must keep presence.
    pub events: bool,
    /// The subscription token, where the channel asks for one. A callback is asked each time the channel is subscribed
    /// to, and when the token has expired: then the subscription is renewed. With a fixed token it ends.
    pub token: Option<Token>,
    /// Where to go on in a recoverable channel, as an earlier client was told it: what was published behind that comes
    /// first ([`crate::Event::Recovered`]), or it is told that it cannot ([`crate::Event::NotRecovered`]).
    pub since: Option<Position>,
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The node said no.
    #[error("{name} ({code}): {message}")]
    Refused {
        /// The number of the error (see `ullim_protocol::codes`).
        code: u16,
        /// The name of the error.
        name: String,
        /// An explanation for people.
        message: String,
        /// Whether the same command may succeed later without a change.
        retry: bool,
    },
    /// The callback for the channel's token gave none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The connection broke before the reply: the node may or may not have carried the command out.
    #[error("the connection broke before the reply came")]
    Disconnected,
    /// No reply came in time. If there was a connection, the node may or may not have carried the command out.
    #[error("no reply came in time")]
    Timeout,
    /// The client has stopped, as [`crate::Event::Closed`] told: nothing will succeed any more.
    #[error("the client is closed")]
    Closed,
}

/// Where the outcome of a command goes. Closed when nobody waits for it any more.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, CommandError>>;

/// Everything that a handle can ask of the owner task.
#[derive(Debug)]
pub(crate) enum Command {
    Subscribe { channel: String, options: SubscribeOptions, answer: Answer<Option<Position>> },
    Unsubscribe { channel: String, answer: Answer<()> },
    Publish { channel: String, data: Data, options: PublishOptions, answer: Answer<Option<Position>> },
    Presence { channel: String, page: Page, answer: Answer<MembersPage> },
    PresenceCount { channel: String, answer: Answer<Occupancy> },
    History { channel: String, part: Part, answer: Answer<History> },
    Ping { answer: Answer<Duration> },
}

impl CommandError {
    /// Whether the same command may succeed later without a change.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Refused { retry, .. } => *retry,
            Self::Token(TokenError::Unavailable(_)) | Self::Disconnected | Self::Timeout => true,
            Self::Token(TokenError::Denied(_)) | Self::Closed => false,
        }
    }
}

impl Command {
    /// Whether nobody waits for the outcome any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Subscribe { answer, .. } | Self::Publish { answer, .. } => answer.is_closed(),
            Self::Unsubscribe { answer, .. } => answer.is_closed(),
            Self::History { answer, .. } => answer.is_closed(),
            Self::Presence { answer, .. } => answer.is_closed(),
            Self::PresenceCount { answer, .. } => answer.is_closed(),
            Self::Ping { answer } => answer.is_closed(),
        }
    }
}

impl Client {
    /// Subscribes to `channel` and waits until the subscription stands. Says where the channel stood then, if it is
    /// recoverable. From then on it is renewed on every new connection: a recoverable channel goes on where it was, each
    /// publication once, and [`crate::Event::NotRecovered`] says if it cannot; on others an [`crate::Event::Gap`] says what
    /// may have been missed meanwhile.
    ///
    /// # Errors
    /// Any. After an error the channel is not subscribed, unless it was before.
    pub async fn subscribe(&self, channel: &str) -> Result<Option<Position>, CommandError> {
        self.subscribe_with(channel, SubscribeOptions::default()).await
    }

    /// As [`Client::subscribe`], with options. They hold for as long as the subscription does: a channel that is
    /// subscribed already keeps those that it has.
    ///
    /// # Errors
    /// Those of [`Client::subscribe`].
    pub async fn subscribe_with(
        &self,
        channel: &str,
        options: SubscribeOptions,
    ) -> Result<Option<Position>, CommandError> {
        let channel = channel.to_owned();
        self.ask(|answer| Command::Subscribe { channel, options, answer }).await
    }

    /// Ends the subscription to `channel`. None of its publications is added to the events from now on; those that wait
    /// there stay. If there is no connection, or it breaks meanwhile, there is nothing left to end: that is a success.
    ///
    /// # Errors
    /// [`CommandError::Refused`], [`CommandError::Timeout`] and [`CommandError::Closed`]. After the first two the node
    /// may still send publications, which are thrown away.
    pub async fn unsubscribe(&self, channel: &str) -> Result<(), CommandError> {
        let channel = channel.to_owned();
        self.ask(|answer| Command::Unsubscribe { channel, answer }).await
    }

    /// Publishes `data` on `channel`. It is sent once or not at all, never repeated. Says where it stands, if the channel
    /// is recoverable.
    ///
    /// # Errors
    /// Any. A message larger than the node takes is refused as `bad_data` without being sent.
    pub async fn publish(&self, channel: &str, data: Data) -> Result<Option<Position>, CommandError> {
        self.publish_with(channel, data, PublishOptions::default()).await
    }

    /// As [`Client::publish`], with options.
    ///
    /// # Errors
    /// Those of [`Client::publish`].
    pub async fn publish_with(
        &self,
        channel: &str,
        data: Data,
        options: PublishOptions,
    ) -> Result<Option<Position>, CommandError> {
        let channel = channel.to_owned();
        self.ask(|answer| Command::Publish { channel, data, options, answer }).await
    }

    /// Asks who is in `channel`, page by page. It need not be subscribed.
    ///
    /// # Errors
    /// Any but [`CommandError::Token`].
    pub async fn presence(&self, channel: &str, page: Page) -> Result<MembersPage, CommandError> {
        let channel = channel.to_owned();
        self.ask(|answer| Command::Presence { channel, page, answer }).await
    }

    /// Asks how many are in `channel`. It need not be subscribed.
    ///
    /// # Errors
    /// Any but [`CommandError::Token`].
    pub async fn presence_count(&self, channel: &str) -> Result<Occupancy, CommandError> {
        let channel = channel.to_owned();
        self.ask(|answer| Command::PresenceCount { channel, answer }).await
    }

    /// Asks for a part of what was published on `channel`, which has to be recoverable. It need not be subscribed, but
    /// this session must be one that may subscribe.
    ///
    /// # Errors
    /// Any but [`CommandError::Token`]; `no_history` for a channel that is not recoverable.
    pub async fn history(&self, channel: &str, part: Part) -> Result<History, CommandError> {
        let channel = channel.to_owned();
        self.ask(|answer| Command::History { channel, part, answer }).await
    }

    /// Asks the node for a sign of life. Gives the time from sending to the reply, without the wait for a connection.
    ///
    /// # Errors
    /// Any.
    pub async fn ping(&self) -> Result<Duration, CommandError> {
        self.ask(|answer| Command::Ping { answer }).await
    }

    /// Closes the connection with code 1000, for all clones, and waits for the end: about a second at most. Commands
    /// without a reply fail with [`CommandError::Closed`]; publications that are not among the events yet are lost.
    pub async fn close(self) {
        self.closing.cancel();
        self.tasks.wait().await;
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, CommandError> {
        let (answer, reply) = oneshot::channel();
        let exchange = async {
            let sent = self.commands.send(command(answer)).await;
            sent.map_err(|_| CommandError::Closed)?;
            // An owner that stops drops the answers it owes.
            reply.await.unwrap_or(Err(CommandError::Closed))
        };
        timeout(self.command_timeout, exchange).await.unwrap_or(Err(CommandError::Timeout))
    }
}
