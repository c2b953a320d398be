//! What was published on recoverable channels. Pure: times are given.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::{Epoch, Position};

use crate::queue::Routed;
use crate::{HistoryPart, HistoryRequest, HistoryRule, MAX_PART_BYTES, Outcome, RecoverRequest, Recovery};

/// How long a publication's id is known.
const KNOWN: Duration = Duration::from_secs(300);

/// The histories of the channels that were published on, or joined, not too long ago.
#[derive(Debug, Default)]
pub(super) struct Histories {
    channels: HashMap<ChannelName, Kept>,
    /// Every channel once, by the time when it has to be looked at: when it may have to be forgotten.
    looks: BinaryHeap<Reverse<(Instant, ChannelName)>>,
    /// By channel and id: where it was published.
    ids: HashMap<ChannelName, HashMap<Arc<str>, Position>>,
    /// The same, oldest first, with the time until when it is known.
    known: VecDeque<(Instant, ChannelName, Arc<str>)>,
    /// The latest that was opened, in microseconds.
    last_epoch: u64,
}

#[derive(Debug)]
struct Kept {
    /// Of the last publication, or of the epoch's opening.
    position: Position,
    /// The last ones, oldest first, without a hole.
    publications: VecDeque<Arc<Routed>>,
    /// When it is forgotten.
    until: Instant,
}

impl Histories {
    /// Where `channel` stands; an epoch is opened if there is none. `micros` is by the clock of the wall.
    pub(super) fn position(
        &mut self,
        channel: &ChannelName,
        rule: HistoryRule,
        micros: u64,
        now: Instant,
    ) -> Option<Position> {
        Some(self.kept(channel, rule, micros, now)?.position)
    }

    /// Where the first publication with this id is, while that is known.
    pub(super) fn first_with(&mut self, channel: &ChannelName, id: &str, now: Instant) -> Option<Position> {
        self.forget_ids(now);
        self.ids.get(channel)?.get(id).copied()
    }

    /// Appends what `routed` makes of its position.
    pub(super) fn append(
        &mut self,
        channel: &ChannelName,
        (rule, id): (HistoryRule, Option<&str>),
        micros: u64,
        now: Instant,
        routed: impl FnOnce(Position) -> Arc<Routed>,
    ) -> Option<Arc<Routed>> {
        let kept = self.kept(channel, rule, micros, now)?;
        kept.position = kept.position.next();
        let position = kept.position;
        let routed = routed(position);
        kept.publications.push_back(Arc::clone(&routed));
        while kept.publications.len() > rule.size.max(1) {
            kept.publications.pop_front();
        }
        kept.until = now + rule.ttl;
        if let Some(id) = id {
            let id: Arc<str> = id.into();
            self.ids.entry(channel.clone()).or_default().insert(Arc::clone(&id), position);
            self.known.push_back((now + KNOWN, channel.clone(), id));
        }
        Some(routed)
    }

    pub(super) fn recover(
        &mut self,
        request: &RecoverRequest,
        rule: HistoryRule,
        micros: u64,
        now: Instant,
    ) -> Option<Recovery> {
        let kept = self.kept(&request.channel, rule, micros, now)?;
        let position = kept.position;
        let found = (request.since.epoch == position.epoch)
            .then(|| position.offset.checked_sub(request.since.offset))
            .flatten()
            .and_then(|missed| usize::try_from(missed).ok())
            .filter(|missed| *missed <= request.limit)
            .and_then(|missed| kept.publications.len().checked_sub(missed))
            .map(|first| kept.publications.range(first..).cloned().collect());
        let outcome = if found.is_some() { Outcome::Whole } else { Outcome::Lost };
        Some(Recovery { publications: found.unwrap_or_default(), position, outcome })
    }

    pub(super) fn part(
        &mut self,
        request: &HistoryRequest,
        rule: HistoryRule,
        micros: u64,
        now: Instant,
    ) -> Option<HistoryPart> {
        let kept = self.kept(&request.channel, rule, micros, now)?;
        let position = kept.position;
        let is_wanted = |routed: &&Arc<Routed>| match (request.since, request.reverse) {
            (None, _) => true,
            (Some(since), false) => routed.publication.position > Some(since),
            (Some(since), true) => routed.publication.position < Some(since),
        };
        let mut wanted: Box<dyn Iterator<Item = &Arc<Routed>>> = match request.reverse {
            false => Box::new(kept.publications.iter().filter(is_wanted)),
            true => Box::new(kept.publications.iter().rev().filter(is_wanted)),
        };
        let mut publications = Vec::new();
        let mut bytes = 0;
        let more = loop {
            let Some(next) = wanted.next() else { break false };
            bytes += next.publication.data.bytes().len();
            if publications.len() >= request.limit || (bytes > MAX_PART_BYTES && !publications.is_empty()) {
                break true;
            }
            publications.push(Arc::clone(next));
        };
        Some(HistoryPart { position, publications, more })
    }

    /// Forgets what nobody has published on for too long, and ids that were known for long enough. Says when there is
    /// more to forget.
    pub(super) fn forget(&mut self, now: Instant) -> Option<Instant> {
        self.forget_ids(now);
        while self.looks.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Some(Reverse((_, channel))) = self.looks.pop() else { break };
            match self.channels.get(&channel).map(|kept| kept.until) {
                Some(until) if until > now => self.looks.push(Reverse((until, channel))),
                _ => drop(self.channels.remove(&channel)),
            }
        }
        self.next_end()
    }

    /// When there is something to forget.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let look = self.looks.peek().map(|Reverse((due, _))| *due);
        look.into_iter().chain(self.known.front().map(|(until, ..)| *until)).min()
    }

    fn forget_ids(&mut self, now: Instant) {
        while self.known.front().is_some_and(|(until, ..)| *until <= now) {
            let Some((_, channel, id)) = self.known.pop_front() else { break };
            if let Some(ids) = self.ids.get_mut(&channel) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.ids.remove(&channel);
                }
            }
        }
    }

    /// `None` where the clock of the wall is beyond what an epoch can be.
    fn kept(&mut self, channel: &ChannelName, rule: HistoryRule, micros: u64, now: Instant) -> Option<&mut Kept> {
        if self.channels.get(channel).is_none_or(|kept| kept.until <= now) {
            let micros = micros.max(self.last_epoch + 1);
            let position = Position::start(Epoch::new(micros)?);
            self.last_epoch = micros;
            let until = now + rule.ttl;
            let kept = Kept { position, publications: VecDeque::new(), until };
            if self.channels.insert(channel.clone(), kept).is_none() {
                self.looks.push(Reverse((until, channel.clone())));
            }
        }
        self.channels.get_mut(channel)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ullim_protocol::publication::{Data, Publication};

    use super::*;
    use crate::queue::Window;

    const RULE: HistoryRule = HistoryRule { size: 3, ttl: Duration::from_secs(60) };

    fn name(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    fn publish(histories: &mut Histories, channel: &str, id: Option<&str>, now: Instant) -> Position {
        let channel = name(channel);
        let routed = |position| {
            let data = Data::Text(Bytes::from_static(b"x"));
            let publication = Publication { data, time: 1, headers: None, position: Some(position) };
            Arc::new(Routed { channel: channel.clone(), publication, exclude: None, published: Window::at(1) })
        };
        let routed = histories.append(&channel, (RULE, id), 7, now, routed).unwrap();
        routed.publication.position.unwrap()
    }

    #[test]
    fn what_is_over_is_forgotten_and_its_epoch_does_not_return() {
        let mut histories = Histories::default();
        let start = Instant::now();
        let old = publish(&mut histories, "a", Some("i"), start);
        publish(&mut histories, "b", None, start);
        let later = start + Duration::from_secs(59);
        assert_eq!(publish(&mut histories, "a", None, later), old.next());
        assert_eq!(histories.forget(start + RULE.ttl), Some(later + RULE.ttl));
        assert_eq!(histories.channels.len(), 1, "only what was published on meanwhile is kept");
        assert_eq!(histories.forget(later + RULE.ttl), Some(start + KNOWN));
        assert!(histories.channels.is_empty() && histories.looks.is_empty());
        assert_eq!(
            histories.first_with(&name("a"), "i", later + RULE.ttl),
            Some(old),
            "an id outlives its publication"
        );
        assert_eq!(histories.forget(start + KNOWN), None);
        assert!(histories.ids.is_empty() && histories.known.is_empty());
        let new = publish(&mut histories, "a", None, start + KNOWN);
        assert!(new.offset == 1 && new.epoch > old.epoch, "though the clock stood still");
    }

    #[test]
    fn an_epoch_is_over_in_time_though_nobody_swept() {
        let mut histories = Histories::default();
        let start = Instant::now();
        let old = publish(&mut histories, "a", None, start);
        let new = publish(&mut histories, "a", None, start + RULE.ttl);
        assert!(new.epoch > old.epoch && new.offset == 1);
        assert_eq!(histories.looks.len(), 1, "each channel once");
        assert_eq!(histories.forget(start + RULE.ttl), Some(start + RULE.ttl * 2));
    }

    #[test]
    fn a_clock_that_cannot_be_is_not_taken() {
        let mut histories = Histories::default();
        assert_eq!(histories.position(&name("a"), RULE, u64::MAX, Instant::now()), None);
    }
}
