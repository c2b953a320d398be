//! What a hub waits for, outside itself.

use std::pin::Pin;

use ullim_auth::{Grant, Identity, Rejection};
use ullim_broker::{Answer, HistoryError, HistoryPart, PresenceError, PublishError, Recovery};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::Position;
use ullim_protocol::presence::{MembersPage, Occupancy};

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::pipeline::{Place, Stage, Ticket};
use crate::registry::ChannelKey;

/// Something to wait for, outside the hub. What comes of it goes to [`Hub::finished`].
pub struct Work(Pin<Box<dyn Future<Output = Finished> + Send>>);

impl Work {
    /// What waits for it.
    pub fn into_future(self) -> Pin<Box<dyn Future<Output = Finished> + Send>> {
        self.0
    }
}

/// A piece of [`Work`] that has ended.
#[derive(Debug)]
pub struct Finished(Ended);

/// What has ended, and how. Whoever waited for it may be gone.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The broker has taken a client's publication, or not.
    Published(Ticket, Result<Option<Position>, PublishError>),
    /// A token of a `connect` or `refresh` was judged.
    Verified(Ticket, Result<Identity, Rejection>),
    /// The subscription token of the channel with this place in a `subscribe` was judged.
    Granted(Ticket, usize, Result<Grant, Rejection>),
    /// A session's entry in a channel was written; the number is [`Entering::sequence`](crate::session::Entering).
    Entered(ConnectionId, ChannelName, u64, Result<(), PresenceError>),
    /// The first page of members was read for a `subscribe`.
    Listed(Ticket, ChannelName, Result<MembersPage, PresenceError>),
    /// A page of members was read for a `presence`.
    Members(Ticket, Result<MembersPage, PresenceError>),
    /// The members of a channel were counted.
    Counted(Ticket, Result<Occupancy, PresenceError>),
    /// What a subscriber has missed was read.
    Recovered(Place, Result<Recovery, HistoryError>),
    /// A channel's latest publication was read for a subscriber.
    Latest(Place, Result<HistoryPart, HistoryError>),
    /// What this shard has missed was read; the number is that of the repair.
    Repaired(ChannelKey, u64, Result<Recovery, HistoryError>),
    /// A part of the history was read for a `history`.
    History(Ticket, Result<HistoryPart, HistoryError>),
    /// An order to the other nodes has left, or not.
    Ordered(Result<(), PublishError>),
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// Waits for an answer. One that is there already comes back all the same way, so that nothing happens in the middle
    /// of something else.
    pub(crate) fn wait_for<T: Send + 'static>(
        &mut self,
        answer: Answer<T>,
        ended: impl FnOnce(T) -> Ended + Send + 'static,
    ) {
        let answer = match answer {
            Answer::Ready(value) => Box::pin(std::future::ready(value)),
            Answer::Pending(answer) => answer,
        };
        self.work.push(Work(Box::pin(async move { Finished(ended(answer.await)) })));
    }

    /// A piece of [`Work`] has ended.
    pub fn finished(&mut self, finished: Finished) {
        match finished.0 {
            Ended::Published(ticket, result) => self.go_on(ticket, Stage::published(result)),
            Ended::Verified(ticket, verdict) => self.verified(ticket, verdict),
            Ended::Granted(ticket, place, verdict) => self.granted(ticket, place, verdict),
            Ended::Entered(id, channel, sequence, result) => self.entered(id, &channel, sequence, &result),
            Ended::Listed(ticket, channel, result) => self.listed(ticket, &channel, result),
            Ended::Members(ticket, result) => self.go_on(ticket, Stage::members(result)),
            Ended::Counted(ticket, result) => self.go_on(ticket, Stage::counted(result)),
            Ended::Recovered(place, result) => self.recovered(place, result),
            Ended::Latest(place, result) => self.latest(place, result),
            Ended::Repaired(key, number, result) => self.repaired(key, number, result),
            Ended::History(ticket, result) => self.go_on(ticket, Stage::history(result)),
            Ended::Ordered(Ok(())) => {}
            Ended::Ordered(Err(error)) => {
                // Who is closed by it at the latest is the older connection's client, which is gone in most cases.
                tracing::debug!(%error, "an order to the other nodes was lost");
            }
        }
        self.uncork();
    }

    /// Brings a command to its next stage, if somebody still waits for it, and those behind it as far as they come.
    pub(crate) fn go_on(&mut self, ticket: Ticket, stage: Stage) {
        let pipeline = self.pipeline(ticket.connection);
        if let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) {
            command.stage = stage;
            self.proceed(ticket.connection);
        }
    }
}
