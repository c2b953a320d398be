//! The broker over a Redis server: one link that subscribes, one that publishes, one for presence (`docs/redis.md`). All
//! are rebuilt for ever; what may be lost meanwhile is told as gaps.
//!
//! * `address`, `place`, `sentinel`: where Redis is
//! * `cluster`: a Redis Cluster: its map, its links, the way of commands
//! * `socket`, `tls`, `connection`, `commands`: connections to it
//! * `handshake`, `resp`, `subscription`: the subscription link, what it speaks, what it does
//! * `relay`: what it hears, on its way to the shards
//! * `canary`: a probe through the way that publications go
//! * `control`: orders between nodes
//! * `lane`, `command`: publications on their way to Redis, and the link that carries them
//! * `history`: recoverable channels, and the link that reads their histories
//! * `presence`: who is in which channel, and the link that keeps it up
//! * `encode`: what a payload is
//! * `clock`: Redis' time
//! * `outage`: how breaks are told, and the wait between attempts

mod address;
mod canary;
mod clock;
mod cluster;
mod command;
mod commands;
mod connection;
mod control;
mod encode;
mod handshake;
mod history;
mod lane;
mod outage;
mod place;
mod presence;
mod relay;
mod resp;
mod sentinel;
mod socket;
mod subscription;
mod tls;
mod wire;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::Position;
use ullim_protocol::presence::{MembersPage, Occupancy};
use ullim_protocol::session::SessionId;

pub use address::AddressError;

use crate::config::RedisConfig;
use crate::interest::Interest;
use crate::queue::ShardQueue;
use crate::tally::{Moment, Tally};
use crate::{
    Answer, Broker, ChannelRules, ChannelsPage, ChannelsRequest, Claim, Config, Control, Counters, Entry, History,
    HistoryError, HistoryPart, HistoryRequest, PageRequest, Presence, PresenceError, PublishError, PublishRequest,
    RecoverRequest, Recovery, ShardId, Status,
};
use address::WireNames;
use canary::Canary;
use clock::Clock;
use history::Histories;
use history::publish::Call;
use lane::Lane;
use outage::Standing;
use place::{Form, Place};
use presence::{Keeper, reads};

/// Joins nodes over Redis. Its links end when it is dropped.
#[derive(Debug)]
pub struct RedisBroker {
    shared: Arc<Shared>,
    links: TaskTracker,
    stop: DropGuard,
}

/// What the broker and its links share.
#[derive(Debug)]
struct Shared {
    place: Place,
    names: WireNames,
    rules: ChannelRules,
    payload_bytes: usize,
    config: RedisConfig,
    /// The zero of the monotonic times in the table of interest.
    started: Instant,
    clock: Clock,
    interest: Mutex<Interest>,
    /// The subscription link has something to do.
    interest_changed: Notify,
    lane: Lane,
    /// That of the subscription link; in a Cluster each link has another.
    canary: Arc<Canary>,
    canaries: Mutex<Vec<Arc<Canary>>>,
    tally: Tally,
    subscription: Standing,
    command: Standing,
    keeper: Keeper,
    histories: Histories,
}

impl Shared {
    fn interest(&self) -> MutexGuard<'_, Interest> {
        self.interest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are published.
    fn canaries(&self) -> MutexGuard<'_, Vec<Arc<Canary>>> {
        self.canaries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to what was put into the lane.
    fn published(&self, queued: Result<lane::Waiting, PublishError>) -> Answer<lane::Published> {
        match queued {
            // It has its place in the lane already, whenever its future is polled.
            Ok(waiting) => {
                let answer = timeout(self.config.command_timeout, waiting);
                Answer::Pending(Box::pin(async {
                    match answer.await {
                        Ok(Ok(result)) => result,
                        // Too late, or the link ended with the request in its hands.
                        Ok(Err(_)) | Err(_) => Err(PublishError::Timeout),
                    }
                }))
            }
            Err(error) => Answer::Ready(Err(error)),
        }
    }

    /// The most bytes of one message that are kept: data, envelope, and names.
    fn reply_bytes(&self) -> usize {
        self.payload_bytes.saturating_add(encode::ENVELOPE_BYTES)
    }
}

/// Whether [`RedisBroker::start`] would take this configuration.
pub fn check(config: &RedisConfig) -> Result<(), AddressError> {
    Place::new(config)?;
    WireNames::new(&config.prefix).map(drop)
}

/// Why the broker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address of Redis cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The subscription link has no thread.
    #[error("cannot start the thread of the subscription link")]
    Thread(#[source] io::Error),
}

/// Whether repairs are left out, and whether epochs go on whatever becomes of Redis' data: what a check of this broker
/// has to find.
#[cfg(feature = "sabotage")]
fn sabotage(config: &RedisConfig) -> (bool, bool) {
    (config.break_repair, config.break_epoch)
}

#[cfg(not(feature = "sabotage"))]
fn sabotage(_config: &RedisConfig) -> (bool, bool) {
    (false, false)
}

/// Runs `link` to its end on a thread and a runtime that are its own. From Redis to a shard a publication then wakes
/// nobody else: a runtime of several threads wakes a second one as soon as the first has something to do. And no shard
/// that is busy keeps the link from being read.
fn on_thread(name: &str, link: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(link))?;
    Ok(())
}

/// Looks where Redis is, and whether the links are right, until `stop`.
async fn watch(shared: Arc<Shared>, stop: CancellationToken) {
    let whereabouts = async {
        match &shared.place.form {
            Form::Single(_) => {}
            Form::Sentinel(sentinels) => sentinels.watch().await,
            Form::Cluster(topology) => topology.watch().await,
        }
    };
    stop.run_until_cancelled(futures_util::future::join(whereabouts, canary::run(&shared))).await;
}

impl RedisBroker {
    /// Starts the links in the background; whether Redis is there is a matter of [`status`](Broker::status). Logs when
    /// a link breaks and when it is back.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub fn start(config: &Config, rules: ChannelRules) -> Result<Arc<Self>, StartError> {
        let started = Instant::now();
        let names = WireNames::new(&config.redis.prefix)?;
        let canary = Arc::new(Canary::new(names.canary(&format!("{:016x}", rand::random::<u64>()))));
        let (break_repair, break_epoch) = sabotage(&config.redis);
        let place = Place::new(&config.redis)?;
        let histories = Histories::new(&config.redis.prefix, &rules, !break_epoch, place.is_sharded());
        let interest =
            Interest::new(config.redis.cooldown).recovering(rules.clone(), Arc::clone(&histories.wanted), break_repair);
        let shared = Arc::new(Shared {
            place,
            names,
            rules,
            payload_bytes: config.payload_bytes,
            config: config.redis.clone(),
            started,
            clock: Clock::new(started),
            interest: Mutex::new(interest),
            interest_changed: Notify::new(),
            lane: Lane::default(),
            canaries: Mutex::new(vec![Arc::clone(&canary)]),
            canary,
            tally: Tally::new(started),
            subscription: Standing::new("subscription"),
            command: Standing::new("command"),
            keeper: Keeper::new(),
            histories,
        });
        let stop = CancellationToken::new();
        let links = TaskTracker::new();
        let ended = stop.clone();
        let listening: Pin<Box<dyn Future<Output = ()> + Send>> = match &shared.place.form {
            Form::Single(_) | Form::Sentinel(_) => Box::pin(subscription::run(Arc::clone(&shared), ended)),
            Form::Cluster(topology) => Box::pin(cluster::subscribe(Arc::clone(&shared), Arc::clone(topology), ended)),
        };
        on_thread("ullim-link", links.track_future(listening)).map_err(StartError::Thread)?;
        links.spawn(command::run(Arc::clone(&shared), stop.clone()));
        links.spawn(presence::run(Arc::clone(&shared), stop.clone()));
        links.spawn(watch(Arc::clone(&shared), stop.clone()));
        links.spawn(history::run(Arc::clone(&shared), stop.clone()));
        links.close();
        Ok(Arc::new(Self { shared, links, stop: stop.drop_guard() }))
    }

    /// Closes the links, and waits until they are closed. Shards hear nothing more, publications are refused. Sessions
    /// that have left are gone from Redis then, if it answers in time; other nodes tell when their grace is over.
    pub async fn stop(&self) {
        let _ = timeout(self.shared.config.command_timeout, self.shared.keeper.flush()).await;
        self.stop.token().cancel();
        self.links.wait().await;
    }
}

impl Broker for RedisBroker {
    fn attach(&self, queue: ShardQueue) -> ShardId {
        self.shared.interest().attach(queue)
    }

    fn subscribe(&self, shard: ShardId, channel: &ChannelName) {
        if self.shared.interest().subscribe(shard, channel) {
            self.shared.interest_changed.notify_one();
        }
    }

    fn unsubscribe(&self, shard: ShardId, channel: &ChannelName) {
        let now = self.shared.started.elapsed();
        if self.shared.interest().unsubscribe(shard, channel, now) {
            self.shared.interest_changed.notify_one();
        }
    }

    fn publish(&self, request: PublishRequest) -> Answer<Result<Option<Position>, PublishError>> {
        let shared = &self.shared;
        let bytes = request.data.bytes().len();
        let queued = match bytes <= shared.payload_bytes {
            false => Err(PublishError::TooLarge { bytes, limit: shared.payload_bytes }),
            true => {
                let wire_name = shared.names.write(request.channel.as_str());
                let rule = shared.rules.of(&request.channel);
                let (payload, call) = match rule.history {
                    None => (encode::encode(request, rule.payload, self.now()), None),
                    Some(_) => {
                        let call = Call::new(&request, rule.payload);
                        (encode::bytes_of(request.data), Some(call))
                    }
                };
                shared.lane.push(wire_name, payload, call, shared.config.command_timeout)
            }
        };
        shared.tally.publish_errors.add(u64::from(queued.is_err()));
        shared.published(queued)
    }

    fn control(&self, control: Control) -> Answer<Result<(), PublishError>> {
        let shared = &self.shared;
        let payload = control::encode(&control).into();
        let queued = shared.lane.push(shared.names.control().to_owned(), payload, None, shared.config.command_timeout);
        match shared.published(queued) {
            Answer::Ready(result) => Answer::Ready(result.map(drop)),
            Answer::Pending(answer) => Answer::Pending(Box::pin(async { answer.await.map(drop) })),
        }
    }

    fn channels(&self, request: ChannelsRequest) -> Answer<Result<ChannelsPage, PublishError>> {
        Answer::Pending(Box::pin(reads::channels(Arc::clone(&self.shared), request)))
    }

    fn now(&self) -> u64 {
        self.shared.clock.millis(Instant::now())
    }

    fn status(&self) -> Status {
        match (self.shared.subscription.status(), self.shared.command.status()) {
            (Status::Up, Status::Up) => Status::Up,
            (Status::Starting, _) | (_, Status::Starting) => Status::Starting,
            _ => Status::Down,
        }
    }

    fn counters(&self) -> Counters {
        let interest = self.shared.interest();
        let (gaps, channels) = (interest.overload_gaps(), interest.channels_confirmed());
        drop(interest);
        let keeper = &self.shared.keeper;
        let (members, presence_up) = (keeper.members(), Some(keeper.is_up()));
        self.shared.tally.counters(Moment { overload_gaps: gaps, channels, members, presence_up })
    }
}

impl History for RedisBroker {
    fn recover(&self, request: RecoverRequest) -> Answer<Result<Recovery, HistoryError>> {
        let shared = &self.shared;
        if shared.rules.of(&request.channel).history.is_none() {
            return Answer::Ready(Err(HistoryError::NotKept));
        }
        match history::at_once(shared, &request) {
            Some(recovery) => Answer::Ready(Ok(recovery)),
            None => Answer::Pending(Box::pin(history::recover(Arc::clone(shared), request))),
        }
    }

    fn history(&self, request: HistoryRequest) -> Answer<Result<HistoryPart, HistoryError>> {
        match self.shared.rules.of(&request.channel).history {
            None => Answer::Ready(Err(HistoryError::NotKept)),
            Some(_) => Answer::Pending(Box::pin(history::history(Arc::clone(&self.shared), request))),
        }
    }
}

impl Presence for RedisBroker {
    fn enter(&self, entry: Entry) -> Answer<Result<(), PresenceError>> {
        let answer = timeout(self.shared.config.command_timeout, self.shared.keeper.enter(entry));
        Answer::Pending(Box::pin(async {
            match answer.await {
                Ok(Ok(result)) => result,
                // Too late, or the session left meanwhile.
                Ok(Err(_)) | Err(_) => Err(PresenceError::Unavailable),
            }
        }))
    }

    fn leave(&self, channel: &ChannelName, session: SessionId, claim: Claim, absence: Duration) {
        self.shared.keeper.leave(channel, session, claim, absence);
    }

    fn members(&self, channel: &ChannelName, page: PageRequest) -> Answer<Result<MembersPage, PresenceError>> {
        Answer::Pending(Box::pin(reads::members(Arc::clone(&self.shared), channel.clone(), page)))
    }

    fn occupancy(&self, channel: &ChannelName) -> Answer<Result<Occupancy, PresenceError>> {
        Answer::Pending(Box::pin(reads::occupancy(Arc::clone(&self.shared), channel.clone())))
    }
}
