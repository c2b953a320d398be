//! Compares what was published with what each subscriber heard. Pure: a log goes in, findings come out.

mod live;
mod presence;
mod recoverable;
mod recovery;
mod signals;
mod stuck;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde::Serialize;

use super::log::{Entry, Log, Mark, Ms, Outcome, Position, Promise, Publication, Subscriber};
pub use recovery::Times;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// The name of the subscriber; of a publisher where it was answered so.
    pub who: String,
    /// The channel.
    pub channel: String,
    /// When.
    pub at: Ms,
    /// The faults that were in effect.
    pub during: Vec<String>,
    /// Positions, numbers, windows.
    pub detail: String,
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A publication was not received, and nothing was said about it.
    LostSilently,
    /// The epoch changed, and nothing was said about it.
    UnsignalledEpoch,
    /// A gap goes on behind publications that its new epoch holds: they could have been delivered, and never were.
    Hidden,
    /// A publication came twice.
    Duplicated,
    /// Publications came in another order than they were published in.
    Reordered,
    /// Two publications have one position.
    Reissued,
    /// One `id` was published twice in one epoch.
    PublishedTwice,
    /// A gap, or `recovered: false`, that no fault explains.
    SignalWithoutFault,
    /// Somebody left without a reason, or did not leave, or left more than once.
    Presence,
    /// Somebody could not subscribe again.
    Stuck,
    /// Something that the protocol does not allow.
    Malformed,
}

/// What came out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// Everything that must not be.
    pub findings: Vec<Finding>,
    /// Gaps and `recovered: false`, for whatever reason.
    pub signals: usize,
    /// Publications that were answered.
    pub answered: usize,
    /// Publications of which nobody knows.
    pub unknown: usize,
    /// Publications received.
    pub heard: usize,
    /// Publications with an `id` that were published again, after Redis had lost its history.
    pub repeated_across_epochs: usize,
    /// How soon it went on.
    pub recovery: Vec<Times>,
}

/// Checks a log.
pub fn check(log: &Log) -> Verdict {
    let mut verdict = Verdict::default();
    let is_answered = |one: &&Publication| matches!(one.outcome, Outcome::Answered { .. });
    verdict.answered = log.publications.iter().filter(is_answered).count();
    verdict.unknown = log.publications.len() - verdict.answered;
    let books: Vec<Book> = (0..log.channels.len()).map(|channel| Book::of(log, channel)).collect();
    recoverable::positions(log, &mut verdict);
    for subscriber in &log.subscribers {
        for (channel, book) in books.iter().enumerate() {
            match log.channels[channel].promise {
                Promise::Live => live::check(log, subscriber, channel, book, &mut verdict),
                Promise::Recoverable => recoverable::check(log, subscriber, channel, book, &mut verdict),
            }
        }
        signals::check(log, subscriber, &mut verdict);
        stuck::check(log, subscriber, &mut verdict);
    }
    presence::check(log, &mut verdict);
    verdict.recovery = recovery::times(log);
    verdict
}

/// What was published on one channel.
#[derive(Default)]
struct Book<'a> {
    /// In the order of sending.
    publications: Vec<&'a Publication>,
    by_mark: HashMap<Mark, &'a Publication>,
    /// Those that were answered with a position, in the order of positions.
    by_position: Vec<(Position, Mark)>,
}

impl<'a> Book<'a> {
    fn of(log: &'a Log, channel: usize) -> Self {
        let mut publications: Vec<_> = log.publications.iter().filter(|one| one.channel == channel).collect();
        publications.sort_by_key(|one| one.sent);
        let by_mark = publications.iter().map(|one| (one.mark, *one)).collect();
        let position = |one: &&Publication| match one.outcome {
            Outcome::Answered { position: Some(position), .. } => Some((position, one.mark)),
            _ => None,
        };
        let mut by_position: Vec<_> = publications.iter().filter_map(position).collect();
        by_position.sort();
        Self { publications, by_mark, by_position }
    }
}

impl Verdict {
    fn find(&mut self, log: &Log, kind: Kind, who: &str, channel: usize, at: Ms, detail: String) {
        let channel = log.channels[channel].name.clone();
        self.add(log, kind, who, channel, at, detail);
    }

    /// What is wrong with a connection, whatever its channels are.
    fn malformed(&mut self, log: &Log, who: &str, at: Ms, detail: &str) {
        self.add(log, Kind::Malformed, who, "(all)".to_owned(), at, detail.to_owned());
    }

    fn add(&mut self, log: &Log, kind: Kind, who: &str, channel: String, at: Ms, detail: String) {
        let during = signals::in_effect(log, at).map(|fault| fault.name.to_owned()).collect();
        self.findings.push(Finding { kind, who: who.to_owned(), channel, at, during, detail });
    }
}

/// The entries of one channel, and those about the connection.
fn entries_of(subscriber: &Subscriber, channel: usize) -> impl Iterator<Item = &Entry> {
    subscriber.entries.iter().filter(move |entry| entry.what.channel().is_none_or(|other| other == channel))
}
