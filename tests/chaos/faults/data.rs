//! Redis loses what it had taken, or nearly.

use std::time::Duration;

use tokio::time::sleep;

use super::{Done, Scene};
use crate::chaos::topology::Servers;
use crate::eventually;
use crate::redis::server::{Data, Server};

fn single<'a>(scene: &'a mut Scene<'_>) -> &'a mut Server {
    match &mut scene.world.servers {
        Servers::Single(server) => server,
        _ => panic!("this fault is for a single server"),
    }
}

/// `kill -9`, and started with nothing.
pub(super) async fn kill_empty(scene: &mut Scene<'_>) -> Done {
    let away = scene.lasting(500, 5000);
    let server = single(scene);
    server.kill();
    sleep(away).await;
    server.start(Data::None).await;
    Done::history(format!("away for {away:?}"))
}

/// `kill -9`, and started with all it had.
pub(super) async fn kill_data(scene: &mut Scene<'_>) -> Done {
    let away = scene.lasting(500, 5000);
    let server = single(scene);
    server.text(&["CONFIG", "SET", "appendfsync", "always"]).await;
    server.text(&["CONFIG", "SET", "appendonly", "yes"]).await;
    eventually("the append-only file", async || {
        let state = server.text(&["INFO", "persistence"]).await;
        let written = state.contains("aof_rewrite_in_progress:0") && state.contains("aof_rewrite_scheduled:0");
        (written && state.contains("aof_enabled:1")).then_some(())
    })
    .await;
    server.kill();
    sleep(away).await;
    server.start(Data::Log).await;
    server.text(&["CONFIG", "SET", "appendonly", "no"]).await;
    Done::history(format!("away for {away:?}"))
}

/// A dump is written, traffic goes on, `kill -9`, and the server starts with the dump.
pub(super) async fn older(scene: &mut Scene<'_>) -> Done {
    let lost = scene.lasting(1000, 5000);
    let server = single(scene);
    server.text(&["SAVE"]).await;
    sleep(lost).await;
    server.kill();
    sleep(Duration::from_millis(500)).await;
    server.start(Data::Dump).await;
    Done::history(format!("{lost:?} of publications are gone"))
}

/// `FLUSHALL`.
pub(super) async fn flush(scene: &mut Scene<'_>) -> Done {
    scene.world.servers.each(&["FLUSHALL"]).await;
    let mut done = Done::history("");
    // No link breaks: a channel on which nothing is published has nothing to notice it by.
    done.touches.unnoticed = true;
    done.touches.links = crate::chaos::log::Reach::Nobody;
    done
}
