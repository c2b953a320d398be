//! Redis stands still, cuts its clients, forgets its functions, or has no memory.

use std::time::Duration;

use tokio::time::sleep;

use super::{Done, Scene};
use crate::chaos::log::Reach;
use crate::chaos::topology::{Form, Servers};

/// SIGSTOP. Where others would take over it is shorter than they wait.
pub(super) async fn stop(scene: &mut Scene<'_>) -> Done {
    let single = scene.world.servers.form() == Form::Single;
    let still = if single { scene.lasting(5000, 10_000) } else { Duration::from_millis(700) };
    let masters = scene.world.servers.masters().await;
    for master in &masters {
        master.freeze();
    }
    sleep(still).await;
    for master in &masters {
        master.thaw();
    }
    Done::links(Reach::Everybody, format!("still for {still:?}"))
}

/// `CLIENT KILL TYPE …`.
pub(super) async fn kill_clients(scene: &mut Scene<'_>, kind: &str) -> Done {
    if let Servers::Cluster(cluster) = &scene.world.servers {
        for server in &cluster.servers {
            server.text(&["CLIENT", "KILL", "TYPE", kind]).await;
        }
    } else {
        scene.world.servers.each(&["CLIENT", "KILL", "TYPE", kind]).await;
    }
    if kind == "pubsub" {
        Done::links(Reach::Everybody, "")
    } else {
        // What was on its way to be published is unknown; what is heard is not touched.
        Done::harmless("the links for commands, and the publishers")
    }
}

/// `FUNCTION FLUSH`.
pub(super) async fn flush_functions(scene: &mut Scene<'_>) -> Done {
    scene.world.servers.each(&["FUNCTION", "FLUSH"]).await;
    Done::harmless("")
}

/// Not a byte is left, for some seconds.
pub(super) async fn out_of_memory(scene: &mut Scene<'_>) -> Done {
    let full = scene.lasting(3000, 8000);
    scene.world.servers.each(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    scene.world.servers.each(&["CONFIG", "SET", "maxmemory", "1"]).await;
    sleep(full).await;
    scene.world.servers.each(&["CONFIG", "SET", "maxmemory", "0"]).await;
    Done::harmless(format!("full for {full:?}"))
}
