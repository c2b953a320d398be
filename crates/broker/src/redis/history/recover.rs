//! What was published behind a position, for one who comes back. Of many who ask at once, one has it read: the others
//! wait for the same answer, or find what it has left with the channel's cursor.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::AHashMap;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared as SharedFuture};
use tokio::time::{Instant, sleep, timeout};
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

/// The wait before a read is repeated.
const AGAIN: Duration = Duration::from_millis(10);

/// The reads that are under way.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: AHashMap<ChannelName, Flight>,
    /// Where the next read of a channel has to begin, because somebody waits for that.
    wanted: AHashMap<ChannelName, Position>,
    next: u64,
}

#[derive(Debug, Clone)]
struct Flight {
    number: u64,
    since: Position,
    limit: usize,
    found: SharedFuture<BoxFuture<'static, Result<Arc<Range>, HistoryError>>>,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read of what `request` needs, or one that is under way, to be waited for first.
    fn join(&self, shared: &Arc<Shared>, request: &RecoverRequest, alone: bool) -> Flight {
        let RecoverRequest { channel, since, limit, .. } = request;
        let mut state = self.lock();
        if let Some(flight) = state.under_way.get(channel).cloned() {
            if flight.since > *since || flight.limit < *limit {
                let wanted = state.wanted.entry(channel.clone()).or_insert(*since);
                *wanted = (*wanted).min(*since);
            }
            return flight;
        }
        let wanted = state.wanted.remove(channel).unwrap_or(*since);
        let since = if alone { *since } else { wanted.min(*since) };
        let number = state.next;
        state.next += 1;
        let read = read(Arc::clone(shared), channel.clone(), number, since, *limit);
        let flight = Flight { number, since, limit: *limit, found: read.boxed().shared() };
        state.under_way.insert(channel.clone(), flight.clone());
        flight
    }

    fn landed(&self, channel: &ChannelName, number: u64) {
        let mut state = self.lock();
        if state.under_way.get(channel).is_some_and(|flight| flight.number == number) {
            state.under_way.remove(channel);
        }
    }
}

/// See [`History::recover`](crate::History::recover).
pub(in crate::redis) async fn recover(shared: Arc<Shared>, request: RecoverRequest) -> Result<Recovery, HistoryError> {
    let bounded = timeout(shared.config.command_timeout, find(&shared, &request));
    bounded.await.unwrap_or(Err(HistoryError::Unavailable))
}

/// What is known without waiting.
pub(in crate::redis) fn at_once(shared: &Shared, request: &RecoverRequest) -> Option<Recovery> {
    let RecoverRequest { channel, since, reached, limit } = request;
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
        let flight = shared.histories.flights.join(shared, request, alone);
        let range = flight.found.await?;
        if range.since > *since || range.position < *reached {
            // Not that one. Nobody is to ask Redis in a busy loop, whatever it answers.
            sleep(AGAIN).await;
            continue;
        }
        if range.is_too_long && (range.since != *since || flight.limit < *limit) {
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
    shared: Arc<Shared>,
    channel: ChannelName,
    number: u64,
    since: Position,
    limit: usize,
) -> Result<Arc<Range>, HistoryError> {
    // What is heard from now on is put behind what is read.
    shared.interest().keep_recent(&channel, shared.started.elapsed());
    let found = pages(&shared, &channel, since, limit).await;
    if let Ok(range) = &found
        && !range.is_too_long
    {
        let now = Instant::now() - shared.started;
        shared.interest().found_recent(&channel, since, &range.entries, range.position, now);
    }
    shared.histories.flights.landed(&channel, number);
    found.map(Arc::new)
}

async fn pages(shared: &Shared, channel: &ChannelName, since: Position, limit: usize) -> Result<Range, HistoryError> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut since_time = None;
    loop {
        let behind = entries.last().map_or(since, |kept: &crate::interest::Kept| kept.position);
        // One more than is wanted says that there are too many.
        let wanted =
            Wanted { since: Some(behind), limit: limit + 1 - entries.len(), bytes: PAGE_BYTES, reverse: false };
        let part = fetch(shared, channel, wanted).await?;
        if entries.is_empty() {
            since_time = part.since_time;
        }
        bytes += part.entries.iter().map(crate::interest::Kept::size).sum::<usize>();
        let has_grown = !part.entries.is_empty();
        entries.extend(part.entries);
        let is_too_long = entries.len() > limit || bytes > RANGE_BYTES;
        if is_too_long || !part.more || !has_grown {
            return Ok(Range { since, since_time, entries, position: part.position, cut: part.cut, is_too_long });
        }
    }
}
