//! What one shard has counted. Plain numbers: the shard publishes a copy now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use ullim_broker::Histogram;

use crate::config::SlowConsumer;

/// Counted since the start of the shard, but for the first three, which are what is there now.
#[derive(Debug, Clone, Default, PartialEq)]
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
    /// Tokens, or the lack of them, that were refused: `missing`, `expired`, `invalid`; `subscription` for those of
    /// subscriptions.
    pub auth_failures: BTreeMap<&'static str, u64>,
    /// Sessions that went on on another connection.
    pub resumed: u64,
    /// Connections closed because their session went on on another.
    pub replaced: u64,
    /// Publications written or queued, once per subscriber.
    pub deliveries: u64,
    /// Joins and leaves written or queued, once per subscriber.
    pub presence_events: u64,
    /// The bytes of both, framed.
    pub message_bytes_out: u64,
    /// From when a publication says that it was published until the writes of its batch were done, once per subscriber.
    pub delivery_latency: Histogram,
    /// How long fan-out of a batch took.
    pub fanout_duration: Histogram,
    /// Connections closed because their clients did not read.
    pub slow_closes: u64,
    /// Publications that gave way because a client read too slowly, the oldest first; the client was told a gap.
    pub dropped_oldest: u64,
    /// Publications that gave way to newer ones of their channels because a client read too slowly.
    pub dropped_latest: u64,
    /// Gaps told, once per subscriber.
    pub gaps: u64,
    /// Subscriptions that have recovered what their clients had missed.
    pub recovered: u64,
    /// Subscriptions that could not.
    pub not_recovered: u64,
    /// Publications that replies to `subscribe` have brought.
    pub recovered_publications: u64,
    /// Times that the shard's queue has lost publications of a recoverable channel, and they were read again.
    pub repairs: u64,
    /// Publications that were read so.
    pub repaired_publications: u64,
    /// Times that they could not be, and a gap was told.
    pub repair_gaps: u64,
}

impl Counters {
    pub(crate) fn auth_failed(&mut self, reason: &'static str) {
        *self.auth_failures.entry(reason).or_default() += 1;
    }

    /// Publications gave way in a namespace with this policy.
    pub(crate) fn gave_way(&mut self, policy: SlowConsumer, count: u64) {
        match policy {
            SlowConsumer::Latest => self.dropped_latest += count,
            SlowConsumer::DropOldest | SlowConsumer::Close => self.dropped_oldest += count,
        }
    }

    /// A publication of `time` has reached so many subscribers at `now`, both in Unix milliseconds.
    pub(crate) fn delivered(&mut self, now: u64, time: u64, subscribers: u64) {
        self.deliveries += subscribers;
        // A publisher may be ahead of the broker's clock.
        self.delivery_latency.record(Duration::from_millis(now.saturating_sub(time)), subscribers);
    }

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
        for (reason, count) in &other.auth_failures {
            *self.auth_failures.entry(reason).or_default() += count;
        }
        self.resumed += other.resumed;
        self.replaced += other.replaced;
        self.deliveries += other.deliveries;
        self.presence_events += other.presence_events;
        self.message_bytes_out += other.message_bytes_out;
        self.delivery_latency.add(&other.delivery_latency);
        self.fanout_duration.add(&other.fanout_duration);
        self.slow_closes += other.slow_closes;
        self.dropped_oldest += other.dropped_oldest;
        self.dropped_latest += other.dropped_latest;
        self.gaps += other.gaps;
        self.recovered += other.recovered;
        self.not_recovered += other.not_recovered;
        self.recovered_publications += other.recovered_publications;
        self.repairs += other.repairs;
        self.repaired_publications += other.repaired_publications;
        self.repair_gaps += other.repair_gaps;
    }
}
