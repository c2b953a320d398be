//! The master changes.

use std::time::Duration;

use tokio::time::sleep;

use super::{Done, Scene};
use crate::chaos::topology::Servers;
use crate::eventually;
use crate::redis::sentinel::{MASTER, Sentinel};
use crate::redis::server::Data;

fn sentinel<'a>(scene: &'a mut Scene<'_>) -> &'a mut Sentinel {
    match &mut scene.world.servers {
        Servers::Sentinel(sentinel) => sentinel,
        _ => panic!("this fault needs sentinels"),
    }
}

/// `kill -9` of the master. It comes back, as a replica, when another is the master.
pub(super) async fn kill(scene: &mut Scene<'_>) -> Done {
    let sentinel = sentinel(scene);
    let old = sentinel.master_index().await;
    sentinel.servers[old].kill();
    let new = another(sentinel, old).await;
    sentinel.servers[old].start(Data::None).await;
    let port = sentinel.servers[new].port().to_string();
    sentinel.servers[old].text(&["REPLICAOF", "127.0.0.1", &port]).await;
    sentinel.settled().await;
    Done::history(format!("server {new} took over from {old}"))
}

/// `SENTINEL FAILOVER`.
pub(super) async fn order(scene: &mut Scene<'_>) -> Done {
    let sentinel = sentinel(scene);
    let old = sentinel.master_index().await;
    eventually("a failover to begin", async || sentinel.sentinels[0].ask(&["SENTINEL", "FAILOVER", MASTER]).await.ok())
        .await;
    let new = another(sentinel, old).await;
    sentinel.settled().await;
    Done::history(format!("server {new} took over from {old}"))
}

async fn another(sentinel: &Sentinel, old: usize) -> usize {
    loop {
        let now = sentinel.master_index().await;
        if now != old {
            return now;
        }
        sleep(Duration::from_millis(50)).await;
    }
}
