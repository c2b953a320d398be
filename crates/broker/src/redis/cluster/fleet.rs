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

use tokio::sync::Notify;
use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;

use super::desk::{Berth, LinkId, Phase, Placed, State, Work};
use super::map::SlotMap;
use super::topology::Topology;
use crate::redis::Shared;
use crate::redis::address::Address;

/// The most channels that are taken from the table of interest at once.
const BATCH: usize = 512;

/// The desk.
#[derive(Debug)]
pub(super) struct Fleet {
    state: Mutex<State>,
    /// There may be something to hand out.
    pub(super) changed: Notify,
}

impl Fleet {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State::new()), changed: Notify::new() }
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
        state.settle(shared);
    }

    /// A link could not be built.
    pub(super) fn unbuilt(&self) {
        self.state().unsettle();
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
        if state.early.get(name).is_some_and(|(link, _)| *link == id) {
            // Some servers drop what was subscribed early when the slot arrives.
            state.early.remove(name);
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
