//! What was published behind a position, for one who comes back. Of many who ask at once, one has it read: the others
//! wait for the same answer, or find what it has left with the channel's cursor.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::AHashMap;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared as SharedFuture};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::Position;

use super::part::fetch;
use super::range::Range;
use super::read::Wanted;
use crate::interest::Cached;
use crate::redis::Shared;
use crate::{HistoryError, Outcome, RecoverRequest, Recovery};

/// The most bytes that one read brings, and that one recovery brings.
const PAGE_BYTES: usize = 1 << 20;
const RANGE_BYTES: usize = 64 << 20;

/// How many are read at once.
const RUNWAYS: usize = 16;

/// The wait before a read is repeated.
const AGAIN: Duration = Duration::from_millis(10);

/// The reads that are under way. Each is a task of its own: whoever waits for it may give up at any time, and it must not
/// be left half done with its permit and its pages.
#[derive(Debug)]
pub(super) struct Flights {
    state: Mutex<State>,
    tasks: TaskTracker,
    runways: Semaphore,
    /// That of the broker: those who ask may live on others, which end sooner.
    runtime: Handle,
    over: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    under_way: AHashMap<ChannelName, Flight>,
    /// Where the next read of a channel has to begin, because somebody waits for that.
    wanted: AHashMap<ChannelName, Position>,
    next: u64,
}

/// The most that one read brings in all: what is longer is of no use.
#[derive(Debug, Clone, Copy)]
struct Bound {
    publications: usize,
    bytes: usize,
}

impl Bound {
    /// Bytes in Redis, so a little more of them.
    fn of(request: &RecoverRequest) -> Self {
        let bytes = request.bytes.saturating_add(request.bytes / 4);
        Self { publications: request.limit, bytes: bytes.min(RANGE_BYTES) }
    }

    /// Something may be too long for it, and not for the other.
    fn is_below(self, other: Self) -> bool {
        self.publications < other.publications || self.bytes < other.bytes
    }
}

#[derive(Debug, Clone)]
struct Flight {
    number: u64,
    since: Position,
    bound: Bound,
    found: SharedFuture<BoxFuture<'static, Result<Arc<Range>, HistoryError>>>,
}

impl Flights {
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn new() -> Self {
        let (state, tasks, over) = (Mutex::default(), TaskTracker::new(), CancellationToken::new());
        let runways = Semaphore::new(RUNWAYS);
        Self { state, tasks, runways, runtime: Handle::current(), over }
    }

    /// Ends what is under way, and what is begun later.
    pub(super) async fn end(&self) {
        self.over.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read of what `request` needs, or one that is under way, to be waited for first. Says whether it is new.
    fn join(&self, shared: &Arc<Shared>, request: &RecoverRequest, alone: bool) -> (Flight, bool) {
        let RecoverRequest { channel, since, .. } = request;
        let bound = Bound::of(request);
        let mut state = self.lock();
        if let Some(flight) = state.under_way.get(channel).cloned() {
            if flight.since > *since || flight.bound.is_below(bound) {
                let wanted = state.wanted.entry(channel.clone()).or_insert(*since);
                *wanted = (*wanted).min(*since);
            }
            return (flight, false);
        }
        let wanted = state.wanted.remove(channel).unwrap_or(*since);
        let since = if alone { *since } else { wanted.min(*since) };
        let number = state.next;
        state.next += 1;
        let task = self.tasks.spawn_on(fly(Arc::clone(shared), channel.clone(), number, since, bound), &self.runtime);
        // It ends without an answer if the runtime does.
        let found = task.map(|found| found.unwrap_or(Err(HistoryError::Unavailable)));
        let flight = Flight { number, since, bound, found: found.boxed().shared() };
        state.under_way.insert(channel.clone(), flight.clone());
        (flight, true)
    }

    /// The history of a channel has gone back: nobody is to be given what was read before.
    pub(super) fn forget(&self, channel: &ChannelName) {
        let mut state = self.lock();
        state.under_way.remove(channel);
        state.wanted.remove(channel);
    }

    fn landed(&self, channel: &ChannelName, number: u64) {
        let mut state = self.lock();
        if state.under_way.get(channel).is_some_and(|flight| flight.number == number) {
            state.under_way.remove(channel);
        }
    }
}

/// Takes a read out of those that are under way, however it ends.
struct Landing<'a> {
    flights: &'a Flights,
    channel: &'a ChannelName,
    number: u64,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.flights.landed(self.channel, self.number);
    }
}

/// A read within its own deadline, whoever waits for it, and while the broker lives.
async fn fly(
    shared: Arc<Shared>,
    channel: ChannelName,
    number: u64,
    since: Position,
    bound: Bound,
) -> Result<Arc<Range>, HistoryError> {
    let flights = &shared.histories.flights;
    let _landing = Landing { flights, channel: &channel, number };
    let bounded = timeout(shared.config.command_timeout, async {
        // Few at a time: each holds what it has read, and one that has begun is to end.
        let _runway = flights.runways.acquire().await;
        read(&shared, &channel, since, bound).await
    });
    match flights.over.run_until_cancelled(bounded).await {
        Some(Ok(found)) => found,
        Some(Err(_)) | None => Err(HistoryError::Unavailable),
    }
}

/// See [`History::recover`](crate::History::recover).
pub(in crate::redis) async fn recover(shared: Arc<Shared>, request: RecoverRequest) -> Result<Recovery, HistoryError> {
    let bounded = timeout(shared.config.command_timeout, find(&shared, &request));
    bounded.await.unwrap_or(Err(HistoryError::Unavailable))
}

/// What is known without waiting.
pub(in crate::redis) fn at_once(shared: &Shared, request: &RecoverRequest) -> Option<Recovery> {
    let RecoverRequest { channel, since, reached, limit, .. } = request;
    let now = shared.started.elapsed();
    match shared.interest().recent(channel, *since, *reached, now) {
        Cached::Behind(entries, position) => {
            let since_time = None;
            let range = Range { since: *since, since_time, entries, position, cut: None, is_too_long: false };
            let recovery = range.recovery(*since, *limit);
            count(shared, &recovery);
            Some(recovery)
        }
        Cached::Unknown => None,
    }
}

fn count(shared: &Shared, recovery: &Recovery) {
    let tally = &shared.tally;
    match recovery.outcome {
        Outcome::Whole => tally.recoveries_whole.add(1),
        Outcome::Cut(_) => tally.recoveries_cut.add(1),
        Outcome::Lost => tally.recoveries_lost.add(1),
    }
    tally.recovered.add(recovery.publications.len() as u64);
}

async fn find(shared: &Arc<Shared>, request: &RecoverRequest) -> Result<Recovery, HistoryError> {
    let RecoverRequest { since, reached, limit, .. } = request;
    let mut alone = false;
    loop {
        if let Some(recovery) = at_once(shared, request) {
            return Ok(recovery);
        }
        let (flight, is_own) = shared.histories.flights.join(shared, request, alone);
        let range = match flight.found.await {
            Ok(range) => range,
            // Its deadline was an earlier one than ours.
            Err(HistoryError::Unavailable) if !is_own => {
                sleep(AGAIN).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        if range.position < *reached && shared.interest().is_before(&request.channel, *reached) {
            // It never will be: the history has gone back, and who asked is told so.
            return Err(HistoryError::Unavailable);
        }
        if range.since > *since || range.position < *reached {
            // Not that one. Nobody is to ask Redis in a busy loop, whatever it answers.
            sleep(AGAIN).await;
            continue;
        }
        if range.is_too_long && (range.since != *since || flight.bound.is_below(Bound::of(request))) {
            alone = true;
            continue;
        }
        let recovery = range.recovery(*since, *limit);
        count(shared, &recovery);
        return Ok(recovery);
    }
}

/// Reads what was published behind `since`, and leaves it with the channel's cursor.
async fn read(
    shared: &Shared,
    channel: &ChannelName,
    since: Position,
    bound: Bound,
) -> Result<Arc<Range>, HistoryError> {
    // What is heard from now on is put behind what is read.
    shared.interest().keep_recent(channel, shared.started.elapsed());
    let found = pages(shared, channel, since, bound).await;
    if let Ok(range) = &found
        && !range.is_too_long
    {
        let now = Instant::now() - shared.started;
        shared.interest().found_recent(channel, since, &range.entries, range.position, now);
    }
    found.map(Arc::new)
}

async fn pages(shared: &Shared, channel: &ChannelName, since: Position, bound: Bound) -> Result<Range, HistoryError> {
    let limit = bound.publications;
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut since_time = None;
    loop {
        let behind = entries.last().map_or(since, |kept: &crate::interest::Kept| kept.position);
        let room = bound.bytes.saturating_sub(bytes).max(1);
        // One more than is wanted says that there are too many.
        let wanted = Wanted {
            since: Some(behind),
            limit: limit + 1 - entries.len(),
            bytes: room.min(PAGE_BYTES),
            reverse: false,
        };
        let part = fetch(shared, channel, wanted).await?;
        if entries.is_empty() {
            since_time = part.since_time;
        }
        bytes += part.entries.iter().map(crate::interest::Kept::size).sum::<usize>();
        let has_grown = !part.entries.is_empty();
        entries.extend(part.entries);
        // What follows a part that has all the room does not fit.
        let is_full = part.more && room <= PAGE_BYTES;
        let is_too_long = entries.len() > limit || bytes > bound.bytes || is_full;
        if is_too_long || !part.more || !has_grown {
            return Ok(Range { since, since_time, entries, position: part.position, cut: part.cut, is_too_long });
        }
    }
}
