//! Who is in which channel, and who has just left. Pure: times are given.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::presence::{Info, MAX_PAGE, Member, MembersPage, Occupancy, PresenceEvent};
use ullim_protocol::session::SessionId;

use crate::presence::user_name;
use crate::{Claim, Entry, PageRequest, PresenceError};

/// The channels that somebody is in, or has left not long ago.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    rooms: HashMap<ChannelName, Room>,
    /// Every user's entry in a room's `leaving`, by time.
    departures: BTreeSet<(Instant, ChannelName, Arc<str>)>,
    members: u64,
}

#[derive(Debug, Default)]
struct Room {
    sessions: BTreeMap<SessionId, Place>,
    /// How many sessions each user has here.
    users: HashMap<Arc<str>, u64>,
    /// Who has left, and until when nobody is told.
    leaving: HashMap<Arc<str>, Instant>,
}

#[derive(Debug)]
struct Place {
    claim: Claim,
    user: Option<Arc<str>>,
    info: Option<Info>,
    grace: Duration,
    since: u64,
}

impl Rooms {
    /// Says what is to be told. `since` is by the clock of the wall.
    pub(super) fn enter(&mut self, entry: Entry, since: u64, now: Instant) -> Vec<PresenceEvent> {
        let Entry { channel, session, claim, user, info, grace } = entry;
        let name = user_name(user.as_ref(), session);
        let mut events = Vec::new();
        let room = self.rooms.entry(channel.clone()).or_default();
        let known = room.sessions.remove(&session);
        let goes_on = known.as_ref().is_some_and(|known| user_name(known.user.as_ref(), session) == name);
        let since = known.as_ref().filter(|_| goes_on).map_or(since, |known| known.since);
        room.sessions.insert(session, Place { claim, user, info: info.clone(), grace, since });
        if !goes_on {
            let count = room.users.entry(Arc::clone(&name)).or_default();
            *count += 1;
            let returned = room.leaving.remove(&name);
            if let Some(deadline) = returned {
                self.departures.remove(&(deadline, channel.clone(), Arc::clone(&name)));
            } else if *count == 1 {
                events.push(PresenceEvent { joined: true, user: name, info });
            }
        }
        match known {
            None => self.members += 1,
            Some(known) if !goes_on => events.extend(self.lose(&channel, session, &known, Duration::ZERO, now)),
            Some(_) => {}
        }
        events
    }

    /// Says what is to be told at once.
    pub(super) fn leave(
        &mut self,
        channel: &ChannelName,
        session: SessionId,
        claim: Claim,
        absence: Duration,
        now: Instant,
    ) -> Option<PresenceEvent> {
        let room = self.rooms.get_mut(channel)?;
        if room.sessions.get(&session)?.claim != claim {
            return None;
        }
        let place = room.sessions.remove(&session)?;
        self.members -= 1;
        let event = self.lose(channel, session, &place, absence, now);
        self.forget_if_empty(channel);
        event
    }

    /// A user has one session less.
    fn lose(
        &mut self,
        channel: &ChannelName,
        session: SessionId,
        place: &Place,
        absence: Duration,
        now: Instant,
    ) -> Option<PresenceEvent> {
        let user = user_name(place.user.as_ref(), session);
        let room = self.rooms.get_mut(channel)?;
        let count = room.users.get_mut(&user)?;
        *count -= 1;
        if *count > 0 {
            return None;
        }
        room.users.remove(&user);
        let grace = place.user.as_ref().map_or(Duration::ZERO, |_| place.grace).max(absence);
        if grace.is_zero() {
            return Some(PresenceEvent { joined: false, user, info: None });
        }
        let deadline = now + grace;
        room.leaving.insert(Arc::clone(&user), deadline);
        self.departures.insert((deadline, channel.clone(), user));
        None
    }

    /// Those whose grace is over.
    pub(super) fn departed(&mut self, now: Instant) -> Vec<(ChannelName, Arc<str>)> {
        let mut departed = Vec::new();
        while self.next_departure().is_some_and(|due| due <= now) {
            let Some((_, channel, user)) = self.departures.pop_first() else {
                break;
            };
            if let Some(room) = self.rooms.get_mut(&channel) {
                room.leaving.remove(&user);
            }
            self.forget_if_empty(&channel);
            departed.push((channel, user));
        }
        departed
    }

    pub(super) fn next_departure(&self) -> Option<Instant> {
        self.departures.first().map(|(due, ..)| *due)
    }

    fn forget_if_empty(&mut self, channel: &ChannelName) {
        if self.rooms.get(channel).is_some_and(|room| room.sessions.is_empty() && room.leaving.is_empty()) {
            self.rooms.remove(channel);
        }
    }

    /// A page in the order of the sessions' ids; its cursor is the last of them.
    pub(super) fn page(&self, channel: &ChannelName, page: &PageRequest) -> Result<MembersPage, PresenceError> {
        let from = match &page.cursor {
            Some(cursor) => Bound::Excluded(SessionId::parse(cursor).ok_or(PresenceError::Cursor)?),
            None => Bound::Unbounded,
        };
        let Some(room) = self.rooms.get(channel) else {
            return Ok(MembersPage::default());
        };
        let mut places = room.sessions.range((from, Bound::Unbounded));
        let members: Vec<Member> = places
            .by_ref()
            .take(page.limit.clamp(1, MAX_PAGE))
            .map(|(session, place)| Member {
                session: *session,
                user: place.user.clone(),
                info: place.info.clone(),
                since: place.since,
            })
            .collect();
        let last = members.last().map(|member| member.session.to_string());
        Ok(MembersPage { members, cursor: places.next().and(last) })
    }

    pub(super) fn occupancy(&self, channel: &ChannelName) -> Occupancy {
        self.rooms.get(channel).map_or_else(Occupancy::default, |room| Occupancy {
            connections: room.sessions.len() as u64,
            users: room.users.len() as u64,
        })
    }

    /// Sessions, once per channel.
    pub(super) fn members(&self) -> u64 {
        self.members
    }
}
