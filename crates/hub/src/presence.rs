//! Members: subscriptions enter and leave, and clients ask who is there.

use ullim_broker::{Claim, Entry, PageRequest, PresenceError};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::codes;
use ullim_protocol::command::{MembersOf, Refusal};
use ullim_protocol::outgoing::Subscribed;
use ullim_protocol::presence::{DEFAULT_PAGE, MembersPage, Occupancy};

use crate::commands::unavailable;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::pipeline::{Answer, Outcome, Stage, Ticket};
use crate::registry::ChannelKey;
use crate::session::Progress;
use crate::work::Ended;

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// What tells this connection's entries from those of others that the session is resumed on: the shard, and a
    /// number that the shard gives out once in 2^32 connections.
    pub(crate) fn claim(&self, id: ConnectionId) -> Claim {
        Claim(u64::from(self.shard.0) << 32 | u64::from(id.generation))
    }

    /// Makes a session a member of a channel, or shows it anew; `ticket` waits for that.
    pub(crate) fn enter(&mut self, ticket: Ticket, key: ChannelKey) {
        let id = ticket.connection;
        let sequence = self.sequence();
        let claim = self.claim(id);
        let Some(channel) = self.registry.get(key).map(|channel| channel.name.clone()) else { return };
        let grace = self.namespace(&channel).map(|namespace| namespace.presence_grace).unwrap_or_default();
        let Some(session) = self.session(id) else { return };
        let (session_id, identity) = (session.id, session.identity.clone());
        let Some(subscription) = session.subscription(key) else { return };
        subscription.begin_entering(sequence, ticket);
        let own_info = subscription.permit().and_then(|permit| permit.info.clone());
        let info = own_info.or(identity.info);
        let entry = Entry { channel: channel.clone(), session: session_id, claim, user: identity.user, info, grace };
        let answer = self.presence.enter(entry);
        self.wait_for(answer, move |result| Ended::Entered(id, channel, sequence, result));
    }

    /// A session's entry was written, or not.
    pub(crate) fn entered(
        &mut self,
        id: ConnectionId,
        channel: &ChannelName,
        sequence: u64,
        result: &Result<(), PresenceError>,
    ) {
        let Some(key) = self.registry.find(channel.as_str()) else { return };
        let Some(subscription) = self.session(id).and_then(|session| session.subscription(key)) else { return };
        let is_live = subscription.progress == Progress::Live;
        let Some(tickets) = subscription.end_entering(sequence) else { return };
        if result.is_ok() {
            return tickets.into_iter().for_each(|ticket| self.stands(ticket, channel));
        }
        if !is_live {
            self.drop_subscription(id, key);
        }
        for ticket in tickets {
            self.settle_channel(ticket, channel, &Outcome::Awaited, |_| {
                Outcome::Refused(unavailable("presence cannot be written at the moment"))
            });
        }
    }

    /// A command's subscription to `channel` stands. Before the answer the members are listed, where they are wanted.
    pub(crate) fn stands(&mut self, ticket: Ticket, channel: &ChannelName) {
        let mut lists = false;
        self.settle_channel(ticket, channel, &Outcome::Awaited, |wanted| {
            lists |= wanted.presence;
            match wanted.presence {
                true => Outcome::Listing,
                false => Outcome::Stands(Subscribed::default()),
            }
        });
        if lists {
            self.list(ticket, channel);
        }
    }

    /// Reads the first page of members for a `subscribe`.
    pub(crate) fn list(&mut self, ticket: Ticket, channel: &ChannelName) {
        let page = PageRequest { cursor: None, limit: DEFAULT_PAGE };
        let answer = self.presence.members(channel, page);
        let channel = channel.clone();
        self.wait_for(answer, move |result| Ended::Listed(ticket, channel, result));
    }

    pub(crate) fn listed(&mut self, ticket: Ticket, channel: &ChannelName, result: Result<MembersPage, PresenceError>) {
        if result.is_err() {
            self.take_back(ticket.connection, channel.as_str());
        }
        self.settle_channel(ticket, channel, &Outcome::Listing, |_| match &result {
            Ok(page) => Outcome::Stands(Subscribed { presence: Some(page.clone()), ..Subscribed::default() }),
            Err(_) => Outcome::Refused(unavailable("presence cannot be read at the moment")),
        });
    }

    /// The command `presence`.
    pub(crate) fn members(&mut self, ticket: Ticket, wanted: MembersOf) -> Stage {
        let MembersOf { channel, limit, cursor } = wanted;
        let channel = match self.may_see(ticket.connection, &channel, "seeing who is in") {
            Ok(channel) => channel,
            Err(refusal) => return Stage::Ready(Answer::Refused(refusal)),
        };
        let answer = self.presence.members(&channel, PageRequest { cursor, limit });
        self.wait_for(answer, move |result| Ended::Members(ticket, result));
        Stage::Asking
    }

    /// The command `presence_count`.
    pub(crate) fn count_members(&mut self, ticket: Ticket, channel: &str) -> Stage {
        let channel = match self.may_see(ticket.connection, channel, "counting who is in") {
            Ok(channel) => channel,
            Err(refusal) => return Stage::Ready(Answer::Refused(refusal)),
        };
        let answer = self.presence.occupancy(&channel);
        self.wait_for(answer, move |result| Ended::Counted(ticket, result));
        Stage::Asking
    }
}

impl Stage {
    pub(crate) fn members(result: Result<MembersPage, PresenceError>) -> Self {
        Self::Ready(result.map_or_else(|error| Answer::Refused(unreadable(error)), Answer::Members))
    }

    pub(crate) fn counted(result: Result<Occupancy, PresenceError>) -> Self {
        Self::Ready(result.map_or_else(|error| Answer::Refused(unreadable(error)), Answer::Counted))
    }
}

fn unreadable(error: PresenceError) -> Refusal {
    match error {
        PresenceError::Cursor => Refusal::new(&codes::BAD_MESSAGE, error.to_string()),
        PresenceError::Unavailable => unavailable(&error.to_string()),
        PresenceError::Refused(reason) => {
            // The broker's own words are the operator's.
            tracing::debug!(reason, "the broker refused to read presence");
            unavailable("the broker refused to read presence")
        }
    }
}
