//! Nodes that die, stand still, are restarted, or have a wrong clock.

use std::process::Command;

use rustix::process::Signal;
use tokio::time::sleep;

use super::{Done, Scene, Skipped};
use crate::chaos::log::Reach;

/// `kill -9`, and started again some seconds later.
pub(super) async fn kill(scene: &mut Scene<'_>) -> Done {
    let node = scene.any_node();
    let away = scene.lasting(2000, 6000);
    scene.world.kill_node(node);
    sleep(away).await;
    scene.world.start_node(node, &[]).await;
    let mut done = Done::harmless(format!("node {node}, away for {away:?}"));
    done.touches.killed = vec![node];
    done
}

/// SIGSTOP for some seconds.
pub(super) async fn stop(scene: &mut Scene<'_>) -> Done {
    let node = scene.any_node();
    let still = scene.lasting(3000, 9000);
    scene.world.node(node).process.signal(Signal::STOP);
    sleep(still).await;
    scene.world.node(node).process.signal(Signal::CONT);
    Done::links(Reach::Only(vec![node]), format!("node {node}, still for {still:?}"))
}

/// SIGTERM, the end, and a new start: each node in turn.
pub(super) async fn rolling(scene: &mut Scene<'_>) -> Done {
    for node in 0..scene.world.seats.len() {
        scene.world.drain_node(node).await;
        scene.world.start_node(node, &[]).await;
    }
    let mut done = Done::harmless("every node in turn");
    done.touches.drained = (0..scene.world.seats.len()).collect();
    done
}

/// A node is restarted with a clock that is an hour ahead, and later once more with the right one.
pub(super) async fn skew(scene: &mut Scene<'_>) -> Result<Done, Skipped> {
    // The program itself would stand between the node and its signals: only its library is wanted.
    let Ok(output) = Command::new("faketime").args(["-f", "+1h", "printenv", "LD_PRELOAD"]).output() else {
        return Err(Skipped("the program faketime is not installed (Debian package faketime)".to_owned()));
    };
    let library = format!("LD_PRELOAD={}", String::from_utf8_lossy(&output.stdout).trim());
    let node = scene.any_node();
    let wrong = scene.lasting(5000, 15_000);
    scene.world.drain_node(node).await;
    let fake = ["env", &library, "FAKETIME=+1h", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"];
    scene.world.start_node(node, &fake).await;
    sleep(wrong).await;
    scene.world.drain_node(node).await;
    scene.world.start_node(node, &[]).await;
    Ok(Done::harmless(format!("node {node}, an hour ahead for {wrong:?}")))
}
