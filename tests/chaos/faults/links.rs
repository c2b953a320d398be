//! The link between one node and Redis.

use std::time::Duration;

use tokio::time::sleep;

use super::{Done, Scene};
use crate::Way;
use crate::chaos::log::Reach;

/// The link is gone, and nobody says so.
pub(super) async fn half_open(scene: &mut Scene<'_>) -> Done {
    let node = scene.any_node();
    let gone = scene.lasting(5000, 12_000);
    scene.world.links[node].set(Way::Swallows);
    sleep(gone).await;
    scene.world.links[node].set(Way::Flows);
    Done::links(Reach::Only(vec![node]), format!("node {node}, for {gone:?}"))
}

/// Everything comes late, and some of it later still, but within every deadline.
pub(super) async fn slow(scene: &mut Scene<'_>) -> Done {
    const LATE: Duration = Duration::from_millis(200);
    const STALL: Duration = Duration::from_millis(500);
    let node = scene.any_node();
    let times = if scene.brief { 3 } else { scene.dice.between(4, 10) };
    for _ in 0..times {
        scene.world.links[node].set(Way::Slow(LATE));
        sleep(scene.lasting(500, 2000)).await;
        scene.world.links[node].set(Way::Stands);
        sleep(STALL).await;
    }
    scene.world.links[node].set(Way::Flows);
    Done::harmless(format!("node {node}, {LATE:?} late and {times} stalls of {STALL:?}"))
}

/// Redis has more for a node than it keeps for anybody: it cuts the link.
pub(super) async fn overflow(scene: &mut Scene<'_>) -> Done {
    const LARGE: usize = 48 << 10;
    const COUNT: usize = 150;
    let node = scene.any_node();
    scene.world.servers.each(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 262144 131072 1"]).await;
    scene.world.links[node].set(Way::Stands);
    for _ in 0..COUNT {
        scene.burst.publish(false, LARGE).await;
        sleep(Duration::from_millis(8)).await;
    }
    scene.world.links[node].set(Way::Flows);
    let cut = scene.world.servers.masters().await[0].text(&["INFO", "clients"]).await;
    scene.world.servers.each(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60"]).await;
    drop(cut);
    Done::links(Reach::Only(vec![node]), format!("node {node}, {COUNT} publications of {LARGE} bytes"))
}
