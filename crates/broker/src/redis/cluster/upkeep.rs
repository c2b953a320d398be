//! Builds the subscription link to a master again and again.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::desk::LinkId;
use super::fleet::Fleet;
use super::link::Traffic;
use super::topology::Topology;
use crate::redis::Shared;
use crate::redis::address::Address;
use crate::redis::canary::Canary;
use crate::redis::handshake::{self, LinkError};
use crate::redis::outage::Backoff;

/// What every link of the fleet knows.
#[derive(Debug, Clone)]
pub(super) struct Quarters {
    pub(super) shared: Arc<Shared>,
    pub(super) topology: Arc<Topology>,
    pub(super) fleet: Arc<Fleet>,
}

/// Builds the link again and again. Never ends by itself.
pub(super) async fn run(quarters: Quarters, id: LinkId, address: Address, wake: Arc<Notify>) {
    let Quarters { shared, topology, fleet } = &quarters;
    let mut backoff = Backoff::default();
    loop {
        let set_up = timeout(shared.config.ping_timeout, handshake::connect(shared, &address)).await;
        let reason = match set_up.unwrap_or(Err(LinkError::Silent("HELLO"))) {
            Ok(connection) => {
                let since = connection.since;
                let canary = canary(shared, topology, &address);
                fleet.connected(shared, id);
                let mut traffic = Traffic::new(quarters.clone(), id, since, connection.tells_role, canary);
                let Err(reason) = traffic.run(connection, &wake).await;
                fleet.broken(shared, id, shared.clock.span(traffic.wire.proven).earliest);
                backoff.stood(since, Instant::now());
                reason
            }
            Err(reason) => {
                fleet.unbuilt();
                reason
            }
        };
        topology.refresh();
        tracing::debug!(%address, %reason, "a link of the cluster broke or could not be built");
        shared.subscription.down(&shared.place, &format_args!("{address}: {reason}"));
        sleep(backoff.next()).await;
    }
}

/// A canary in a slot that this master has.
fn canary(shared: &Shared, topology: &Topology, address: &Address) -> Option<Arc<Canary>> {
    let tag = topology.map().tag_at(address, &format!("{:016x}:", rand::random::<u64>()))?;
    let canary = Arc::new(Canary::new(shared.names.canary(&tag)));
    shared.canaries().push(Arc::clone(&canary));
    Some(canary)
}
