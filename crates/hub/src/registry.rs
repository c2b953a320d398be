//! Channel → the connections of this shard that hear it.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use slab::Slab;
use ullim_broker::{Relayed, Routed, Window};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::{Position, Step};

use crate::catching_up::{CatchingUp, Held, Log};
use crate::config::Config;
use crate::config::SlowConsumer;
use crate::connection::ConnectionId;
use crate::pipeline::{Place, Ticket};
use crate::repair::Repairs;
use crate::slots::Slots;

/// A channel of this shard, as long as it has an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChannelKey(u32);

/// A channel that this shard has asked the broker for.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: ChannelName,
    /// The slots that hear it, in slot order: fan-out walks the connections as they lie in memory.
    pub(crate) live: Slots,
    /// How far it was relayed, if it is recoverable: kept up by all that has a position.
    pub(crate) position: Option<Position>,
    /// Whether the broker has confirmed.
    pub(crate) joined: bool,
    /// Something behind its position is missing. What is published meanwhile is dropped: the history has it.
    pub(crate) repairing: bool,
    /// What becomes of those who hear it and read too slowly.
    pub(crate) slow_consumer: SlowConsumer,
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
    /// Commands that wait until the channel has come this far.
    awaiting: Vec<(Position, Place)>,
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
    /// Channels of which something is missing.
    pub(crate) repairs: Repairs,
    /// Commands whose channels have come as far as they waited for.
    pub(crate) reached: Vec<Place>,
    #[cfg(feature = "sabotage")]
    pub(crate) break_repair: bool,
}

/// What becomes of a publication that the broker has relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// It is for those who hear the channel.
    Yes,
    /// They have heard it.
    Known,
    /// Something before it is missing.
    Missing,
}

impl Channel {
    /// The slots that hear joins and leaves, if there are any.
    pub(crate) fn watching(&self) -> Option<&Slots> {
        self.aside.as_ref().map(|aside| &aside.watching)
    }

    /// The slots whose subscriptions have begun, be they answered or not.
    pub(crate) fn begun(&self) -> Vec<u32> {
        let catching_up = self.aside.iter().flat_map(|aside| aside.catching_up.keys());
        self.live.iter().chain(catching_up.copied()).collect()
    }

    /// Takes a publication with a position, if it is the next.
    #[inline]
    pub(crate) fn takes(&mut self, position: Position) -> Takes {
        // The broker's cursor has judged cuts, and told gaps. A new epoch that begins without one does so because the
        // history of the one before was gone, and all of it had been relayed.
        match self.position.map(|at| at.step(position, None)) {
            Some(Step::Next | Step::Anew) if !self.repairing => {}
            Some(Step::Heard | Step::Older) => return Takes::Known,
            Some(Step::Next | Step::Anew | Step::BehindCut | Step::Hole) => return Takes::Missing,
            // Nobody hears it yet.
            None if !self.joined => return Takes::Known,
            None => {}
        }
        self.position = Some(position);
        Takes::Yes
    }

    /// Whether what happens is held back for somebody.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| !aside.catching_up.is_empty())
    }

    /// Holds an item back for those that are not answered yet. The commands that have waited for it.
    fn hold(&mut self, item: &Relayed) -> Vec<Place> {
        let Some(aside) = self.aside.as_mut().filter(|aside| !aside.catching_up.is_empty()) else { return Vec::new() };
        aside.log.push(item);
        let at = self.position;
        aside
            .awaiting
            .extract_if(.., |(wanted, _)| at.is_some_and(|at| at >= *wanted))
            .map(|(_, place)| place)
            .collect()
    }

    /// A command waits until the channel has come so far.
    pub(crate) fn await_position(&mut self, position: Position, place: Place) {
        self.aside.get_or_insert_default().awaiting.push((position, place));
    }

    /// What is held back for a slot.
    pub(crate) fn held(&self, slot: u32) -> Option<Held> {
        let aside = self.aside.as_ref()?;
        Some(aside.log.part(*aside.catching_up.get(&slot)?))
    }

    /// The position behind which everything is held back for a slot.
    pub(crate) fn held_from(&self, slot: u32) -> Option<Position> {
        let aside = self.aside.as_ref()?;
        aside.log.held_from(*aside.catching_up.get(&slot)?)
    }

    /// Nothing is held back for a slot any longer: what was.
    pub(crate) fn release_held(&mut self, slot: u32) -> Option<(CatchingUp, Held)> {
        let aside = self.aside.as_mut()?;
        let caught = aside.catching_up.remove(&slot)?;
        let held = aside.log.part(caught);
        self.forget_aside();
        Some((caught, held))
    }

    fn remove(&mut self, slot: u32) {
        self.live.remove(slot);
        if let Some(aside) = &mut self.aside {
            aside.watching.remove(slot);
            aside.catching_up.remove(&slot);
            aside.awaiting.retain(|(_, place)| place.ticket.connection.slot != slot);
        }
        self.forget_aside();
    }

    fn forget_aside(&mut self) {
        if let Some(aside) = self.aside.as_mut().filter(|aside| aside.catching_up.is_empty()) {
            aside.log = Log::default();
            aside.awaiting = Vec::new();
        }
        self.aside.take_if(|aside| aside.watching.is_empty() && aside.catching_up.is_empty());
    }

    fn is_wanted(&self) -> bool {
        let catching_up = self.aside.as_ref().is_some_and(|aside| !aside.catching_up.is_empty());
        !self.live.is_empty() || !self.waiting.is_empty() || catching_up
    }
}

impl Registry {
    /// Nothing, but in a build that proves that holes are found.
    pub(crate) fn sabotage(&mut self, _config: &Config) {
        #[cfg(feature = "sabotage")]
        {
            self.break_repair = _config.break_repair;
        }
    }

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
    pub(crate) fn enter(
        &mut self,
        name: &ChannelName,
        presence: bool,
        slow_consumer: SlowConsumer,
    ) -> (ChannelKey, bool) {
        if let Some(key) = self.find(name.as_str()) {
            return (key, false);
        }
        let index = self.channels.insert(Channel {
            name: name.clone(),
            live: Slots::default(),
            position: None,
            joined: false,
            repairing: false,
            slow_consumer,
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
        let channel = &mut self.channels[key.0 as usize];
        let aside = channel.aside.get_or_insert_default();
        aside.catching_up.insert(slot, CatchingUp { begun: aside.log.next(), from: channel.position, events });
    }

    /// The broker has confirmed the channel, and said where it stands: those who waited.
    pub(crate) fn confirm(&mut self, key: ChannelKey, position: Option<Position>) -> Vec<Ticket> {
        let channel = &mut self.channels[key.0 as usize];
        if !channel.joined {
            self.unconfirmed -= 1;
            channel.joined = true;
            channel.position = position;
        }
        std::mem::take(&mut channel.waiting)
    }

    /// Holds an item back for those that are not answered yet.
    #[cold]
    pub(crate) fn hold(&mut self, key: ChannelKey, item: &Relayed) {
        let reached = self.channels[key.0 as usize].hold(item);
        self.reached.extend(reached);
    }

    /// A publication was relayed that cannot be told yet, because something before it is missing.
    #[cold]
    pub(crate) fn miss(&mut self, key: ChannelKey, routed: &Routed) {
        self.repairs.miss(key, routed.published, routed.publication.position);
        self.channels[key.0 as usize].repairing = true;
    }

    /// The queue of the shard has lost something of a channel, somewhere in `window`.
    pub(crate) fn miss_some(&mut self, key: ChannelKey, window: Window, position: Option<Position>) {
        self.repairs.miss(key, window, position);
        self.channels[key.0 as usize].repairing = true;
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
        self.repairs.forget(key);
        Some(channel.name)
    }
}
