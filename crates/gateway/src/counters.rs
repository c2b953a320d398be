//! What the shards have counted, for others to read.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What the shards have counted.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// All shards' hubs together.
    pub hub: ullim_hub::Counters,
    /// Opening handshakes refused, by HTTP status.
    pub handshakes_refused: BTreeMap<u16, u64>,
}

/// What a shard has counted, for others to read.
#[derive(Debug, Default)]
pub(crate) struct Published(Mutex<Counters>);

impl Published {
    /// Adds this shard's numbers to `sum`.
    pub(crate) fn add_to(&self, sum: &mut Counters) {
        let own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sum.hub.add(&own.hub);
        for (status, count) in &own.handshakes_refused {
            *sum.handshakes_refused.entry(*status).or_default() += count;
        }
    }

    pub(crate) fn publish(&self, counters: Counters) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }
}
