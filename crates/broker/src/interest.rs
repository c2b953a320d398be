//! Which shards want which channel, and how far the link to the broker has confirmed it. Pure: what the link hears and
//! the time are given; what shards are told goes into their queues at once, so that whoever holds the lock around this
//! also decides the order.
//!
//! A channel's way on the link, with at most one SUBSCRIBE outstanding for it at any time:
//!
//! ```text
//! Absent ──requests()──▶ Requested ──confirmed()──▶ Confirmed ──leaves()──▶ Leaving ──left()──▶ (gone, or Absent)
//!    ◀───────────────────────── broken(), or an unsubscribe that was not asked for ─────────────────────
//! ```

mod cursor;
mod recent;
mod recoverable;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque, hash_map};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use ahash::{AHashMap, AHashSet};
use tokio::sync::Notify;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::outgoing::{Gap, GapReason};

use crate::queue::{Delivered, Relayed, ShardQueue};
use crate::shards::{ShardSet, Shards, Told};
use crate::{ChannelRules, ShardId};
use cursor::Cursor;
pub(crate) use cursor::{Kept, Read, Repaired};
pub(crate) use recoverable::{Cached, Check, Heard};

/// The table of channels. Times named `at` and `from` are the broker's, in Unix milliseconds; those named `now` are the
/// node's own, monotonic.
#[derive(Debug)]
pub(crate) struct Interest {
    shards: Shards,
    channels: AHashMap<ChannelName, Entry>,
    /// Every wanted channel that is `Absent`, in the order in which it came to be.
    requests: BTreeMap<u64, ChannelName>,
    next_request: u64,
    /// Every `Confirmed` channel without shards, by the time at which it is to be left.
    cooling: BTreeSet<(Duration, ChannelName)>,
    cooldown: Duration,
    confirmed: u64,
    rules: ChannelRules,
    /// Recoverable channels whose history is to be read.
    checks: VecDeque<ChannelName>,
    next_check: u64,
    /// There are checks.
    wanted: Arc<Notify>,
    /// What waits on all recoverable channels, and what is kept of them for those who recover; in bytes.
    held_bytes: Arc<AtomicUsize>,
    recent_bytes: Arc<AtomicUsize>,
    /// Every channel of which something is kept.
    recents: AHashSet<ChannelName>,
    /// A hole is passed on as if nothing were missing.
    break_repair: bool,
    /// Until then publishers may not have followed the link to another server: gaps are told when they have.
    settles: Option<Duration>,
}

#[derive(Debug)]
struct Entry {
    /// They hear what is published.
    joined: ShardSet,
    /// They will, once the link has confirmed.
    waiting: ShardSet,
    link: Link,
    /// Since when those who have joined may have missed something.
    lost_since: Option<u64>,
    /// Where it stands, if it is recoverable. In a cell, because all channels of a batch are found first.
    cursor: Option<Box<RefCell<Cursor>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Not asked for. With its place among the requests.
    Absent(u64),
    /// Asked for, not confirmed.
    Requested,
    /// Confirmed. With the time at which it is to be left, while no shard wants it.
    Confirmed { leave: Option<Duration> },
    /// Asked to be left, not confirmed.
    Leaving,
}

impl Interest {
    /// Without shards and channels. A channel that nobody wants stays on the link for `cooldown`.
    pub(crate) fn new(cooldown: Duration) -> Self {
        Self {
            shards: Shards::default(),
            channels: AHashMap::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            cooling: BTreeSet::new(),
            cooldown,
            confirmed: 0,
            rules: ChannelRules::default(),
            checks: VecDeque::new(),
            next_check: 0,
            wanted: Arc::default(),
            held_bytes: Arc::default(),
            recent_bytes: Arc::default(),
            recents: AHashSet::new(),
            break_repair: false,
            settles: None,
        }
    }

    /// See [`Broker::attach`](crate::Broker::attach).
    pub(crate) fn attach(&mut self, queue: ShardQueue) -> ShardId {
        self.shards.attach(queue)
    }

    /// See [`Broker::subscribe`](crate::Broker::subscribe). Says whether the link has something to do.
    pub(crate) fn subscribe(&mut self, shard: ShardId, channel: &ChannelName) -> bool {
        let Some(entry) = self.channels.get_mut(channel) else {
            let mut waiting = ShardSet::default();
            waiting.insert(shard);
            let link = Link::Absent(queue_request(&mut self.requests, &mut self.next_request, channel));
            let cursor = self.rules.of(channel).history.map(|_| Box::new(RefCell::new(Cursor::new(&self.held_bytes))));
            let entry = Entry { joined: ShardSet::default(), waiting, link, lost_since: None, cursor };
            self.channels.insert(channel.clone(), entry);
            return true;
        };
        if entry.joined.contains(shard) || entry.waiting.contains(shard) {
            return false;
        }
        let Link::Confirmed { leave } = &mut entry.link else {
            entry.waiting.insert(shard);
            return false;
        };
        if let Some(leave) = leave.take() {
            self.cooling.remove(&(leave, channel.clone()));
        }
        let position = match &entry.cursor {
            None => None,
            Some(cursor) => match cursor.borrow().standing() {
                Some(position) => Some(position),
                None => {
                    entry.waiting.insert(shard);
                    return false;
                }
            },
        };
        entry.joined.insert(shard);
        self.shards.tell(shard, Relayed::Joined(channel.clone(), position));
        false
    }

    /// See [`Broker::unsubscribe`](crate::Broker::unsubscribe). Says whether the link has something to do, be it later.
    pub(crate) fn unsubscribe(&mut self, shard: ShardId, channel: &ChannelName, now: Duration) -> bool {
        let Some(entry) = self.channels.get_mut(channel) else {
            return false;
        };
        entry.joined.remove(shard);
        entry.waiting.remove(shard);
        if entry.is_wanted() {
            return false;
        }
        match entry.link {
            Link::Absent(request) => {
                self.requests.remove(&request);
                self.channels.remove(channel);
                false
            }
            // Left when it is confirmed: a command is outstanding.
            Link::Requested | Link::Leaving => false,
            Link::Confirmed { leave: Some(_) } => false,
            Link::Confirmed { leave: None } => {
                entry.link = cool(&mut self.cooling, channel, now.saturating_add(self.cooldown));
                true
            }
        }
    }

    /// Up to `max` channels to subscribe to on the link now, oldest first.
    pub(crate) fn requests(&mut self, max: usize) -> Vec<ChannelName> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some((_, channel)) = self.requests.pop_first() else {
                break;
            };
            if let Some(entry) = self.channels.get_mut(&channel) {
                entry.link = Link::Requested;
                taken.push(channel);
            }
        }
        taken
    }

    /// How many channels wait for [`requests`](Self::requests).
    pub(crate) fn requests_waiting(&self) -> usize {
        self.requests.len()
    }

    /// Up to `max` channels to leave on the link now.
    pub(crate) fn leaves(&mut self, now: Duration, max: usize) -> Vec<ChannelName> {
        let mut taken = Vec::new();
        while taken.len() < max && self.next_leave().is_some_and(|due| due <= now) {
            let Some((_, channel)) = self.cooling.pop_first() else {
                break;
            };
            if let Some(entry) = self.channels.get_mut(&channel) {
                entry.link = Link::Leaving;
                self.confirmed -= 1;
                taken.push(channel);
            }
        }
        taken
    }

    /// When the next channel is to be left.
    pub(crate) fn next_leave(&self) -> Option<Duration> {
        self.cooling.first().map(|(due, _)| *due)
    }

    /// The link stands on another server than before. What publishers that follow until `until` publish on the other one
    /// is part of the gap: it is told then.
    pub(crate) fn moved(&mut self, until: Duration) {
        self.settles = Some(until);
    }

    /// When gaps wait to be told.
    pub(crate) fn settles(&self) -> Option<Duration> {
        self.settles
    }

    /// Tells the gaps that have waited for publishers, if it is time. Says how many were told.
    pub(crate) fn settle(&mut self, at: u64, now: Duration) -> u64 {
        if self.settles.take_if(|until| *until <= now).is_none() {
            return 0;
        }
        let mut gaps = 0;
        for (channel, entry) in &mut self.channels {
            if let Link::Confirmed { .. } = entry.link
                && let Some(from) = entry.lost_since.take()
            {
                let gap = Gap { from, to: at.max(from), reason: GapReason::BrokerLink, position: None };
                gaps += self.shards.tell_all(entry.joined, &Relayed::Gap(channel.clone(), gap)).queued;
            }
        }
        gaps
    }

    /// The link has confirmed a subscription: all that is published after `at` comes. Says how many gaps were told;
    /// `None` if it was not asked for.
    pub(crate) fn confirmed(&mut self, channel: &str, at: u64, now: Duration) -> Option<u64> {
        let (channel, link) = self.known(channel)?;
        let entry = self.channels.get_mut(&channel)?;
        if link != Link::Requested {
            return None;
        }
        let mut gaps = 0;
        if let Some(cursor) = &entry.cursor {
            // Who waits joins when the history was read, and nobody hears anything before.
            let mut cursor = cursor.borrow_mut();
            match cursor.at().filter(|_| self.break_repair) {
                Some(position) => cursor.believe(position),
                None => cursor.repair(),
            }
            drop(cursor);
            entry.lost_since = None;
            entry.link = match entry.is_wanted() {
                true => Link::Confirmed { leave: None },
                false => cool(&mut self.cooling, &channel, now.saturating_add(self.cooldown)),
            };
            self.confirmed += 1;
            self.check(channel);
            return Some(0);
        }
        if self.settles.is_some_and(|until| now < until) {
            // Also on a channel that is new here.
            entry.lost_since.get_or_insert(at);
        } else if let Some(from) = entry.lost_since.take() {
            let gap = Gap { from, to: at.max(from), reason: GapReason::BrokerLink, position: None };
            gaps = self.shards.tell_all(entry.joined, &Relayed::Gap(channel.clone(), gap)).queued;
        }
        self.shards.tell_all(entry.waiting, &Relayed::Joined(channel.clone(), None));
        entry.joined.absorb(&mut entry.waiting);
        entry.link = match entry.joined.is_empty() {
            true => cool(&mut self.cooling, &channel, now.saturating_add(self.cooldown)),
            false => Link::Confirmed { leave: None },
        };
        self.confirmed += 1;
        Some(gaps)
    }

    /// The link says that a channel is subscribed no longer. Says whether that was asked for; if not, what was
    /// published after `from` may be lost.
    pub(crate) fn left(&mut self, channel: &str, from: u64) -> bool {
        let Some((channel, link)) = self.known(channel) else {
            return false;
        };
        match link {
            // Or it was not asked for after all, and the answer is still to come: it will be ignored, as it comes
            // before that to any later SUBSCRIBE.
            Link::Leaving => {}
            Link::Confirmed { leave } => {
                self.confirmed -= 1;
                if let Some(leave) = leave {
                    self.cooling.remove(&(leave, channel.clone()));
                }
            }
            // A subscription that is outstanding is still to be confirmed, after this.
            Link::Absent(_) | Link::Requested => return false,
        }
        let asked_for = link == Link::Leaving;
        let hash_map::Entry::Occupied(mut entry) = self.channels.entry(channel) else {
            return asked_for;
        };
        if !entry.get().is_wanted() {
            entry.remove();
            return asked_for;
        }
        if !asked_for {
            entry.get_mut().lost(from);
        } else if let Some(cursor) = &entry.get().cursor {
            cursor.borrow_mut().broken();
        }
        let request = queue_request(&mut self.requests, &mut self.next_request, entry.key());
        entry.get_mut().link = Link::Absent(request);
        asked_for
    }

    /// The link is gone: what was published after `from` may be lost.
    pub(crate) fn broken(&mut self, from: u64) {
        self.broken_among(from, |_| true);
    }

    /// The same where there are several links, for the channels that were on one of them.
    pub(crate) fn broken_among(&mut self, from: u64, is_among: impl Fn(&str) -> bool) {
        let Self { channels, requests, next_request, cooling, confirmed, .. } = self;
        channels.retain(|channel, entry| {
            if !is_among(channel.as_str()) {
                return true;
            }
            if let Link::Confirmed { leave } = entry.link {
                entry.lost(from);
                *confirmed -= 1;
                if let Some(leave) = leave {
                    cooling.remove(&(leave, channel.clone()));
                }
            }
            let wanted = entry.is_wanted();
            if wanted && !matches!(entry.link, Link::Absent(_)) {
                entry.link = Link::Absent(queue_request(requests, next_request, channel));
            }
            wanted
        });
    }

    fn known(&self, channel: &str) -> Option<(ChannelName, Link)> {
        let (channel, entry) = self.channels.get_key_value(channel)?;
        Some((channel.clone(), entry.link))
    }

    /// Takes what came on channels, in order, and queues what `make` makes of it for each shard that has joined the
    /// channel, on a recoverable channel when it is the next. What came on a channel that nobody hears, as one that is
    /// cooling down, is dropped.
    pub(crate) fn route<M>(
        &mut self,
        messages: &mut Vec<(&str, M)>,
        mut make: impl FnMut(ChannelName, M) -> Heard,
    ) -> Delivered {
        let Self { channels, shards, checks, wanted, break_repair, .. } = self;
        // First all are found, then all are made: the processor fetches what it needs of one channel while it looks
        // for the next. Among many thousand channels that halves the time.
        let heard = |(_, entry): &(_, &Entry)| !entry.joined.is_empty() || entry.cursor.is_some();
        let find = |(name, _): &(&str, M)| channels.get_key_value(*name).filter(heard);
        let found: Vec<_> = messages.iter().map(find).collect();
        for ((_, message), found) in messages.drain(..).zip(found) {
            let Some((channel, entry)) = found else { continue };
            let heard = make(channel.clone(), message);
            match &entry.cursor {
                None => shards.lay_ready(entry.joined, heard.item),
                Some(cursor) => {
                    let mut cursor = cursor.borrow_mut();
                    if recoverable::route(shards, entry.joined, &mut cursor, channel, heard, *break_repair) {
                        checks.push_back(channel.clone());
                        wanted.notify_one();
                    }
                }
            }
        }
        shards.deliver()
    }

    /// Queues `item` for every shard.
    pub(crate) fn tell_everybody(&self, item: &Relayed) -> Told {
        self.shards.tell_all(self.shards.all(), item)
    }

    /// Tells each shard that has joined `channel` of a gap.
    pub(crate) fn tell_gap(&self, channel: ChannelName, gap: Gap) -> Told {
        let joined = self.channels.get(&channel).map(|entry| entry.joined).unwrap_or_default();
        self.shards.tell_all(joined, &Relayed::Gap(channel, gap))
    }

    /// Channels that are confirmed on the link.
    pub(crate) fn channels_confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Gaps that the shards' queues themselves have told of.
    pub(crate) fn overload_gaps(&self) -> u64 {
        self.shards.overload_gaps()
    }
}

impl Entry {
    /// What was published after `from` may be lost. On a recoverable channel it is in the history.
    fn lost(&mut self, from: u64) {
        match &self.cursor {
            Some(cursor) => cursor.borrow_mut().broken(),
            None => drop(self.lost_since.get_or_insert(from)),
        }
    }

    fn is_wanted(&self) -> bool {
        !self.joined.is_empty() || !self.waiting.is_empty()
    }
}

fn queue_request(requests: &mut BTreeMap<u64, ChannelName>, next: &mut u64, channel: &ChannelName) -> u64 {
    let request = *next;
    *next += 1;
    requests.insert(request, channel.clone());
    request
}

fn cool(cooling: &mut BTreeSet<(Duration, ChannelName)>, channel: &ChannelName, leave: Duration) -> Link {
    cooling.insert((leave, channel.clone()));
    Link::Confirmed { leave: Some(leave) }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
