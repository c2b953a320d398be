//! What the table of interest does for recoverable channels: it says whose history is to be read, and takes what was
//! read to the shards.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::Position;

use super::cursor::{self, Ask, Cursor, Kept, Read, Repaired};
use super::recent::Recent;
use super::{Interest, Link};
use crate::ChannelRules;
use crate::queue::{Delivered, Relayed};
use crate::shards::{ShardSet, Shards};

/// Something that came on a channel.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) item: Relayed,
    /// The last position before a publication that is the first of an epoch which followed another.
    pub(crate) cut: Option<Position>,
}

impl From<Relayed> for Heard {
    fn from(item: Relayed) -> Self {
        Self { item, cut: None }
    }
}

/// A history that is to be read.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) channel: ChannelName,
    /// Behind this; `None`: only where the channel stands.
    pub(crate) after: Option<Position>,
    /// Where the cursor stood.
    at: Option<Position>,
    number: u64,
}

/// What is known of a channel without a read.
#[derive(Debug)]
pub(crate) enum Cached {
    /// What was published behind the position that was asked for, and what that reaches.
    Behind(Vec<Kept>, Position),
    /// It has to be read.
    Unknown,
}

/// Takes something that came to the shards. Says whether the history is to be read.
pub(super) fn route(
    shards: &mut Shards,
    joined: ShardSet,
    cursor: &mut Cursor,
    channel: &ChannelName,
    Heard { item, cut }: Heard,
    break_repair: bool,
) -> bool {
    let routed = match &item {
        Relayed::Publication(routed) => routed,
        // It cannot be decoded, and might have been the next: the history has it, and its place.
        Relayed::Gap(..) => {
            let asks = cursor.is_steady();
            if asks {
                cursor.repair();
            }
            return asks;
        }
        _ => {
            shards.lay_ready(joined, item);
            return false;
        }
    };
    let Some(position) = routed.publication.position else {
        shards.lay_ready(joined, item);
        return false;
    };
    match cursor.hear(routed, position, cut) {
        cursor::Heard::Pass => shards.lay_ready(joined, item),
        cursor::Heard::PassBehind(gap) => {
            shards.lay_ready(joined, Relayed::Gap(channel.clone(), gap));
            shards.lay_ready(joined, item);
        }
        cursor::Heard::Repeated => {}
        cursor::Heard::Held { ask: true } if break_repair => {
            cursor.believe(position);
            shards.lay_ready(joined, item);
        }
        cursor::Heard::Held { ask } => return ask,
    }
    false
}

impl Interest {
    /// Knows from now on which channels are recoverable. `wanted` is told when there are [`checks`](Self::checks).
    pub(crate) fn recovering(mut self, rules: ChannelRules, wanted: Arc<Notify>, break_repair: bool) -> Self {
        self.rules = rules;
        self.wanted = wanted;
        self.break_repair = break_repair;
        self
    }

    /// The history of `channel` is to be read.
    pub(super) fn check(&mut self, channel: ChannelName) {
        self.checks.push_back(channel);
        self.wanted.notify_one();
    }

    /// Up to `max` histories that are to be read now.
    pub(crate) fn checks(&mut self, max: usize) -> Vec<Check> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some(channel) = self.checks.pop_front() else { break };
            let Some(entry) = self.channels.get(&channel) else { continue };
            let (Some(cursor), Link::Confirmed { .. }) = (&entry.cursor, entry.link) else { continue };
            let mut cursor = cursor.borrow_mut();
            if cursor.ask != Ask::Queued {
                continue;
            }
            let number = self.next_check;
            self.next_check += 1;
            cursor.ask = Ask::Asked(number, cursor.held());
            taken.push(Check { channel, after: cursor.after(), at: cursor.at(), number });
        }
        if !self.checks.is_empty() {
            self.wanted.notify_one();
        }
        taken
    }

    /// A history was read. Shards hear what they have missed, and who waited joins.
    pub(crate) fn checked(&mut self, check: &Check, read: &Read) -> (Delivered, Repaired) {
        let nothing = (Delivered::default(), Repaired::default());
        let Some(entry) = self.channels.get_mut(&check.channel) else { return nothing };
        let Some(cursor) = &entry.cursor else { return nothing };
        let mut cursor = cursor.borrow_mut();
        if !matches!(cursor.ask, Ask::Asked(number, _) if number == check.number) {
            return nothing;
        }
        let mut out = Vec::new();
        let repaired = cursor.apply(&check.channel, check.at, read, &mut out);
        for item in out {
            self.shards.lay_ready(entry.joined, item);
        }
        if let Some(position) = cursor.standing() {
            self.shards.lay_ready(entry.waiting, Relayed::Joined(check.channel.clone(), Some(position)));
            entry.joined.absorb(&mut entry.waiting);
        }
        if cursor.ask == Ask::Queued {
            self.checks.push_back(check.channel.clone());
            self.wanted.notify_one();
        }
        drop(cursor);
        (self.shards.deliver(), repaired)
    }

    /// A history could not be read: it is to be read again.
    pub(crate) fn unchecked(&mut self, check: &Check) {
        let Some(cursor) = self.channels.get(&check.channel).and_then(|entry| entry.cursor.as_ref()) else { return };
        let mut cursor = cursor.borrow_mut();
        if matches!(cursor.ask, Ask::Asked(number, _) if number == check.number) {
            cursor.ask = Ask::Queued;
            drop(cursor);
            self.check(check.channel.clone());
        }
    }

    /// Every recoverable channel is compared with its history once more; if `only_quiet`, those of which nothing was
    /// heard since the last time. Publications pass meanwhile.
    pub(crate) fn check_again(&mut self, only_quiet: bool) {
        if self.break_repair {
            return;
        }
        let Self { channels, checks, .. } = self;
        for (channel, entry) in &*channels {
            let (Some(cursor), Link::Confirmed { .. }) = (&entry.cursor, entry.link) else { continue };
            let mut cursor = cursor.borrow_mut();
            let was_fresh = std::mem::replace(&mut cursor.is_fresh, false);
            if !(only_quiet && was_fresh) && cursor.is_steady() && cursor.ask == Ask::No {
                cursor.ask = Ask::Queued;
                checks.push_back(channel.clone());
            }
        }
        self.wanted.notify_one();
    }

    /// What is known of what was published behind `since`, if it reaches `reached`.
    pub(crate) fn recent(
        &mut self,
        channel: &ChannelName,
        since: Position,
        reached: Position,
        now: Duration,
    ) -> Cached {
        let Some(cursor) = self.channels.get(channel).and_then(|entry| entry.cursor.as_ref()) else {
            return Cached::Unknown;
        };
        let mut cursor = cursor.borrow_mut();
        match cursor.standing() {
            Some(at) if at == since && at >= reached => return Cached::Behind(Vec::new(), at),
            _ => {}
        }
        match cursor.recent.as_mut().and_then(|recent| recent.behind(since, now)) {
            Some((entries, upto)) if upto >= reached => Cached::Behind(entries, upto),
            _ => Cached::Unknown,
        }
    }

    /// Whether the channel stands before `reached`, of which somebody has heard: its history has gone back.
    pub(crate) fn is_before(&self, channel: &ChannelName, reached: Position) -> bool {
        let cursor = self.channels.get(channel).and_then(|entry| entry.cursor.as_ref());
        cursor.and_then(|cursor| cursor.borrow().standing()).is_some_and(|at| at < reached)
    }

    /// From now on what is heard of `channel` is kept, for those who recover: what was published behind `since` is being
    /// read.
    pub(crate) fn keep_recent(&mut self, channel: &ChannelName, now: Duration) {
        let Some(cursor) = self.channels.get(channel).and_then(|entry| entry.cursor.as_ref()) else { return };
        let mut cursor = cursor.borrow_mut();
        if let Some(at) = cursor.standing() {
            cursor.recent = Some(Box::new(Recent::new(at, &self.recent_bytes, now)));
            self.recents.insert(channel.clone());
        }
    }

    /// What was published behind `since` was read: `entries`, up to `upto`. What was heard meanwhile is put behind it.
    pub(crate) fn found_recent(
        &mut self,
        channel: &ChannelName,
        since: Position,
        entries: &[Kept],
        upto: Position,
        now: Duration,
    ) {
        let Some(cursor) = self.channels.get(channel).and_then(|entry| entry.cursor.as_ref()) else { return };
        let mut cursor = cursor.borrow_mut();
        let Some(heard) = cursor.recent.take() else { return };
        // What was heard goes on where the read ended, or before.
        let reached = entries.last().map_or(since, |kept| kept.position);
        if heard.after() > upto || reached != upto {
            return;
        }
        let mut recent = Box::new(Recent::new(since, &self.recent_bytes, now));
        let fits = entries.iter().all(|kept| recent.push(kept.clone()));
        if fits && heard.entries().all(|kept| recent.push(kept.clone())) {
            cursor.recent = Some(recent);
        }
    }

    /// Forgets what nobody has wanted since `before`.
    pub(crate) fn forget_recent(&mut self, before: Duration) {
        let channels = &self.channels;
        self.recents.retain(|channel| {
            let Some(cursor) = channels.get(channel).and_then(|entry| entry.cursor.as_ref()) else { return false };
            let mut cursor = cursor.borrow_mut();
            if cursor.recent.as_ref().is_some_and(|recent| recent.used() < before) {
                cursor.recent = None;
            }
            cursor.recent.is_some()
        });
    }
}
