//! The channels of the table: which are among the node's channels in Redis, and which are of no use any more.

use std::collections::BTreeSet;

use ahash::{AHashMap, AHashSet};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::session::SessionId;

use super::departures::Departure;
use super::place::Place;

#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) places: AHashMap<SessionId, Place>,
    pub(super) registration: Registration,
    pub(super) departure: Option<Departure>,
    /// How often what others left here is being looked at.
    pub(super) adopting: u32,
}

/// Whether a room is among the node's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Registration {
    /// It is not, as far as is known.
    #[default]
    Absent,
    /// It is to be added.
    Queued,
    /// Redis is being asked to add it.
    Asked,
    /// It is.
    Done,
}

impl Room {
    fn is_idle(&self) -> bool {
        self.places.is_empty() && self.departure.is_none() && self.adopting == 0
    }

    fn register(&mut self, channel: &ChannelName, unregistered: &mut BTreeSet<ChannelName>) {
        if self.registration == Registration::Absent {
            self.registration = Registration::Queued;
            unregistered.insert(channel.clone());
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Rooms {
    rooms: AHashMap<ChannelName, Room>,
    /// Those whose registration is queued.
    unregistered: BTreeSet<ChannelName>,
    /// Those that may have to be taken from the node's channels.
    idle: AHashSet<ChannelName>,
    /// How many are just being taken from them.
    leaving: usize,
}

impl Rooms {
    pub(super) fn names(&self) -> Vec<ChannelName> {
        self.rooms.keys().cloned().collect()
    }

    pub(super) fn get(&self, channel: &ChannelName) -> Option<&Room> {
        self.rooms.get(channel)
    }

    pub(super) fn get_mut(&mut self, channel: &ChannelName) -> Option<&mut Room> {
        self.rooms.get_mut(channel)
    }

    /// The room of a channel, which is to be registered if it is not.
    pub(super) fn open(&mut self, channel: &ChannelName) -> &mut Room {
        let room = self.rooms.entry(channel.clone()).or_default();
        room.register(channel, &mut self.unregistered);
        room
    }

    /// All of them; to be registered if they are not.
    pub(super) fn open_all(&mut self) -> impl Iterator<Item = (&ChannelName, &mut Room)> {
        let Self { rooms, unregistered, .. } = self;
        rooms.iter_mut().map(|(channel, room)| {
            room.register(channel, unregistered);
            (channel, room)
        })
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&ChannelName, &mut Room)> {
        self.rooms.iter_mut()
    }

    /// The room may be of no use any more. If Redis has not heard of it, nothing is left to do, and it is forgotten.
    pub(super) fn spare(&mut self, channel: &ChannelName) {
        let Some(room) = self.rooms.get(channel).filter(|room| room.is_idle()) else {
            return;
        };
        match room.registration {
            Registration::Absent | Registration::Queued => {
                self.rooms.remove(channel);
                self.unregistered.remove(channel);
            }
            Registration::Asked | Registration::Done => {
                self.idle.insert(channel.clone());
            }
        }
    }

    /// As [`spare`](Self::spare), each room.
    pub(super) fn spare_all(&mut self) {
        let idle: Vec<_> = self.rooms.iter().filter(|(_, room)| room.is_idle()).map(|(name, _)| name.clone()).collect();
        idle.iter().for_each(|channel| self.spare(channel));
    }

    /// No room is among the node's channels, which has another name.
    pub(super) fn forget_registrations(&mut self) {
        self.rooms.values_mut().for_each(|room| room.registration = Registration::Absent);
        self.unregistered.clear();
        self.idle.clear();
    }

    /// The answers to what was asked will not come.
    pub(super) fn broken(&mut self) {
        for room in self.rooms.values_mut() {
            room.adopting = 0;
            if room.registration == Registration::Asked {
                room.registration = Registration::Absent;
            }
        }
        self.leaving = 0;
        self.spare_all();
    }

    pub(super) fn take_unregistered(&mut self, max: usize) -> Vec<ChannelName> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(channel) = self.unregistered.pop_first()
        {
            if let Some(room) = self.rooms.get_mut(&channel)
                && room.registration == Registration::Queued
            {
                room.registration = Registration::Asked;
                taken.push(channel);
            }
        }
        taken
    }

    pub(super) fn registered(&mut self, channels: &[ChannelName]) {
        for channel in channels {
            if let Some(room) = self.rooms.get_mut(channel) {
                room.registration = Registration::Done;
                self.unregistered.remove(channel);
            }
        }
    }

    pub(super) fn not_registered(&mut self, channels: &[ChannelName]) {
        for channel in channels {
            if let Some(room) = self.rooms.get_mut(channel)
                && room.registration == Registration::Asked
            {
                room.registration = Registration::Absent;
                self.spare(channel);
            }
        }
    }

    pub(super) fn take_idle(&mut self) -> Vec<ChannelName> {
        let mut taken = Vec::new();
        for channel in std::mem::take(&mut self.idle) {
            if self.rooms.get(&channel).is_some_and(Room::is_idle) {
                self.rooms.remove(&channel);
                self.unregistered.remove(&channel);
                taken.push(channel);
            }
        }
        self.leaving += taken.len();
        taken
    }

    pub(super) fn unregistered(&mut self, channels: &[ChannelName]) {
        self.leaving = self.leaving.saturating_sub(channels.len());
        for channel in channels {
            if let Some(room) = self.rooms.get_mut(channel) {
                room.registration = Registration::Absent;
                room.register(channel, &mut self.unregistered);
            }
        }
    }

    /// Whether none has to be taken from the node's channels.
    pub(super) fn is_tidy(&self) -> bool {
        self.idle.is_empty() && self.leaving == 0
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }
}
