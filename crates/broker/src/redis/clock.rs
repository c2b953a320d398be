//! Redis' time, from its answers to `TIME` and this node's monotonic clock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// How far two clocks drift apart: 200 ppm, twice what a poor quartz does.
const DRIFT: f64 = 200e-6;

/// The latest time that clients can be told: 2^53 - 1 milliseconds.
const MAX_SECONDS: u64 = ((1 << 53) - 1) / 1000;

/// What Redis' clock shows, and how surely. Until the first answer: this node's own clock.
#[derive(Debug)]
pub(super) struct Clock(Mutex<Reading>);

/// At `local` Redis' clock showed `remote` since the epoch, give or take `uncertainty`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    local: Instant,
    remote: Duration,
    uncertainty: Duration,
}

/// A time span by Redis' clock within which a moment lies, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) earliest: u64,
    pub(super) latest: u64,
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unknown = Reading { local: now, remote: system, uncertainty: Duration::MAX };
        Self(Mutex::new(unknown))
    }

    /// Takes an answer to `TIME`: seconds and microseconds, asked for at `asked`, received at `received`. The more
    /// certain of it and what was known stays, unless they contradict each other: then Redis' clock was set.
    pub(super) fn learn(&self, seconds: u64, micros: u64, asked: Instant, received: Instant) {
        let round_trip = received.saturating_duration_since(asked);
        let new = Reading {
            local: asked + round_trip / 2,
            // Bounded, because Redis may say anything: the year 287396 is late enough.
            remote: Duration::from_secs(seconds.min(MAX_SECONDS)) + Duration::from_micros(micros.min(999_999)),
            uncertainty: round_trip / 2,
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = known.at(new.local);
        let aged = known.uncertainty_at(new.local);
        let consistent = expected.abs_diff(new.remote) <= aged.saturating_add(new.uncertainty);
        if !consistent || new.uncertainty <= aged {
            *known = new;
        }
    }

    /// [`Reading::millis`], of what is known now.
    pub(super) fn millis(&self, instant: Instant) -> u64 {
        self.reading().millis(instant)
    }

    /// [`Reading::span`], of what is known now.
    pub(super) fn span(&self, instant: Instant) -> Span {
        self.reading().span(instant)
    }

    /// What is known now, for who asks more than once.
    pub(super) fn reading(&self) -> Reading {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// Redis' time at `instant`, in Unix milliseconds.
    pub(super) fn millis(self, instant: Instant) -> u64 {
        self.at(instant).as_millis() as u64
    }

    /// Redis' time at `instant`, with the bounds of what is known.
    pub(super) fn span(self, instant: Instant) -> Span {
        let middle = self.at(instant);
        // A millisecond more, because TIME and our own answer are cut, not rounded.
        let margin = match self.uncertainty {
            Duration::MAX => Duration::ZERO,
            _ => self.uncertainty_at(instant) + Duration::from_millis(1),
        };
        Span {
            earliest: middle.saturating_sub(margin).as_millis() as u64,
            latest: middle.saturating_add(margin).as_millis() as u64,
        }
    }

    fn at(&self, instant: Instant) -> Duration {
        match instant.checked_duration_since(self.local) {
            Some(later) => self.remote + later,
            None => self.remote.saturating_sub(self.local - instant),
        }
    }

    fn uncertainty_at(&self, instant: Instant) -> Duration {
        let age = instant.saturating_duration_since(self.local).max(self.local.saturating_duration_since(instant));
        self.uncertainty.saturating_add(age.mul_f64(DRIFT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_answer_counts_for_the_middle_of_its_round_trip() {
        let start = Instant::now();
        let clock = Clock::new(start);
        clock.learn(1000, 500_000, start, start + 10 * MS);
        assert_eq!(clock.millis(start + 5 * MS), 1_000_500);
        assert_eq!(clock.millis(start), 1_000_495);
        assert_eq!(clock.millis(start + 105 * MS), 1_000_600);
        let span = clock.span(start + 5 * MS);
        assert_eq!((span.earliest, span.latest), (1_000_494, 1_000_506));
    }

    #[test]
    fn a_slow_answer_does_not_displace_a_sure_one() {
        let start = Instant::now();
        let clock = Clock::new(start);
        clock.learn(1000, 0, start, start);
        clock.learn(1001, 900_000, start + 1000 * MS, start + 3000 * MS);
        assert_eq!(clock.millis(start + 2000 * MS), 1_002_000);
    }

    #[test]
    fn certainty_fades_until_a_newer_answer_is_better() {
        let start = Instant::now();
        let clock = Clock::new(start);
        clock.learn(1000, 0, start, start + MS);
        let later = start + 60_000 * MS;
        assert_eq!(clock.span(later).latest - clock.millis(later), 13);
        clock.learn(1060, 2_000, later, later + 2 * MS);
        assert_eq!(clock.millis(later + MS), 1_060_002);
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let start = Instant::now();
        let clock = Clock::new(start);
        clock.learn(5000, 0, start, start);
        clock.learn(1000, 0, start + 10 * MS, start + 210 * MS);
        assert_eq!(clock.millis(start + 110 * MS), 1_000_000);
    }
}
