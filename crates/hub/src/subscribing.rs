//! Subscriptions: from a command, over the token and the broker's confirmation, to their end.
//!
//! How far a subscription has come ([`Progress`]), and what an event makes of it. "Members": in a namespace with
//! presence; "kept": on a recoverable channel. Other parts of the story are in `presence`, `recovering`, `settling`,
//! `catching_up`, `control` and `closing`.
//!
//! | event | none | awaited | catching up | live |
//! |---|---|---|---|---|
//! | `subscribe`, allowed | awaited; where the broker has confirmed the channel already: live, members and kept: catching up | the same, waits too | the same, waits too | the same; members that are to be shown anew enter again |
//! | `subscribe`, refused | none | the same | the same | the same |
//! | the broker confirms the channel | – | live; kept: catching up; members: catching up, and enters | the same, waits for the entry too | – |
//! | entered | – (it has left already) | – | the same: stands | the same: stands |
//! | entering, listing or reading failed, or came too late | – | none, refused | none, refused | the same, refused |
//! | its reply is sent | refused: it was ended | – | live, behind what was held back | the same |
//! | ordered to end, or its token's end | – | none, refused | none, refused | none, and a push; refused where a command still waits |
//! | `unsubscribe`, the connection's end | – | none | none | none |
//!
//! What a command has to do for each channel ([`Outcome`]): verifying (its token is judged) → awaited (the broker, or
//! the entry) → listing (where members are wanted) → reading (its history, where that is needed) → stands; from each of
//! them: refused.

use std::time::Duration;

use ullim_auth::{Grant, Rejection, Verified};
use ullim_broker::Answer as Later;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::codes;
use ullim_protocol::command::{Refusal, Subscribe};
use ullim_protocol::outgoing::Subscribed;
use ullim_protocol::position::Position;
use ullim_protocol::presence::MAX_LISTS;

use crate::commands::unavailable;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::permission::{no_presence, parse_name};
use crate::pipeline::{Answer, Outcome, Stage, Ticket, Wanted};
use crate::registry::ChannelKey;
use crate::session::{Permit, Progress, Subscription};
use crate::settling::is_complete;
use crate::work::Ended;

/// The most channels of a shard that the broker has not confirmed: while it is away, clients could ask for any number.
const MAX_UNCONFIRMED: usize = 100_000;

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    pub(crate) fn subscribe(&mut self, ticket: Ticket, channels: Vec<Subscribe>, many: bool) -> Stage {
        let limit = self.config.subscriptions;
        if channels.len() > limit {
            let text = format!("a connection holds at most {limit} subscriptions, this command names more channels");
            return Stage::Ready(Answer::Refused(Refusal::new(&codes::TOO_MANY_SUBSCRIPTIONS, text)));
        }
        let mut lists = 0;
        let wanted = channels.into_iter().enumerate().map(|(place, subscribe)| {
            let (mut wanted, token) = Wanted::new(subscribe);
            lists += usize::from(wanted.presence);
            let outcome = match wanted.presence && lists > MAX_LISTS {
                true => Err(too_many_lists()),
                false => self.subscribe_one(ticket, place, &wanted, token),
            };
            wanted.outcome = outcome.unwrap_or_else(Outcome::Refused);
            wanted
        });
        let mut wanted: Vec<Wanted> = wanted.collect();
        self.read_past(ticket, &mut wanted, false);
        if is_complete(&wanted) {
            return Stage::Ready(Answer::Subscribed { many, wanted });
        }
        self.subscribe_deadlines.add(self.now, ticket);
        Stage::Subscribing { many, wanted }
    }

    pub(crate) fn subscription_to(&mut self, id: ConnectionId, channel: &str) -> Option<&mut Subscription> {
        let key = self.registry.find(channel)?;
        self.session(id)?.subscription(key)
    }

    fn subscribe_one(
        &mut self,
        ticket: Ticket,
        place: usize,
        wanted: &Wanted,
        token: Option<String>,
    ) -> Result<Outcome, Refusal> {
        let channel = parse_name(&wanted.channel)?;
        let verdict = match token.map(|token| self.verifier.verify_subscription(&token)) {
            None => None,
            Some(Verified::Now(verdict)) => Some(verdict),
            Some(Verified::Later(verdict)) => {
                self.wait_for(Later::Pending(verdict), move |verdict| Ended::Granted(ticket, place, verdict));
                return Ok(Outcome::Verifying);
            }
        };
        self.subscribe_with(ticket, &channel, wanted, verdict)
    }

    /// The verdict on a subscription token that had to be waited for.
    pub(crate) fn granted(&mut self, ticket: Ticket, place: usize, verdict: Result<Grant, Rejection>) {
        let pipeline = self.pipeline(ticket.connection);
        let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) else { return };
        let Stage::Subscribing { wanted, .. } = &mut command.stage else { return };
        let Some(wanted) = wanted.get(place).filter(|wanted| wanted.outcome == Outcome::Verifying) else { return };
        let wanted = wanted.clone();
        let channel = parse_name(&wanted.channel);
        let outcome = channel.and_then(|channel| self.subscribe_with(ticket, &channel, &wanted, Some(verdict)));
        self.settle_all(ticket, |all| all[place].outcome = outcome.unwrap_or_else(Outcome::Refused));
    }

    fn subscribe_with(
        &mut self,
        ticket: Ticket,
        channel: &ChannelName,
        wanted: &Wanted,
        verdict: Option<Result<Grant, Rejection>>,
    ) -> Result<Outcome, Refusal> {
        let id = ticket.connection;
        let permit = self.admit(id, channel, verdict)?;
        if (wanted.presence || wanted.events) && !self.namespace(channel).is_some_and(|namespace| namespace.presence) {
            return Err(no_presence(channel));
        }
        if let Some(key) = self.registry.find(channel.as_str())
            && self.session(id).is_some_and(|session| session.subscription(key).is_some())
        {
            return Ok(self.subscribe_again(ticket, key, channel, wanted, permit));
        }
        let limit = self.config.subscriptions;
        if self.session(id).is_none_or(|session| session.subscriptions.len() >= limit) {
            let text = format!("this connection holds {limit} subscriptions already: unsubscribe from some first");
            return Err(Refusal::new(&codes::TOO_MANY_SUBSCRIPTIONS, text));
        }
        self.subscribe_anew(ticket, channel, wanted, permit)
    }

    /// What becomes of a subscription that this session has already, or has asked for.
    fn subscribe_again(
        &mut self,
        ticket: Ticket,
        key: ChannelKey,
        channel: &ChannelName,
        wanted: &Wanted,
        permit: Option<Permit>,
    ) -> Outcome {
        let id = ticket.connection;
        let has_new_permit = permit.is_some();
        self.extend(id, key, permit);
        let is_member = self.registry.get(key).is_some_and(|channel| channel.presence);
        let Some(session) = self.session(id) else { return Outcome::Awaited };
        let shown_anew = session.refreshed || has_new_permit;
        let Some(subscription) = session.subscription(key) else { return Outcome::Awaited };
        subscription.events = wanted.events;
        let progress = subscription.progress;
        if progress == Progress::Awaited {
            if let Some(channel) = self.registry.get(key) {
                channel.waiting.push(ticket);
            }
            return Outcome::Awaited;
        }
        let entering = subscription.entering().filter(|_| !shown_anew);
        let waits = entering.map(|entering| entering.tickets.push(ticket)).is_some();
        self.registry.watch(key, id.slot, wanted.events);
        if !waits && is_member && shown_anew {
            self.enter(ticket, key);
        }
        if waits || is_member && shown_anew {
            return Outcome::Awaited;
        }
        if wanted.presence {
            self.list(ticket, channel);
            return Outcome::Listing;
        }
        Outcome::Stands(Subscribed::default())
    }

    /// A newer token allows a subscription to go on for longer.
    fn extend(&mut self, id: ConnectionId, key: ChannelKey, permit: Option<Permit>) {
        let Some(mut permit) = permit else { return };
        let Some(subscription) = self.session(id).and_then(|session| session.subscription(key)) else { return };
        let before = subscription.permit().map(|before| before.expires);
        permit.expires = permit.expires.max(before.unwrap_or_default());
        let expires = permit.expires;
        subscription.set_permit(Some(permit));
        self.expiries.move_permit(id.slot, key, before, Some(expires));
    }

    fn subscribe_anew(
        &mut self,
        ticket: Ticket,
        channel: &ChannelName,
        wanted: &Wanted,
        permit: Option<Permit>,
    ) -> Result<Outcome, Refusal> {
        let id = ticket.connection;
        if self.registry.unconfirmed() >= MAX_UNCONFIRMED {
            return Err(unavailable("too many subscriptions wait for the broker"));
        }
        let namespace = self.namespace(channel);
        let of_namespace = namespace.map(|namespace| (namespace.presence, namespace.slow_consumer));
        let (presence, slow_consumer) = of_namespace.unwrap_or_default();
        let (key, is_new) = self.registry.enter(channel, presence, slow_consumer);
        if is_new {
            self.broker.subscribe(self.shard, channel);
        }
        self.counters.subscriptions += 1;
        if let Some(session) = self.session(id) {
            session.subscriptions.push(Subscription::new(key, wanted.events));
        }
        self.extend(id, key, permit);
        match self.registry.get(key) {
            Some(channel) if !channel.joined => {
                channel.waiting.push(ticket);
                return Ok(Outcome::Awaited);
            }
            _ => {}
        }
        let recoverable = self.registry.get(key).is_some_and(|channel| channel.position.is_some());
        if presence || recoverable {
            self.begin_catching_up(id, key);
        }
        if presence {
            self.enter(ticket, key);
            return Ok(Outcome::Awaited);
        }
        self.go_live(id, key);
        Ok(Outcome::Stands(Subscribed::default()))
    }

    fn go_live(&mut self, id: ConnectionId, key: ChannelKey) {
        let now = self.broker.now();
        if let Some(subscription) = self.session(id).and_then(|session| session.subscription(key))
            && subscription.progress == Progress::Awaited
        {
            subscription.progress = Progress::Live;
            subscription.since = now;
            self.registry.hear(key, id.slot, false);
        }
    }

    /// The broker is sure to relay every later publication of this channel; on a recoverable one every one behind
    /// `position`.
    pub(crate) fn joined(&mut self, channel: &ChannelName, position: Option<Position>) {
        let Some(key) = self.registry.find(channel.as_str()) else { return };
        let waiting = self.registry.confirm(key, position);
        if self.registry.get(key).is_some_and(|channel| channel.presence) {
            for ticket in waiting {
                self.joined_as_member(ticket, key);
            }
        } else {
            for ticket in &waiting {
                match position {
                    Some(_) => self.hold_first(ticket.connection, key),
                    None => self.go_live(ticket.connection, key),
                }
            }
            for ticket in waiting {
                self.stands(ticket, channel);
            }
        }
        self.release(key);
    }

    /// What comes is held back until the reply has said from where on it comes.
    fn hold_first(&mut self, id: ConnectionId, key: ChannelKey) {
        let subscription = self.session(id).and_then(|session| session.subscription(key));
        if subscription.is_some_and(|subscription| subscription.progress == Progress::Awaited) {
            self.begin_catching_up(id, key);
        }
    }

    fn joined_as_member(&mut self, ticket: Ticket, key: ChannelKey) {
        let subscription = self.session(ticket.connection).and_then(|session| session.subscription(key));
        match subscription.and_then(|subscription| subscription.entering()) {
            Some(entering) => entering.tickets.push(ticket),
            None => {
                self.begin_catching_up(ticket.connection, key);
                self.enter(ticket, key);
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, id: ConnectionId, channel: &str) {
        if let Some(key) = self.registry.find(channel) {
            self.drop_subscription(id, key);
        }
    }

    pub(crate) fn drop_subscription(&mut self, id: ConnectionId, key: ChannelKey) {
        let Some(session) = self.session(id) else { return };
        let session_id = session.id;
        if let Some(subscription) = session.remove(key) {
            self.leave(id, session_id, &subscription, Duration::ZERO);
        }
    }
}

fn too_many_lists() -> Refusal {
    let text =
        format!("one subscribe is answered with at most {MAX_LISTS} lists of members: ask for the rest in others");
    Refusal::new(&codes::BAD_MESSAGE, text)
}
