//! Channel → the connections of this shard that hear it.

use std::collections::{BTreeSet, HashMap};

use slab::Slab;
use ullim_protocol::channel::ChannelName;

use crate::pipeline::Ticket;

/// A channel of this shard, as long as it has an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChannelKey(u32);

/// A channel that this shard has asked the broker for.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: ChannelName,
    /// The slots that hear it, in slot order: fan-out walks the connections as they lie in memory.
    pub(crate) live: BTreeSet<u32>,
    /// Whether the broker has confirmed.
    pub(crate) joined: bool,
    /// Subscriptions that wait for that, and the commands that they belong to.
    pub(crate) waiting: Vec<Ticket>,
    /// Where fan-out collects this channel's publications at the moment.
    pub(crate) open_segment: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    // Names are chosen by clients: ahash, seeded at random, keeps them from colliding on purpose.
    keys: HashMap<ChannelName, ChannelKey, ahash::RandomState>,
    channels: Slab<Channel>,
    unconfirmed: usize,
}

impl Registry {
    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    pub(crate) fn find(&self, name: &str) -> Option<ChannelKey> {
        self.keys.get(name).copied()
    }

    pub(crate) fn get(&mut self, key: ChannelKey) -> Option<&mut Channel> {
        self.channels.get_mut(key.0 as usize)
    }

    /// The channel's entry, and whether it is new.
    pub(crate) fn enter(&mut self, name: &ChannelName) -> (ChannelKey, bool) {
        if let Some(key) = self.find(name.as_str()) {
            return (key, false);
        }
        let index = self.channels.insert(Channel {
            name: name.clone(),
            live: BTreeSet::new(),
            joined: false,
            waiting: Vec::new(),
            open_segment: None,
        });
        let key = ChannelKey(index as u32);
        self.keys.insert(name.clone(), key);
        self.unconfirmed += 1;
        (key, true)
    }

    /// How many channels the broker has not confirmed.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.unconfirmed
    }

    /// Adds a subscriber; whether it hears the channel at once.
    pub(crate) fn add(&mut self, key: ChannelKey, ticket: Ticket) -> bool {
        let channel = &mut self.channels[key.0 as usize];
        match channel.joined {
            true => drop(channel.live.insert(ticket.connection.slot)),
            false => channel.waiting.push(ticket),
        }
        channel.joined
    }

    /// The broker has confirmed the channel: those who waited hear it from now on, and are returned.
    pub(crate) fn confirm(&mut self, key: ChannelKey) -> Vec<Ticket> {
        let channel = &mut self.channels[key.0 as usize];
        self.unconfirmed -= usize::from(!channel.joined);
        channel.joined = true;
        let waiting = std::mem::take(&mut channel.waiting);
        channel.live.extend(waiting.iter().map(|ticket| ticket.connection.slot));
        waiting
    }

    /// Removes the entry if nobody hears or awaits the channel any longer, and returns its name. An entry that the
    /// broker has not confirmed stays until it has: each confirmation then belongs to one entry.
    pub(crate) fn release(&mut self, key: ChannelKey) -> Option<ChannelName> {
        let channel = self.channels.get(key.0 as usize)?;
        if !channel.joined || !channel.live.is_empty() || !channel.waiting.is_empty() {
            return None;
        }
        let channel = self.channels.remove(key.0 as usize);
        self.keys.remove(&channel.name);
        Some(channel.name)
    }
}
