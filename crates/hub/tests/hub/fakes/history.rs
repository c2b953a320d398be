//! A history that keeps what the test publishes, and loses what the test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ullim_broker::{
    Answer, History, HistoryError, HistoryPart, HistoryRequest, Outcome, RecoverRequest, Recovery, Relayed, Routed,
    Window,
};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::position::{Epoch, Position};
use ullim_protocol::publication::{Data, Publication};
use ullim_protocol::session::SessionId;

use super::{at, name};

/// Shared by those who read and the test.
#[derive(Default)]
pub(crate) struct FakeHistory {
    channels: Arc<Mutex<BTreeMap<ChannelName, Kept>>>,
    /// What was asked for.
    pub(crate) asked: Mutex<Vec<String>>,
    pub(crate) fails: AtomicBool,
    /// Whether a read sees what there is when it is asked for, however late its answer comes; else when it is answered.
    pub(crate) reads_early: AtomicBool,
}

/// A channel's history. Its first epoch is 7.
#[derive(Clone)]
struct Kept {
    at: Position,
    /// The last position before the epoch of `at`.
    cut: Option<Position>,
    entries: Vec<Arc<Routed>>,
    /// Among them, and nobody can read them.
    undecodable: Vec<Position>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { at: at("7-0"), cut: None, entries: Vec::new(), undecodable: Vec::new() }
    }
}

impl FakeHistory {
    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn with<T>(&self, channel: &str, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(self.channels.lock().unwrap().entry(name(channel)).or_default())
    }

    /// Publishes the next of a channel: what the shards will be relayed.
    pub(crate) fn publish(&self, channel: &str, text: &str) -> Relayed {
        self.publish_without(channel, text, None)
    }

    /// The same, but not for one session.
    pub(crate) fn publish_without(&self, channel: &str, text: &str, exclude: Option<SessionId>) -> Relayed {
        self.with(channel, |kept| {
            kept.at = kept.at.next();
            let data = Data::Text(Bytes::copy_from_slice(text.as_bytes()));
            let publication = Publication { data, time: 0, headers: None, position: Some(kept.at) };
            let published = Window::at(kept.at.offset);
            let routed = Arc::new(Routed { channel: name(channel), publication, exclude, published });
            kept.entries.push(Arc::clone(&routed));
            Relayed::Publication(routed)
        })
    }

    /// Publishes what cannot be decoded: the shards will be relayed a gap.
    pub(crate) fn publish_undecodable(&self, channel: &str) -> Relayed {
        let at = self.with(channel, |kept| {
            kept.at = kept.at.next();
            kept.undecodable.push(kept.at);
            kept.at
        });
        Relayed::Gap(name(channel), undecodable(at))
    }

    /// Where a channel stands.
    pub(crate) fn at(&self, channel: &str) -> Position {
        self.with(channel, |kept| kept.at)
    }

    /// The confirmation of a channel that stands where its history does.
    pub(crate) fn joined(&self, channel: &str) -> Relayed {
        Relayed::Joined(name(channel), Some(self.at(channel)))
    }

    /// Only the newest are kept.
    pub(crate) fn trim(&self, channel: &str, keep: usize) {
        self.with(channel, |kept| drop(kept.entries.drain(..kept.entries.len().saturating_sub(keep))));
    }

    /// The last are gone, and nobody but the broker's cursor has noticed: what the shards will be relayed.
    pub(crate) fn go_back(&self, channel: &str, by: usize) -> Relayed {
        let at = self.with(channel, |kept| {
            let keep = kept.entries.len().saturating_sub(by);
            kept.entries.truncate(keep);
            let last = kept.entries.last().map(|routed| routed.publication.position.unwrap());
            kept.at = last.unwrap_or(Position::start(kept.at.epoch));
            kept.at
        });
        Relayed::Reset(name(channel), at)
    }

    /// All that was relayed is gone, and a new epoch begins with the next publication.
    pub(crate) fn forget(&self, channel: &str) {
        self.with(channel, |kept| {
            kept.entries.clear();
            kept.cut = None;
            kept.at = Position::start(Epoch::new(kept.at.epoch.micros() + 1).unwrap());
        });
    }

    /// The last `lost` are gone, and a new epoch begins: what the shards will be relayed.
    pub(crate) fn lose(&self, channel: &str, lost: usize) -> Relayed {
        let gap = self.with(channel, |kept| {
            let keep = kept.entries.len().saturating_sub(lost);
            kept.entries.truncate(keep);
            let before = Position { offset: kept.at.offset.saturating_sub(lost as u64), ..kept.at };
            kept.cut = Some(before);
            kept.at = Position::start(Epoch::new(kept.at.epoch.micros() + 1).unwrap());
            gap(kept.at)
        });
        Relayed::Gap(name(channel), gap)
    }
}

fn gap(at: Position) -> Gap {
    Gap { from: 0, to: 99, reason: GapReason::History, position: Some(at) }
}

fn undecodable(at: Position) -> Gap {
    Gap { from: 5, to: 5, reason: GapReason::Undecodable, position: Some(at) }
}

impl Kept {
    fn recover(&self, request: &RecoverRequest) -> Recovery {
        let since = request.since;
        let lost = Recovery { publications: Vec::new(), position: self.at, outcome: Outcome::Lost };
        let crosses = since.epoch != self.at.epoch;
        if since > self.at || crosses && self.cut.is_none_or(|cut| since > cut) {
            return lost;
        }
        let entries = self.entries.iter().filter(|routed| routed.publication.position.unwrap() > since);
        let publications: Vec<_> = entries.cloned().collect();
        let first = publications.first().map(|routed| routed.publication.position.unwrap());
        let expected = match crosses && self.cut == Some(since) {
            true => Position::start(self.at.epoch).next(),
            false => since.next(),
        };
        let is_there = |position| first == Some(position) || self.undecodable.contains(&position);
        let is_dense = if since == self.at { first.is_none() } else { is_there(expected) };
        let nothing_remains = crosses && self.cut == Some(since) && publications.is_empty();
        if publications.len() > request.limit || !is_dense && !nothing_remains {
            return lost;
        }
        let outcome = match self.undecodable.iter().find(|position| **position > since) {
            _ if crosses => Outcome::Cut(gap(Position::start(self.at.epoch))),
            Some(position) => Outcome::Cut(undecodable(*position)),
            None => Outcome::Whole,
        };
        Recovery { publications, position: self.at, outcome }
    }

    fn part(&self, request: &HistoryRequest) -> HistoryPart {
        let since = request.since;
        let position = |routed: &Arc<Routed>| routed.publication.position.unwrap();
        let mut entries: Vec<_> = match (since, request.reverse) {
            (Some(since), true) => self.entries.iter().filter(|entry| position(entry) < since).cloned().collect(),
            (Some(since), false) => self.entries.iter().filter(|entry| position(entry) > since).cloned().collect(),
            (None, _) => self.entries.clone(),
        };
        if request.reverse {
            entries.reverse();
        }
        let more = entries.len() > request.limit;
        entries.truncate(request.limit);
        HistoryPart { position: self.at, publications: entries, more }
    }
}

impl FakeHistory {
    fn answer<T: Send + 'static>(
        &self,
        channel: ChannelName,
        read: impl FnOnce(&Kept) -> T + Send + 'static,
    ) -> Answer<Result<T, HistoryError>> {
        if self.fails.load(Ordering::Relaxed) {
            return Answer::Ready(Err(HistoryError::Unavailable));
        }
        let early = self.reads_early.load(Ordering::Relaxed);
        let channels = Arc::clone(&self.channels);
        let now = move |channel: &ChannelName| channels.lock().unwrap().get(channel).cloned().unwrap_or_default();
        match early {
            true => Answer::Ready(Ok(read(&now(&channel)))),
            false => Answer::Pending(Box::pin(async move { Ok(read(&now(&channel))) })),
        }
    }
}

impl History for FakeHistory {
    fn recover(&self, request: RecoverRequest) -> Answer<Result<Recovery, HistoryError>> {
        let RecoverRequest { channel, since, reached, limit, .. } = &request;
        self.asked.lock().unwrap().push(format!("recover {channel} {since} {reached} {limit}"));
        self.answer(channel.clone(), move |kept| kept.recover(&request))
    }

    fn history(&self, request: HistoryRequest) -> Answer<Result<HistoryPart, HistoryError>> {
        let HistoryRequest { channel, since, limit, reverse } = &request;
        let since = since.map(|since| since.to_string()).unwrap_or_default();
        self.asked.lock().unwrap().push(format!("history {channel} {since} {limit} {reverse}"));
        self.answer(channel.clone(), move |kept| kept.part(&request))
    }
}
