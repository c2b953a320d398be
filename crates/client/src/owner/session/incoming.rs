//! Owns what a node's message brings about: a reply ends a command, a push becomes events.

use std::time::Duration;

use tokio::sync::oneshot;
use ullim_protocol::codes;

use super::{Pending, Session};
use crate::client::CommandError;
use crate::connection::unix_milliseconds;
use crate::event::Event;
use crate::owner::Stop;
use crate::owner::subscriptions::Next;
use crate::wire::{self, Message, Place, Push, Refusal, Standing};

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
            Pending::Unsubscribe(answer) => {
                let _ = answer.send(outcome.map_err(CommandError::from));
            }
            Pending::Publish(answer) => {
                let outcome = outcome.map(|()| message.publish.and_then(Place::position));
                let _ = answer.send(outcome.map_err(CommandError::from));
            }
            Pending::History(answer) => {
                let outcome = outcome.and_then(|()| told(message.history)).map(wire::History::read);
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
        let mut outcomes = reply.outcomes(&channels);
        for channel in &channels {
            let mut standing = match outcomes.remove(channel) {
                Some(Ok(standing)) => standing,
                Some(Err(refusal)) => {
                    self.refused(channel, id, &refusal.into()).await?;
                    continue;
                }
                None => Standing::default(),
            };
            let now = unix_milliseconds();
            let page = standing.presence.take();
            let next = self.owner.subscriptions.granted(channel, id, now, standing);
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
            Next::Nothing => {}
            Next::Tell(event) => self.owner.outbox.put(event).await,
            Next::Stands(events) => self.tell(events).await,
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
            if let Some(reconnect) = push.reconnect {
                self.told_to_leave(Duration::from_millis(reconnect.delay));
            }
            return Ok(());
        };
        if !self.owner.subscriptions.is_wanted(&channel) {
            tracing::trace!(channel, "a push on a channel that is not wanted");
            return Ok(());
        }
        if let Some(published) = push.publication {
            let events = self.owner.subscriptions.heard(&channel, published, unix_milliseconds());
            self.tell(events).await;
        } else if let Some(gap) = push.gap {
            let events = self.owner.subscriptions.gap_heard(&channel, gap, unix_milliseconds());
            self.tell(events).await;
            if self.owner.subscriptions.missed(&channel) {
                self.list(channel).await?;
            }
        } else if let Some(join) = push.join {
            self.owner.outbox.put(Event::Joined { channel, user: join.user, info: join.info }).await;
        } else if let Some(leave) = push.leave {
            self.owner.outbox.put(Event::Left { channel, user: leave.user }).await;
        } else if let Some(place) = push.position {
            self.owner.subscriptions.reached(&channel, place.position());
        } else if let Some(end) = push.unsubscribed {
            let next = self.owner.subscriptions.ended(&channel, end, unix_milliseconds(), self.complete_until);
            self.follow(&channel, next).await?;
        }
        Ok(())
    }

    async fn tell(&self, events: Vec<Event>) {
        for event in events {
            self.owner.outbox.put(event).await;
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
