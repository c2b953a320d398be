//! Owns which channels the user wants, how far each has come, and since when something may have been missed. Pure.

use std::collections::BTreeMap;

use ullim_protocol::codes;

use crate::client::{Answer, CommandError};
use crate::event::{Event, GapReason};
use crate::wire::Refusal;

/// The wanted channels. They outlive connections.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    channels: BTreeMap<String, Subscription>,
}

#[derive(Debug)]
struct Subscription {
    state: State,
    /// Whether it ever stood: then it is renewed until the node says no for good.
    stood: bool,
    /// Since when, in Unix milliseconds, publications may have been missed without a gap that says so.
    away_since: Option<u64>,
    waiting: Vec<Answer<()>>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// To be sent.
    Due,
    /// Sent in the command with this id.
    Asked(u64),
    Standing,
}

/// What is to be done after a reply about a channel.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Nothing,
    Tell(Event),
    /// Nobody wants the subscription any more: unsubscribe.
    Abandon,
    /// Ask again later.
    Retry,
}

impl Subscriptions {
    /// The user wants `channel`. Whether a command is to be sent now.
    pub(super) fn want(&mut self, channel: &str, answer: Answer<()>) -> bool {
        if let Some(subscription) = self.channels.get_mut(channel) {
            if subscription.state == State::Standing {
                let _ = answer.send(Ok(()));
            } else {
                subscription.waiting.push(answer);
            }
            return false;
        }
        let subscription = Subscription { state: State::Due, stood: false, away_since: None, waiting: vec![answer] };
        self.channels.insert(channel.to_owned(), subscription);
        true
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

    /// The channels that are to be asked for.
    pub(super) fn due(&self) -> Vec<String> {
        let due = self.channels.iter().filter(|(_, subscription)| subscription.state == State::Due);
        due.map(|(channel, _)| channel.clone()).collect()
    }

    pub(super) fn asked(&mut self, channel: &str, id: u64) {
        if let Some(subscription) = self.channels.get_mut(channel) {
            subscription.state = State::Asked(id);
        }
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
        Some(Event::Gap { channel: channel.to_owned(), from, to: now.max(from), reason: GapReason::Disconnected })
    }

    /// The node granted what command `id` asked for.
    pub(super) fn granted(&mut self, channel: &str, id: u64, now: u64) -> Next {
        let Some(subscription) = self.asked_in(channel, id) else {
            return Next::Nothing;
        };
        let mut is_wanted = subscription.stood;
        for answer in subscription.waiting.drain(..) {
            is_wanted |= answer.send(Ok(())).is_ok();
        }
        if !is_wanted {
            self.channels.remove(channel);
            return Next::Abandon;
        }
        subscription.state = State::Standing;
        subscription.stood = true;
        self.gap(channel, now).map_or(Next::Nothing, Next::Tell)
    }

    /// The node refused what command `id` asked for.
    pub(super) fn refused(&mut self, channel: &str, id: u64, refusal: &Refusal) -> Next {
        let Some(subscription) = self.asked_in(channel, id) else {
            return Next::Nothing;
        };
        if subscription.stood && refusal.retry {
            subscription.state = State::Due;
            return Next::Retry;
        }
        let stood = subscription.stood;
        let gone = self.channels.remove(channel);
        for answer in gone.into_iter().flat_map(|gone| gone.waiting) {
            let _ = answer.send(Err(refusal.clone().into()));
        }
        if !stood {
            return Next::Nothing;
        }
        Next::Tell(Event::Unsubscribed { channel: channel.to_owned(), code: refusal.code, name: refusal.name.clone() })
    }

    /// The node ended the subscription. Whether there was one.
    pub(super) fn ended(&mut self, channel: &str) -> bool {
        let stands = |subscription: &Subscription| subscription.state == State::Standing;
        // A command under way asks for a new one: that is not the one that ended.
        if !self.channels.get(channel).is_some_and(stands) {
            return false;
        }
        self.channels.remove(channel).is_some()
    }

    /// The connection broke; all that came until `complete_until` (Unix milliseconds) was heard.
    pub(super) fn broke(&mut self, complete_until: u64) {
        self.channels.retain(|_, subscription| {
            match subscription.state {
                State::Due => return true,
                State::Asked(_) => {}
                State::Standing => subscription.away_since = Some(complete_until),
            }
            for answer in subscription.waiting.drain(..) {
                let _ = answer.send(Err(CommandError::Disconnected));
            }
            subscription.state = State::Due;
            subscription.stood
        });
    }

    fn asked_in(&mut self, channel: &str, id: u64) -> Option<&mut Subscription> {
        let subscription = self.channels.get_mut(channel)?;
        (subscription.state == State::Asked(id)).then_some(subscription)
    }
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.code, name: refusal.name, message: refusal.message, retry: refusal.retry }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn refusal(retry: bool) -> Refusal {
        Refusal { code: 111, name: "unavailable".to_owned(), message: String::new(), retry }
    }

    fn standing() -> Subscriptions {
        let mut subscriptions = Subscriptions::default();
        let (answer, _waiting) = oneshot::channel();
        assert!(subscriptions.want("a", answer));
        subscriptions.asked("a", 1);
        assert_eq!(subscriptions.granted("a", 1, 10), Next::Nothing);
        subscriptions
    }

    fn gap(from: u64, to: u64) -> Event {
        Event::Gap { channel: "a".to_owned(), from, to, reason: GapReason::Disconnected }
    }

    #[test]
    fn a_gap_reaches_from_the_break_to_the_reply_over_several_connections() {
        let mut subscriptions = standing();
        subscriptions.broke(20);
        subscriptions.asked("a", 2);
        subscriptions.broke(30);
        subscriptions.asked("a", 3);
        assert_eq!(subscriptions.refused("a", 3, &refusal(true)), Next::Retry);
        assert_eq!(subscriptions.due(), ["a"]);
        subscriptions.asked("a", 4);
        assert_eq!(subscriptions.granted("a", 4, 40), Next::Tell(gap(20, 40)));
        assert_eq!(subscriptions.gap("a", 50), None);
    }

    #[test]
    fn a_publication_before_the_reply_splits_the_gap() {
        let mut subscriptions = standing();
        subscriptions.broke(20);
        subscriptions.asked("a", 2);
        assert_eq!(subscriptions.gap("a", 30), Some(gap(20, 30)));
        assert_eq!(subscriptions.granted("a", 2, 40), Next::Tell(gap(30, 40)));
    }

    #[test]
    fn a_subscription_that_nobody_waits_for_is_abandoned() {
        let mut subscriptions = Subscriptions::default();
        let (answer, waiting) = oneshot::channel();
        subscriptions.want("a", answer);
        subscriptions.asked("a", 1);
        drop(waiting);
        assert_eq!(subscriptions.granted("a", 1, 10), Next::Abandon);
        assert!(!subscriptions.is_wanted("a"));
    }

    #[test]
    fn a_reply_to_a_command_that_was_overtaken_changes_nothing() {
        let mut subscriptions = Subscriptions::default();
        let (answer, mut waiting) = oneshot::channel();
        subscriptions.want("a", answer);
        subscriptions.asked("a", 1);
        subscriptions.forget("a");
        assert!(matches!(waiting.try_recv(), Ok(Err(CommandError::Refused { code: 113, .. }))));
        let (answer, mut waiting) = oneshot::channel();
        subscriptions.want("a", answer);
        subscriptions.asked("a", 3);
        assert_eq!(subscriptions.granted("a", 1, 10), Next::Nothing);
        assert!(waiting.try_recv().is_err());
        assert_eq!(subscriptions.granted("a", 3, 10), Next::Nothing);
        assert_eq!(waiting.try_recv(), Ok(Ok(())));
    }

    #[test]
    fn what_never_stood_is_forgotten_when_the_connection_breaks_in_flight() {
        let mut subscriptions = Subscriptions::default();
        let (answer, mut waiting) = oneshot::channel();
        subscriptions.want("a", answer);
        subscriptions.asked("a", 1);
        subscriptions.broke(10);
        assert_eq!(waiting.try_recv(), Ok(Err(CommandError::Disconnected)));
        assert!(!subscriptions.is_wanted("a"));
    }
}
