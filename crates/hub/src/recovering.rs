//! Subscriptions to recoverable channels: where they begin, and what their clients have missed.
//!
//! From its beginning what is relayed is held back for a subscription (`catching_up`). The reply names the position at
//! which it begins: behind that the client hears everything once. What the reply brings reaches exactly up to there:
//!
//! * The history was read up to before the channel's position at the time of the reply: it begins where the history
//!   ended, and what was held follows. If what was held has lost some of that, the history is read again.
//! * It was read up to there or beyond: what lies beyond is left out, because it is relayed yet; it begins at the
//!   channel's position.
//! * The client is ahead of this shard, because it was at a faster one: the reply waits until the shard is as far.
//! * Else it has not recovered, and begins at the channel's position.

use ullim_broker::{HistoryError, HistoryPart, HistoryRequest, Outcome as Reach, RecoverRequest, Recovery, Relayed};
use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::position::Position;
use ullim_protocol::publication::Publication;

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::past::unreadable;
use crate::pipeline::{Answer, Found, Outcome, Past, Place, Stage, Ticket, Wanted};
use crate::registry::ChannelKey;
use crate::session::Progress;
use crate::settling::is_complete;
use crate::work::Ended;

/// How often the history is read for one subscription: again when more was published meanwhile than is held back.
const MAX_READS: usize = 4;

/// Where a subscription begins.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    /// `None` on a live channel.
    pub(crate) position: Option<Position>,
    pub(crate) recovered: bool,
    /// What the reply brings.
    pub(crate) publications: Vec<Publication>,
    /// What is told right behind the reply.
    pub(crate) gap: Option<Gap>,
}

/// What a subscription has to know of the history before it can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    /// The client has missed nothing.
    Known(Position),
    /// What was published behind a position.
    Missed(Position),
    /// What was published last.
    Latest,
    /// The shard has to come so far.
    Until(Position),
    /// More is published than can be read and held.
    GivesUp,
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// A subscribe's turn has come: its answer, if nothing has to be read any more.
    pub(crate) fn ripe(&mut self, ticket: Ticket, many: bool, mut wanted: Vec<Wanted>) -> Stage {
        self.read_past(ticket, &mut wanted, true);
        if is_complete(&wanted) {
            return Stage::Ready(Answer::Subscribed { many, wanted });
        }
        self.subscribe_deadlines.add(self.now, ticket);
        Stage::Subscribing { many, wanted }
    }

    /// Reads what the channels that stand have to know of their history: those that were not looked at yet, or `all`.
    pub(crate) fn read_past(&mut self, ticket: Ticket, wanted: &mut [Wanted], all: bool) {
        for (place, wanted) in wanted.iter_mut().enumerate() {
            let is_open = matches!(wanted.outcome, Outcome::Stands(_)) && (all || !wanted.past.looked_at);
            while is_open && matches!(wanted.outcome, Outcome::Stands(_)) {
                wanted.past.looked_at = true;
                if !self.read_for(Place { ticket, place }, wanted) {
                    break;
                }
            }
        }
    }

    /// Does what a channel needs next; whether it may need more.
    fn read_for(&mut self, place: Place, wanted: &mut Wanted) -> bool {
        let id = place.ticket.connection;
        let Some((key, at)) = self.catching_up_at(id, &wanted.channel) else { return false };
        let Some(channel) = self.registry.get(key) else { return false };
        let (held_from, channel) = (channel.held_from(id.slot), channel.name.clone());
        let namespace = self.namespace(&channel);
        let (limit, cache) = namespace.map(|namespace| (namespace.recover_limit, namespace.cache)).unwrap_or_default();
        match need(wanted.recover, &wanted.past, at, held_from, cache) {
            Need::Nothing => return false,
            Need::Known(position) => {
                let nothing = Recovery { publications: Vec::new(), position, outcome: Reach::Whole };
                wanted.past.found = Found::Missed(nothing);
                return true;
            }
            Need::GivesUp => {
                wanted.past.found = Found::Lost;
                return true;
            }
            Need::Missed(since) => {
                wanted.past.reads += 1;
                // More does not fit into the reply.
                let bytes = self.config.queue_bytes;
                let answer = self.history.recover(RecoverRequest { channel, since, reached: at, limit, bytes });
                self.wait_for(answer, move |result| Ended::Recovered(place, result));
            }
            Need::Latest => {
                let answer = self.history.history(HistoryRequest { channel, since: None, limit: 1, reverse: true });
                self.wait_for(answer, move |result| Ended::Latest(place, result));
            }
            Need::Until(position) => {
                if let Some(channel) = self.registry.get(key) {
                    channel.await_position(position, place);
                }
            }
        }
        if let Outcome::Stands(subscribed) = &mut wanted.outcome {
            wanted.outcome = Outcome::Reading(std::mem::take(subscribed));
        }
        true
    }

    /// A recoverable channel for whose subscription everything is held back, and where it stands.
    fn catching_up_at(&mut self, id: ConnectionId, channel: &str) -> Option<(ChannelKey, Position)> {
        let key = self.registry.find(channel)?;
        let subscription = self.session(id)?.subscription(key)?;
        let is_catching_up = subscription.progress == Progress::CatchingUp;
        let position = self.registry.get(key)?.position?;
        is_catching_up.then_some((key, position))
    }

    /// What a client has missed was read, or not.
    pub(crate) fn recovered(&mut self, place: Place, result: Result<Recovery, HistoryError>) {
        match result {
            Ok(Recovery { outcome: Reach::Lost, .. }) | Err(HistoryError::NotKept) => self.found(place, Found::Lost),
            Ok(recovery) => self.found(place, Found::Missed(recovery)),
            Err(error) => self.not_found(place, error),
        }
    }

    /// The latest publication was read, or not.
    pub(crate) fn latest(&mut self, place: Place, result: Result<HistoryPart, HistoryError>) {
        match result {
            Ok(part) => self.found(place, Found::Latest(part)),
            Err(error) => self.not_found(place, error),
        }
    }

    fn found(&mut self, Place { ticket, place }: Place, mut found: Found) {
        let limit = self.config.queue_bytes;
        self.settle_all(ticket, |all| {
            let others: usize = all.iter().map(|wanted| wanted.past.found.bytes()).sum();
            let fits = others + found.bytes() <= limit;
            match &mut found {
                Found::Missed(_) if !fits => found = Found::Lost,
                // As any publication, one alone may be larger.
                Found::Latest(part) if !fits && others > 0 => part.publications.clear(),
                _ => {}
            }
            if let Some(wanted) = all.get_mut(place)
                && wanted.goes_on()
            {
                wanted.past.found = found;
            }
        });
    }

    fn not_found(&mut self, Place { ticket, place }: Place, error: HistoryError) {
        let pipeline = self.pipeline(ticket.connection);
        let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) else { return };
        let Stage::Subscribing { wanted, .. } = &command.stage else { return };
        let Some(wanted) = wanted.get(place).filter(|wanted| matches!(wanted.outcome, Outcome::Reading(_))) else {
            return;
        };
        let channel = wanted.channel.clone();
        self.take_back(ticket.connection, &channel);
        self.settle_all(ticket, |all| all[place].outcome = Outcome::Refused(unreadable(error)));
    }

    /// Goes on with the commands whose channels have come as far as they waited for.
    pub(crate) fn go_on_where_reached(&mut self) {
        for Place { ticket, place } in std::mem::take(&mut self.registry.reached) {
            self.settle_all(ticket, |all| {
                all.get_mut(place).map(Wanted::goes_on);
            });
        }
    }

    /// Where a subscription begins that is answered now. `earlier`: the same reply has said so already.
    pub(crate) fn beginning(
        &mut self,
        id: ConnectionId,
        key: ChannelKey,
        recover: Option<Position>,
        past: Past,
        earlier: Option<Option<Position>>,
    ) -> Beginning {
        let Some(session) = self.session(id) else { return Beginning::default() };
        let own = session.id;
        let progress = session.subscription(key).map(|subscription| subscription.progress);
        let Some(channel) = self.registry.get(key) else { return Beginning::default() };
        let Some(at) = channel.position else { return Beginning::default() };
        if earlier.is_some() || progress != Some(Progress::CatchingUp) {
            // It hears the channel already: nothing is repeated.
            let position = earlier.unwrap_or(Some(at));
            return Beginning { position, recovered: recover == position, ..Beginning::default() };
        }
        let has_all_behind = |position| channel.held_from(id.slot) <= Some(position);
        let mut beginning = Beginning { position: Some(at), ..Beginning::default() };
        let mut routed = Vec::new();
        match past.found {
            Found::Missed(found) => {
                let since = recover.unwrap_or(found.position);
                let begin = match found.position < at {
                    true => has_all_behind(found.position).then_some(found.position),
                    false => reaches(&found, since, at).then_some(at),
                };
                if let Some(begin) = begin {
                    beginning.position = Some(begin);
                    beginning.recovered = true;
                    beginning.gap = match found.outcome {
                        // What lies behind where the reply ends is told live.
                        Reach::Cut(gap) if gap.reason == GapReason::History && since.epoch == begin.epoch => None,
                        Reach::Cut(gap) => Some(Gap { position: Some(begin), ..gap }),
                        _ => None,
                    };
                    routed = found.publications;
                }
            }
            Found::Latest(part) if part.position >= at || has_all_behind(part.position) => {
                beginning.position = Some(part.position.min(at));
                routed = part.publications;
            }
            Found::Latest(_) => {
                let held = channel.held(id.slot).map(|held| held.items).unwrap_or_default();
                routed.extend(held.into_iter().rev().find_map(|item| match item {
                    Relayed::Publication(routed) if routed.publication.position == Some(at) => Some(routed),
                    _ => None,
                }));
            }
            Found::Nothing | Found::Lost => {}
        }
        let is_due = |position: Option<Position>| position.is_some() && position <= beginning.position;
        let due = routed.iter().filter(|routed| routed.exclude != Some(own) && is_due(routed.publication.position));
        beginning.publications = due.map(|routed| routed.publication.clone()).collect();
        self.count_recovery(recover, &beginning);
        beginning
    }

    fn count_recovery(&mut self, recover: Option<Position>, beginning: &Beginning) {
        match (recover, beginning.recovered) {
            (None, _) => {}
            (Some(_), true) => self.counters.recovered += 1,
            (Some(_), false) => self.counters.not_recovered += 1,
        }
        self.counters.recovered_publications += beginning.publications.len() as u64;
    }
}

/// What is needed for a client that has heard what `recover` says, where the channel stands `at`, and everything behind
/// `held_from` is held back.
fn need(recover: Option<Position>, past: &Past, at: Position, held_from: Option<Position>, cache: bool) -> Need {
    match (&past.found, recover) {
        (Found::Nothing, Some(since)) if since == at => Need::Known(since),
        (Found::Nothing, Some(since)) => Need::Missed(since),
        (Found::Missed(_), Some(since)) if at < since => Need::Until(since),
        (Found::Missed(found), Some(since)) if found.position >= at => match reaches(found, since, at) {
            true => Need::Nothing,
            false => Need::GivesUp,
        },
        (Found::Missed(found), Some(since)) if held_from > Some(found.position) => {
            if past.reads < MAX_READS {
                Need::Missed(since)
            } else {
                Need::GivesUp
            }
        }
        (Found::Nothing, None) | (Found::Lost, _) if cache => Need::Latest,
        _ => Need::Nothing,
    }
}

/// Whether what was found is without a hole up to `at`. It is not if the broker has lost what was relayed since.
fn reaches(found: &Recovery, since: Position, at: Position) -> bool {
    let is_there = || found.publications.iter().any(|routed| routed.publication.position == Some(at));
    at == since || at == found.position || is_there()
}

impl Found {
    /// What it takes of a reply, in bytes.
    fn bytes(&self) -> usize {
        let publications = match self {
            Self::Missed(found) => &found.publications,
            Self::Latest(part) => &part.publications,
            Self::Nothing | Self::Lost => return 0,
        };
        publications.iter().map(|routed| routed.size()).sum()
    }
}

impl Wanted {
    /// It has what it has waited for; whether it has waited.
    fn goes_on(&mut self) -> bool {
        let Outcome::Reading(subscribed) = &mut self.outcome else { return false };
        self.outcome = Outcome::Stands(std::mem::take(subscribed));
        self.past.looked_at = false;
        true
    }
}
