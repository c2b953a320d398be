//! Live channels: what was surely published while somebody was subscribed was heard, or lies in a gap's window.

use std::collections::{BTreeMap, HashSet};

use super::{Book, Kind, Verdict, entries_of};
use crate::chaos::log::{Log, Mark, Ms, Outcome, Subscriber, What};

/// How far the window of a gap may be off: clocks are read in whole milliseconds, and at both ends.
const BLUR: Ms = 10;

/// How long a publication may be on its way from Redis through a node to a subscriber.
const ON_ITS_WAY: Ms = 1000;

/// How long after a fault a link may still be down, so that a gap is owed.
const OWED: Ms = 5000;

/// Until when whoever goes at `read` must have heard everything. What is on its way to somebody who goes is not told to
/// them, nor is a gap that is owed, for both come to those who are there.
fn on_its_way(log: &Log, read: Ms) -> Ms {
    let owing = log.faults.iter().filter(|fault| fault.begin <= read && read <= fault.end + OWED);
    owing.map(|fault| fault.begin).fold(read, Ms::min).saturating_sub(ON_ITS_WAY)
}

/// Checks what one subscriber heard of one channel.
pub(super) fn check(log: &Log, subscriber: &Subscriber, channel: usize, book: &Book<'_>, verdict: &mut Verdict) {
    let mut find = |kind, at, detail| verdict.find(log, kind, &subscriber.name, channel, at, detail);
    let mut heard: HashSet<Mark> = HashSet::new();
    let mut newest: BTreeMap<u32, u64> = BTreeMap::new();
    let mut gaps: Vec<(Ms, Ms)> = Vec::new();
    let mut spans: Vec<(Ms, Ms)> = Vec::new();
    let mut since = None;
    for entry in entries_of(subscriber, channel) {
        match &entry.what {
            What::Subscribed { .. } => {
                since.get_or_insert(entry.at);
            }
            What::Left { since: read, .. } | What::Lost { since: read, .. } => {
                spans.extend(since.take().map(|since| (since, on_its_way(log, *read))));
            }
            What::Gap { from, to, reason, .. } if reason != "presence" => {
                if from > to {
                    find(Kind::Malformed, entry.at, format!("a gap from {from} to {to}"));
                }
                gaps.push((*from, *to));
            }
            What::Heard { mark, .. } => {
                if !heard.insert(*mark) {
                    find(Kind::Duplicated, entry.at, format!("{mark:?}"));
                    continue;
                }
                // One that was never answered may come late: the next was sent without waiting for it.
                let answered = book.by_mark.get(mark).is_some_and(|one| one.outcome != Outcome::Unknown);
                if answered && let Some(newer) = newest.insert(mark.publisher, mark.number).filter(|n| *n > mark.number)
                {
                    find(Kind::Reordered, entry.at, format!("{mark:?} behind number {newer}"));
                }
            }
            _ => {}
        }
    }
    spans.extend(since.map(|since| (since, log.end)));
    let count = heard.len();
    let mut lost = Vec::new();
    for one in &book.publications {
        let Outcome::Answered { at, .. } = one.outcome else { continue };
        // What was sent in the millisecond of the reply may have been there before it.
        let span = spans.iter().find(|(since, until)| *since < one.sent && at <= *until);
        let is_told = gaps.iter().any(|(from, to)| one.sent <= to + BLUR && at + BLUR >= *from);
        if let Some(span) = span.filter(|_| !heard.contains(&one.mark) && !is_told) {
            lost.push((one.mark, one.sent, at, *span));
        }
    }
    // One finding for each run of losses, or a break would fill the report.
    while let Some(first) = lost.first().copied() {
        let run = lost.windows(2).take_while(|pair| pair[1].1 < pair[0].1 + 2000).count() + 1;
        let ends: Vec<_> = lost.drain(..run).collect();
        let near: Vec<_> = gaps.iter().filter(|(from, to)| from + 5000 > first.1 && *to < first.1 + 5000).collect();
        let detail = format!(
            "{run}, first and last (mark, sent, answered, subscribed): {first:?}, {:?}; gaps near: {near:?}",
            ends[run - 1]
        );
        find(Kind::LostSilently, first.1, detail);
    }
    verdict.heard += count;
}
