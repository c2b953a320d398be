//! Subscriptions: from a command, over the broker's confirmation, to their end.

use ullim_protocol::codes;
use ullim_protocol::command::Refusal;
use ullim_protocol::outgoing::{Outgoing, Reply};

use crate::commands::unavailable;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::pipeline::{Stage, Ticket};
use crate::registry::ChannelKey;
use crate::session::Subscription;

/// What came of a channel's subscription at once.
enum Subscribed {
    /// It stands.
    Live,
    /// The broker has to confirm it.
    Awaited,
}

impl<O: Outlet, E: Encode> Hub<O, E> {
    pub(crate) fn subscribe(
        &mut self,
        id: ConnectionId,
        number: u64,
        sequence: u64,
        channels: Vec<String>,
        many: bool,
    ) -> Option<Stage> {
        let limit = self.config.subscriptions;
        if channels.len() > limit {
            let text = format!("a connection holds at most {limit} subscriptions, this command names more channels");
            let refusal = Refusal::new(&codes::TOO_MANY_SUBSCRIPTIONS, text);
            self.tell(id.slot, &Outgoing::Error(Some(number), &refusal));
            return None;
        }
        let ticket = Ticket { connection: id, sequence };
        let mut missing = 0;
        let mut results = Vec::with_capacity(channels.len());
        for channel in channels {
            let result = match self.subscribe_one(ticket, &channel) {
                Ok(Subscribed::Live) => Ok(()),
                Ok(Subscribed::Awaited) => {
                    missing += 1;
                    Ok(())
                }
                Err(refusal) => Err(refusal),
            };
            results.push((channel, result));
        }
        if missing == 0 {
            self.reply_subscribed(id, number, many, &results);
            return None;
        }
        self.subscribe_deadlines.add(self.now, ticket);
        Some(Stage::Subscribing { many, results, missing })
    }

    pub(crate) fn reply_subscribed(
        &mut self,
        id: ConnectionId,
        number: u64,
        many: bool,
        results: &[(String, Result<(), Refusal>)],
    ) {
        match results {
            _ if many => self.reply(id, number, Reply::SubscribeMany(results)),
            [(_, Err(refusal))] => self.tell(id.slot, &Outgoing::Error(Some(number), refusal)),
            _ => self.reply(id, number, Reply::Subscribe),
        }
    }

    fn subscribe_one(&mut self, ticket: Ticket, channel: &str) -> Result<Subscribed, Refusal> {
        let id = ticket.connection;
        let name = self.permitted(id, channel, "subscribing to", |namespace| namespace.subscribe)?;
        let (limit, now) = (self.config.subscriptions, self.broker.now());
        let (key, is_new) = self.registry.enter(&name);
        let refused = match self.session(id) {
            Some(session) => {
                if session.subscription(key).is_some() {
                    // A channel that this command names twice may still be awaited: its first mention sees to that.
                    return Ok(Subscribed::Live);
                }
                session.subscriptions.len() >= limit
            }
            None => true,
        };
        if refused {
            if is_new {
                self.registry.forget(key);
            }
            let text = format!("this connection holds {limit} subscriptions already: unsubscribe from some first");
            return Err(Refusal::new(&codes::TOO_MANY_SUBSCRIPTIONS, text));
        }
        if is_new {
            self.broker.subscribe(self.shard, &name);
        }
        let Some(entry) = self.registry.get(key) else {
            return Ok(Subscribed::Live);
        };
        let joined = entry.joined;
        match joined {
            true => drop(entry.live.insert(id.slot)),
            false => entry.waiting.push(ticket),
        }
        self.counters.subscriptions += 1;
        if let Some(session) = self.session(id) {
            session.subscriptions.push(Subscription { channel: key, since: joined.then_some(now) });
        }
        Ok(if joined { Subscribed::Live } else { Subscribed::Awaited })
    }

    /// The broker has confirmed one channel of this command.
    pub(crate) fn channel_confirmed(&mut self, ticket: Ticket) {
        let pipeline = self.pipeline(ticket.connection);
        let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) else {
            return;
        };
        if let Stage::Subscribing { missing, .. } = &mut command.stage {
            *missing -= 1;
        }
        self.proceed(ticket.connection);
    }

    /// What the broker has not confirmed in time is refused.
    pub(crate) fn subscribe_timed_out(&mut self, ticket: Ticket) {
        let id = ticket.connection;
        let pipeline = self.pipeline(id);
        let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) else {
            return;
        };
        let Stage::Subscribing { results, missing, .. } = &mut command.stage else {
            return;
        };
        let mut results = std::mem::take(results);
        *missing = 0;
        for (channel, result) in &mut results {
            let Some(key) = self.registry.find(channel) else {
                continue;
            };
            let awaited =
                self.session(id).and_then(|session| session.subscription(key)).is_some_and(|s| s.since.is_none());
            if result.is_ok() && awaited {
                self.drop_subscription(id, key);
                *result = Err(unavailable("the broker did not confirm the subscription in time"));
            }
        }
        let pipeline = self.pipeline(id);
        if let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence))
            && let Stage::Subscribing { results: kept, .. } = &mut command.stage
        {
            *kept = results;
        }
        self.proceed(id);
    }

    pub(crate) fn unsubscribe(&mut self, id: ConnectionId, number: u64, channel: &str) {
        if let Some(key) = self.registry.find(channel) {
            self.drop_subscription(id, key);
        }
        self.reply(id, number, Reply::Unsubscribe);
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
