//! What is done to the servers, and what is measured. Each scenario checks itself: a run in which nothing was published,
//! or in which nobody was hit, is an error and no figure.
//!
//! * [`killed`]: `kill -9` of the node that holds all clients
//! * [`rolling`]: three nodes are drained and started again, one after the other
//! * [`resubscribed`]: `kill -9` of Redis under many channels

pub(crate) mod killed;
pub(crate) mod resubscribed;
pub(crate) mod rolling;

use std::time::Duration;

use crate::crowd::Crowd;
use crate::heard::Wrong;
use crate::publisher::Published;
use crate::report::Report;
use crate::seen::Seen;

/// The channel with presence.
const ROOM: &str = "room:all";

/// What this process may be late without a warning.
const LATE: Duration = Duration::from_millis(250);

/// How long what was published last may take to be heard.
const LAST: Duration = Duration::from_secs(30);

/// The recoverable channel of this client.
fn kept(client: usize, channels: usize) -> String {
    format!("kept:{}", client % channels)
}

/// Whether a client has heard something on each of its channels.
fn has_heard(seen: &Seen) -> bool {
    seen.channels.iter().all(|(name, channel)| name == ROOM || channel.heard.last() > 0)
}

/// Waits until all that was published has been heard by those of `crowd` who count; what is wrong then.
async fn settle(crowd: &Crowd, published: &Published, counts: impl Fn(&Seen) -> bool) -> Books {
    let all = |seen: &Seen| {
        let mut channels = seen.channels.iter().filter_map(|(name, channel)| Some((channel, published.get(name)?)));
        !counts(seen) || channels.all(|(channel, published)| channel.heard.last() >= *published)
    };
    crowd.all(LAST, all).await;
    let mut books = Books::default();
    let look = |seen: &Seen| {
        let mut books = Books::default();
        for (name, channel) in seen.channels.iter().filter(|_| counts(seen)) {
            let Some(published) = published.get(name) else { continue };
            books.expected += published;
            books.wrong += channel.heard.wrong(*published);
            books.strange += channel.strange;
            books.signals += channel.not_recovered + channel.gaps.len() as u64;
        }
        books
    };
    for one in crowd.each(look) {
        books.expected += one.expected;
        books.wrong += one.wrong;
        books.strange += one.strange;
        books.signals += one.signals;
    }
    books
}

/// What came of the publications on recoverable channels, over all clients.
#[derive(Debug, Default)]
struct Books {
    /// Deliveries that there should have been.
    expected: u64,
    wrong: Wrong,
    /// Publications that cannot be ours.
    strange: u64,
    /// Gaps, and failed recoveries.
    signals: u64,
}

impl Books {
    fn report(&self, published: &Published, report: &mut Report) {
        report.count("published", "published", published.values().sum(), None);
        report.count("expected", "deliveries expected", self.expected, None);
        report.count("lost", "lost", self.wrong.lost, Some(0));
        report.count("duplicated", "came twice", self.wrong.duplicated, Some(0));
        report.count("reordered", "out of order", self.wrong.reordered, Some(0));
        report.count("signals", "gaps and failed recoveries told", self.signals, Some(0));
        if self.strange > 0 {
            report.warnings.push(format!("{} publications could not be read", self.strange));
        }
    }
}

/// A generator that does not get to run makes the figures worse than they are.
fn warn_of_lateness(crowd: &Crowd, report: &mut Report) {
    let late = crowd.lateness();
    if late > LATE {
        report.warnings.push(format!("this program did not get to run for up to {:.2} s", late.as_secs_f64()));
    }
}
