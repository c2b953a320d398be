//! Waiting for conditions, with one generous deadline.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{sleep, timeout};

/// How long anything may take before the test fails. Only a failure is ever that slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Looks at `condition` until it yields something.
///
/// # Panics
/// After [`PATIENCE`], saying what it waited for.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            sleep(LOOK).await;
        }
    })
    .await
}

/// Awaits `future`.
///
/// # Panics
/// After [`PATIENCE`], saying what it waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Unix milliseconds by this machine's clock, which is also that of the Redis servers of the tests.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
