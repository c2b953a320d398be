//! Recoverable channels: a walk along the positions of one subscriber. Everything between two positions that it holds
//! was received, or a signal stands between them.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::{Book, Kind, Verdict, entries_of};
use crate::chaos::log::{Log, Mark, Ms, Outcome, Position, Promise, Subscriber, What};

/// No two publications have one position: over all answers and all subscribers.
pub(super) fn positions(log: &Log, verdict: &mut Verdict) {
    let mut issued: HashMap<(usize, Position), Mark> = HashMap::new();
    let mut issue =
        |verdict: &mut Verdict, who: &str, at: Ms, channel: usize, position: Position, mark: Mark| match issued
            .entry((channel, position))
        {
            Slot::Occupied(first) if *first.get() != mark => {
                let detail = format!("{position:?} is {:?} and {mark:?}", first.get());
                verdict.find(log, Kind::Reissued, who, channel, at, detail);
            }
            Slot::Occupied(_) => {}
            Slot::Vacant(slot) => {
                slot.insert(mark);
            }
        };
    for one in &log.publications {
        if let Outcome::Answered { at, position: Some(position) } = one.outcome {
            issue(verdict, &format!("publisher {}", one.mark.publisher), at, one.channel, position, one.mark);
        }
        if let Outcome::Answered { at, position: None } = one.outcome
            && log.channels[one.channel].promise == Promise::Recoverable
        {
            let who = format!("publisher {}", one.mark.publisher);
            verdict.find(log, Kind::Malformed, &who, one.channel, at, "an answer without a position".to_owned());
        }
    }
    for subscriber in &log.subscribers {
        for entry in &subscriber.entries {
            if let What::Heard { channel, mark, position: Some(position) } = entry.what {
                issue(verdict, &subscriber.name, entry.at, channel, position, mark);
            }
        }
    }
}

/// Walks along what one subscriber saw of one channel.
pub(super) fn check(log: &Log, subscriber: &Subscriber, channel: usize, book: &Book<'_>, verdict: &mut Verdict) {
    let mut walk = Walk { log, subscriber, channel, book, verdict, at: None, reply: None, holes: Vec::new() };
    let mut heard: HashMap<Mark, Position> = HashMap::new();
    let mut subscribed = false;
    let mut last = 0;
    for entry in entries_of(subscriber, channel) {
        last = entry.at;
        match &entry.what {
            What::Subscribed { asked, recovered, position, replayed, .. } => {
                walk.settle(entry.at);
                subscribed = true;
                walk.subscribed(entry.at, *asked, *recovered, *position, *replayed);
            }
            What::Heard { mark, position, .. } => {
                walk.verdict.heard += 1;
                let Some(position) = *position else {
                    walk.find(Kind::Malformed, entry.at, format!("{mark:?} has no position"));
                    continue;
                };
                match heard.insert(*mark, position) {
                    Some(first) if first.epoch == position.epoch && first != position => {
                        walk.find(Kind::PublishedTwice, entry.at, format!("{mark:?} at {first:?} and at {position:?}"));
                    }
                    Some(first) if first != position => walk.verdict.repeated_across_epochs += 1,
                    _ => {}
                }
                walk.heard(entry.at, position);
            }
            What::Gap { position, reason, .. } => walk.gap(entry.at, *position, reason),
            What::Left { .. } | What::Lost { .. } => {
                walk.settle(entry.at);
                subscribed = false;
            }
            _ => {}
        }
    }
    walk.settle(last);
    if subscribed {
        walk.tail(last);
    }
}

struct Walk<'a> {
    log: &'a Log,
    subscriber: &'a Subscriber,
    channel: usize,
    book: &'a Book<'a>,
    verdict: &'a mut Verdict,
    /// Everything up to here is accounted for.
    at: Option<Position>,
    /// What is still to come of a reply: its position, and how many publications.
    reply: Option<(Position, usize)>,
    /// Holes within a reply: a gap right behind it may explain them.
    holes: Vec<(Position, Position)>,
}

impl Walk<'_> {
    fn find(&mut self, kind: Kind, at: Ms, detail: String) {
        self.verdict.find(self.log, kind, &self.subscriber.name, self.channel, at, detail);
    }

    fn subscribed(
        &mut self,
        at: Ms,
        asked: Option<Position>,
        recovered: Option<bool>,
        position: Option<Position>,
        replayed: usize,
    ) {
        let Some(position) = position else {
            self.find(Kind::Malformed, at, "a reply to subscribe without a position".to_owned());
            self.at = None;
            return;
        };
        if asked.is_some() != recovered.is_some() {
            self.find(Kind::Malformed, at, format!("asked for {asked:?}, and recovered is {recovered:?}"));
        }
        match (asked, recovered) {
            (Some(asked), Some(true)) => {
                self.at = Some(asked);
                self.reply = Some((position, replayed));
                self.reached();
            }
            // Without recovery, or without success, it begins anew. That was said.
            _ => {
                self.at = Some(position);
                self.reply = None;
            }
        }
    }

    /// The reply has brought all it holds: it must have reached its own position.
    fn reached(&mut self) {
        if let Some((position, 0)) = self.reply {
            self.reply = None;
            if let Some(at) = self.at
                && at != position
            {
                self.holes.push((at, position));
                self.at = Some(position.max(at));
            }
        }
    }

    fn heard(&mut self, at: Ms, position: Position) {
        if let Some((end, usize::MAX)) = self.reply
            && position > end
        {
            self.reply = Some((end, 0));
            self.reached();
        }
        let in_reply = self.reply.is_some();
        if !in_reply {
            self.settle(at);
        }
        match self.at {
            Some(held) if position <= held => {
                let kind = if position.epoch == held.epoch { Kind::Duplicated } else { Kind::Reordered };
                self.find(kind, at, format!("{position:?} behind {held:?}"));
            }
            Some(held) => {
                let follows = position.epoch == held.epoch && position.offset == held.offset + 1;
                if !follows {
                    self.holes.push((held, Position { epoch: position.epoch, offset: position.offset - 1 }));
                }
                self.at = Some(position);
            }
            None => self.at = Some(position),
        }
        if let Some((end, left)) = &mut self.reply {
            if *left != usize::MAX || position == *end {
                *left = if *left == usize::MAX { 0 } else { *left - 1 };
            }
            self.reached();
        } else {
            self.settle(at);
        }
    }

    fn gap(&mut self, at: Ms, position: Option<Position>, reason: &str) {
        if reason == "presence" {
            return;
        }
        if let Some((end, usize::MAX)) = self.reply {
            self.reply = Some((end, 0));
            self.reached();
        }
        self.holes.clear();
        match position {
            Some(position) => {
                if let Some(held) = self.at
                    && held.epoch < position.epoch
                {
                    let hidden = self.between(Position { epoch: position.epoch, offset: 0 }, position);
                    if !hidden.is_empty() {
                        self.find(Kind::Hidden, at, format!("from {held:?} to {position:?}, and so over {hidden:?}"));
                    }
                }
                self.at = Some(self.at.map_or(position, |held| held.max(position)));
            }
            None => {
                self.find(Kind::Malformed, at, format!("a gap ({reason}) without a position"));
                self.at = None;
            }
        }
    }

    /// Nothing explains what is still missing.
    fn settle(&mut self, at: Ms) {
        if let Some((position, left)) = self.reply.take()
            && left != usize::MAX
        {
            self.find(Kind::Malformed, at, format!("{left} publications of the reply at {position:?} did not come"));
        }
        for (held, next) in std::mem::take(&mut self.holes) {
            let lost = self.between(held, next);
            let is_anew = held.epoch < next.epoch && next.offset == 0 && lost.is_empty();
            if is_anew && self.log.faults.iter().any(|fault| fault.touches.unnoticed && fault.begin <= at) {
                // The history was gone, and all of it had been heard: nothing is missing, and the publication says its
                // epoch.
                continue;
            }
            let kind =
                if held.epoch == next.epoch || !lost.is_empty() { Kind::LostSilently } else { Kind::UnsignalledEpoch };
            let named: Vec<_> = lost.iter().take(3).map(|(position, mark)| format!("{mark:?} {position:?}")).collect();
            let detail = format!(
                "after {held:?} it went on behind {next:?}; {} answered publications lie between: {}",
                lost.len(),
                named.join(", ")
            );
            self.find(kind, at, detail);
        }
    }

    /// What was answered with a position behind `held`, up to `last`.
    fn between(&self, held: Position, last: Position) -> Vec<(Position, Mark)> {
        let lies_between = |(position, _): &&(Position, Mark)| *position > held && *position <= last;
        self.book.by_position.iter().filter(lies_between).copied().collect()
    }

    /// Whoever is subscribed to the end has heard what was published last.
    fn tail(&mut self, at: Ms) {
        let (Some(held), Some((last, _))) = (self.at, self.book.by_position.last().copied()) else { return };
        if last > held {
            let lost = self.between(held, last);
            let detail = format!("it ends at {held:?}, and {} were published behind it, up to {last:?}", lost.len());
            self.find(Kind::LostSilently, at, detail);
        }
    }
}
