//! Which history of data each master of a Cluster has. A master with another one than before may have lost comings and
//! goings, in the channels that it has.

use redis::RedisResult;
use tokio::time::Instant;

use super::forgotten;
use crate::redis::Shared;
use crate::redis::address::Address;
use crate::redis::cluster::slot;
use crate::redis::commands::Commands;
use crate::redis::place::Form;

/// What a master that has never followed another says of a history before its own.
const NONE: &str = "0000000000000000000000000000000000000000";

/// Asks every master that can be reached, and tells those who watch a channel of one that has lost its history.
pub(super) async fn verify(shared: &Shared, connection: &Commands) {
    let Form::Cluster(topology) = &shared.place.form else {
        return;
    };
    let asked = Instant::now();
    let mut others = Vec::new();
    for (mut master, _) in connection.masters() {
        let info: RedisResult<redis::Value> = master.one(redis::cmd("INFO").arg("replication")).await;
        let Ok(info) = info.and_then(|info| Ok(redis::from_redis_value::<String>(info)?)) else {
            continue;
        };
        if let Commands::Master(_, address) = master
            && is_another(shared, &address, &info)
        {
            others.push(address);
        }
    }
    if !others.is_empty() {
        let map = topology.map();
        let is_concerned = |channel: &str| {
            let slot = slot::of(shared.names.write(channel).as_bytes());
            map.owner(slot).is_some_and(|owner| others.contains(owner))
        };
        forgotten::tell(shared, asked, is_concerned);
    }
}

/// Whether the server has another history than before, or has taken over from one that we knew. A new server has none
/// that could be lost.
fn is_another(shared: &Shared, address: &Address, info: &str) -> bool {
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    let (history, before) = (field("master_replid:"), field("master_replid2:"));
    let mut known = shared.keeper.histories();
    let is_first = known.is_empty();
    match known.insert(address.clone(), history.clone()) {
        Some(known) => known != history,
        None => !is_first && !before.is_empty() && before != NONE && known.values().any(|other| *other == before),
    }
}
