//! How durations are distributed, in plain numbers.

use std::time::Duration;

/// The upper bounds of the buckets, in seconds. What is longer than all of them is in the last bucket.
pub const BOUNDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Durations, counted by bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Histogram {
    /// How many fell into each bucket; not cumulative. The last has no upper bound.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Their sum, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Counts `times` occurrences of a duration.
    pub fn record(&mut self, duration: Duration, times: u64) {
        let seconds = duration.as_secs_f64();
        self.buckets[BOUNDS.partition_point(|bound| *bound < seconds)] += times;
        self.sum += seconds * times as f64;
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.buckets.iter_mut().zip(other.buckets) {
            *own += other;
        }
        self.sum += other.sum;
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let mut histogram = Histogram::default();
        for (millis, times) in [(0, 1), (1, 2), (2500, 3), (60_000, 4)] {
            histogram.record(Duration::from_millis(millis), times);
        }
        let mut expected = [0; 15];
        (expected[0], expected[3], expected[13], expected[14]) = (1, 2, 3, 4);
        assert_eq!(histogram.buckets, expected);
        assert_eq!(histogram.count(), 10);
        assert!((histogram.sum - 247.502).abs() < 1e-9);
    }
}
