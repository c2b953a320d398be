//! Owns how what is wanted becomes commands that the node takes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use ullim_protocol::codes::{self, ErrorCode};
use ullim_protocol::presence::MAX_LISTS;

use super::{Pending, Session};
use crate::client::{Answer, Command, CommandError};
use crate::connection::Outbound;
use crate::history::Part;
use crate::owner::Stop;
use crate::owner::subscriptions::Due;
use crate::wire::{self, Body, Publish, Refusal, Subscribe};

/// Channels in one command. The bytes are limited as well, by what the node takes.
const BATCH: usize = 128;

impl Session<'_> {
    pub(super) async fn command(&mut self, command: Command) -> Result<(), Stop> {
        if command.is_abandoned() {
            return Ok(());
        }
        match command {
            Command::Subscribe { channel, options, answer } => {
                match self.owner.subscriptions.want(&channel, options, answer) {
                    Some(due) => self.subscribe(due).await,
                    None => Ok(()),
                }
            }
            Command::Unsubscribe { channel, answer } => {
                self.owner.subscriptions.forget(&channel);
                self.unsubscribe(&channel, answer).await
            }
            Command::Publish { channel, data, options, answer } => {
                let body = Body::Publish(Publish::new(&channel, &data, &options));
                self.ask(body, &codes::BAD_DATA, answer, Pending::Publish).await
            }
            Command::Presence { channel, page, answer } => {
                let body = Body::Presence { channel: &channel, limit: page.limit, cursor: page.cursor.as_deref() };
                self.ask(body, &codes::BAD_CHANNEL, answer, Pending::Presence).await
            }
            Command::PresenceCount { channel, answer } => {
                let body = Body::PresenceCount { channel: &channel };
                self.ask(body, &codes::BAD_CHANNEL, answer, Pending::PresenceCount).await
            }
            Command::History { channel, part, answer } => {
                let Part { since, limit, reverse } = part;
                let since = since.map(wire::Position);
                let body = Body::History { channel: &channel, since, limit, reverse };
                self.ask(body, &codes::BAD_CHANNEL, answer, Pending::History).await
            }
            Command::Ping { answer } => {
                let pending = |answer: Answer<Duration>| Pending::Ping(Instant::now(), answer);
                self.ask(Body::Ping {}, &codes::BAD_MESSAGE, answer, pending).await
            }
        }
    }

    pub(super) async fn unsubscribe(&mut self, channel: &str, answer: Answer<()>) -> Result<(), Stop> {
        self.ask(Body::Unsubscribe { channel }, &codes::BAD_CHANNEL, answer, Pending::Unsubscribe).await
    }

    /// Asks for a channel that the user has just come to want.
    async fn subscribe(&mut self, due: Due) -> Result<(), Stop> {
        if due.fetches() {
            self.fetch(due);
            return Ok(());
        }
        let id = self.next_id();
        self.owner.subscriptions.asked(&due.channel, id);
        let token = due.token.as_ref().and_then(|token| token.as_fixed().cloned());
        self.subscribe_as(&due, id, token.as_ref()).await
    }

    /// Sends the command `id` for one channel, which is known to be asked for in it.
    pub(super) async fn subscribe_as(&mut self, due: &Due, id: u64, token: Option<&Arc<str>>) -> Result<(), Stop> {
        let body = Body::Subscribe(Subscribe::One(due.wanted(token)));
        match self.encode(id, body, &codes::BAD_CHANNEL) {
            Ok(text) => self.send(id, text, Pending::Subscribe(vec![due.channel.clone()])).await,
            Err(refusal) => self.refused(&due.channel, id, &refusal.into()).await,
        }
    }

    /// Asks for every channel that is due, in as few commands as the node takes. Those whose tokens have to be fetched
    /// follow one by one.
    pub(super) async fn subscribe_due(&mut self) -> Result<(), Stop> {
        let (fetched, due): (Vec<_>, Vec<_>) = self.owner.subscriptions.due().into_iter().partition(Due::fetches);
        for due in fetched {
            self.fetch(due);
        }
        let mut rest = due.as_slice();
        while !rest.is_empty() {
            let id = self.next_id();
            let mut count = with_few_lists(rest).min(BATCH).min(self.limits.subscriptions.unwrap_or(BATCH).max(1));
            let text = loop {
                let fixed = |due: &Due| due.token.as_ref().and_then(|token| token.as_fixed().cloned());
                let tokens: Vec<_> = rest[..count].iter().map(fixed).collect();
                let channels = rest[..count].iter().zip(&tokens).map(|(due, token)| due.wanted(token.as_ref()));
                let body = Body::Subscribe(Subscribe::Many { channels: channels.collect() });
                match self.encode(id, body, &codes::BAD_CHANNEL) {
                    Err(_) if count > 1 => count = count.div_ceil(2),
                    encoded => break encoded,
                }
            };
            let (batch, later) = rest.split_at(count);
            rest = later;
            for due in batch {
                self.owner.subscriptions.asked(&due.channel, id);
            }
            match text {
                Ok(text) => {
                    let channels = batch.iter().map(|due| due.channel.clone());
                    self.send(id, text, Pending::Subscribe(channels.collect())).await?;
                }
                Err(refusal) => {
                    tracing::warn!(
                        channel = batch[0].channel,
                        "a channel that stood does not fit this node's messages"
                    );
                    let error = CommandError::from(refusal);
                    for due in batch {
                        self.refused(&due.channel, id, &error).await?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Sends a command whose reply somebody waits for.
    async fn ask<T>(
        &mut self,
        body: Body<'_>,
        code: &ErrorCode,
        answer: Answer<T>,
        pending: impl FnOnce(Answer<T>) -> Pending,
    ) -> Result<(), Stop> {
        let id = self.next_id();
        match self.encode(id, body, code) {
            Ok(text) => self.send(id, text, pending(answer)).await,
            Err(refusal) => {
                let _ = answer.send(Err(refusal.into()));
                Ok(())
            }
        }
    }

    /// A node closes for good when a message is too long, so such a message is refused here, as `code`.
    pub(super) fn encode(&self, id: u64, body: Body<'_>, code: &ErrorCode) -> Result<String, Refusal> {
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

    pub(super) async fn send(&mut self, id: u64, text: String, pending: Pending) -> Result<(), Stop> {
        self.pending.insert(id, pending);
        tokio::select! {
            biased;
            () = self.owner.closing.cancelled() => Err(Stop),
            // If the writer is gone, the reader tells why, and that ends what is pending.
            _ = self.connection.outbound.send(Outbound::Text(text)) => Ok(()),
        }
    }
}

/// How many of these fit into one command, by the lists of members that are wanted.
fn with_few_lists(due: &[Due]) -> usize {
    let lists = due.iter().enumerate().filter(|(_, due)| due.presence);
    lists.map(|(place, _)| place).nth(MAX_LISTS).unwrap_or(due.len())
}
