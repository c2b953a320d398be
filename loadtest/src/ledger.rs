//! What was delivered to whom: losses, repetitions, order, delay.

use std::collections::HashSet;
use std::ops::Range;

use hdrhistogram::Histogram;

use crate::clock;
use crate::mark::Mark;
use crate::report::Latency;

/// The most gaps that are remembered one by one. Beyond, what is missing is only counted, and counts as lost even if it
/// comes late.
const REMEMBERED: usize = 1 << 20;

/// The longest delay that is told apart, in nanoseconds: ten minutes.
const LONGEST: u64 = 600_000_000_000;

/// An empty histogram of nanoseconds, three significant digits.
#[expect(clippy::expect_used, reason = "the bounds are constants that the constructor accepts")]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, LONGEST, 3).expect("1 µs to 10 min with 3 digits is a valid range")
}

/// The percentiles of a histogram of nanoseconds.
pub fn latency(histogram: &Histogram<u64>) -> Latency {
    if histogram.is_empty() {
        return Latency::default();
    }
    let millis = |nanos: u64| nanos as f64 / 1e6;
    let at = |quantile| millis(histogram.value_at_quantile(quantile));
    Latency {
        min: millis(histogram.min()),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: millis(histogram.max()),
    }
}

/// The books of all subscriptions. A subscription is known by its number.
#[derive(Debug)]
pub struct Ledger {
    /// The sequence number of the last message of each subscription.
    last: Vec<u32>,
    /// Subscriptions that have heard anything.
    heard: usize,
    /// Deliveries of messages that do not count.
    pub probes: u64,
    /// Whose messages count.
    observed: Range<u32>,
    missing: HashSet<(u32, u32)>,
    uncounted: u64,
    /// Deliveries since the last [`reset`](Self::reset), without repetitions.
    pub received: u64,
    /// Came again.
    pub duplicates: u64,
    /// Came after a later one.
    pub reordered: u64,
    /// From when it was due until it was read, in nanoseconds.
    pub latency: Histogram<u64>,
    /// When the last delivery was read.
    pub last_at: u64,
}

/// Nothing has been heard yet, not even a probe.
const DEAF: u32 = u32::MAX;

impl Ledger {
    /// Books for so many subscriptions, of which those in `observed` count. The others are load.
    pub fn new(subscriptions: usize, observed: Range<u32>) -> Self {
        Self {
            observed,
            last: vec![DEAF; subscriptions],
            heard: 0,
            probes: 0,
            missing: HashSet::new(),
            uncounted: 0,
            received: 0,
            duplicates: 0,
            reordered: 0,
            latency: histogram(),
            last_at: 0,
        }
    }

    /// How many subscriptions have heard something.
    pub fn heard(&self) -> usize {
        self.heard
    }

    /// A message has been read.
    pub fn enter(&mut self, subscription: u32, mark: &Mark, read_at: u64) {
        let Some(last) = self.last.get_mut(subscription as usize) else { return };
        if *last == DEAF {
            *last = 0;
            self.heard += 1;
        }
        self.probes += u64::from(mark.sequence == 0);
        if mark.sequence == 0 || !self.observed.contains(&subscription) {
            return;
        }
        let next = *last + 1;
        if mark.sequence >= next {
            *last = mark.sequence;
            for lost in next..mark.sequence {
                match self.missing.len() < REMEMBERED {
                    true => drop(self.missing.insert((subscription, lost))),
                    false => self.uncounted += 1,
                }
            }
        } else if self.missing.remove(&(subscription, mark.sequence)) {
            self.reordered += 1;
        } else {
            self.duplicates += 1;
            return;
        }
        self.received += 1;
        self.last_at = read_at;
        self.latency.saturating_record(read_at.saturating_sub(mark.due));
    }

    /// The subscriptions that count.
    pub fn observed(&self) -> Range<u32> {
        self.observed.clone()
    }

    /// How many messages have not come, if each subscription that counts should have heard up to this number.
    pub fn lost(&self, published_to: impl Fn(u32) -> u32) -> u64 {
        let tail = |subscription: u32| {
            let last = self.last.get(subscription as usize).copied().filter(|last| *last != DEAF).unwrap_or(0);
            u64::from(published_to(subscription).saturating_sub(last))
        };
        self.missing.len() as u64 + self.uncounted + self.observed().map(tail).sum::<u64>()
    }

    /// Forgets what was counted, and nothing of who has heard what.
    pub fn reset(&mut self) {
        self.received = 0;
        self.duplicates = 0;
        self.reordered = 0;
        self.uncounted = 0;
        self.missing.clear();
        self.latency.reset();
        self.last_at = clock::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_repeated_or_late_is_told_apart() {
        let mut ledger = Ledger::new(3, 0..2);
        let mut enter = |subscription, sequences: &[u32]| {
            for &sequence in sequences {
                ledger.enter(subscription, &Mark { channel: 0, sequence, due: 1_000_000 }, 3_000_000);
            }
        };
        enter(0, &[0, 1, 2, 5, 4, 4, 5, 6]);
        enter(1, &[0, 1]);
        enter(2, &[7]);
        assert_eq!(ledger.heard(), 3);
        assert_eq!((ledger.received, ledger.duplicates, ledger.reordered), (6, 2, 1));
        assert_eq!(ledger.lost(|_| 7), 1 + 1 + 6, "3 and 7 of the first, 2 to 7 of the second");
        let p50 = latency(&ledger.latency).p50;
        assert!((p50 - 2.0).abs() < 0.01, "{p50}");
    }
}
