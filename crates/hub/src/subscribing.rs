//! Subscriptions: from a command, over the broker's confirmation, to their end.

use ullim_protocol::channel::ChannelName;
use ullim_protocol::codes;
use ullim_protocol::command::Refusal;
use ullim_protocol::outgoing::{Outgoing, Reply};

use crate::commands::unavailable;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::pipeline::{Answer, Outcome, Stage, Ticket};
use crate::registry::ChannelKey;
use crate::session::Subscription;

/// The most channels of a shard that the broker has not confirmed: while it is away, clients could ask for any number.
const MAX_UNCONFIRMED: usize = 100_000;

impl<O: Outlet, E: Encode> Hub<O, E> {
    pub(crate) fn subscribe(&mut self, ticket: Ticket, channels: Vec<String>, many: bool) -> Stage {
        let limit = self.config.subscriptions;
        if channels.len() > limit {
            let text = format!("a connection holds at most {limit} subscriptions, this command names more channels");
            return Stage::Ready(Answer::Refused(Refusal::new(&codes::TOO_MANY_SUBSCRIPTIONS, text)));
        }
        let results = channels.into_iter().map(|channel| {
            let outcome = self.subscribe_one(ticket, &channel).unwrap_or_else(Outcome::Refused);
            (channel, outcome)
        });
        let results: Vec<_> = results.collect();
        if is_complete(&results) {
            return Stage::Ready(Answer::Subscribed { many, results });
        }
        self.subscribe_deadlines.add(self.now, ticket);
        Stage::Subscribing { many, results }
    }

    pub(crate) fn tell_subscribed(
        &mut self,
        id: ConnectionId,
        number: u64,
        many: bool,
        results: Vec<(String, Outcome)>,
    ) {
        let results = results.into_iter().map(|(channel, outcome)| match outcome {
            Outcome::Stands | Outcome::Awaited => (channel, Ok(())),
            Outcome::Refused(refusal) => (channel, Err(refusal)),
        });
        let results: Vec<(String, Result<(), Refusal>)> = results.collect();
        let message = match results.as_slice() {
            results if many => Outgoing::Reply(number, Reply::SubscribeMany(results)),
            [(_, Err(refusal))] => Outgoing::Error(Some(number), refusal),
            _ => Outgoing::Reply(number, Reply::Subscribe),
        };
        self.tell(id.slot, &message);
    }

    fn subscribe_one(&mut self, ticket: Ticket, channel: &str) -> Result<Outcome, Refusal> {
        let id = ticket.connection;
        let name = self.permitted(id, channel, "subscribing to", |namespace| namespace.subscribe)?;
        if let Some(outcome) = self.subscribe_again(ticket, name.as_str()) {
            return Ok(outcome);
        }
        let limit = self.config.subscriptions;
        if self.session(id).is_none_or(|session| session.subscriptions.len() >= limit) {
            let text = format!("this connection holds {limit} subscriptions already: unsubscribe from some first");
            return Err(Refusal::new(&codes::TOO_MANY_SUBSCRIPTIONS, text));
        }
        self.subscribe_anew(ticket, &name)
    }

    /// What becomes of a subscription that this session has already, or has asked for.
    fn subscribe_again(&mut self, ticket: Ticket, name: &str) -> Option<Outcome> {
        let key = self.registry.find(name)?;
        let since = self.session(ticket.connection)?.subscription(key)?.since;
        if since.is_some() {
            return Some(Outcome::Stands);
        }
        self.registry.get(key)?.waiting.push(ticket);
        Some(Outcome::Awaited)
    }

    fn subscribe_anew(&mut self, ticket: Ticket, name: &ChannelName) -> Result<Outcome, Refusal> {
        let id = ticket.connection;
        if self.registry.unconfirmed() >= MAX_UNCONFIRMED {
            return Err(unavailable("too many subscriptions wait for the broker"));
        }
        let (key, is_new) = self.registry.enter(name);
        if is_new {
            self.broker.subscribe(self.shard, name);
        }
        let now = self.broker.now();
        let joined = self.registry.add(key, ticket);
        self.counters.subscriptions += 1;
        if let Some(session) = self.session(id) {
            session.subscriptions.push(Subscription { channel: key, since: joined.then_some(now) });
        }
        Ok(if joined { Outcome::Stands } else { Outcome::Awaited })
    }

    /// The broker has confirmed a channel of this command.
    pub(crate) fn channel_confirmed(&mut self, ticket: Ticket, name: &str) {
        self.settle(ticket, |channel, outcome| {
            if channel == name {
                *outcome = Outcome::Stands;
            }
        });
    }

    /// What the broker has not confirmed in time is refused.
    pub(crate) fn subscribe_timed_out(&mut self, ticket: Ticket) {
        let pipeline = self.pipeline(ticket.connection);
        let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) else { return };
        let Stage::Subscribing { results, .. } = &command.stage else { return };
        let awaited = results.iter().filter(|(_, outcome)| *outcome == Outcome::Awaited);
        let awaited: Vec<String> = awaited.map(|(channel, _)| channel.clone()).collect();
        for channel in awaited {
            self.unsubscribe(ticket.connection, &channel);
        }
        self.settle(ticket, |_, outcome| {
            *outcome = Outcome::Refused(unavailable("the broker did not confirm the subscription in time"));
        });
    }

    /// Decides on the awaited channels of a command, and goes on if none is left.
    fn settle(&mut self, ticket: Ticket, mut decide: impl FnMut(&str, &mut Outcome)) {
        let pipeline = self.pipeline(ticket.connection);
        let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) else { return };
        let Stage::Subscribing { many, results } = &mut command.stage else { return };
        for (channel, outcome) in results.iter_mut().filter(|(_, outcome)| *outcome == Outcome::Awaited) {
            decide(channel, outcome);
        }
        if is_complete(results) {
            let (many, results) = (*many, std::mem::take(results));
            command.stage = Stage::Ready(Answer::Subscribed { many, results });
            self.proceed(ticket.connection);
        }
    }

    pub(crate) fn unsubscribe(&mut self, id: ConnectionId, channel: &str) {
        if let Some(key) = self.registry.find(channel) {
            self.drop_subscription(id, key);
        }
    }

    fn drop_subscription(&mut self, id: ConnectionId, key: ChannelKey) {
        let Some(session) = self.session(id) else {
            return;
        };
        let before = session.subscriptions.len();
        session.subscriptions.retain(|subscription| subscription.channel != key);
        if session.subscriptions.len() < before {
            self.leave(id, key);
        }
    }
}

fn is_complete(results: &[(String, Outcome)]) -> bool {
    results.iter().all(|(_, outcome)| *outcome != Outcome::Awaited)
}
