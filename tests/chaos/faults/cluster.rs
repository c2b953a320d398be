//! Slots move, and masters die.

use std::time::Duration;

use tokio::time::sleep;

use super::{Done, Scene};
use crate::chaos::log::{Reach, Touches};
use crate::chaos::topology::Servers;
use crate::redis::server::Data;
use crate::redis::sharded::{Sharded, slot};

fn cluster<'a>(scene: &'a mut Scene<'_>) -> &'a mut Sharded {
    match &mut scene.world.servers {
        Servers::Cluster(cluster) => cluster,
        _ => panic!("this fault needs a cluster"),
    }
}

/// The slots of some channels go to other masters, one after the other.
pub(super) async fn migrate(scene: &mut Scene<'_>) -> Done {
    let count = scene.world.channels.len();
    let first = scene.dice.below(count);
    let moved: Vec<usize> = (0..3.min(count)).map(|next| (first + next) % count).collect();
    let slots: Vec<u16> =
        moved.iter().map(|channel| slot(&format!("{{{}}}", scene.world.channels[*channel].name))).collect();
    let by = 1 + scene.dice.below(2);
    let cluster = cluster(scene);
    for slot in &slots {
        let masters = cluster.masters().await;
        let ranges = crate::redis::sharded::ranges(&cluster.addresses()).await.unwrap_or_default();
        let Some(owner) = crate::redis::sharded::owner(&ranges, *slot) else { continue };
        let source = masters.iter().position(|master| *master == cluster.at(owner)).unwrap_or(0);
        cluster.migrate(*slot, masters[(source + by) % masters.len()]).await;
        sleep(Duration::from_millis(500)).await;
    }
    let touched = Reach::Only(moved);
    let touches = Touches { links: Reach::Everybody, live: touched.clone(), history: touched, ..Touches::default() };
    Done { touches, detail: format!("slots {slots:?}") }
}

/// `kill -9` of a master. It comes back when its replica has taken over.
pub(super) async fn kill(scene: &mut Scene<'_>) -> Done {
    let dice = scene.dice.next();
    let cluster = cluster(scene);
    let masters = cluster.masters().await;
    let old = masters[(dice % masters.len() as u64) as usize];
    cluster.servers[old].kill();
    while cluster.masters().await.contains(&old) {
        sleep(Duration::from_millis(100)).await;
    }
    cluster.servers[old].start(Data::None).await;
    cluster.settled().await;
    Done::history(format!("server {old}"))
}
