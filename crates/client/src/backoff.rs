//! Owns how long to wait before trying again: full jitter under a ceiling that doubles.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// A wait between nothing and the ceiling: full jitter spreads clients that lost the same node best.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(rand::random::<f64>())
    }

    /// The longest that the next wait may be.
    pub(crate) fn ceiling(&self) -> Duration {
        let doubled = self.base.checked_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        doubled.unwrap_or(self.cap).min(self.cap)
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How often it was asked since the last reset.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(20));
        let mut ceilings = Vec::new();
        for _ in 0..100 {
            let ceiling = backoff.ceiling();
            assert!(backoff.next() <= ceiling);
            ceilings.push(ceiling.as_millis());
        }
        assert_eq!(ceilings[..4], [100, 200, 400, 800]);
        assert!(ceilings[8..].iter().all(|&ceiling| ceiling == 20_000));
        backoff.reset();
        assert_eq!(backoff.ceiling(), Duration::from_millis(100));
    }
}
