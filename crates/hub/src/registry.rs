//! Channel → the connections of this shard that hear it.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use slab::Slab;
use ullim_broker::{Relayed, Window};
use ullim_protocol::channel::ChannelName;

use crate::catching_up::{CatchingUp, Log};
use crate::connection::ConnectionId;
use crate::pipeline::Ticket;
use crate::slots::Slots;

/// A channel of this shard, as long as it has an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChannelKey(u32);

/// A channel that this shard has asked the broker for.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: ChannelName,
    /// The slots that hear it, in slot order: fan-out walks the connections as they lie in memory.
    pub(crate) live: Slots,
    /// Whether the broker has confirmed.
    pub(crate) joined: bool,
    /// Whether those who hear it are its members.
    pub(crate) presence: bool,
    /// Subscriptions that wait for the broker, and the commands that they belong to.
    pub(crate) waiting: Vec<Ticket>,
    /// Where fan-out collects this channel's publications at the moment.
    pub(crate) open_segment: Option<u32>,
    aside: Option<Box<Aside>>,
}

/// What most channels do not have.
#[derive(Debug, Default)]
struct Aside {
    /// Those among the live slots that hear joins and leaves.
    watching: Slots,
    /// The slots that hear it, but not yet.
    catching_up: BTreeMap<u32, CatchingUp>,
    /// What is held back for those.
    log: Log,
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Found by the hash of their names, which stand in the entries only: the table is small, and what it finds is needed
    /// anyway.
    keys: HashTable<ChannelKey>,
    // Names are chosen by clients: ahash, seeded at random, keeps them from colliding on purpose.
    hasher: ahash::RandomState,
    channels: Slab<Channel>,
    unconfirmed: usize,
}

impl Channel {
    /// The slots that hear joins and leaves, if there are any.
    pub(crate) fn watching(&self) -> Option<&Slots> {
        self.aside.as_ref().map(|aside| &aside.watching)
    }

    /// Holds an item back for those that are not answered yet.
    pub(crate) fn hold(&mut self, item: &Relayed) {
        if let Some(aside) = self.aside.as_mut().filter(|aside| !aside.catching_up.is_empty()) {
            aside.log.push(item);
        }
    }

    /// Nothing is held back for a slot any longer: what was lost for it, and what was held.
    pub(crate) fn release_held(&mut self, slot: u32) -> Option<(CatchingUp, Option<Window>, Vec<Relayed>)> {
        let aside = self.aside.as_mut()?;
        let caught = aside.catching_up.remove(&slot)?;
        let (lost, items) = aside.log.part(caught);
        self.forget_aside();
        Some((caught, lost, items))
    }

    fn remove(&mut self, slot: u32) {
        self.live.remove(slot);
        if let Some(aside) = &mut self.aside {
            aside.watching.remove(slot);
            aside.catching_up.remove(&slot);
        }
        self.forget_aside();
    }

    fn forget_aside(&mut self) {
        if let Some(aside) = self.aside.as_mut().filter(|aside| aside.catching_up.is_empty()) {
            aside.log = Log::default();
        }
        self.aside.take_if(|aside| aside.watching.is_empty() && aside.catching_up.is_empty());
    }

    fn is_wanted(&self) -> bool {
        let catching_up = self.aside.as_ref().is_some_and(|aside| !aside.catching_up.is_empty());
        !self.live.is_empty() || !self.waiting.is_empty() || catching_up
    }
}

impl Registry {
    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    pub(crate) fn find(&self, name: &str) -> Option<ChannelKey> {
        let is_it = |key: &ChannelKey| self.channels[key.0 as usize].name.as_str() == name;
        self.keys.find(self.hasher.hash_one(name), is_it).copied()
    }

    pub(crate) fn get(&mut self, key: ChannelKey) -> Option<&mut Channel> {
        self.channels.get_mut(key.0 as usize)
    }

    /// The channel's entry, and whether it is new.
    pub(crate) fn enter(&mut self, name: &ChannelName, presence: bool) -> (ChannelKey, bool) {
        if let Some(key) = self.find(name.as_str()) {
            return (key, false);
        }
        let index = self.channels.insert(Channel {
            name: name.clone(),
            live: Slots::default(),
            joined: false,
            presence,
            waiting: Vec::new(),
            open_segment: None,
            aside: None,
        });
        let key = ChannelKey(index as u32);
        let hash = |key: &ChannelKey| self.hasher.hash_one(self.channels[key.0 as usize].name.as_str());
        self.keys.insert_unique(hash(&key), key, hash);
        self.unconfirmed += 1;
        (key, true)
    }

    /// How many channels the broker has not confirmed.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.unconfirmed
    }

    /// A slot hears the channel from now on, its joins and leaves too if it wants them.
    pub(crate) fn hear(&mut self, key: ChannelKey, slot: u32, events: bool) {
        let channel = &mut self.channels[key.0 as usize];
        channel.live.insert(slot);
        if events {
            channel.aside.get_or_insert_default().watching.insert(slot);
        }
    }

    /// Whether a slot hears joins and leaves is changed.
    pub(crate) fn watch(&mut self, key: ChannelKey, slot: u32, events: bool) {
        let channel = &mut self.channels[key.0 as usize];
        if let Some(caught) = channel.aside.as_mut().and_then(|aside| aside.catching_up.get_mut(&slot)) {
            caught.events = events;
        } else if events && channel.live.contains(slot) {
            channel.aside.get_or_insert_default().watching.insert(slot);
        } else if let Some(aside) = &mut channel.aside {
            aside.watching.remove(slot);
            channel.forget_aside();
        }
    }

    /// What happens on the channel from now on is held back for a slot.
    pub(crate) fn hold_for(&mut self, key: ChannelKey, slot: u32, events: bool) {
        let aside = self.channels[key.0 as usize].aside.get_or_insert_default();
        aside.catching_up.insert(slot, CatchingUp { begun: aside.log.next(), events });
    }

    /// The broker has confirmed the channel: those who waited.
    pub(crate) fn confirm(&mut self, key: ChannelKey) -> Vec<Ticket> {
        let channel = &mut self.channels[key.0 as usize];
        self.unconfirmed -= usize::from(!channel.joined);
        channel.joined = true;
        std::mem::take(&mut channel.waiting)
    }

    /// Takes a connection out of the channel.
    pub(crate) fn remove(&mut self, key: ChannelKey, id: ConnectionId) {
        if let Some(channel) = self.channels.get_mut(key.0 as usize) {
            channel.remove(id.slot);
            channel.waiting.retain(|ticket| ticket.connection != id);
        }
    }

    /// Removes the entry if nobody hears or awaits the channel any longer, and returns its name. An entry that the
    /// broker has not confirmed stays until it has: each confirmation then belongs to one entry.
    pub(crate) fn release(&mut self, key: ChannelKey) -> Option<ChannelName> {
        let channel = self.channels.get(key.0 as usize)?;
        if !channel.joined || channel.is_wanted() {
            return None;
        }
        let hash = self.hasher.hash_one(channel.name.as_str());
        if let Ok(found) = self.keys.find_entry(hash, |found| *found == key) {
            found.remove();
        }
        let channel = self.channels.remove(key.0 as usize);
        Some(channel.name)
    }
}
