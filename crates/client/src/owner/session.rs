//! Owns what happens on one connection: commands out, each with its reply; pushes in, each to the user.

mod asking;
mod incoming;
mod members;
mod renewal;

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use ullim_protocol::codes;
use ullim_protocol::position::Position;

use super::{Owner, Stop};
use crate::backoff::Backoff;
use crate::client::{Answer, CommandError};
use crate::connection::{CONNECT_ID, Connection, Ended, Inbound, Outbound};
use crate::history::History;
use crate::presence::{MembersPage, Occupancy};
use crate::reason::Reason;
use crate::wire::{Limits, Message};
use renewal::{Fetched, Renewal};

/// Commands without a reply; no more are taken until one is answered.
const PENDING: usize = 1024;
/// How long a node that is about to end may keep a connection open beyond the time that it named.
const OVERDUE: Duration = Duration::from_secs(2);
/// How long the node may take to answer a close frame.
const CLOSING: Duration = Duration::from_secs(1);

pub(super) struct Session<'a> {
    owner: &'a mut Owner,
    connection: Connection,
    limits: Limits,
    last_id: u64,
    pending: HashMap<u64, Pending>,
    retry: Backoff,
    /// When to ask again for what was refused for now.
    retry_at: Option<Instant>,
    /// When the session's token is to be another.
    renewal: Renewal,
    /// When to leave a node that said it would end, and has not closed.
    leave_at: Option<Instant>,
    /// Callbacks that are asked for tokens.
    fetching: JoinSet<Fetched>,
    /// Until when, in Unix milliseconds, all that arrived has been handed on to the user.
    complete_until: u64,
}

/// What waits for a reply.
enum Pending {
    Subscribe(Vec<String>),
    Unsubscribe(Answer<()>),
    Publish(Answer<Option<Position>>),
    History(Answer<History>),
    Presence(Answer<MembersPage>),
    PresenceCount(Answer<Occupancy>),
    Ping(Instant, Answer<Duration>),
    /// The members of this channel, for the events.
    Members(String),
    Refresh,
}

impl<'a> Session<'a> {
    /// `expires`: when the token does, in Unix seconds.
    pub(super) fn new(owner: &'a mut Owner, connection: Connection, limits: Limits, expires: Option<u64>) -> Self {
        let backoff = || Backoff::new(owner.config.backoff_base, owner.config.backoff_cap);
        let retry = backoff();
        let renewal = Renewal::new(owner.config.token.as_ref(), expires, backoff());
        Self {
            owner,
            complete_until: connection.pulse.complete_until(),
            connection,
            limits,
            last_id: CONNECT_ID,
            pending: HashMap::new(),
            retry,
            retry_at: None,
            renewal,
            leave_at: None,
            fetching: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self) -> Result<Ended, Stop> {
        let result = self.serve().await;
        let error = match result {
            Ok(_) => {
                self.owner.subscriptions.broke(self.complete_until);
                CommandError::Disconnected
            }
            Err(Stop) => {
                self.close(codes::CLOSED.number).await;
                CommandError::Closed
            }
        };
        for pending in self.pending.into_values() {
            match pending {
                // The subscription ended with the connection.
                Pending::Unsubscribe(answer) => drop(answer.send(Ok(()))),
                Pending::Publish(answer) => drop(answer.send(Err(error.clone()))),
                Pending::History(answer) => drop(answer.send(Err(error.clone()))),
                Pending::Presence(answer) => drop(answer.send(Err(error.clone()))),
                Pending::PresenceCount(answer) => drop(answer.send(Err(error.clone()))),
                Pending::Ping(_, answer) => drop(answer.send(Err(error.clone()))),
                // Their answers are with the subscriptions; the other two have none.
                Pending::Subscribe(_) | Pending::Members(_) | Pending::Refresh => {}
            }
        }
        result
    }

    async fn serve(&mut self) -> Result<Ended, Stop> {
        self.subscribe_due().await?;
        while let Some(command) = self.owner.waiting.pop_front() {
            self.command(command).await?;
        }
        loop {
            let takes_commands = !self.owner.handles_gone && self.pending.len() < PENDING;
            let (retry_at, renew_at, leave_at) = (self.retry_at, self.renewal.at, self.leave_at);
            // In this order: what was read before the moment has been put into the channel, which is found empty later.
            let complete_until = self.connection.pulse.complete_until();
            if self.connection.inbound.is_empty() {
                self.complete_until = complete_until;
            }
            tokio::select! {
                () = self.owner.closing.cancelled() => return Err(Stop),
                () = self.owner.outbox.abandoned(), if self.owner.handles_gone => return Err(Stop),
                inbound = self.connection.next() => match inbound {
                    Inbound::Message(text) => match Message::decode(&text) {
                        Ok(message) => self.message(message).await?,
                        Err(error) => {
                            self.close(codes::PROTOCOL_ERROR.number).await;
                            return Ok(Ended::broken(format!("an unreadable message: {error}")));
                        }
                    },
                    Inbound::Ended(ended) => {
                        self.complete_until = self.connection.pulse.complete_until();
                        return Ok(ended);
                    }
                },
                command = self.owner.asked.recv(), if takes_commands => match command {
                    Some(command) => self.command(command).await?,
                    None => self.owner.handles_gone = true,
                },
                () = due(retry_at), if retry_at.is_some() => {
                    self.retry_at = None;
                    self.owner.subscriptions.wake();
                    self.subscribe_due().await?;
                    self.list_due().await?;
                }
                () = due(renew_at), if renew_at.is_some() => self.renew(),
                () = due(leave_at), if leave_at.is_some() => {
                    self.close(codes::CLOSED.number).await;
                    return Ok(Ended::retried(Reason::Closed("the node is about to end".to_owned())));
                }
                Some(fetched) = self.fetching.join_next() => if let Some(ended) = self.fetched(fetched).await? {
                    self.close(codes::CLOSED.number).await;
                    return Ok(ended);
                },
            }
        }
    }

    /// Has what was refused for now asked for again, after `pause` or a random wait.
    fn retry_later(&mut self, pause: Option<Duration>) {
        if self.retry_at.is_none() {
            let pause = pause.unwrap_or_else(|| self.retry.next());
            self.retry_at = Some(Instant::now() + pause);
        }
    }

    /// The node closes this connection after `delay`, each client's at its own time, so that the others are not stormed:
    /// until then all goes on.
    fn told_to_leave(&mut self, delay: Duration) {
        tracing::debug!(?delay, "the node is about to end");
        self.leave_at = Instant::now().checked_add(delay.saturating_add(OVERDUE));
    }

    /// Says farewell and waits a little for the node to do the same.
    async fn close(&mut self, code: u16) {
        let farewell = async {
            let frame = Outbound::Close { code: Some(code) };
            let _ = self.connection.outbound.send(frame).await;
            while let Inbound::Message(_) = self.connection.next().await {}
        };
        if timeout(CLOSING, farewell).await.is_err() {
            tracing::debug!("the node did not answer the close frame");
        }
    }
}

async fn due(at: Option<Instant>) {
    if let Some(at) = at {
        sleep_until(at).await;
    }
}
