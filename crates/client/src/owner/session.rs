//! Owns what happens on one connection: commands out, each with its reply; pushes in, each to the user.

mod incoming;

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use ullim_protocol::codes::{self, ErrorCode};

use super::{Owner, Stop};
use crate::backoff::Backoff;
use crate::client::{Answer, Command, CommandError};
use crate::connection::{CONNECT_ID, Connection, Ended, Inbound, Outbound};
use crate::wire::{self, Body, Limits, Message, Named, Publish, Refusal, Subscribe};

/// Channels in one command. The bytes are limited as well, by what the node takes.
const BATCH: usize = 128;
/// Commands without a reply; no more are taken until one is answered.
const PENDING: usize = 1024;
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
    /// Until when, in Unix milliseconds, all that arrived has been handed on to the user.
    complete_until: u64,
}

/// What waits for a reply.
enum Pending {
    Subscribe(Vec<String>),
    Unsubscribe(Answer<()>),
    Publish(Answer<()>),
    Ping(Instant, Answer<Duration>),
}

impl<'a> Session<'a> {
    pub(super) fn new(owner: &'a mut Owner, connection: Connection, limits: Limits) -> Self {
        let retry = Backoff::new(owner.config.backoff_base, owner.config.backoff_cap);
        Self {
            owner,
            complete_until: connection.pulse.complete_until(),
            connection,
            limits,
            last_id: CONNECT_ID,
            pending: HashMap::new(),
            retry,
            retry_at: None,
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
                Pending::Ping(_, answer) => drop(answer.send(Err(error.clone()))),
                // Their answers are with the subscriptions.
                Pending::Subscribe(_) => {}
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
            let retry_at = self.retry_at;
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
                    self.subscribe_due().await?;
                }
            }
        }
    }

    async fn command(&mut self, command: Command) -> Result<(), Stop> {
        if command.is_abandoned() {
            return Ok(());
        }
        match command {
            Command::Subscribe { channel, answer } => {
                if !self.owner.subscriptions.want(&channel, answer) {
                    return Ok(());
                }
                let id = self.next_id();
                self.owner.subscriptions.asked(&channel, id);
                let body = Body::Subscribe(Subscribe::One { channel: &channel });
                match self.encode(id, body, &codes::BAD_CHANNEL) {
                    Ok(text) => self.send(id, text, Pending::Subscribe(vec![channel])).await,
                    Err(refusal) => {
                        self.owner.subscriptions.refused(&channel, id, &refusal);
                        Ok(())
                    }
                }
            }
            Command::Unsubscribe { channel, answer } => {
                self.owner.subscriptions.forget(&channel);
                self.unsubscribe(&channel, answer).await
            }
            Command::Publish { channel, data, options, answer } => {
                let id = self.next_id();
                let body = Body::Publish(Publish::new(&channel, &data, &options));
                match self.encode(id, body, &codes::BAD_DATA) {
                    Ok(text) => self.send(id, text, Pending::Publish(answer)).await,
                    Err(refusal) => {
                        let _ = answer.send(Err(refusal.into()));
                        Ok(())
                    }
                }
            }
            Command::Ping { answer } => {
                let id = self.next_id();
                match self.encode(id, Body::Ping {}, &codes::BAD_MESSAGE) {
                    Ok(text) => self.send(id, text, Pending::Ping(Instant::now(), answer)).await,
                    Err(refusal) => {
                        let _ = answer.send(Err(refusal.into()));
                        Ok(())
                    }
                }
            }
        }
    }

    async fn unsubscribe(&mut self, channel: &str, answer: Answer<()>) -> Result<(), Stop> {
        let id = self.next_id();
        match self.encode(id, Body::Unsubscribe { channel }, &codes::BAD_CHANNEL) {
            Ok(text) => self.send(id, text, Pending::Unsubscribe(answer)).await,
            Err(refusal) => {
                let _ = answer.send(Err(refusal.into()));
                Ok(())
            }
        }
    }

    /// Asks for every channel that is due, in as few commands as the node takes.
    async fn subscribe_due(&mut self) -> Result<(), Stop> {
        let due = self.owner.subscriptions.due();
        let mut rest = due.as_slice();
        while !rest.is_empty() {
            let id = self.next_id();
            let mut count = rest.len().min(BATCH).min(self.limits.subscriptions.unwrap_or(BATCH).max(1));
            let text = loop {
                let channels = rest[..count].iter().map(|channel| Named { channel });
                let channels = channels.collect();
                let body = Body::Subscribe(Subscribe::Many { channels });
                match self.encode(id, body, &codes::BAD_CHANNEL) {
                    Err(_) if count > 1 => count = count.div_ceil(2),
                    encoded => break encoded,
                }
            };
            let (batch, later) = rest.split_at(count);
            rest = later;
            for channel in batch {
                self.owner.subscriptions.asked(channel, id);
            }
            match text {
                Ok(text) => {
                    let pending = Pending::Subscribe(batch.to_vec());
                    self.send(id, text, pending).await?;
                }
                Err(refusal) => {
                    tracing::warn!(channel = batch[0], "a channel that stood does not fit this node's messages");
                    for channel in batch {
                        self.refused(channel, id, &refusal).await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A node closes for good when a message is too long, so such a message is refused here, as `code`.
    fn encode(&self, id: u64, body: Body<'_>, code: &ErrorCode) -> Result<String, Refusal> {
        let refusal =
            |message: String| Refusal { code: code.number, name: code.name.to_owned(), message, retry: code.retry };
        let text = wire::Command { id, body }.encode();
        let text = text.map_err(|error| refusal(error.to_string()))?;
        match self.limits.message {
            Some(most) if text.len() > most => {
                let length = text.len();
                Err(refusal(format!("the message has {length} bytes, the node takes {most}")))
            }
            _ => Ok(text),
        }
    }

    async fn send(&mut self, id: u64, text: String, pending: Pending) -> Result<(), Stop> {
        self.pending.insert(id, pending);
        tokio::select! {
            biased;
            () = self.owner.closing.cancelled() => Err(Stop),
            // If the writer is gone, the reader tells why, and that ends what is pending.
            _ = self.connection.outbound.send(Outbound::Text(text)) => Ok(()),
        }
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
