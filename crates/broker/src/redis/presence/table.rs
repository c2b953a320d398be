//! The members that this node wants in Redis, and how far they are there. Pure: what Redis answers and the time are
//! given. Whatever fails, this is the truth; Redis is brought to agree with it.

mod departures;
mod room;

use std::collections::{BTreeSet, VecDeque, hash_map};
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::session::SessionId;

use room::{Place, Room, Wanted, room};

use super::entry;
use super::lease::LEASE;
use crate::presence::user_name;
use crate::{Claim, Entry, PresenceError};

/// The most sessions that are to be taken out. What exceeds it is found later, by looking for it in Redis.
const MAX_LEAVING: usize = 65_536;

/// How many former names of the node are remembered.
const FORMER: usize = 8;

/// Where the answer to an enter will be.
pub(super) type Waiting = oneshot::Receiver<Result<(), PresenceError>>;

/// What this node is called.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) node: Arc<str>,
    /// Redis has not heard of it.
    pub(super) is_new: bool,
    /// What it was called before, the latest first. At most [`FORMER`].
    pub(super) before: VecDeque<Arc<str>>,
}

impl Name {
    /// All of them, between spaces.
    fn all(&self) -> String {
        std::iter::once(&self.node).chain(&self.before).fold(" ".to_owned(), |all, name| all + name + " ")
    }
}

#[derive(Debug)]
pub(super) struct Table {
    name: Name,
    /// When the last renewal that succeeded was asked for.
    renewed: Option<Instant>,
    rooms: AHashMap<ChannelName, Room>,
    /// Places that Redis is to be told of, in turn.
    due: VecDeque<(ChannelName, SessionId)>,
    /// Places that Redis refused, to be tried again.
    refused: Vec<(ChannelName, SessionId)>,
    /// Rooms that are to be among the node's channels.
    unregistered: VecDeque<ChannelName>,
    /// Rooms that may be of no use any more.
    idle: Vec<ChannelName>,
    /// When each room is due, but for those that Redis is being asked for.
    departures: BTreeSet<(Instant, ChannelName)>,
    members: u64,
    leaving: usize,
    in_flight: usize,
    /// Something was forgotten that is to be looked for.
    is_overflowed: bool,
}

/// Something to tell Redis.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) channel: ChannelName,
    pub(super) session: SessionId,
    pub(super) node: Arc<str>,
    pub(super) what: What,
    version: u64,
}

#[derive(Debug)]
pub(super) enum What {
    /// With the names of the node, if it has been in the channel already.
    Enter {
        entry: Arc<Entry>,
        since: u64,
        names: String,
    },
    Leave {
        user: Arc<str>,
        grace: Duration,
    },
}

impl Table {
    pub(super) fn new(node: Arc<str>) -> Self {
        Self {
            name: Name { node, is_new: true, before: VecDeque::new() },
            renewed: None,
            rooms: AHashMap::new(),
            due: VecDeque::new(),
            refused: Vec::new(),
            unregistered: VecDeque::new(),
            idle: Vec::new(),
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
        let place = match self.place(&channel, session) {
            Some(place) => {
                let before = std::mem::replace(&mut place.wanted, wanted);
                place.version += 1;
                (place.is_written, place.is_suspect) = (false, false);
                if let Wanted::Out { .. } = before {
                    self.leaving -= 1;
                    self.members += 1;
                }
                self.place(&channel, session)
            }
            None => {
                self.members += 1;
                Some(self.insert(&channel, session, wanted, false))
            }
        };
        if let Some(place) = place {
            place.waiting.retain(|waiting| !waiting.is_closed());
            place.waiting.push(answer);
        }
        self.queue(&channel, session);
        waiting
    }

    pub(super) fn leave(&mut self, channel: &ChannelName, session: SessionId, claim: Claim) {
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
        let wanted = Wanted::Out { user: user_name(entry.user.as_ref(), session), grace: entry::grace(entry) };
        // Whoever waited for it waits no longer.
        place.waiting.clear();
        place.wanted = wanted;
        place.version += 1;
        let was_sent = place.was_sent;
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
        if self.place(channel, session).is_none() && self.leaving < MAX_LEAVING {
            self.insert(channel, session, Wanted::Out { user, grace }, true);
            self.leaving += 1;
            self.queue(channel, session);
        }
    }

    fn place(&mut self, channel: &ChannelName, session: SessionId) -> Option<&mut Place> {
        self.rooms.get_mut(channel)?.places.get_mut(&session)
    }

    fn insert(&mut self, channel: &ChannelName, session: SessionId, wanted: Wanted, was_sent: bool) -> &mut Place {
        let place = Place {
            wanted,
            version: 0,
            is_queued: false,
            was_sent,
            is_written: false,
            is_suspect: false,
            since: 0,
            waiting: Vec::new(),
        };
        let room = room(&mut self.rooms, &mut self.unregistered, channel);
        room.places.entry(session).insert_entry(place).into_mut()
    }

    fn remove(&mut self, channel: &ChannelName, session: SessionId) {
        if let Some(room) = self.rooms.get_mut(channel) {
            self.leaving -= usize::from(room.places.remove(&session).is_some());
            self.idle.push(channel.clone());
        }
    }

    fn queue(&mut self, channel: &ChannelName, session: SessionId) {
        if let Some(place) = self.rooms.get_mut(channel).and_then(|room| room.places.get_mut(&session))
            && !std::mem::replace(&mut place.is_queued, true)
        {
            self.due.push_back((channel.clone(), session));
        }
    }

    /// The next rooms to add to the node's channels, before anything is written in them.
    pub(super) fn take_unregistered(&mut self, max: usize) -> Vec<ChannelName> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some(channel) = self.unregistered.pop_front() else {
                break;
            };
            if let Some(room) = self.rooms.get_mut(&channel) {
                room.is_queued = false;
                if !room.is_registered {
                    taken.push(channel);
                }
            }
        }
        taken
    }

    pub(super) fn registered(&mut self, node: &str, channels: &[ChannelName]) {
        for channel in channels.iter().filter(|_| *node == *self.name.node) {
            if let Some(room) = self.rooms.get_mut(channel) {
                room.is_registered = true;
            }
        }
    }

    /// What to tell Redis next. Each order is to be given back, as [`entered`](Self::entered), [`left`](Self::left),
    /// [`refuse`](Self::refuse) or [`again`](Self::again).
    pub(super) fn take(&mut self, max: usize) -> Vec<Order> {
        let mut orders = Vec::new();
        for _ in 0..self.due.len().min(max) {
            let Some((channel, session)) = self.due.pop_front() else {
                break;
            };
            let Some(room) = self.rooms.get_mut(&channel) else {
                continue;
            };
            let Some(place) = room.places.get_mut(&session) else {
                continue;
            };
            if !room.is_registered {
                match room.is_queued {
                    true => self.due.push_back((channel, session)),
                    false => {
                        place.is_queued = false;
                        place.answer(&Err(PresenceError::Unavailable));
                        self.refused.push((channel, session));
                    }
                }
                continue;
            }
            place.is_queued = false;
            place.was_sent = true;
            let what = match &place.wanted {
                Wanted::In(entry) => {
                    let names = if place.is_suspect { self.name.all() } else { String::new() };
                    What::Enter { entry: Arc::clone(entry), since: place.since, names }
                }
                Wanted::Out { user, grace } => What::Leave { user: Arc::clone(user), grace: *grace },
            };
            let version = place.version;
            orders.push(Order { channel, session, node: Arc::clone(&self.name.node), what, version });
        }
        self.in_flight = orders.len();
        orders
    }

    /// Says whether it was there before, and is again.
    pub(super) fn entered(&mut self, order: &Order, since: u64) -> bool {
        self.in_flight -= 1;
        let is_current = *order.node == *self.name.node;
        let Some(place) = self.place(&order.channel, order.session) else {
            return false;
        };
        // Another node's by now: this one waits for its own end.
        let is_taken = since == 0;
        if !is_taken {
            place.since = since;
        }
        if !is_current || place.version != order.version {
            return false;
        }
        place.answer(&Ok(()));
        place.is_written = true;
        std::mem::take(&mut place.is_suspect) && !is_taken
    }

    pub(super) fn left(&mut self, order: &Order) {
        self.in_flight -= 1;
        if let Some(place) = self.place(&order.channel, order.session)
            && place.version == order.version
            && matches!(place.wanted, Wanted::Out { .. })
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

    /// Tries again what was refused.
    pub(super) fn retry(&mut self) {
        for (channel, session) in std::mem::take(&mut self.refused) {
            if let Some(room) = self.rooms.get_mut(&channel) {
                room.register(&channel, &mut self.unregistered);
            }
            self.queue(&channel, session);
        }
    }

    /// Everything is to be written again.
    pub(super) fn reassert(&mut self) {
        let Self { rooms, due, unregistered, .. } = self;
        for (channel, room) in rooms {
            room.register(channel, unregistered);
            for (session, place) in &mut room.places {
                place.is_suspect = place.is_written;
                if !std::mem::replace(&mut place.is_queued, true) {
                    due.push_back((channel.clone(), *session));
                }
            }
        }
    }

    /// From now on the node has another name. Whoever is to be taken out is taken out under the old one, by others.
    pub(super) fn rename(&mut self, node: Arc<str>) {
        let before = std::mem::replace(&mut self.name.node, node);
        self.name.is_new = true;
        self.name.before.push_front(before);
        self.name.before.truncate(FORMER);
        let Self { rooms, leaving, idle, .. } = self;
        for (channel, room) in rooms {
            room.is_registered = false;
            let places = room.places.len();
            room.places.retain(|_, place| matches!(place.wanted, Wanted::In(_)));
            *leaving -= places - room.places.len();
            idle.push(channel.clone());
        }
        self.reassert();
    }

    pub(super) fn name(&self) -> Name {
        self.name.clone()
    }

    /// The node's lease was renewed; that was asked for at `asked`.
    pub(super) fn renewed(&mut self, asked: Instant) {
        self.name.is_new = false;
        self.renewed = Some(asked);
    }

    /// The link broke: the answers to what was sent will not come.
    pub(super) fn broken(&mut self) {
        self.renewed = None;
        self.in_flight = 0;
        let rooms: Vec<ChannelName> = self
            .rooms
            .iter()
            .filter(|(_, room)| room.departure.is_some())
            .map(|(channel, _)| channel.clone())
            .collect();
        for channel in rooms {
            self.depart_by(&channel, Instant::now(), Instant::now());
        }
        for (channel, room) in &mut self.rooms {
            room.adopting = 0;
            self.idle.push(channel.clone());
        }
    }

    /// Whether others still take this node for alive. If not, nothing may be written in its name.
    pub(super) fn is_leased(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|renewed| now.saturating_duration_since(renewed) < LEASE)
    }

    /// Rooms in which the node has nothing to do any more: they are to be taken from its channels. They are forgotten.
    pub(super) fn take_idle(&mut self) -> Vec<ChannelName> {
        let mut taken = Vec::new();
        for channel in std::mem::take(&mut self.idle) {
            if let hash_map::Entry::Occupied(room) = self.rooms.entry(channel)
                && room.get().is_idle()
            {
                let (channel, room) = room.remove_entry();
                if room.is_registered {
                    taken.push(channel);
                }
            }
        }
        taken
    }

    /// Rooms were taken from the node's channels. Who is wanted there again meanwhile has to be added again.
    pub(super) fn unregistered(&mut self, channels: &[ChannelName]) {
        for channel in channels {
            if let Some(room) = self.rooms.get_mut(channel) {
                room.is_registered = false;
                room.register(channel, &mut self.unregistered);
            }
        }
    }

    /// Sessions, once per channel.
    pub(super) fn members(&self) -> u64 {
        self.members
    }

    /// Whether Redis has been told of everything.
    pub(super) fn is_settled(&self) -> bool {
        self.due.is_empty() && self.in_flight == 0
    }

    /// Whether something was forgotten that is to be looked for now.
    pub(super) fn take_overflow(&mut self) -> bool {
        self.leaving < MAX_LEAVING / 2 && std::mem::take(&mut self.is_overflowed)
    }
}

#[cfg(test)]
mod tests;
