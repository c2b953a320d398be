//! A subscriber that does not read.

use std::time::Duration;

use tokio::time::sleep;

use super::{Done, Scene};
use crate::now_ms;

/// The stallers stop reading while much is published.
pub(super) async fn stall(scene: &mut Scene<'_>) -> Done {
    const LARGE: usize = 32 << 10;
    let still = scene.lasting(4000, 10_000);
    let until = now_ms() + still.as_millis() as u64;
    scene.levers.stall.send_replace(until);
    while now_ms() < until {
        scene.burst.publish(false, LARGE).await;
        sleep(Duration::from_millis(15)).await;
    }
    Done::harmless(format!("for {still:?}"))
}
