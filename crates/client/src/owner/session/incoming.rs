//! Owns what a node's message brings about: a reply ends a command, a push becomes events.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;
use ullim_protocol::codes;

use super::{Pending, Session};
use crate::client::CommandError;
use crate::connection::unix_milliseconds;
use crate::event::{Event, GapReason, Publication};
use crate::owner::Stop;
use crate::owner::subscriptions::Next;
use crate::wire::{self, Message, Push, Refusal};

/// The pause before a subscription is renewed that expired as soon as it stood.
const SLOWLY: Duration = Duration::from_secs(1);

impl Session<'_> {
    pub(super) async fn message(&mut self, message: Message) -> Result<(), Stop> {
        if let Some(push) = message.push {
            return self.push(push).await;
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
                let reply = message.subscribe.unwrap_or_default();
                self.subscribed(id, channels, outcome, reply).await?;
            }
            Pending::Unsubscribe(answer) | Pending::Publish(answer) => {
                let _ = answer.send(outcome.map_err(CommandError::from));
            }
            Pending::Ping(sent, answer) => {
                let outcome = outcome.map(|()| sent.elapsed());
                let _ = answer.send(outcome.map_err(CommandError::from));
            }
            Pending::Presence(answer) => {
                let outcome = outcome.and_then(|()| told(message.presence));
                let _ = answer.send(outcome.map_err(CommandError::from));
            }
            Pending::PresenceCount(answer) => {
                let outcome = outcome.and_then(|()| told(message.presence_count));
                let _ = answer.send(outcome.map_err(CommandError::from));
            }
            Pending::Members(channel) => {
                let outcome = outcome.and_then(|()| told(message.presence));
                self.listed(channel, id, outcome).await?;
            }
            Pending::Refresh => self.refreshed(outcome.map(|()| message.refresh.unwrap_or_default())),
        }
        Ok(())
    }

    async fn subscribed(
        &mut self,
        id: u64,
        channels: Vec<String>,
        whole: Result<(), Refusal>,
        reply: wire::Subscribed,
    ) -> Result<(), Stop> {
        if let Err(refusal) = whole {
            let error = CommandError::from(refusal);
            for channel in &channels {
                self.refused(channel, id, &error).await?;
            }
            return Ok(());
        }
        let named = |outcome: wire::Outcome| (outcome.channel, (outcome.error, outcome.presence));
        let mut outcomes: HashMap<_, _> = reply.channels.into_iter().map(named).collect();
        if let [channel] = channels.as_slice()
            && let Some(page) = reply.presence
        {
            outcomes.entry(channel.clone()).or_default().1 = Some(page);
        }
        for channel in &channels {
            let (refusal, page) = outcomes.remove(channel).unwrap_or_default();
            if let Some(refusal) = refusal {
                self.refused(channel, id, &refusal.into()).await?;
                continue;
            }
            let now = unix_milliseconds();
            let next = self.owner.subscriptions.granted(channel, id, now);
            let stands = matches!(next, Next::Stands(_));
            self.follow(channel, next).await?;
            if let Some(page) = page.filter(|_| stands) {
                self.owner.outbox.put(Event::Members { channel: channel.clone(), page }).await;
            }
        }
        if self.retry_at.is_none() {
            self.retry.reset();
        }
        Ok(())
    }

    pub(super) async fn refused(&mut self, channel: &str, id: u64, error: &CommandError) -> Result<(), Stop> {
        let next = self.owner.subscriptions.refused(channel, id, error);
        self.follow(channel, next).await
    }

    async fn follow(&mut self, channel: &str, next: Next) -> Result<(), Stop> {
        match next {
            Next::Nothing | Next::Stands(None) => {}
            Next::Tell(event) | Next::Stands(Some(event)) => self.owner.outbox.put(event).await,
            Next::Abandon => {
                let (nobody, _) = oneshot::channel();
                self.unsubscribe(channel, nobody).await?;
            }
            Next::Retry => self.retry_later(None),
            Next::RetrySlowly => self.retry_later(Some(SLOWLY)),
        }
        Ok(())
    }

    async fn push(&mut self, push: Push) -> Result<(), Stop> {
        let Some(channel) = push.channel else {
            return Ok(());
        };
        if !self.owner.subscriptions.is_wanted(&channel) {
            tracing::trace!(channel, "a push on a channel that is not wanted");
            return Ok(());
        }
        if let Some(published) = push.publication {
            self.after_gap(&channel).await;
            let event = match Publication::try_from(published) {
                Ok(publication) => Event::Publication { channel, publication },
                Err(wire::Undecodable { time }) => {
                    Event::Gap { channel, from: time, to: time, reason: GapReason::Undecodable }
                }
            };
            self.owner.outbox.put(event).await;
        } else if let Some(gap) = push.gap {
            self.after_gap(&channel).await;
            let event = Event::Gap { channel: channel.clone(), from: gap.from, to: gap.to, reason: gap.reason() };
            self.owner.outbox.put(event).await;
            if self.owner.subscriptions.missed(&channel) {
                self.list(channel).await?;
            }
        } else if let Some(join) = push.join {
            self.owner.outbox.put(Event::Joined { channel, user: join.user, info: join.info }).await;
        } else if let Some(leave) = push.leave {
            self.owner.outbox.put(Event::Left { channel, user: leave.user }).await;
        } else if let Some(end) = push.unsubscribed {
            let next = self.owner.subscriptions.ended(&channel, end, unix_milliseconds(), self.complete_until);
            self.follow(&channel, next).await?;
        }
        Ok(())
    }

    /// Tells the gap that comes before whatever comes now, if there is one.
    async fn after_gap(&mut self, channel: &str) {
        if let Some(gap) = self.owner.subscriptions.gap(channel, unix_milliseconds()) {
            self.owner.outbox.put(gap).await;
        }
    }
}

/// A reply that is no error has to hold what was asked for.
fn told<T>(body: Option<T>) -> Result<T, Refusal> {
    body.ok_or_else(|| Refusal {
        code: codes::BAD_MESSAGE.number,
        name: codes::BAD_MESSAGE.name.to_owned(),
        message: "the node's reply does not hold what was asked for".to_owned(),
        retry: false,
    })
}
