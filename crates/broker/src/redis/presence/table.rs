//! The members that this node wants in Redis, and how far they are there. Pure: what Redis answers and the time are
//! given. Whatever fails, this is the truth; Redis is brought to agree with it.
//!
//! * `place`: a session in a channel
//! * `rooms`: channels, and which of them Redis knows as the node's
//! * `due`: whose turn it is
//! * `departures`: when somebody is to be told as gone
//! * `name`: what the node is called, and how long it counts as alive; `order`: something to tell Redis

mod departures;
mod due;
mod name;
mod order;
mod place;
mod rooms;

use std::collections::{BTreeSet, VecDeque, hash_map};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::session::SessionId;

use due::Due;
use name::{FORMER, Lease};
use place::{Known, Place, Wanted};
use rooms::{Registration, Rooms};

pub(super) use name::Name;
pub(super) use order::{Order, What};

use super::entry;
use super::lease::LEASE;
use crate::presence::user_name;
use crate::{Claim, Entry, PresenceError};

/// The most sessions that are to be taken out. What exceeds it is found later, by looking for it in Redis.
const MAX_LEAVING: usize = 65_536;

/// How long after another node was found to have a place it is asked for again, and how often. The other may have no use
/// for it: it finds that out after its own outage, or is dead, and its lease lapses.
const ASK_AGAIN: Duration = Duration::from_secs(2);
const ASK_TIMES: u32 = 15;

/// Where the answer to an enter will be.
pub(super) type Waiting = oneshot::Receiver<Result<(), PresenceError>>;

#[derive(Debug)]
pub(super) struct Table {
    name: Name,
    /// As it was last renewed.
    lease: Option<Lease>,
    rooms: Rooms,
    due: Due,
    /// Places that Redis refused, to be tried again.
    refused: Vec<(ChannelName, SessionId)>,
    /// Places that another node has, and when they are to be asked for again, the next first.
    taken: VecDeque<(Instant, ChannelName, SessionId)>,
    /// When each room is due, but for those that Redis is being asked for.
    departures: BTreeSet<(Instant, ChannelName)>,
    members: u64,
    leaving: usize,
    in_flight: usize,
    /// Something was forgotten that is to be looked for.
    is_overflowed: bool,
}

impl Table {
    pub(super) fn new(node: Arc<str>) -> Self {
        Self {
            name: Name { node, is_new: true, before: VecDeque::new() },
            lease: None,
            rooms: Rooms::default(),
            due: Due::default(),
            refused: Vec::new(),
            taken: VecDeque::new(),
            departures: BTreeSet::new(),
            members: 0,
            leaving: 0,
            in_flight: 0,
            is_overflowed: false,
        }
    }

    pub(super) fn enter(&mut self, entry: Entry) -> Waiting {
        let (answer, waiting) = oneshot::channel();
        let (channel, session) = (entry.channel.clone(), entry.session);
        let wanted = Wanted::In(Arc::new(entry));
        let place = match self.rooms.open(&channel).places.entry(session) {
            hash_map::Entry::Occupied(place) => {
                let place = place.into_mut();
                if let Wanted::Out { .. } = place.want(wanted) {
                    self.leaving -= 1;
                    self.members += 1;
                }
                place
            }
            hash_map::Entry::Vacant(place) => {
                self.members += 1;
                place.insert(Place::new(wanted, Known::Unsent))
            }
        };
        place.waiting.retain(|waiting| !waiting.is_closed());
        place.waiting.push(answer);
        self.queue(&channel, session);
        waiting
    }

    pub(super) fn leave(&mut self, channel: &ChannelName, session: SessionId, claim: Claim, absence: Duration) {
        let full = self.leaving >= MAX_LEAVING;
        let Some(place) = self.place(channel, session) else {
            return;
        };
        let Wanted::In(entry) = &place.wanted else {
            return;
        };
        if entry.claim != claim {
            return;
        }
        let grace = entry::grace(entry).max(absence);
        let wanted = Wanted::Out { user: user_name(entry.user.as_ref(), session), grace };
        // Whoever waited for it waits no longer.
        place.waiting.clear();
        place.want(wanted);
        let was_sent = place.known != Known::Unsent;
        self.members -= 1;
        self.leaving += 1;
        if !was_sent || full {
            self.is_overflowed |= was_sent;
            self.remove(channel, session);
        } else {
            self.queue(channel, session);
        }
    }

    /// Takes out a session that nobody here wants, unless somebody does.
    pub(super) fn forget(&mut self, channel: &ChannelName, session: SessionId, user: Arc<str>, grace: Duration) {
        if self.place(channel, session).is_some() {
            return;
        }
        if self.leaving >= MAX_LEAVING {
            self.is_overflowed = true;
        } else {
            let place = Place::new(Wanted::Out { user, grace }, Known::InDoubt);
            self.rooms.open(channel).places.insert(session, place);
            self.leaving += 1;
            self.queue(channel, session);
        }
    }

    fn place(&mut self, channel: &ChannelName, session: SessionId) -> Option<&mut Place> {
        self.rooms.get_mut(channel)?.places.get_mut(&session)
    }

    fn remove(&mut self, channel: &ChannelName, session: SessionId) {
        if let Some(room) = self.rooms.get_mut(channel)
            && let Some(place) = room.places.remove(&session)
        {
            self.leaving -= 1;
            self.due.forget(&place);
            self.rooms.spare(channel);
        }
    }

    fn queue(&mut self, channel: &ChannelName, session: SessionId) {
        if let Some(place) = self.rooms.get_mut(channel).and_then(|room| room.places.get_mut(&session)) {
            self.due.push(place, channel, session);
        }
    }

    /// The next rooms to add to the node's channels, before anything is written in them. Each is to be given back as
    /// [`registered`](Self::registered).
    pub(super) fn take_unregistered(&mut self, max: usize) -> Vec<ChannelName> {
        self.rooms.take_unregistered(max)
    }

    /// Redis has added rooms to the channels of `node`, or has refused to.
    pub(super) fn registered(&mut self, node: &str, channels: &[ChannelName], done: bool) {
        match done && *node == *self.name.node {
            true => self.rooms.registered(channels),
            false => self.rooms.not_registered(channels),
        }
    }

    /// What to tell Redis next. Each order is to be given back, as [`entered`](Self::entered), [`taken`](Self::taken), [`left`](Self::left),
    /// [`refuse`](Self::refuse), [`late`](Self::late) or [`again`](Self::again).
    pub(super) fn take(&mut self, max: usize) -> Vec<Order> {
        let mut orders = Vec::new();
        let mut early = Vec::new();
        let lease_end = self.lease.map_or(0, |lease| lease.until);
        while orders.len() < max
            && let Some((turn, (channel, session))) = self.due.pop()
        {
            let Some(room) = self.rooms.get_mut(&channel) else {
                continue;
            };
            let Some(place) = room.places.get_mut(&session) else {
                continue;
            };
            if room.registration == Registration::Queued {
                early.push((turn, (channel, session)));
                continue;
            }
            place.turn = None;
            if room.registration != Registration::Done {
                place.answer(&Err(PresenceError::Unavailable));
                self.refused.push((channel, session));
                continue;
            }
            if place.known == Known::Unsent {
                place.known = Known::InDoubt;
            }
            let what = match &place.wanted {
                Wanted::In(entry) => {
                    let names = if place.is_repeated() { self.name.all() } else { String::new() };
                    What::Enter { entry: Arc::clone(entry), since: place.since, names, lease_end }
                }
                Wanted::Out { user, grace } => What::Leave { user: Arc::clone(user), grace: *grace },
            };
            let version = place.version;
            orders.push(Order { channel, session, node: Arc::clone(&self.name.node), what, version });
        }
        self.due.put_back(early);
        self.in_flight = orders.len();
        orders
    }

    /// Says whether it was there before, and is again.
    pub(super) fn entered(&mut self, order: &Order, since: u64) -> bool {
        self.in_flight -= 1;
        let Some(place) = self.place(&order.channel, order.session) else {
            return false;
        };
        place.since = since;
        match self.current(order) {
            Some(place) => {
                place.answer(&Ok(()));
                let was_repeated = place.is_repeated();
                place.known = Known::Confirmed;
                was_repeated
            }
            None => false,
        }
    }

    /// Redis has another node's entry. This one is repeated later, for as long as that may be a mistake.
    pub(super) fn taken(&mut self, order: Order, now: Instant) {
        self.in_flight -= 1;
        let Some(place) = self.current(&order) else {
            return;
        };
        place.answer(&Ok(()));
        let times = match place.known {
            Known::Anothers { times } => times + 1,
            _ => 1,
        };
        place.known = Known::Anothers { times };
        if times < ASK_TIMES {
            self.taken.push_back((now + ASK_AGAIN, order.channel, order.session));
        }
    }

    /// The place, if what was ordered is still wanted.
    fn current(&mut self, order: &Order) -> Option<&mut Place> {
        let is_current = *order.node == *self.name.node;
        self.place(&order.channel, order.session).filter(|place| is_current && place.version == order.version)
    }

    pub(super) fn left(&mut self, order: &Order) {
        self.in_flight -= 1;
        if let Some(place) = self.place(&order.channel, order.session)
            && place.version == order.version
            && !place.is_wanted()
        {
            self.remove(&order.channel, order.session);
        }
    }

    pub(super) fn refuse(&mut self, order: Order, reason: &str) {
        self.in_flight -= 1;
        if let Some(place) = self.place(&order.channel, order.session)
            && place.version == order.version
        {
            place.answer(&Err(PresenceError::Refused(reason.to_owned())));
            self.refused.push((order.channel, order.session));
        }
    }

    pub(super) fn again(&mut self, order: &Order) {
        self.in_flight -= 1;
        self.queue(&order.channel, order.session);
    }

    /// Tries again what was refused, or another node's.
    pub(super) fn retry(&mut self, now: Instant) {
        while let Some((_, channel, session)) = self.taken.pop_front_if(|(due, ..)| *due <= now) {
            if self.place(&channel, session).is_some_and(|place| matches!(place.known, Known::Anothers { .. })) {
                self.queue(&channel, session);
            }
        }
        for (channel, session) in std::mem::take(&mut self.refused) {
            if self.place(&channel, session).is_some() {
                self.rooms.open(&channel);
                self.queue(&channel, session);
            }
        }
    }

    /// Everything is to be written again.
    pub(super) fn reassert(&mut self) {
        let Self { rooms, due, taken, .. } = self;
        taken.clear();
        for (channel, room) in rooms.open_all() {
            for (session, place) in &mut room.places {
                place.doubt();
                due.push(place, channel, *session);
            }
        }
    }

    /// From now on the node has another name. Whoever is to be taken out is taken out under the old one, by others.
    pub(super) fn rename(&mut self, node: Arc<str>) {
        let before = std::mem::replace(&mut self.name.node, node);
        self.name.is_new = true;
        self.name.before.push_front(before);
        self.name.before.truncate(FORMER);
        let Self { rooms, leaving, due, .. } = self;
        rooms.forget_registrations();
        for (_, room) in rooms.iter_mut() {
            room.places.retain(|_, place| {
                if !place.is_wanted() {
                    *leaving -= 1;
                    due.forget(place);
                }
                place.is_wanted()
            });
        }
        rooms.spare_all();
        self.reassert();
    }

    pub(super) fn name(&self) -> Name {
        self.name.clone()
    }

    pub(super) fn node(&self) -> Arc<str> {
        Arc::clone(&self.name.node)
    }

    /// The node's lease was renewed at `time` by Redis' clock, in Unix milliseconds; that was asked for at `asked`.
    pub(super) fn renewed(&mut self, asked: Instant, time: u64) {
        self.name.is_new = false;
        self.lease = Some(Lease { asked, until: time.saturating_add(LEASE.as_millis() as u64) });
    }

    /// Redis got the order when the lease was over: it was not done, and nothing is to be written before the next
    /// renewal.
    pub(super) fn late(&mut self, order: &Order) {
        self.lease = None;
        self.again(order);
    }

    /// The link broke: the answers to what was sent will not come.
    pub(super) fn broken(&mut self) {
        self.lease = None;
        self.in_flight = 0;
        self.rooms.broken();
        let now = Instant::now();
        let away = self.rooms.iter_mut().filter(|(_, room)| room.departure.is_some());
        let away: Vec<ChannelName> = away.map(|(channel, _)| channel.clone()).collect();
        away.iter().for_each(|channel| self.depart_by(channel, now, now));
    }

    /// Whether others still take this node for alive. If not, nothing may be written in its name.
    pub(super) fn is_leased(&self, now: Instant) -> bool {
        self.lease.is_some_and(|lease| now.saturating_duration_since(lease.asked) < LEASE)
    }

    /// When the lease was last renewed, if it was since the link came up, and the channels that the node has to do with.
    pub(super) fn concerned(&self) -> (Option<Instant>, Vec<ChannelName>) {
        (self.lease.map(|lease| lease.asked), self.rooms.names())
    }

    /// Rooms in which the node has nothing to do any more: they are to be taken from its channels. They are forgotten.
    /// Each is to be given back as [`unregistered`](Self::unregistered).
    pub(super) fn take_idle(&mut self) -> Vec<ChannelName> {
        self.rooms.take_idle()
    }

    /// Rooms were taken from the node's channels. Who is wanted there again meanwhile has to be added again.
    pub(super) fn unregistered(&mut self, channels: &[ChannelName]) {
        self.rooms.unregistered(channels);
    }

    /// Sessions, once per channel.
    pub(super) fn members(&self) -> u64 {
        self.members
    }

    /// Whether Redis has been told of everything.
    pub(super) fn is_settled(&self) -> bool {
        self.due.is_empty() && self.in_flight == 0 && self.rooms.is_tidy()
    }

    /// Whether something was forgotten that is to be looked for now.
    pub(super) fn take_overflow(&mut self) -> bool {
        self.leaving < MAX_LEAVING / 2 && std::mem::take(&mut self.is_overflowed)
    }
}

#[cfg(test)]
mod tests;
