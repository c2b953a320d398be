//! Which channel is on which link of a Cluster, and what becomes of it when slots move and links break.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;
use tokio::sync::Notify;
use ullim_protocol::channel::ChannelName;

use super::map::SlotMap;
use super::slot;
use crate::redis::Shared;
use crate::redis::address::Address;

/// Numbers a link to one master.
pub(super) type LinkId = u64;

#[derive(Debug)]
pub(super) struct State {
    /// What the links are where they are by.
    pub(super) map: Arc<SlotMap>,
    pub(super) links: Vec<Berth>,
    pub(super) next_id: LinkId,
    pub(super) placed: AHashMap<ChannelName, Placed>,
    /// Subscribed at the target of a slot that is on its way, and whether that is confirmed.
    pub(super) early: AHashMap<ChannelName, (LinkId, bool)>,
    /// Still subscribed where they were before.
    pub(super) lingering: AHashMap<ChannelName, LinkId>,
    /// Their slot has no master.
    pub(super) homeless: Vec<ChannelName>,
    /// The link that hears orders, and whether that is confirmed.
    pub(super) home: Option<(LinkId, bool)>,
    /// How many channels are yet to be confirmed before the links count as up; `None` while a link is not connected, or
    /// when they do.
    pub(super) backlog: Option<usize>,
    pub(super) is_up: bool,
}

/// A link, as the desk sees it.
#[derive(Debug)]
pub(super) struct Berth {
    pub(super) id: LinkId,
    pub(super) address: Address,
    pub(super) connected: bool,
    pub(super) work: Work,
    pub(super) wake: Arc<Notify>,
}

/// What a link has to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) joins: VecDeque<ChannelName>,
    /// At the target of a slot on its way.
    pub(super) early: VecDeque<ChannelName>,
    pub(super) leaves: VecDeque<ChannelName>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) link: LinkId,
    pub(super) phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Asked,
    Held,
    Leaving,
}

fn slot_of(shared: &Shared, channel: &ChannelName) -> u16 {
    slot::of(shared.names.write(channel.as_str()).as_bytes())
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            map: Arc::new(SlotMap::empty()),
            links: Vec::new(),
            next_id: 0,
            placed: AHashMap::new(),
            early: AHashMap::new(),
            lingering: AHashMap::new(),
            homeless: Vec::new(),
            home: None,
            backlog: None,
            is_up: false,
        }
    }

    pub(super) fn link(&mut self, id: LinkId) -> Option<&mut Berth> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    pub(super) fn at(&self, address: &Address) -> Option<LinkId> {
        self.links.iter().find(|link| link.address == *address).map(|link| link.id)
    }

    /// Gives a link something to do.
    pub(super) fn give(&mut self, id: LinkId, give: impl FnOnce(&mut Work)) {
        if let Some(link) = self.link(id) {
            give(&mut link.work);
            link.wake.notify_one();
        }
    }

    /// A channel that the table has asked for.
    pub(super) fn join(&mut self, shared: &Shared, channel: ChannelName) {
        let slot = slot_of(shared, &channel);
        let Some(link) = self.map.owner(slot).cloned().and_then(|owner| self.at(&owner)) else {
            self.homeless.push(channel);
            return;
        };
        self.placed.insert(channel.clone(), Placed { link, phase: Phase::Asked });
        self.give(link, |work| work.joins.push_back(channel));
    }

    pub(super) fn leave(&mut self, channel: ChannelName) {
        if let Some((link, _)) = self.early.remove(&channel) {
            let early = channel.clone();
            self.give(link, |work| work.leaves.push_back(early));
        }
        if let Some(placed) = self.placed.get_mut(&channel) {
            placed.phase = Phase::Leaving;
            let link = placed.link;
            self.give(link, |work| work.leaves.push_back(channel));
        }
    }

    /// A channel is held where its slot is: it is left where it was before.
    pub(super) fn release(&mut self, channel: &ChannelName) {
        let holder = self.placed.get(channel).map(|placed| placed.link);
        if let Some(link) = self.lingering.get(channel).copied().filter(|link| Some(*link) != holder) {
            let channel = channel.clone();
            self.give(link, |work| work.leaves.push_back(channel));
        }
    }

    /// Subscribes a channel also where its slot is on its way to.
    pub(super) fn anticipate(&mut self, shared: &Shared, channel: &ChannelName) {
        let Some(target) = self.map.target(slot_of(shared, channel)).cloned() else {
            return;
        };
        if let Some(link) = self.at(&target)
            && !self.early.contains_key(channel)
        {
            self.early.insert(channel.clone(), (link, false));
            let channel = channel.clone();
            self.give(link, |work| work.early.push_back(channel));
        }
    }

    /// Brings all to where the map has them. `before` is the map until now.
    pub(super) fn follow(&mut self, shared: &Shared, before: &SlotMap, gone: &[LinkId]) {
        let from = shared.clock.span(before.agreed().unwrap_or(shared.started)).earliest;
        let channels: Vec<(ChannelName, Placed)> =
            self.placed.iter().map(|(channel, placed)| (channel.clone(), *placed)).collect();
        for (channel, placed) in channels {
            let slot = slot_of(shared, &channel);
            let owner = self.map.owner(slot).cloned().and_then(|owner| self.at(&owner));
            let Some(owner) = owner.filter(|owner| *owner != placed.link) else {
                if placed.phase == Phase::Held {
                    self.anticipate(shared, &channel);
                }
                continue;
            };
            match placed.phase {
                Phase::Asked => {
                    // If it was sent it is refused, or the link breaks.
                    let unsent = self.link(placed.link).is_none_or(|link| {
                        let waiting = link.work.joins.len();
                        link.work.joins.retain(|waiting| *waiting != channel);
                        link.work.joins.len() < waiting
                    });
                    if unsent {
                        self.placed.remove(&channel);
                        self.join(shared, channel);
                    }
                }
                Phase::Held => match self.early.remove(&channel) {
                    Some((link, true)) if link == owner => {
                        self.placed.insert(channel.clone(), Placed { link, phase: Phase::Held });
                        self.lingering.insert(channel.clone(), placed.link);
                        self.release(&channel);
                    }
                    _ => {
                        self.placed.remove(&channel);
                        self.lingering.insert(channel.clone(), placed.link);
                        shared.interest().left(channel.as_str(), from);
                    }
                },
                Phase::Leaving => {}
            }
        }
        for id in gone {
            self.drop_link(shared, *id, from);
            if let Some(place) = self.links.iter().position(|link| link.id == *id) {
                self.links.remove(place).wake.notify_one();
            }
        }
    }

    /// What was on a link is on none.
    pub(super) fn drop_link(&mut self, shared: &Shared, id: LinkId, from: u64) {
        if let Some(link) = self.link(id) {
            link.work = Work::default();
        }
        if self.home.is_some_and(|(home, _)| home == id) {
            self.home = None;
            self.links.iter().for_each(|link| link.wake.notify_one());
        }
        self.unsettle();
        self.early.retain(|_, (link, _)| *link != id);
        self.lingering.retain(|_, link| *link != id);
        let placed = &self.placed;
        let is_here = |name: &str| placed.get(name).is_some_and(|placed| placed.link == id);
        shared.interest().broken_among(from, is_here);
        self.placed.retain(|_, placed| placed.link != id);
    }

    /// A link is not there.
    pub(super) fn unsettle(&mut self) {
        self.backlog = None;
        self.is_up = false;
    }

    /// The links are up when all are connected, orders are heard, and what waited at that time is confirmed.
    pub(super) fn settle(&mut self, shared: &Shared) {
        let connected = !self.links.is_empty() && self.links.iter().all(|link| link.connected);
        if self.is_up || !connected {
            return;
        }
        let asked = self.placed.values().filter(|placed| placed.phase == Phase::Asked).count();
        let waiting = asked + self.homeless.len() + shared.interest().requests_waiting();
        let backlog = *self.backlog.get_or_insert(waiting);
        // Some of the backlog may not be wanted any more, and are never asked for.
        if self.home.is_some_and(|(_, confirmed)| confirmed) && (backlog == 0 || waiting == 0) {
            self.backlog = None;
            self.is_up = true;
            if shared.subscription.up(&shared.place) {
                shared.tally.reconnects.add(1);
            }
        }
    }
}
