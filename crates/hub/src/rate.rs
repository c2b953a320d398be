//! How fast one connection may send commands.

use std::time::Duration;

/// A token bucket that may be overdrawn by as much as it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    tokens: i32,
    refilled_ms: u32,
}

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is carried out.
    Within,
    /// It is refused.
    Over,
    /// The client does not care about refusals.
    Flood,
}

impl Rate {
    /// A full bucket of `per_second` tokens.
    pub(crate) fn new(per_second: u32, now: Duration) -> Self {
        Self { tokens: per_second as i32, refilled_ms: now.as_millis() as u32 }
    }

    /// Takes a token for one command.
    pub(crate) fn take(&mut self, per_second: u32, now: Duration) -> Verdict {
        let full = self.refill(per_second, now);
        self.tokens = self.tokens.saturating_sub(1).max(-full - 1);
        match self.tokens {
            0.. => Verdict::Within,
            tokens if tokens >= -full => Verdict::Over,
            _ => Verdict::Flood,
        }
    }

    /// Whether another command would be carried out.
    pub(crate) fn has_tokens(&mut self, per_second: u32, now: Duration) -> bool {
        self.refill(per_second, now);
        self.tokens > 0
    }

    /// Adds what has come back with time; how many tokens there are at most.
    fn refill(&mut self, per_second: u32, now: Duration) -> i32 {
        let now_ms = now.as_millis() as u32; // wraps after 49 days, and so does the difference
        let elapsed_ms = u64::from(now_ms.wrapping_sub(self.refilled_ms));
        let refill = elapsed_ms * u64::from(per_second) / 1000;
        let full = per_second as i32;
        if refill > 0 {
            self.tokens = full.min(self.tokens.saturating_add(i32::try_from(refill).unwrap_or(full)));
            self.refilled_ms = now_ms;
        }
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(rate: &mut Rate, now_ms: u64, count: usize) -> Vec<Verdict> {
        (0..count).map(|_| rate.take(3, Duration::from_millis(now_ms))).collect()
    }

    #[test]
    fn a_burst_passes_then_is_refused_then_closes() {
        use Verdict::{Flood, Over, Within};
        let mut rate = Rate::new(3, Duration::ZERO);
        assert_eq!(verdicts(&mut rate, 0, 8), [Within, Within, Within, Over, Over, Over, Flood, Flood]);
        assert_eq!(verdicts(&mut rate, 2000, 3), [Within, Within, Over]);
    }

    #[test]
    fn tokens_come_back_with_time_but_not_beyond_the_burst() {
        use Verdict::{Over, Within};
        let mut rate = Rate::new(3, Duration::ZERO);
        assert_eq!(verdicts(&mut rate, 60_000, 4), [Within, Within, Within, Over]);
    }
}
