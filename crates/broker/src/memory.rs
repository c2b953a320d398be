//! The broker of a node that is alone: publications go from caller to queue within [`Broker::publish`].
//!
//! * `history`: what was published on recoverable channels
//! * `rooms`: who is in which channel, and who has just left

mod history;
mod rooms;

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::Position;
use ullim_protocol::presence::{MembersPage, Occupancy, PresenceEvent};
use ullim_protocol::publication::Publication;
use ullim_protocol::session::SessionId;

use crate::queue::{Relayed, Routed, ShardQueue, Window};
use crate::shards::{ShardSet, Shards};
use crate::tally::{Moment, Tally};
use crate::{
    Answer, Broker, ChannelRules, ChannelsPage, ChannelsRequest, Claim, Config, Control, Counters, Entry, History,
    HistoryError, HistoryPart, HistoryRequest, HistoryRule, PageRequest, Presence, PresenceError, PublishError,
    PublishRequest, RecoverRequest, Recovery, RoutedEvent, ShardId, Status,
};
use history::Histories;
use rooms::Rooms;

/// Joins the shards of one node. Always up.
#[derive(Debug)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
    /// The first departure, or the first end of a history, is sooner than it was.
    sooner: Arc<Notify>,
    stop: CancellationToken,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    tally: Tally,
}

#[derive(Debug)]
struct Table {
    shards: Shards,
    channels: BTreeMap<ChannelName, ShardSet>,
    rooms: Rooms,
    histories: Histories,
    rules: ChannelRules,
    payload_bytes: usize,
    /// A task tells of departures, and forgets histories.
    is_timed: bool,
}

impl MemoryBroker {
    /// Nothing is encoded on the way, so that no kind has to be told from its bytes: of the rules only those of histories
    /// change anything here.
    ///
    /// Outside a tokio runtime, those who are away for longer than their grace are told as gone only at the next call,
    /// and histories that are over are forgotten then.
    pub fn new(config: &Config, rules: ChannelRules) -> Self {
        let table = Table {
            shards: Shards::default(),
            channels: BTreeMap::new(),
            rooms: Rooms::default(),
            histories: Histories::default(),
            rules,
            payload_bytes: config.payload_bytes,
            is_timed: false,
        };
        let shared = Shared { table: Mutex::new(table), tally: Tally::new(Instant::now()) };
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        let broker = Self { shared: Arc::new(shared), sooner: Arc::default(), stop, _stop };
        broker.time_ends(&mut broker.shared.table());
        broker
    }

    /// Starts the task that keeps the times, if there is none and there can be one.
    fn time_ends(&self, table: &mut Table) {
        if table.is_timed {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            table.is_timed = true;
            let keeping = keep_times(Arc::downgrade(&self.shared), Arc::clone(&self.sooner));
            // Detached: it ends with the broker.
            drop(runtime.spawn(self.stop.clone().run_until_cancelled_owned(keeping)));
        }
    }

    /// Under one lock, so that times and positions rise in each queue.
    fn deliver(&self, request: PublishRequest) -> Result<Option<Position>, PublishError> {
        let mut table = self.shared.table();
        self.time_ends(&mut table);
        let Table { shards, channels, histories, rules, .. } = &mut *table;
        let (received, moment) = (now(), Instant::now());
        let PublishRequest { channel, data, headers, exclude, id } = request;
        let routed = |position| {
            let publication = Publication { data, time: received, headers, position };
            Arc::new(Routed { channel: channel.clone(), publication, exclude, published: Window::at(received) })
        };
        let joined = channels.get(&channel).copied();
        let routed = match rules.of(&channel).history {
            Some(rule) => {
                if let Some(first) = id.as_deref().and_then(|id| histories.first_with(&channel, id, moment)) {
                    return Ok(Some(first));
                }
                let before = histories.next_end();
                let kept = (rule, id.as_deref());
                let routed = histories.append(&channel, kept, micros(), moment, |position| routed(Some(position)));
                if histories.next_end() != before {
                    self.sooner.notify_one();
                }
                routed.ok_or_else(|| PublishError::Refused(CLOCK.to_owned()))?
            }
            None if joined.is_some() => routed(None),
            None => return Ok(None),
        };
        let position = routed.publication.position;
        if let Some(joined) = joined {
            let told = shards.tell_all(joined, &Relayed::Publication(routed));
            let tally = &self.shared.tally;
            tally.heard(moment);
            tally.received.add(1);
            tally.overflowed.add(told.dropped);
        }
        Ok(position)
    }

    /// The histories, and the rule for `channel`.
    fn of_history<T>(
        &self,
        channel: &ChannelName,
        read: impl FnOnce(&mut Histories, HistoryRule) -> Option<T>,
    ) -> Answer<Result<T, HistoryError>> {
        let mut table = self.shared.table();
        let Some(rule) = table.rules.of(channel).history else {
            return Answer::Ready(Err(HistoryError::NotKept));
        };
        // An epoch may have been opened for it.
        self.sooner.notify_one();
        Answer::Ready(read(&mut table.histories, rule).ok_or_else(|| HistoryError::Refused(CLOCK.to_owned())))
    }
}

/// Until the broker is gone.
async fn keep_times(shared: Weak<Shared>, sooner: Arc<Notify>) {
    loop {
        let Some(next) = shared.upgrade().map(|shared| shared.end(&mut shared.table())) else {
            return;
        };
        let due = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = sooner.notified() => {}
        }
    }
}

fn now() -> u64 {
    micros() / 1000
}

fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

/// Why there is no position to be had.
const CLOCK: &str = "this machine's clock is beyond what a position can hold";

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does all that is due. Says when something is next.
    fn end(&self, table: &mut Table) -> Option<Instant> {
        let over = table.histories.forget(Instant::now());
        self.depart(table).into_iter().chain(over).min()
    }

    /// Tells of those who have been away too long. Says who is the next, when.
    fn depart(&self, table: &mut Table) -> Option<Instant> {
        for (channel, user) in table.rooms.departed(Instant::now()) {
            self.tell(table, channel, PresenceEvent { joined: false, user, info: None });
        }
        table.rooms.next_departure()
    }

    fn tell(&self, table: &Table, channel: ChannelName, event: PresenceEvent) {
        let Some(joined) = table.channels.get(&channel) else {
            return;
        };
        let routed = RoutedEvent { channel, event, published: Window::at(now()) };
        let told = table.shards.tell_all(*joined, &Relayed::Presence(Arc::new(routed)));
        self.tally.heard(Instant::now());
        self.tally.overflowed.add(told.dropped);
    }
}

impl Broker for MemoryBroker {
    fn attach(&self, queue: ShardQueue) -> ShardId {
        self.shared.table().shards.attach(queue)
    }

    fn subscribe(&self, shard: ShardId, channel: &ChannelName) {
        let mut table = self.shared.table();
        self.time_ends(&mut table);
        let Table { shards, channels, histories, rules, .. } = &mut *table;
        let joined = channels.entry(channel.clone()).or_default();
        if !joined.contains(shard) {
            joined.insert(shard);
            let rule = rules.of(channel).history;
            let position = rule.and_then(|rule| {
                self.sooner.notify_one();
                histories.position(channel, rule, micros(), Instant::now())
            });
            shards.tell(shard, Relayed::Joined(channel.clone(), position));
        }
    }

    fn unsubscribe(&self, shard: ShardId, channel: &ChannelName) {
        if let btree_map::Entry::Occupied(mut joined) = self.shared.table().channels.entry(channel.clone()) {
            joined.get_mut().remove(shard);
            if joined.get().is_empty() {
                joined.remove();
            }
        }
    }

    fn publish(&self, request: PublishRequest) -> Answer<Result<Option<Position>, PublishError>> {
        let bytes = request.data.bytes().len();
        let limit = self.shared.table().payload_bytes;
        if bytes > limit {
            self.shared.tally.publish_errors.add(1);
            return Answer::Ready(Err(PublishError::TooLarge { bytes, limit }));
        }
        let delivered = self.deliver(request);
        match delivered {
            Ok(_) => self.shared.tally.published.add(1),
            Err(_) => self.shared.tally.publish_errors.add(1),
        }
        Answer::Ready(delivered)
    }

    fn control(&self, control: Control) -> Answer<Result<(), PublishError>> {
        let table = self.shared.table();
        let told = table.shards.tell_all(table.shards.all(), &Relayed::Control(Arc::new(control)));
        drop(table);
        self.shared.tally.controlled(told);
        Answer::Ready(Ok(()))
    }

    fn channels(&self, request: ChannelsRequest) -> Answer<Result<ChannelsPage, PublishError>> {
        let table = self.shared.table();
        let after = request.after.as_deref();
        let from = match after {
            Some(after) if after >= request.prefix.as_str() => Bound::Excluded(after),
            _ => Bound::Included(request.prefix.as_str()),
        };
        let names = table.channels.range::<str, _>((from, Bound::Unbounded)).map(|(name, _)| name);
        let mut names = names.take_while(|name| name.as_str().starts_with(&request.prefix));
        let channels = names.by_ref().take(request.limit).cloned().collect();
        Answer::Ready(Ok(ChannelsPage { channels, more: names.next().is_some() }))
    }

    fn now(&self) -> u64 {
        now()
    }

    fn status(&self) -> Status {
        Status::Up
    }

    fn counters(&self) -> Counters {
        let table = self.shared.table();
        self.shared.tally.counters(Moment {
            overload_gaps: table.shards.overload_gaps(),
            channels: table.channels.len() as u64,
            members: table.rooms.members(),
            presence_up: None,
        })
    }
}

impl History for MemoryBroker {
    fn recover(&self, request: RecoverRequest) -> Answer<Result<Recovery, HistoryError>> {
        self.of_history(&request.channel, |histories, rule| histories.recover(&request, rule, micros(), Instant::now()))
    }

    fn history(&self, request: HistoryRequest) -> Answer<Result<HistoryPart, HistoryError>> {
        self.of_history(&request.channel, |histories, rule| histories.part(&request, rule, micros(), Instant::now()))
    }
}

impl Presence for MemoryBroker {
    fn enter(&self, entry: Entry) -> Answer<Result<(), PresenceError>> {
        let mut table = self.shared.table();
        self.shared.depart(&mut table);
        let channel = entry.channel.clone();
        for event in table.rooms.enter(entry, now(), Instant::now()) {
            self.shared.tell(&table, channel.clone(), event);
        }
        Answer::Ready(Ok(()))
    }

    fn leave(&self, channel: &ChannelName, session: SessionId, claim: Claim, absence: Duration) {
        let mut table = self.shared.table();
        self.time_ends(&mut table);
        let before = self.shared.depart(&mut table);
        if let Some(event) = table.rooms.leave(channel, session, claim, absence, Instant::now()) {
            self.shared.tell(&table, channel.clone(), event);
        }
        if table.rooms.next_departure() != before {
            self.sooner.notify_one();
        }
    }

    fn members(&self, channel: &ChannelName, page: PageRequest) -> Answer<Result<MembersPage, PresenceError>> {
        let mut table = self.shared.table();
        self.shared.depart(&mut table);
        Answer::Ready(table.rooms.page(channel, &page))
    }

    fn occupancy(&self, channel: &ChannelName) -> Answer<Result<Occupancy, PresenceError>> {
        Answer::Ready(Ok(self.shared.table().rooms.occupancy(channel)))
    }
}
