//! How a `subscribe` comes to its answer: channel by channel, and not too late.

use ullim_protocol::channel::ChannelName;
use ullim_protocol::codes::{self, ErrorCode};
use ullim_protocol::command::{Label, Refusal};
use ullim_protocol::outgoing::{Gap, GapReason, Outgoing, Push, Reply, Subscribed};
use ullim_protocol::position::Position;

use crate::commands::unavailable;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::labels::To;
use crate::outlet::{Encode, Outlet};
use crate::pipeline::{Answer, Outcome, Stage, Ticket, Wanted};
use crate::recovering::Beginning;
use crate::registry::ChannelKey;
use crate::session::Progress;

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// What has not come in time is refused.
    pub(crate) fn subscribe_timed_out(&mut self, ticket: Ticket) {
        let pipeline = self.pipeline(ticket.connection);
        let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) else { return };
        let Stage::Subscribing { wanted, .. } = &command.stage else { return };
        let begun = wanted
            .iter()
            .filter(|wanted| matches!(wanted.outcome, Outcome::Awaited | Outcome::Listing | Outcome::Reading(_)));
        let begun: Vec<String> = begun.map(|wanted| wanted.channel.clone()).collect();
        for channel in begun {
            self.take_back(ticket.connection, &channel);
        }
        self.settle(ticket, |wanted| {
            wanted.outcome = Outcome::Refused(match wanted.outcome {
                Outcome::Verifying => unavailable("the token could not be checked in time"),
                _ => unavailable("the broker did not confirm the subscription in time"),
            });
        });
    }

    /// Ends a subscription that did not come to stand. One that was there before goes on.
    pub(crate) fn take_back(&mut self, id: ConnectionId, channel: &str) {
        let progress = self.subscription_to(id, channel).map(|subscription| subscription.progress);
        if progress.is_some_and(|progress| progress != Progress::Live) {
            self.unsubscribe(id, channel);
        }
    }

    /// Those that wait for a subscription that was ended are told so.
    pub(crate) fn refuse_ended(&mut self, id: ConnectionId, channel: &str, code: &'static ErrorCode) {
        let Some(pipeline) = self.pipeline(id) else { return };
        let tickets = pipeline.subscribing(id);
        // Those that stand wait for other channels, or for their turn.
        let stand = pipeline.begun().filter(|wanted| wanted.channel == channel);
        for wanted in stand.filter(|wanted| matches!(wanted.outcome, Outcome::Stands(_))) {
            wanted.outcome = Outcome::Refused(ended(code));
        }
        for ticket in tickets {
            self.settle(ticket, |wanted| {
                if wanted.outcome != Outcome::Verifying && wanted.channel == channel {
                    wanted.outcome = Outcome::Refused(ended(code));
                }
            });
        }
    }

    /// Decides on the open channels of a command, and goes on if none is left.
    pub(crate) fn settle(&mut self, ticket: Ticket, mut decide: impl FnMut(&mut Wanted)) {
        self.settle_all(ticket, |all| {
            all.iter_mut().filter(|wanted| !wanted.outcome.is_settled()).for_each(&mut decide);
        });
    }

    /// Brings a channel of a command on to what `next` says, wherever it has come as far as `from`.
    pub(crate) fn settle_channel(
        &mut self,
        ticket: Ticket,
        channel: &ChannelName,
        from: &Outcome,
        mut next: impl FnMut(&Wanted) -> Outcome,
    ) {
        self.settle(ticket, |wanted| {
            if wanted.outcome == *from && wanted.channel == channel.as_str() {
                wanted.outcome = next(wanted);
            }
        });
    }

    pub(crate) fn settle_all(&mut self, ticket: Ticket, decide: impl FnOnce(&mut [Wanted])) {
        let pipeline = self.pipeline(ticket.connection);
        let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) else { return };
        let Stage::Subscribing { many, wanted } = &mut command.stage else { return };
        decide(wanted);
        let (many, mut wanted) = (*many, std::mem::take(wanted));
        self.read_past(ticket, &mut wanted, false);
        let Some(command) = self.pipeline(ticket.connection).and_then(|pipeline| pipeline.find(ticket.sequence)) else {
            return;
        };
        if is_complete(&wanted) {
            command.stage = Stage::Ready(Answer::Subscribed { many, wanted });
            self.proceed(ticket.connection);
        } else {
            command.stage = Stage::Subscribing { many, wanted };
        }
    }

    pub(crate) fn tell_subscribed(&mut self, id: ConnectionId, number: u64, many: bool, wanted: Vec<Wanted>) {
        let mut results: Vec<(String, Result<Subscribed, Refusal>)> = Vec::with_capacity(wanted.len());
        let mut begun: Vec<(ChannelKey, Beginning)> = Vec::new();
        let mut labels: Vec<(ChannelKey, Label, Option<Gap>)> = Vec::new();
        for Wanted { channel, outcome, recover, past, label, .. } in wanted {
            let key = self.registry.find(&channel);
            // One that has only begun is another's: that which stood was ended before its turn came.
            let key = key.filter(|key| {
                let subscription = self.session(id).and_then(|session| session.subscription(*key));
                subscription.is_some_and(|subscription| subscription.progress != Progress::Awaited)
            });
            let result = match (outcome, key) {
                (Outcome::Refused(refusal), _) => Err(refusal),
                (Outcome::Stands(mut subscribed), Some(key)) => {
                    let earlier = begun.iter().find(|(begun, _)| *begun == key);
                    let earlier = earlier.map(|(_, beginning)| beginning.position);
                    let beginning = self.beginning(id, key, recover, past, earlier);
                    subscribed.position = beginning.position;
                    subscribed.recovered = recover.map(|_| beginning.recovered);
                    subscribed.since = recover.filter(|_| beginning.recovered).map(|since| since.epoch);
                    if label.is_none() {
                        subscribed.publications.clone_from(&beginning.publications);
                    }
                    let subscription = self.session(id).and_then(|session| session.subscription(key));
                    let is_held =
                        subscription.is_some_and(|subscription| subscription.progress == Progress::CatchingUp);
                    if let Some(label) = label {
                        // The reply may not be told at all.
                        let lost = recover.filter(|_| !beginning.recovered);
                        labels.push((key, *label, lost.map(|since| self.lost_since(since, beginning.position))));
                    }
                    if earlier.is_none() && is_held {
                        begun.push((key, beginning));
                    }
                    Ok(subscribed)
                }
                _ => Err(ended(&codes::SUBSCRIPTION_ENDED)),
            };
            results.push((channel, result));
        }
        let message = match results.as_slice() {
            [(_, Ok(subscribed))] if !many => Outgoing::Reply(number, Reply::Subscribe(subscribed)),
            [(_, Err(refusal))] if !many => Outgoing::Error(Some(number), refusal),
            results => Outgoing::Reply(number, Reply::SubscribeMany(results)),
        };
        self.tell(id.slot, &message);
        for (key, label, lost) in labels {
            let Some(name) = self.registry.get(key).map(|channel| channel.name.clone()) else { continue };
            let to = To::Label(label.number);
            self.add_label(id, key, label);
            if let Some(gap) = lost {
                self.counters.gaps += 1;
                self.tell_push(id.slot, key, &name, Push::Gap(gap), to);
            }
            // Where everything is addressed to a label, the reply has no place for what was missed.
            let begun = begun.iter().find(|(begun, _)| *begun == key);
            for publication in begun.into_iter().flat_map(|(_, beginning)| &beginning.publications) {
                self.tell_push(id.slot, key, &name, Push::Publication(publication), to);
            }
        }
        for (key, Beginning { position, gap, .. }) in begun {
            let Some(name) = self.registry.get(key).map(|channel| channel.name.clone()) else { continue };
            if let Some(gap) = gap {
                self.tell_gap_to(id.slot, key, &name, gap);
            }
            self.caught_up(id, key, position);
        }
    }
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// What somebody may have missed who has heard everything up to `since`, and hears a channel from `position` on.
    fn lost_since(&self, since: Position, position: Option<Position>) -> Gap {
        let to = self.broker.now();
        Gap { from: since.epoch.opened().min(to), to, reason: GapReason::History, position }
    }
}

fn ended(code: &'static ErrorCode) -> Refusal {
    Refusal::new(code, code.meaning)
}

pub(crate) fn is_complete(wanted: &[Wanted]) -> bool {
    wanted.iter().all(|wanted| wanted.outcome.is_settled())
}
