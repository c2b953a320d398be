//! The machine's monotonic clock: one for all processes, so that what one stamps another can read.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since an arbitrary beginning.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // The clock starts at boot and never shows a negative time.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How long it is since `since`.
pub fn elapsed(since: u64) -> Duration {
    Duration::from_nanos(now().saturating_sub(since))
}

/// A duration as the clock counts it.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
