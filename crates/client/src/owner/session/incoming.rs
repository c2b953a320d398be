//! Owns what a node's message brings about: a reply ends a command, a push becomes events.

use std::collections::HashMap;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Pending, Session};
use crate::client::CommandError;
use crate::connection::unix_milliseconds;
use crate::event::{Event, GapReason, Publication};
use crate::owner::Stop;
use crate::owner::subscriptions::Next;
use crate::wire::{self, Message, Push, Refusal};

impl Session<'_> {
    pub(super) async fn message(&mut self, message: Message) -> Result<(), Stop> {
        if let Some(push) = message.push {
            self.push(push).await;
            return Ok(());
        }
        let Some(id) = message.id else {
            if let Some(error) = message.error {
                tracing::warn!(code = error.code, name = error.name, "the node refused a message");
            }
            return Ok(());
        };
        let Some(pending) = self.pending.remove(&id) else {
            tracing::debug!(id, "a reply to nothing");
            return Ok(());
        };
        let outcome = message.error.map_or(Ok(()), Err);
        match pending {
            Pending::Subscribe(channels) => {
                let outcomes = message.subscribe.map(|reply| reply.channels);
                let outcomes = outcomes.unwrap_or_default();
                self.subscribed(id, channels, outcome, outcomes).await?;
            }
            Pending::Unsubscribe(answer) | Pending::Publish(answer) => {
                let _ = answer.send(outcome.map_err(CommandError::from));
            }
            Pending::Ping(sent, answer) => {
                let outcome = outcome.map(|()| sent.elapsed());
                let _ = answer.send(outcome.map_err(CommandError::from));
            }
        }
        Ok(())
    }

    async fn subscribed(
        &mut self,
        id: u64,
        channels: Vec<String>,
        whole: Result<(), Refusal>,
        outcomes: Vec<wire::Outcome>,
    ) -> Result<(), Stop> {
        if let Err(refusal) = whole {
            for channel in &channels {
                self.refused(channel, id, &refusal).await?;
            }
            return Ok(());
        }
        let mut refusals: HashMap<String, Refusal> =
            outcomes.into_iter().filter_map(|outcome| Some((outcome.channel, outcome.error?))).collect();
        for channel in &channels {
            if let Some(refusal) = refusals.remove(channel) {
                self.refused(channel, id, &refusal).await?;
                continue;
            }
            let now = unix_milliseconds();
            let next = self.owner.subscriptions.granted(channel, id, now);
            self.follow(channel, next).await?;
        }
        if self.retry_at.is_none() {
            self.retry.reset();
        }
        Ok(())
    }

    pub(super) async fn refused(&mut self, channel: &str, id: u64, refusal: &Refusal) -> Result<(), Stop> {
        let next = self.owner.subscriptions.refused(channel, id, refusal);
        self.follow(channel, next).await
    }

    async fn follow(&mut self, channel: &str, next: Next) -> Result<(), Stop> {
        match next {
            Next::Nothing => {}
            Next::Tell(event) => self.owner.outbox.put(event).await,
            Next::Abandon => {
                let (nobody, _) = oneshot::channel();
                self.unsubscribe(channel, nobody).await?;
            }
            Next::Retry => {
                if self.retry_at.is_none() {
                    self.retry_at = Some(Instant::now() + self.retry.next());
                }
            }
        }
        Ok(())
    }

    async fn push(&mut self, push: Push) {
        let Some(channel) = push.channel else {
            return;
        };
        if !self.owner.subscriptions.is_wanted(&channel) {
            tracing::trace!(channel, "a push on a channel that is not wanted");
            return;
        }
        let now = unix_milliseconds();
        let event = if let Some(published) = push.publication {
            match Publication::try_from(published) {
                Ok(publication) => Event::Publication { channel, publication },
                Err(wire::Undecodable { time }) => {
                    Event::Gap { channel, from: time, to: time, reason: GapReason::Undecodable }
                }
            }
        } else if let Some(gap) = push.gap {
            Event::Gap { channel, from: gap.from, to: gap.to, reason: gap.reason() }
        } else if let Some(end) = push.unsubscribed {
            if !self.owner.subscriptions.ended(&channel) {
                return;
            }
            Event::Unsubscribed { channel, code: end.code, name: end.name }
        } else {
            return;
        };
        if let Event::Publication { channel, .. } | Event::Gap { channel, .. } = &event
            && let Some(gap) = self.owner.subscriptions.gap(channel, now)
        {
            self.owner.outbox.put(gap).await;
        }
        self.owner.outbox.put(event).await;
    }
}
