//! A part of a history, for whoever wants to look.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::sync::SemaphorePermit;
use tokio::time::{sleep, timeout};
use ullim_protocol::channel::ChannelName;

use super::KIB_AT_ONCE;
use super::library;
use super::read::{self, Wanted};
use crate::interest::Read;
use crate::redis::Shared;
use crate::redis::commands::Commands;
use crate::redis::presence::calls::{self, Refusal};
use crate::{HistoryError, HistoryPart, HistoryRequest, MAX_PART_BYTES};

/// The wait before a read is repeated.
const AGAIN: Duration = Duration::from_millis(50);

/// How many entries are read at least where the ones before could not be decoded.
const AHEAD: usize = 64;

/// The link, once it stands.
async fn link(shared: &Shared) -> Result<Commands, HistoryError> {
    let mut link = shared.histories.link.subscribe();
    let standing = link.wait_for(Option::is_some).await;
    standing.ok().and_then(|link| link.clone()).ok_or(HistoryError::Unavailable)
}

/// The right to have so many bytes on their way. One that is larger than all there may be has them to itself.
async fn room(shared: &Shared, bytes: usize) -> Option<SemaphorePermit<'_>> {
    let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(KIB_AT_ONCE).clamp(1, KIB_AT_ONCE);
    shared.histories.room.acquire_many(kib).await.ok()
}

/// Reads a part of a history, within the deadline of a command. Few are read at once, and only as many bytes as there
/// is room for: an entry that is larger than what was asked for says so first, and is read when there is.
pub(super) async fn fetch(shared: &Shared, channel: &ChannelName, mut wanted: Wanted) -> Result<Read, HistoryError> {
    let bounded = async {
        let _permit = shared.histories.reads.acquire().await;
        // It is given back at the end, whatever that is.
        let mut held = room(shared, if wanted.limit > 0 { wanted.bytes } else { 0 }).await;
        // Again while the link is gone; once if the functions are.
        let mut was_loaded = false;
        loop {
            let mut link = link(shared).await?;
            let mut commands = Pipeline::with_capacity(1);
            commands.add_command(read::call_within(shared, channel, wanted));
            let Ok(answers) = calls::all::<Value>(shared, &mut link, commands).await else {
                // The link's own task sees it too, and builds another.
                sleep(AGAIN).await;
                continue;
            };
            let reason = match answers.into_iter().next() {
                Some(Ok(answer)) => match (read::too_large(&answer), read::parse(shared, channel, answer)) {
                    (Some(bytes), _) if bytes > wanted.bytes => {
                        // First back with the one: nobody holds some and waits for more.
                        drop(held.take());
                        wanted.bytes = bytes;
                        held = room(shared, bytes).await;
                        continue;
                    }
                    (None, Some(read)) => return Ok(read),
                    _ => "the answer cannot be read".to_owned(),
                },
                Some(Err(Refusal::Said(reason))) if !reason.contains("ULLIMPREFIX") => reason,
                Some(Err(refusal)) if was_loaded => refusal.as_str().to_owned(),
                Some(Err(_)) => {
                    was_loaded = true;
                    if library::ensure(shared, &mut link).await.is_err() {
                        sleep(AGAIN).await;
                    }
                    continue;
                }
                None => "there is no answer".to_owned(),
            };
            return Err(HistoryError::Refused(reason));
        }
    };
    let read = timeout(shared.config.command_timeout, bounded).await.unwrap_or(Err(HistoryError::Unavailable));
    shared.tally.history_errors.add(u64::from(read.is_err()));
    read
}

/// See [`History::history`](crate::History::history). A part in which nothing can be decoded is no answer: who asks could
/// not go on from it. So what follows is read, until something can be decoded, or nothing is left.
pub(in crate::redis) async fn history(
    shared: Arc<Shared>,
    request: HistoryRequest,
) -> Result<HistoryPart, HistoryError> {
    let HistoryRequest { channel, since, limit, reverse } = request;
    let mut wanted = Wanted { since, limit, bytes: MAX_PART_BYTES, reverse };
    let found = timeout(shared.config.command_timeout, async {
        loop {
            let read = fetch(&shared, &channel, wanted).await?;
            let undecodable = read.entries.iter().filter(|kept| kept.routed.is_none()).count();
            shared.tally.undecodable.add(undecodable as u64);
            let last = read.entries.last().map(|kept| kept.position);
            let mut publications: Vec<_> = read.entries.into_iter().filter_map(|kept| kept.routed).collect();
            match last {
                Some(last) if publications.is_empty() && read.more => {
                    wanted = Wanted { since: Some(last), limit: limit.max(AHEAD), bytes: MAX_PART_BYTES, reverse };
                }
                _ => {
                    let more = read.more || publications.len() > limit;
                    publications.truncate(limit);
                    return Ok(HistoryPart { position: read.position, publications, more });
                }
            }
        }
    });
    match found.await {
        Ok(part) => part,
        Err(_) if wanted.since == since => Err(HistoryError::Unavailable),
        Err(_) => {
            let at = wanted.since.map(|since| since.to_string()).unwrap_or_default();
            Err(HistoryError::Refused(format!("nothing up to {at} can be decoded: ask again, with that as \"since\"")))
        }
    }
}
