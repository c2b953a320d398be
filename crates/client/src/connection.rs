//! Owns one WebSocket, from the TCP connection to its end. Knows frames and the opening `connect`, no channel.
//!
//! `fastwebsockets` loses its place in the stream when a read is dropped half-way, so a task of its own owns the reading
//! half; another owns the writing half, so that pings are answered while the owner of the connection is busy.

mod ended;
mod handshake;
mod pulse;
mod reader;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use fastwebsockets::{Role, after_handshake_split};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::token::Token;
use crate::wire::{Body, Command, Connected, Message};

pub(crate) use ended::Ended;
pub(crate) use pulse::{Pulse, unix_milliseconds};

/// Messages that may wait between the socket and the owner.
const INBOUND: usize = 16;
/// Frames that may wait to be written.
const OUTBOUND: usize = 64;
/// The id of the `connect` command; those of the session come after it.
pub(crate) const CONNECT_ID: u64 = 1;

/// A connection on which a session stands. Dropping it drops the socket.
pub(crate) struct Connection {
    /// What the node says. Its last message is [`Inbound::Ended`].
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    /// What the node shall hear.
    pub(crate) outbound: mpsc::Sender<Outbound>,
    /// When the node was last heard.
    pub(crate) pulse: Arc<Pulse>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
pub(crate) enum Inbound {
    Message(String),
    Ended(Ended),
}

#[derive(Debug)]
pub(crate) enum Outbound {
    Text(String),
    Pong(Vec<u8>),
    /// The last frame: what follows is not written.
    Close {
        code: Option<u16>,
    },
}

/// As whom to connect.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) token: Option<Token>,
    /// What opens the session of the connection before.
    pub(crate) resume: Option<String>,
}

impl Connection {
    /// Fetches a token, connects to `endpoint` and opens a session there, all within `limit`.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        credentials: &Credentials,
        limit: Duration,
    ) -> Result<(Self, Connected), Ended> {
        let opening = async {
            let token = match &credentials.token {
                Some(token) => Some(token.get(limit).await.map_err(Ended::without_token)?),
                None => None,
            };
            let mut connection = Self::upgrade(endpoint, limit).await?;
            let connected = connection.connect(token.as_deref(), credentials.resume.as_deref()).await?;
            // A node that is alive pings every `ping` (or sends something else); two of them may pass.
            connection.pulse.allow_silence(Duration::from_millis(connected.ping.max(1)).saturating_mul(2));
            Ok((connection, connected))
        };
        timeout(limit, opening).await.unwrap_or_else(|_| Err(Ended::broken(format!("no session within {limit:?}"))))
    }

    async fn upgrade(endpoint: &Endpoint, limit: Duration) -> Result<Self, Ended> {
        let (read, write) = handshake::shake(endpoint).await?;
        let pulse = Arc::new(Pulse::new(limit));
        let (reader, writer) = after_handshake_split(pulse::Heard::new(read, pulse.clone()), write, Role::Client);
        let (heard, inbound) = mpsc::channel(INBOUND);
        let (outbound, to_write) = mpsc::channel(OUTBOUND);
        let mut tasks = JoinSet::new();
        tasks.spawn(reader::read(reader, pulse.clone(), heard, outbound.clone()));
        tasks.spawn(writer::write(writer, pulse.clone(), to_write));
        Ok(Self { inbound, outbound, pulse, _tasks: tasks })
    }

    async fn connect(&mut self, token: Option<&str>, resume: Option<&str>) -> Result<Connected, Ended> {
        let command = Command { id: CONNECT_ID, body: Body::Connect { token, resume } };
        let text = command.encode().map_err(|error| Ended::broken(error.to_string()))?;
        // If the writer is gone, the reader tells why.
        let _ = self.outbound.send(Outbound::Text(text)).await;
        loop {
            let message = match self.next().await {
                Inbound::Message(text) => {
                    Message::decode(&text).map_err(|error| Ended::broken(format!("an unreadable message: {error}")))?
                }
                Inbound::Ended(ended) => return Err(ended),
            };
            match message {
                Message { connect: Some(connected), .. } => return Ok(connected),
                // Nothing else was asked, so an error without an id is about this too.
                Message { error: Some(error), .. } => return Err(Ended::refused(error)),
                _ => {}
            }
        }
    }

    /// What the node says next. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Inbound {
        let lost = || Inbound::Ended(Ended::broken("the reading task stopped"));
        self.inbound.recv().await.unwrap_or_else(lost)
    }
}
