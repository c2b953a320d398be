//! What one shard has counted. Plain numbers: the shard publishes a copy now and then.

use std::collections::BTreeMap;

/// Counted since the start of the shard, but for the first three, which are what is there now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that are open.
    pub connections: u64,
    /// Subscriptions of sessions.
    pub subscriptions: u64,
    /// Channels that have a subscriber.
    pub channels: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that ended, by close code; 1006 where there was none.
    pub ended: BTreeMap<u16, u64>,
    /// Commands from clients.
    pub commands: u64,
    /// Commands refused for their number.
    pub rate_limited: u64,
    /// Tokens that were refused.
    pub auth_failures: u64,
    /// Publications written or queued, once per subscriber.
    pub deliveries: u64,
    /// Connections closed because their clients did not read.
    pub slow_closes: u64,
    /// Gaps told, once per subscriber.
    pub gaps: u64,
}

impl Counters {
    /// Adds what another shard has counted.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.subscriptions += other.subscriptions;
        self.channels += other.channels;
        self.opened += other.opened;
        for (code, count) in &other.ended {
            *self.ended.entry(*code).or_default() += count;
        }
        self.commands += other.commands;
        self.rate_limited += other.rate_limited;
        self.auth_failures += other.auth_failures;
        self.deliveries += other.deliveries;
        self.slow_closes += other.slow_closes;
        self.gaps += other.gaps;
    }
}
