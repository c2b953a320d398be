//! Tests that measure time or load the machine take turns.

use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until no other test of this kind runs.
pub(crate) async fn take() -> MutexGuard<'static, ()> {
    TURN.lock().await
}
