//! A Redis Cluster: where its slots are, commands that go there, and a subscription link to each master.
//!
//! * `slot`: the slot of a key, and the key of a command
//! * `map`, `topology`: which master has which slot
//! * `router`: commands on their way
//! * `fleet`, `desk`: which channel is on which subscription link
//! * `upkeep`, `link`: the subscription links

mod desk;
mod fleet;
mod link;
mod map;
mod router;
pub(super) mod slot;
mod topology;
mod upkeep;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Shared;
use fleet::Fleet;
use upkeep::Quarters;

pub(super) use router::{Router, UNANSWERED, UNREACHABLE};
pub(super) use topology::Topology;

/// When to look again where nothing is due.
const IDLE: std::time::Duration = std::time::Duration::from_secs(3600);

/// Keeps up the subscription links, until `stop`.
pub(super) async fn subscribe(shared: Arc<Shared>, topology: Arc<Topology>, stop: CancellationToken) {
    let fleet = Arc::new(Fleet::new());
    stop.run_until_cancelled(supervise(Quarters { shared, topology, fleet })).await;
}

async fn supervise(quarters: Quarters) {
    let Quarters { shared, topology, fleet } = &quarters;
    let mut links = JoinSet::new();
    let mut tasks = std::collections::HashMap::new();
    let mut maps = topology.maps();
    maps.mark_changed();
    loop {
        if maps.has_changed().unwrap_or_default() {
            let map = Arc::clone(&maps.borrow_and_update());
            let masters = map.masters().to_vec();
            tasks.retain(|address, task: &mut tokio::task::AbortHandle| {
                let stays = masters.contains(address);
                if !stays {
                    task.abort();
                }
                stays
            });
            for (id, address, wake) in fleet.follow(shared, map) {
                let task = links.spawn(upkeep::run(quarters.clone(), id, address.clone(), wake));
                tasks.insert(address, task);
            }
        }
        let next = fleet.dispatch(shared);
        tokio::select! {
            () = shared.interest_changed.notified() => {}
            () = fleet.changed.notified() => {}
            changed = maps.changed() => {
                maps.mark_changed();
                if changed.is_err() {
                    return;
                }
            }
            // Those that were ended.
            Some(_) = links.join_next() => {}
            () = sleep_until(next.unwrap_or_else(|| Instant::now() + IDLE)) => {}
        }
    }
}
