//! Owns which channels the user wants, how far each has come, and since when something may have been missed. Pure.

mod members;
mod positions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use ullim_protocol::codes;
use ullim_protocol::position::Position;

use crate::client::{Answer, CommandError, SubscribeOptions};
use crate::event::{Event, GapReason};
use crate::token::Token;
use crate::wire::{self, Standing, Unsubscribed, Wanted};
use members::List;
pub(super) use members::Listed;

/// A subscription that stood for less, in milliseconds, is not renewed in a hurry.
const BRIEF: u64 = 1000;

/// The wanted channels. They outlive connections.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    channels: BTreeMap<String, Subscription>,
}

#[derive(Debug)]
struct Subscription {
    options: SubscribeOptions,
    state: State,
    /// Whether it ever stood: then it is renewed until the node says no for good.
    stood: bool,
    /// When it was granted last, in Unix milliseconds.
    granted: u64,
    /// Since when, in Unix milliseconds, publications may have been missed without a gap that says so.
    away_since: Option<u64>,
    /// Whether what the user knows of the members is complete.
    list: List,
    /// What was heard last, or where the channel stood; `None` for a live one.
    position: Option<Position>,
    /// The history has gone back since: that position is good for nothing but to be told as lost.
    is_void: bool,
    waiting: Vec<Answer<Option<Position>>>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// To be sent.
    Due,
    /// Refused for now: to be sent once it is time for it.
    Later,
    /// Sent in the command with this id, or about to be: its token is being fetched.
    Asked(u64),
    Standing,
}

/// A channel that is to be asked for.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) channel: String,
    /// The subscription token, or where to fetch it.
    pub(super) token: Option<Token>,
    pub(super) presence: bool,
    events: bool,
    /// Where to go on.
    recover: Option<Position>,
}

/// What is to be done after a reply about a channel.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Nothing,
    /// It stands; these are to be told: a gap, or what was recovered.
    Stands(Vec<Event>),
    Tell(Event),
    /// Nobody wants the subscription any more: unsubscribe.
    Abandon,
    /// Ask again later.
    Retry,
    /// Ask again, but not at once: it has only just been granted.
    RetrySlowly,
}

impl Due {
    /// As it is said to the node, with `token`.
    pub(super) fn wanted<'a>(&'a self, token: Option<&'a Arc<str>>) -> Wanted<'a> {
        let token = token.map(|token| &**token);
        let recover = self.recover.map(wire::Position);
        Wanted { channel: &self.channel, token, presence: self.presence, events: self.events, recover }
    }
}

impl Subscriptions {
    /// The user wants `channel`. What is to be asked for now.
    pub(super) fn want(
        &mut self,
        channel: &str,
        options: SubscribeOptions,
        answer: Answer<Option<Position>>,
    ) -> Option<Due> {
        if let Some(subscription) = self.channels.get_mut(channel) {
            if subscription.state == State::Standing {
                let _ = answer.send(Ok(subscription.position));
            } else {
                subscription.waiting.push(answer);
            }
            return None;
        }
        let subscription = Subscription {
            position: options.since,
            options,
            state: State::Due,
            stood: false,
            granted: 0,
            away_since: None,
            list: List::Known,
            is_void: false,
            waiting: vec![answer],
        };
        let due = subscription.due(channel);
        self.channels.insert(channel.to_owned(), subscription);
        Some(due)
    }

    /// The user does not want `channel` any more.
    pub(super) fn forget(&mut self, channel: &str) {
        let subscription = self.channels.remove(channel);
        for answer in subscription.into_iter().flat_map(|gone| gone.waiting) {
            let _ = answer.send(Err(CommandError::Refused {
                code: codes::SUBSCRIPTION_ENDED.number,
                name: codes::SUBSCRIPTION_ENDED.name.to_owned(),
                message: "unsubscribed before the node answered".to_owned(),
                retry: false,
            }));
        }
    }

    /// What was refused for now is due.
    pub(super) fn wake(&mut self) {
        for subscription in self.channels.values_mut() {
            if subscription.state == State::Later {
                subscription.state = State::Due;
            }
        }
    }

    /// The channels that are to be asked for. What nobody waits for any more is forgotten.
    pub(super) fn due(&mut self) -> Vec<Due> {
        self.channels.retain(|_, subscription| subscription.state != State::Due || subscription.is_wanted());
        let due = self.channels.iter().filter(|(_, subscription)| subscription.state == State::Due);
        due.map(|(channel, subscription)| subscription.due(channel)).collect()
    }

    pub(super) fn asked(&mut self, channel: &str, id: u64) {
        if let Some(subscription) = self.channels.get_mut(channel) {
            subscription.state = State::Asked(id);
        }
    }

    /// What command `id` is to ask for, now that its token is there. `None` if nobody wants that any more.
    pub(super) fn prepared(&mut self, channel: &str, id: u64) -> Option<Due> {
        let subscription = self.asked_in(channel, id)?;
        if subscription.is_wanted() {
            return Some(subscription.due(channel));
        }
        self.channels.remove(channel);
        None
    }

    /// Whether publications of `channel` are for the user.
    pub(super) fn is_wanted(&self, channel: &str) -> bool {
        self.channels.contains_key(channel)
    }

    /// A gap that is to be told before anything that comes at `now`.
    pub(super) fn gap(&mut self, channel: &str, now: u64) -> Option<Event> {
        let subscription = self.channels.get_mut(channel)?;
        let from = subscription.away_since?;
        // Until the reply nothing promises that all comes, so that the rest is a gap of its own.
        subscription.away_since = (subscription.state != State::Standing).then_some(now);
        let (channel, to) = (channel.to_owned(), now.max(from));
        Some(Event::Gap { channel, from, to, reason: GapReason::Disconnected, position: None })
    }

    /// The node granted what command `id` asked for.
    pub(super) fn granted(&mut self, channel: &str, id: u64, now: u64, standing: Standing) -> Next {
        let Some(subscription) = self.asked_in(channel, id) else {
            return Next::Nothing;
        };
        let mut is_wanted = subscription.stood;
        for answer in subscription.waiting.drain(..) {
            is_wanted |= answer.send(Ok(standing.position)).is_ok();
        }
        if !is_wanted {
            self.channels.remove(channel);
            return Next::Abandon;
        }
        subscription.state = State::Standing;
        subscription.stood = true;
        subscription.granted = now;
        let told = subscription.stands(channel, standing);
        // What was recovered, or is known to be lost, is not to be told as a gap as well.
        Next::Stands(self.gap(channel, now).into_iter().chain(told).collect())
    }

    /// The node refused what command `id` asked for, or there was no token to ask with.
    pub(super) fn refused(&mut self, channel: &str, id: u64, error: &CommandError) -> Next {
        let Some(subscription) = self.asked_in(channel, id) else {
            return Next::Nothing;
        };
        // Whatever it has asked for, it can ask for it anew.
        let is_reset = matches!(error, CommandError::Refused { code, .. } if *code == codes::HISTORY_RESET.number);
        subscription.is_void |= is_reset;
        if is_reset || subscription.stood && (error.may_pass() || subscription.has_another_token(error)) {
            subscription.state = State::Later;
            return Next::Retry;
        }
        let stood = subscription.stood;
        let gone = self.channels.remove(channel);
        for answer in gone.into_iter().flat_map(|gone| gone.waiting) {
            let _ = answer.send(Err(error.clone()));
        }
        if !stood {
            return Next::Nothing;
        }
        let (code, name) = match error {
            CommandError::Refused { code, name, .. } => (*code, name.clone()),
            _ => (codes::PERMISSION_DENIED.number, codes::PERMISSION_DENIED.name.to_owned()),
        };
        Next::Tell(Event::Unsubscribed { channel: channel.to_owned(), code, name })
    }

    /// The node ended the subscription at `now`; all that came until `complete_until` was heard.
    pub(super) fn ended(&mut self, channel: &str, end: Unsubscribed, now: u64, complete_until: u64) -> Next {
        // A command under way asks for a new one: that is not the one that ended.
        let Some(subscription) = self.channels.get_mut(channel).filter(|ended| ended.state == State::Standing) else {
            return Next::Nothing;
        };
        let is_reset = end.code == codes::HISTORY_RESET.number;
        subscription.is_void |= is_reset;
        if is_reset || end.code == codes::SUBSCRIPTION_EXPIRED.number && subscription.fetches() {
            subscription.state = State::Later;
            subscription.away_since = Some(complete_until);
            subscription.list = List::Known;
            let is_brief = now.saturating_sub(subscription.granted) < BRIEF;
            return if is_brief { Next::RetrySlowly } else { Next::Retry };
        }
        self.channels.remove(channel);
        Next::Tell(Event::Unsubscribed { channel: channel.to_owned(), code: end.code, name: end.name })
    }

    /// The connection broke; all that came until `complete_until` (Unix milliseconds) was heard.
    pub(super) fn broke(&mut self, complete_until: u64) {
        self.channels.retain(|_, subscription| {
            match subscription.state {
                State::Due => return true,
                State::Asked(_) | State::Later => {}
                State::Standing => subscription.away_since = Some(complete_until),
            }
            for answer in subscription.waiting.drain(..) {
                let _ = answer.send(Err(CommandError::Disconnected));
            }
            subscription.state = State::Due;
            subscription.list = List::Known;
            subscription.stood
        });
    }

    fn asked_in(&mut self, channel: &str, id: u64) -> Option<&mut Subscription> {
        let subscription = self.channels.get_mut(channel)?;
        (subscription.state == State::Asked(id)).then_some(subscription)
    }
}

impl Subscription {
    fn is_wanted(&self) -> bool {
        self.stood || self.waiting.iter().any(|answer| !answer.is_closed())
    }

    /// Whether its token comes from a callback.
    fn fetches(&self) -> bool {
        self.options.token.as_ref().is_some_and(|token| !token.is_fixed())
    }

    /// Whether `error` speaks only against the token that was sent.
    fn has_another_token(&self, error: &CommandError) -> bool {
        let expired = [codes::SUBSCRIPTION_EXPIRED.number, codes::TOKEN_EXPIRED.number];
        self.fetches() && matches!(error, CommandError::Refused { code, .. } if expired.contains(code))
    }

    fn due(&self, channel: &str) -> Due {
        let SubscribeOptions { presence, events, token, .. } = &self.options;
        // Who came and went while it did not stand was not told. Otherwise once is enough.
        let presence = if self.stood { *events } else { *presence };
        let recover = self.position.filter(|_| !self.is_void);
        Due { channel: channel.to_owned(), token: token.clone(), presence, events: *events, recover }
    }
}
