//! What clients of one address may take: connections, connections whose client nobody knows yet, and new connections
//! per second.
//!
//! One table for the node, behind a lock that is held for a few lookups when a connection comes, is admitted, or goes;
//! deliveries do not know it. An address is in it while it has connections, and a second longer: then its rate is as
//! good as new.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use crate::config::PerAddress;

/// The most addresses without a connection that are remembered. Beyond it the oldest is forgotten, and with it how many
/// connections it opened in the last second; one that has connections never is.
const MOST_IDLE: usize = 65_536;

/// How long after its last connection an address is remembered: until its rate has recovered, whatever it was.
const REMEMBERED: Duration = Duration::from_secs(1);

/// Which limit an address has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Connections,
    Unauthenticated,
    Handshakes,
}

impl Limit {
    const ALL: [Self; 3] = [Self::Connections, Self::Unauthenticated, Self::Handshakes];

    fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Unauthenticated => "unauthenticated",
            Self::Handshakes => "handshakes",
        }
    }
}

/// Every address that has connections, or had a moment ago.
#[derive(Debug)]
pub(crate) struct Addresses {
    limits: PerAddress,
    table: Mutex<Table>,
    refused: [AtomicU64; Limit::ALL.len()],
}

/// What is counted together: an IPv6 customer has a /64 at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    V4(u32),
    V6(u64),
}

#[derive(Debug, Default)]
struct Table {
    places: HashMap<Key, usize>,
    entries: Slab<Entry>,
    /// Those that may be forgotten then, if they still have no connection. The earliest is first.
    idle: VecDeque<(Instant, usize)>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    connections: u32,
    unauthenticated: u32,
    /// When the rate will have recovered.
    recovered: Instant,
    /// Whether it is in `idle`, once at most.
    queued: bool,
}

/// One connection's share of its address, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    addresses: Arc<Addresses>,
    place: usize,
    admitted: bool,
}

impl Addresses {
    pub(crate) fn new(limits: PerAddress) -> Self {
        Self { limits, table: Mutex::default(), refused: Default::default() }
    }

    /// Counts a new connection of `client`; none if this address has no limits.
    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr) -> Result<Option<Lease>, Limit> {
        let client = client.to_canonical();
        if client.is_loopback() && !self.limits.loopback {
            return Ok(None);
        }
        let mut table = self.table();
        let now = Instant::now();
        table.forget(now);
        let place = table.place_of(Key::of(client), now);
        let judged = table.entries[place].enter(&self.limits, now);
        table.settle(place, now);
        drop(table);
        match judged {
            Ok(()) => Ok(Some(Lease { addresses: Arc::clone(self), place, admitted: false })),
            Err(limit) => {
                self.refused[limit as usize].fetch_add(1, Ordering::Relaxed);
                Err(limit)
            }
        }
    }

    /// How many connections each limit has refused.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Limit::ALL.into_iter().map(|limit| (limit.name(), self.refused[limit as usize].load(Ordering::Relaxed)))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn of(client: IpAddr) -> Self {
        match client {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl Table {
    fn place_of(&mut self, key: Key, now: Instant) -> usize {
        *self.places.entry(key).or_insert_with(|| {
            self.entries.insert(Entry { key, connections: 0, unauthenticated: 0, recovered: now, queued: false })
        })
    }

    /// Lets an entry without connections be forgotten later.
    fn settle(&mut self, place: usize, now: Instant) {
        let entry = &mut self.entries[place];
        if entry.connections == 0 && !entry.queued {
            entry.queued = true;
            self.idle.push_back((now + REMEMBERED, place));
        }
    }

    /// Forgets addresses that have no connection, a second after the last one.
    fn forget(&mut self, now: Instant) {
        while let Some((due, place)) = self.idle.front().copied() {
            let is_over = self.idle.len() > MOST_IDLE;
            if due > now && !is_over {
                return;
            }
            self.idle.pop_front();
            let entry = &mut self.entries[place];
            entry.queued = false;
            if entry.connections > 0 {
                continue;
            }
            if entry.recovered > now && !is_over {
                self.settle(place, now);
                continue;
            }
            let entry = self.entries.remove(place);
            self.places.remove(&entry.key);
        }
    }
}

impl Entry {
    fn enter(&mut self, limits: &PerAddress, now: Instant) -> Result<(), Limit> {
        let is_reached = |limit: u32, count: u32| limit != 0 && count >= limit;
        if is_reached(limits.connections, self.connections) {
            return Err(Limit::Connections);
        }
        if is_reached(limits.unauthenticated, self.unauthenticated) {
            return Err(Limit::Unauthenticated);
        }
        if limits.handshakes_per_second != 0 {
            // Each takes its part of a second, and a second's worth may be taken at once.
            let recovered = self.recovered.max(now) + Duration::from_secs(1) / limits.handshakes_per_second;
            if recovered > now + Duration::from_secs(1) {
                return Err(Limit::Handshakes);
            }
            self.recovered = recovered;
        }
        self.connections += 1;
        self.unauthenticated += 1;
        Ok(())
    }
}

impl Lease {
    /// The client is known: only its connection counts from now on.
    pub(crate) fn admitted(&mut self) {
        if !std::mem::replace(&mut self.admitted, true) {
            self.addresses.table().entries[self.place].unauthenticated -= 1;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut table = self.addresses.table();
        let entry = &mut table.entries[self.place];
        entry.connections -= 1;
        entry.unauthenticated -= u32::from(!self.admitted);
        table.settle(self.place, Instant::now());
    }
}

#[cfg(test)]
mod tests;
