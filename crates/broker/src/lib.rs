//! Publications between nodes. The only crate that knows Redis.
//!
//! A shard attaches its queue to a broker, says which channels it wants, and finds in the queue, in order: that it has
//! joined a channel, what is published on it, and where something may be missing.
//!
//! * [`Broker`]: what a shard and the API see of a broker; [`Presence`]: the same, of who is where; [`History`]: of what
//!   was published before
//! * [`queue`]: from a broker to a shard, bounded in bytes
//! * [`memory`]: for one node
//! * [`redis`]: for many
//! * `interest`: which shards want which channel, and how far that is confirmed

pub mod config;
mod control;
pub mod histogram;
mod history;
mod interest;
pub mod memory;
mod presence;
pub mod queue;
pub mod redis;
mod shards;
mod tally;

use std::pin::Pin;
use std::time::Duration;

use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::Position;
use ullim_protocol::publication::{Data, Headers};
use ullim_protocol::session::SessionId;

pub use config::{ChannelRule, ChannelRules, Config, HistoryRule};
pub use control::{ChannelsPage, ChannelsRequest, Control};
pub use histogram::Histogram;
pub use history::{
    History, HistoryError, HistoryPart, HistoryRequest, MAX_PART_BYTES, Outcome, RecoverRequest, Recovery,
};
pub use presence::{Claim, Entry, PageRequest, Presence, PresenceError, RoutedEvent};
pub use queue::{Relayed, Routed, ShardInbox, ShardQueue, Window, shard_queue};

/// The most shards that a broker serves: they are kept as the bits of a number.
pub const MAX_SHARDS: usize = 64;

/// A shard of this node, as a broker numbers it: 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShardId(pub u8);

/// What joins nodes. No method waits.
pub trait Broker: Send + Sync + 'static {
    /// Makes a shard known. All that it hears comes through `queue`. At most [`MAX_SHARDS`].
    fn attach(&self, queue: ShardQueue) -> ShardId;

    /// The shard wants `channel`: once it is sure to hear every later publication, its queue holds
    /// [`Relayed::Joined`]. Idempotent until [`unsubscribe`](Self::unsubscribe).
    fn subscribe(&self, shard: ShardId, channel: &ChannelName);

    /// The shard wants `channel` no longer.
    fn unsubscribe(&self, shard: ShardId, channel: &ChannelName);

    /// Publishes. Publications of one caller on one channel keep the order of the calls. Says the position, on a
    /// recoverable channel.
    fn publish(&self, request: PublishRequest) -> Answer<Result<Option<Position>, PublishError>>;

    /// Gives an order to every node. It finds its way into each shard's queue as [`Relayed::Control`].
    fn control(&self, control: Control) -> Answer<Result<(), PublishError>>;

    /// Channels that have subscribers, on whichever node.
    fn channels(&self, request: ChannelsRequest) -> Answer<Result<ChannelsPage, PublishError>>;

    /// The time by the broker's clock, in Unix milliseconds.
    fn now(&self) -> u64;

    /// Whether publications pass.
    fn status(&self) -> Status;

    /// What was counted since the start.
    fn counters(&self) -> Counters;
}

/// A publication on its way to the broker.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// Where.
    pub channel: ChannelName,
    /// What.
    pub data: Data,
    /// What goes with it.
    pub headers: Option<Headers>,
    /// The session that is not to hear it.
    pub exclude: Option<SessionId>,
    /// On a recoverable channel: of two publications with the same id within five minutes the second is not one, and is
    /// answered with the first one's position. Means nothing on a live channel.
    pub id: Option<String>,
}

/// An answer that is there at once, or later.
pub enum Answer<T> {
    /// Now.
    Ready(T),
    /// When the future ends. It ends within the broker's own deadline.
    Pending(Pin<Box<dyn Future<Output = T> + Send>>),
}

/// Why a publication was not taken for certain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker cannot be reached: it was not published.
    #[error("the broker cannot be reached")]
    Unreachable,
    /// No answer in time: it may have been published.
    #[error("the broker did not answer in time")]
    Timeout,
    /// It is larger than this node relays.
    #[error("the data has {bytes} bytes, and broker.payload_bytes is {limit}")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
    /// The broker refused it, and said why.
    #[error("the broker refused the publication: {0}")]
    Refused(String),
}

/// Whether a broker's links stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// They have not stood yet.
    Starting,
    /// They stand.
    Up,
    /// They stood once; they are being rebuilt.
    Down,
}

/// What a broker has counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// Publications received that some shard wanted.
    pub received: u64,
    /// Publications that could not be decoded, and were told as gaps.
    pub undecodable: u64,
    /// Publications dropped at a full shard queue, and told as gaps.
    pub overflowed: u64,
    /// Publications received on channels that this node never subscribed to.
    pub stray: u64,
    /// Gaps signalled to shards, of all reasons.
    pub gaps: u64,
    /// Publications that were taken from this node.
    pub published: u64,
    /// Publications from this node that failed.
    pub publish_errors: u64,
    /// Times that a link was built anew after a break.
    pub reconnects: u64,
    /// Channels subscribed at the moment.
    pub channels: u64,
    /// Whether who is in channels can be read and changed at the moment: the link for it stands. `None` if there is
    /// none to break.
    pub presence_up: Option<bool>,
    /// Members of channels that this node keeps up at the moment: sessions, once per channel.
    pub presence_members: u64,
    /// Members of dead nodes that this node has removed.
    pub presence_reaped: u64,
    /// Members that this node has entered anew after a fault.
    pub presence_reasserted: u64,
    /// Members that were read from the broker and could not be understood.
    pub presence_invalid: u64,
    /// Orders received.
    pub control_received: u64,
    /// Orders dropped: they could not be read, or a shard's queue was full.
    pub control_dropped: u64,
    /// How long ago the broker last relayed something to this node; `None` if it never has.
    pub last_message_age: Option<Duration>,
    /// The round trip of the subscription link's last `PING`.
    pub probe_rtt: Option<Duration>,
    /// `PING`s of the subscription link that were not answered in time.
    pub probe_failures: u64,
    /// Round trips of the command link's batches.
    pub command_duration: Histogram,
    /// Commands that Redis answered with an error.
    pub redis_errors: u64,
    /// Publications in a Redis Cluster that were published without sharding.
    pub unsharded: u64,
    /// Recoveries in which everything was there.
    pub recoveries_whole: u64,
    /// Recoveries with a gap, because the broker had lost some of its history, or had what cannot be decoded.
    pub recoveries_cut: u64,
    /// Recoveries for which the history did not reach back, held too much, or did not vouch for the position.
    pub recoveries_lost: u64,
    /// Publications that recoveries brought.
    pub recovered: u64,
    /// Holes in what the broker relayed that were filled from the history before a shard saw them.
    pub repairs: u64,
    /// Publications that filled them.
    pub repaired: u64,
    /// Times that a recoverable channel was compared with its history.
    pub verified: u64,
    /// Publications without a position that came on recoverable channels: outside of what is promised.
    pub plain: u64,
    /// Reads of histories that failed.
    pub history_errors: u64,
}
