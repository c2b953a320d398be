//! What the shards have counted, for others to read.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ullim_broker::Histogram;

/// What the shards have counted.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// All shards' hubs together.
    pub hub: ullim_hub::Counters,
    /// Opening handshakes refused, by HTTP status.
    pub handshakes_refused: BTreeMap<u16, u64>,
    /// How long opening handshakes took, from being accepted to the answer 101.
    pub handshake_duration: Histogram,
    /// Connections refused for the sake of their address' limits, by limit: `connections`, `unauthenticated`,
    /// `handshakes`.
    pub address_limited: BTreeMap<&'static str, u64>,
    /// What the listener with TLS has counted.
    pub tls: TlsCounters,
}

/// What the listener with TLS has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsCounters {
    /// TLS handshakes that came to an end.
    pub handshakes: u64,
    /// Those that did not: broken off, timed out, turned away because too many waited, no version or
    /// cipher in common.
    pub failures: u64,
    /// Handshakes that went on where an earlier connection had ended.
    pub resumed: u64,
    /// How often a new certificate was taken into use.
    pub reloads: u64,
    /// How often a new certificate was refused.
    pub reload_failures: u64,
    /// When the certificate in use expires, in Unix seconds; none without a listener with TLS.
    pub certificate_expires: Option<u64>,
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
        sum.handshake_duration.add(&own.handshake_duration);
        sum.tls.handshakes += own.tls.handshakes;
        sum.tls.failures += own.tls.failures;
        sum.tls.resumed += own.tls.resumed;
    }

    pub(crate) fn publish(&self, counters: Counters) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }
}
