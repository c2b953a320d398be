//! How the breaks of a link are told, and how long to wait before it is built again.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;

use crate::Status;

/// The longest wait between two attempts: what Redis' return may cost at most.
const CAP: Duration = Duration::from_secs(1);

/// The longest wait before the first attempt.
const FIRST: Duration = Duration::from_millis(50);

/// The shortest wait, so that a server that accepts and closes makes nobody spin.
const SHORTEST: Duration = Duration::from_millis(5);

/// Full jitter: anything up to a bound that doubles with each attempt, and is capped.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The wait before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.attempts.min(10)).min(CAP);
        self.attempts += 1;
        rand::rng().random_range(SHORTEST..=bound)
    }

    /// A link has stood from `since` to `until`. One that broke at once counts as a failed attempt.
    pub(super) fn stood(&mut self, since: Instant, until: Instant) {
        if until.saturating_duration_since(since) > CAP {
            self.attempts = 0;
        }
    }
}

/// Whether a link stands, told once per change: a `warn` when it breaks, an `info` when it is back.
#[derive(Debug)]
pub(super) struct Standing {
    link: &'static str,
    state: AtomicU8,
}

const STARTING: u8 = 0;
const FAILED_AT_START: u8 = 1;
const UP: u8 = 2;
const DOWN: u8 = 3;

impl Standing {
    pub(super) fn new(link: &'static str) -> Self {
        Self { link, state: AtomicU8::new(STARTING) }
    }

    /// The link stands. Says whether it had stood before.
    pub(super) fn up(&self, address: &impl std::fmt::Display) -> bool {
        let before = self.state.swap(UP, Ordering::Relaxed);
        match before {
            UP => {}
            DOWN => tracing::info!(link = self.link, %address, "the link to redis is back"),
            _ => tracing::info!(link = self.link, %address, "linked to redis"),
        }
        before == DOWN
    }

    /// The link broke, or could not be built.
    pub(super) fn down(&self, address: &impl std::fmt::Display, reason: &impl std::fmt::Display) {
        let link = self.link;
        match self.state.load(Ordering::Relaxed) {
            STARTING => {
                self.state.store(FAILED_AT_START, Ordering::Relaxed);
                tracing::warn!(link, %address, %reason, "redis cannot be reached, waiting for it");
            }
            UP => {
                self.state.store(DOWN, Ordering::Relaxed);
                tracing::warn!(link, %address, %reason, "the link to redis broke, rebuilding it");
            }
            _ => tracing::debug!(link, %address, %reason, "redis cannot be reached yet"),
        }
    }

    pub(super) fn status(&self) -> Status {
        match self.state.load(Ordering::Relaxed) {
            UP => Status::Up,
            DOWN => Status::Down,
            _ => Status::Starting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_start_over_after_a_link_that_stood() {
        let mut backoff = Backoff::default();
        assert!(backoff.next() <= FIRST);
        assert!((0..40).all(|_| (SHORTEST..=CAP).contains(&backoff.next())));
        let now = Instant::now();
        backoff.stood(now, now + Duration::from_millis(10));
        assert!(backoff.attempts > 0);
        backoff.stood(now, now + 2 * CAP);
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn a_link_is_starting_until_it_has_stood() {
        let standing = Standing::new("test");
        standing.down(&"there", &"why");
        assert_eq!(standing.status(), Status::Starting);
        assert!(!standing.up(&"there"));
        standing.down(&"there", &"why");
        assert_eq!(standing.status(), Status::Down);
        assert!(standing.up(&"there"));
        assert_eq!(standing.status(), Status::Up);
    }
}
