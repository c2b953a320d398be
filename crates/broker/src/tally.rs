//! The numbers behind [`Counters`], as a broker counts them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;

use crate::shards::Told;
use crate::{Counters, Histogram};

#[derive(Debug)]
pub(crate) struct Tally {
    /// The zero of the times below.
    started: Instant,
    pub(crate) received: Count,
    pub(crate) undecodable: Count,
    pub(crate) overflowed: Count,
    pub(crate) stray: Count,
    /// Those that the queues tell of themselves are not among them.
    pub(crate) gaps: Count,
    pub(crate) published: Count,
    pub(crate) publish_errors: Count,
    pub(crate) reconnects: Count,
    pub(crate) presence_reaped: Count,
    pub(crate) presence_reasserted: Count,
    pub(crate) presence_invalid: Count,
    pub(crate) control_received: Count,
    pub(crate) control_dropped: Count,
    pub(crate) probe_failures: Count,
    pub(crate) redis_errors: Count,
    /// Published without sharding, in a Cluster.
    pub(crate) unsharded: Count,
    pub(crate) unsharded_seen: Seldom,
    pub(crate) recoveries_whole: Count,
    pub(crate) recoveries_cut: Count,
    pub(crate) recoveries_lost: Count,
    pub(crate) recovered: Count,
    pub(crate) repairs: Count,
    pub(crate) repaired: Count,
    pub(crate) verified: Count,
    pub(crate) history_errors: Count,
    plain: Count,
    /// When something was last relayed to this node.
    pub(crate) last_message: Latest,
    /// A duration, not a time.
    pub(crate) probe_rtt: Latest,
    command_duration: Mutex<Histogram>,
    pub(crate) unreadable_order: Seldom,
    pub(crate) refused_presence: Seldom,
    pub(crate) refused_history: Seldom,
    dropped_order: Seldom,
}

/// What is not to be logged each time.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it is time again.
    pub(crate) fn is_due(&self, now: Instant, every: Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= every);
        if due {
            *last = Some(now);
        }
        due
    }
}

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A duration that was last set, if it was.
#[derive(Debug)]
pub(crate) struct Latest(AtomicU64);

const NEVER: u64 = u64::MAX;

impl Latest {
    pub(crate) fn set(&self, value: Duration) {
        self.0.store(value.as_micros().min(u128::from(NEVER - 1)) as u64, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros != NEVER).then(|| Duration::from_micros(micros))
    }
}

impl Default for Latest {
    fn default() -> Self {
        Self(AtomicU64::new(NEVER))
    }
}

/// What is not counted here, at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Gaps that queues have told of.
    pub(crate) overload_gaps: u64,
    /// Channels subscribed.
    pub(crate) channels: u64,
    /// Members of this node.
    pub(crate) members: u64,
    /// Whether the link for presence stands, where there is one.
    pub(crate) presence_up: Option<bool>,
}

impl Tally {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            received: Count::default(),
            undecodable: Count::default(),
            overflowed: Count::default(),
            stray: Count::default(),
            gaps: Count::default(),
            published: Count::default(),
            publish_errors: Count::default(),
            reconnects: Count::default(),
            presence_reaped: Count::default(),
            presence_reasserted: Count::default(),
            presence_invalid: Count::default(),
            control_received: Count::default(),
            control_dropped: Count::default(),
            probe_failures: Count::default(),
            redis_errors: Count::default(),
            unsharded: Count::default(),
            unsharded_seen: Seldom::default(),
            recoveries_whole: Count::default(),
            recoveries_cut: Count::default(),
            recoveries_lost: Count::default(),
            recovered: Count::default(),
            repairs: Count::default(),
            repaired: Count::default(),
            verified: Count::default(),
            history_errors: Count::default(),
            plain: Count::default(),
            last_message: Latest::default(),
            probe_rtt: Latest::default(),
            command_duration: Mutex::default(),
            unreadable_order: Seldom::default(),
            refused_presence: Seldom::default(),
            refused_history: Seldom::default(),
            dropped_order: Seldom::default(),
        }
    }

    /// Something was relayed to this node.
    pub(crate) fn heard(&self, now: Instant) {
        self.last_message.set(now.saturating_duration_since(self.started));
    }

    /// An order went to the shards.
    pub(crate) fn controlled(&self, told: Told) {
        self.control_received.add(1);
        if told.dropped > 0 {
            self.control_dropped.add(1);
            if self.dropped_order.is_due(Instant::now(), Duration::from_secs(1)) {
                tracing::error!(shards = told.dropped, "dropped orders: more than 65536 wait for a shard");
            }
        }
    }

    /// A publication without a position came on a recoverable channel.
    pub(crate) fn plain(&self, channel: &ChannelName) {
        if self.plain.get() == 0 {
            tracing::warn!(
                %channel,
                "somebody publishes on a recoverable channel with PUBLISH: no history has that; use FCALL ullim_publish"
            );
        }
        self.plain.add(1);
    }

    /// A batch of commands was answered after `duration`.
    pub(crate) fn answered(&self, duration: Duration) {
        self.command_duration.lock().unwrap_or_else(PoisonError::into_inner).record(duration, 1);
    }

    /// All of them.
    pub(crate) fn counters(&self, moment: Moment) -> Counters {
        let age = |at: Duration| self.started.elapsed().saturating_sub(at);
        Counters {
            received: self.received.get(),
            undecodable: self.undecodable.get(),
            overflowed: self.overflowed.get(),
            stray: self.stray.get(),
            gaps: self.gaps.get() + moment.overload_gaps,
            published: self.published.get(),
            publish_errors: self.publish_errors.get(),
            reconnects: self.reconnects.get(),
            channels: moment.channels,
            presence_up: moment.presence_up,
            presence_members: moment.members,
            presence_reaped: self.presence_reaped.get(),
            presence_reasserted: self.presence_reasserted.get(),
            presence_invalid: self.presence_invalid.get(),
            control_received: self.control_received.get(),
            control_dropped: self.control_dropped.get(),
            last_message_age: self.last_message.get().map(age),
            probe_rtt: self.probe_rtt.get(),
            probe_failures: self.probe_failures.get(),
            command_duration: *self.command_duration.lock().unwrap_or_else(PoisonError::into_inner),
            redis_errors: self.redis_errors.get(),
            unsharded: self.unsharded.get(),
            recoveries_whole: self.recoveries_whole.get(),
            recoveries_cut: self.recoveries_cut.get(),
            recoveries_lost: self.recoveries_lost.get(),
            recovered: self.recovered.get(),
            repairs: self.repairs.get(),
            repaired: self.repaired.get(),
            verified: self.verified.get(),
            plain: self.plain.get(),
            history_errors: self.history_errors.get(),
        }
    }
}
