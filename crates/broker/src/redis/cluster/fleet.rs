//! The subscription links of a Cluster: one to each master. This is the desk between them and the table of interest: it
//! says which channel is on which link, follows slots that move, and tells the table what is confirmed and what is lost.
//!
//! ```text
//! Asked ──confirmed()──▶ Held ──leaves()──▶ Leaving ──left()──▶ (gone)
//!   ◀── its link broke, or its slot is elsewhere: asked for anew, with a gap
//! ```
//!
//! A slot on its way to another master is subscribed there too, as soon as that is known, with `ASKING`: if that is
//! confirmed before the slot has moved nothing is lost and no gap is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::AHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;

use super::map::SlotMap;
use super::slot;
use super::topology::Topology;
use crate::redis::Shared;
use crate::redis::address::Address;

/// The most channels that are taken from the table of interest at once.
const BATCH: usize = 512;

/// Numbers a link to one master.
pub(super) type LinkId = u64;

/// The desk.
#[derive(Debug)]
pub(super) struct Fleet {
    state: Mutex<State>,
    /// There may be something to hand out.
    pub(super) changed: Notify,
}

#[derive(Debug)]
struct State {
    /// What the links are where they are by.
    map: Arc<SlotMap>,
    links: Vec<Berth>,
    next_id: LinkId,
    placed: AHashMap<ChannelName, Placed>,
    /// Subscribed at the target of a slot that is on its way, and whether that is confirmed.
    early: AHashMap<ChannelName, (LinkId, bool)>,
    /// Still subscribed where they were before.
    lingering: AHashMap<ChannelName, LinkId>,
    /// Their slot has no master.
    homeless: Vec<ChannelName>,
    /// The link that hears orders, and whether that is confirmed.
    home: Option<(LinkId, bool)>,
    /// How many channels are yet to be confirmed before the links count as up; `None` while a link is not connected, or
    /// when they do.
    backlog: Option<usize>,
    is_up: bool,
}

/// A link, as the desk sees it.
#[derive(Debug)]
struct Berth {
    id: LinkId,
    address: Address,
    connected: bool,
    work: Work,
    wake: Arc<Notify>,
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
struct Placed {
    link: LinkId,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Asked,
    Held,
    Leaving,
}

fn slot_of(shared: &Shared, channel: &ChannelName) -> u16 {
    slot::of(shared.names.write(channel.as_str()).as_bytes())
}

impl Fleet {
    pub(super) fn new() -> Self {
        let state = State {
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
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new map. Returns the masters that need a link, with what wakes it, and ends the links to those that are
    /// masters no more.
    pub(super) fn follow(&self, shared: &Shared, map: Arc<SlotMap>) -> Vec<(LinkId, Address, Arc<Notify>)> {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.map, map);
        let gone: Vec<LinkId> = state
            .links
            .iter()
            .filter(|link| !state.map.masters().contains(&link.address))
            .map(|link| link.id)
            .collect();
        let mut new = Vec::new();
        for address in state.map.masters().to_vec() {
            if state.links.iter().all(|link| link.address != address) {
                let (id, wake) = (state.next_id, Arc::new(Notify::new()));
                state.next_id += 1;
                new.push((id, address.clone(), Arc::clone(&wake)));
                state.links.push(Berth { id, address, connected: false, work: Work::default(), wake });
            }
        }
        state.follow(shared, &before, &gone);
        drop(state);
        self.changed.notify_one();
        new
    }

    /// Hands out what the table of interest asks for. Says when there is something to do even if nothing happens.
    pub(super) fn dispatch(&self, shared: &Shared) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.state();
        let mut joins = std::mem::take(&mut state.homeless);
        let mut leaves = Vec::new();
        let next = loop {
            let mut interest = shared.interest();
            let (some, away) = (interest.requests(BATCH), interest.leaves(now - shared.started, BATCH));
            let next = interest.next_leave();
            drop(interest);
            if some.is_empty() && away.is_empty() {
                break next;
            }
            joins.extend(some);
            leaves.extend(away);
        };
        for channel in joins {
            state.join(shared, channel);
        }
        for channel in leaves {
            state.leave(channel);
        }
        state.settle(shared);
        next.map(|next| shared.started + next)
    }

    /// What a link has to do now: up to `max` channels of each kind.
    pub(super) fn work(&self, id: LinkId, max: usize) -> Work {
        let mut state = self.state();
        let Some(link) = state.link(id) else {
            return Work::default();
        };
        let take = |from: &mut VecDeque<ChannelName>| {
            let count = from.len().min(max);
            from.drain(..count).collect()
        };
        Work {
            joins: take(&mut link.work.joins),
            early: take(&mut link.work.early),
            leaves: take(&mut link.work.leaves),
        }
    }

    /// Whether this link is the one to hear orders, and has not begun to.
    pub(super) fn is_to_be_home(&self, id: LinkId) -> bool {
        let mut state = self.state();
        let free = state.home.is_none();
        if free {
            state.home = Some((id, false));
        }
        free
    }

    pub(super) fn hears_orders(&self, shared: &Shared, id: LinkId) {
        let mut state = self.state();
        if state.home == Some((id, false)) {
            state.home = Some((id, true));
        }
        state.settle(shared);
    }

    /// A link stands.
    pub(super) fn connected(&self, shared: &Shared, id: LinkId) {
        let mut state = self.state();
        if let Some(link) = state.link(id) {
            link.connected = true;
        }
        if state.links.iter().all(|link| link.connected) {
            let asked = state.placed.values().filter(|placed| placed.phase == Phase::Asked).count();
            state.backlog = Some(asked + shared.interest().requests_waiting());
        }
        state.settle(shared);
    }

    /// A link broke: what was published after `from` may be lost.
    pub(super) fn broken(&self, shared: &Shared, id: LinkId, from: u64) {
        let mut state = self.state();
        if let Some(link) = state.link(id) {
            link.connected = false;
        }
        state.drop_link(shared, id, from);
        drop(state);
        self.changed.notify_one();
    }

    /// A link confirms a subscription.
    pub(super) fn confirmed(&self, shared: &Shared, id: LinkId, name: &str) {
        let mut state = self.state();
        let Some((channel, placed)) =
            state.placed.get_key_value(name).map(|(channel, placed)| (channel.clone(), *placed))
        else {
            return;
        };
        if placed.link != id {
            if let Some((link, confirmed)) = state.early.get_mut(name) {
                *confirmed |= *link == id;
            }
            return;
        }
        if placed.phase != Phase::Asked {
            return;
        }
        let now = Instant::now();
        let latest = shared.clock.span(now).latest;
        if let Some(gaps) = shared.interest().confirmed(name, latest, now - shared.started) {
            shared.tally.gaps.add(gaps);
            state.backlog = state.backlog.map(|backlog| backlog.saturating_sub(1));
        }
        state.placed.insert(channel.clone(), Placed { link: id, phase: Phase::Held });
        state.release(&channel);
        state.anticipate(shared, &channel);
        state.settle(shared);
        drop(state);
        // It may have to be left at once.
        self.changed.notify_one();
    }

    /// A link says that a channel is subscribed there no more. All that was published on it before `proven` has come.
    pub(super) fn left(&self, shared: &Shared, topology: &Topology, id: LinkId, name: &str, proven: Instant) {
        let mut state = self.state();
        if state.lingering.get(name) == Some(&id) {
            state.lingering.remove(name);
            return;
        }
        let Some((channel, placed)) =
            state.placed.get_key_value(name).map(|(channel, placed)| (channel.clone(), *placed))
        else {
            return;
        };
        if placed.link != id || placed.phase == Phase::Asked {
            return;
        }
        if placed.phase == Phase::Held {
            // The slot has moved.
            topology.refresh();
            if let Some((link, true)) = state.early.remove(name) {
                state.placed.insert(channel, Placed { link, phase: Phase::Held });
                return;
            }
        }
        state.placed.remove(name);
        // Since the nodes last agreed the slot may have been elsewhere.
        let since = state.map.agreed().map_or(shared.started, |agreed| agreed.min(proven));
        shared.interest().left(name, shared.clock.span(since).earliest);
        drop(state);
        self.changed.notify_one();
    }

    /// A link was refused subscriptions: their slot is elsewhere.
    pub(super) fn refused(&self, shared: &Shared, id: LinkId, channels: Vec<ChannelName>) {
        let mut state = self.state();
        for channel in channels {
            match state.placed.get(&channel) {
                Some(placed) if placed.link == id && placed.phase == Phase::Asked => {
                    state.placed.remove(&channel);
                    state.homeless.push(channel);
                }
                _ => {}
            }
        }
        state.settle(shared);
        drop(state);
        self.changed.notify_one();
    }

    /// A link was refused to subscribe at the target of a slot.
    pub(super) fn not_early(&self, id: LinkId, channels: &[ChannelName]) {
        let mut state = self.state();
        for channel in channels {
            if state.early.get(channel).is_some_and(|(link, _)| *link == id) {
                state.early.remove(channel);
            }
        }
    }
}

impl State {
    fn link(&mut self, id: LinkId) -> Option<&mut Berth> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    fn at(&self, address: &Address) -> Option<LinkId> {
        self.links.iter().find(|link| link.address == *address).map(|link| link.id)
    }

    /// Gives a link something to do.
    fn give(&mut self, id: LinkId, give: impl FnOnce(&mut Work)) {
        if let Some(link) = self.link(id) {
            give(&mut link.work);
            link.wake.notify_one();
        }
    }

    /// A channel that the table has asked for.
    fn join(&mut self, shared: &Shared, channel: ChannelName) {
        let slot = slot_of(shared, &channel);
        let Some(link) = self.map.owner(slot).cloned().and_then(|owner| self.at(&owner)) else {
            self.homeless.push(channel);
            return;
        };
        self.placed.insert(channel.clone(), Placed { link, phase: Phase::Asked });
        self.give(link, |work| work.joins.push_back(channel));
    }

    fn leave(&mut self, channel: ChannelName) {
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
    fn release(&mut self, channel: &ChannelName) {
        let holder = self.placed.get(channel).map(|placed| placed.link);
        if let Some(link) = self.lingering.get(channel).copied().filter(|link| Some(*link) != holder) {
            let channel = channel.clone();
            self.give(link, |work| work.leaves.push_back(channel));
        }
    }

    /// Subscribes a channel also where its slot is on its way to.
    fn anticipate(&mut self, shared: &Shared, channel: &ChannelName) {
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
    fn follow(&mut self, shared: &Shared, before: &SlotMap, gone: &[LinkId]) {
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
    fn drop_link(&mut self, shared: &Shared, id: LinkId, from: u64) {
        if let Some(link) = self.link(id) {
            link.work = Work::default();
        }
        if self.home.is_some_and(|(home, _)| home == id) {
            self.home = None;
            self.links.iter().for_each(|link| link.wake.notify_one());
        }
        self.backlog = None;
        self.is_up = false;
        self.early.retain(|_, (link, _)| *link != id);
        self.lingering.retain(|_, link| *link != id);
        let placed = &self.placed;
        let is_here = |name: &str| placed.get(name).is_some_and(|placed| placed.link == id);
        shared.interest().broken_among(from, is_here);
        self.placed.retain(|_, placed| placed.link != id);
    }

    fn settle(&mut self, shared: &Shared) {
        let connected = !self.links.is_empty() && self.links.iter().all(|link| link.connected);
        let asked = || self.placed.values().any(|placed| placed.phase == Phase::Asked);
        if self.is_up || !connected || !self.home.is_some_and(|(_, confirmed)| confirmed) || !self.homeless.is_empty() {
            return;
        }
        // Some of the backlog may not be wanted any more, and are never asked for.
        if self.backlog == Some(0) || (!asked() && shared.interest().requests_waiting() == 0) {
            self.backlog = None;
            self.is_up = true;
            if shared.subscription.up(&shared.place) {
                shared.tally.reconnects.add(1);
            }
        }
    }
}
