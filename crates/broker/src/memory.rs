//! The broker of a node that is alone: publications go from caller to queue within [`Broker::publish`].

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ullim_protocol::channel::ChannelName;
use ullim_protocol::presence::{MembersPage, Occupancy};
use ullim_protocol::publication::Publication;
use ullim_protocol::session::SessionId;

use crate::queue::{Relayed, Routed, ShardQueue, Window};
use crate::shards::{ShardSet, Shards};
use crate::tally::Tally;
use crate::{
    Answer, Broker, ChannelsPage, ChannelsRequest, Claim, Config, Control, Counters, Entry, PageRequest, PayloadRules,
    Presence, PresenceError, PublishError, PublishRequest, ShardId, Status,
};

/// Joins the shards of one node. Always up.
#[derive(Debug)]
pub struct MemoryBroker {
    table: Mutex<Table>,
    tally: Tally,
    payload_bytes: usize,
}

#[derive(Debug, Default)]
struct Table {
    shards: Shards,
    channels: HashMap<ChannelName, ShardSet>,
}

impl MemoryBroker {
    /// Nothing is encoded on the way, so that no kind has to be told from its bytes: the rules change nothing here.
    pub fn new(config: &Config, _rules: PayloadRules) -> Self {
        Self { table: Mutex::default(), tally: Tally::default(), payload_bytes: config.payload_bytes }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, request: PublishRequest) {
        // Under the lock, so that times rise in each queue.
        let table = self.table();
        let Some(joined) = table.channels.get(&request.channel) else {
            return;
        };
        let received = self.now();
        let publication = Publication { data: request.data, time: received, headers: request.headers };
        let routed =
            Routed { channel: request.channel, publication, exclude: request.exclude, published: Window::at(received) };
        let told = table.shards.tell_all(*joined, &Relayed::Publication(Arc::new(routed)));
        self.tally.received.add(1);
        self.tally.overflowed.add(told.dropped);
    }
}

impl Broker for MemoryBroker {
    fn attach(&self, queue: ShardQueue) -> ShardId {
        self.table().shards.attach(queue)
    }

    fn subscribe(&self, shard: ShardId, channel: &ChannelName) {
        let Table { shards, channels } = &mut *self.table();
        let joined = channels.entry(channel.clone()).or_default();
        if !joined.contains(shard) {
            joined.insert(shard);
            shards.tell(shard, Relayed::Joined(channel.clone()));
        }
    }

    fn unsubscribe(&self, shard: ShardId, channel: &ChannelName) {
        if let hash_map::Entry::Occupied(mut joined) = self.table().channels.entry(channel.clone()) {
            joined.get_mut().remove(shard);
            if joined.get().is_empty() {
                joined.remove();
            }
        }
    }

    fn publish(&self, request: PublishRequest) -> Answer<Result<(), PublishError>> {
        let bytes = request.data.bytes().len();
        if bytes > self.payload_bytes {
            self.tally.publish_errors.add(1);
            return Answer::Ready(Err(PublishError::TooLarge { bytes, limit: self.payload_bytes }));
        }
        self.deliver(request);
        self.tally.published.add(1);
        Answer::Ready(Ok(()))
    }

    fn control(&self, _control: Control) -> Answer<Result<(), PublishError>> {
        Answer::Ready(Err(PublishError::Unreachable))
    }

    fn channels(&self, _request: ChannelsRequest) -> Answer<Result<ChannelsPage, PublishError>> {
        Answer::Ready(Err(PublishError::Unreachable))
    }

    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    }

    fn status(&self) -> Status {
        Status::Up
    }

    fn counters(&self) -> Counters {
        let table = self.table();
        let overload_gaps = table.shards.overload_gaps();
        self.tally.counters(overload_gaps, table.channels.len() as u64)
    }
}

impl Presence for MemoryBroker {
    fn enter(&self, _entry: Entry) -> Answer<Result<(), PresenceError>> {
        Answer::Ready(Err(PresenceError::Unavailable))
    }

    fn leave(&self, _channel: &ChannelName, _session: SessionId, _claim: Claim) {}

    fn members(&self, _channel: &ChannelName, _page: PageRequest) -> Answer<Result<MembersPage, PresenceError>> {
        Answer::Ready(Err(PresenceError::Unavailable))
    }

    fn occupancy(&self, _channel: &ChannelName) -> Answer<Result<Occupancy, PresenceError>> {
        Answer::Ready(Err(PresenceError::Unavailable))
    }
}
