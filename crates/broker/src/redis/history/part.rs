//! A part of a history, for whoever wants to look.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::time::{sleep, timeout};
use ullim_protocol::channel::ChannelName;

use super::library;
use super::read::{self, Wanted};
use crate::interest::Read;
use crate::redis::Shared;
use crate::redis::commands::Commands;
use crate::redis::presence::calls::{self, Refusal};
use crate::{HistoryError, HistoryPart, HistoryRequest, MAX_PART_BYTES};

/// The wait before a read is repeated.
const AGAIN: Duration = Duration::from_millis(50);

/// The link, once it stands.
async fn link(shared: &Shared) -> Result<Commands, HistoryError> {
    let mut link = shared.histories.link.subscribe();
    let standing = link.wait_for(Option::is_some).await;
    standing.ok().and_then(|link| link.clone()).ok_or(HistoryError::Unavailable)
}

/// Reads a part of a history, within the deadline of a command.
pub(super) async fn fetch(shared: &Shared, channel: &ChannelName, wanted: Wanted) -> Result<Read, HistoryError> {
    let bounded = async {
        let _permit = shared.histories.reads.acquire().await;
        // Again while the link is gone; once if the functions are.
        let mut was_loaded = false;
        loop {
            let mut link = link(shared).await?;
            let mut commands = Pipeline::with_capacity(1);
            commands.add_command(read::call(shared, channel, wanted));
            let Ok(answers) = calls::all::<Value>(shared, &mut link, commands).await else {
                // The link's own task sees it too, and builds another.
                sleep(AGAIN).await;
                continue;
            };
            let reason = match answers.into_iter().next() {
                Some(Ok(answer)) => match read::parse(shared, channel, answer) {
                    Some(read) => return Ok(read),
                    None => "the answer cannot be read".to_owned(),
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

/// See [`History::history`](crate::History::history).
pub(in crate::redis) async fn history(
    shared: Arc<Shared>,
    request: HistoryRequest,
) -> Result<HistoryPart, HistoryError> {
    let HistoryRequest { channel, since, limit, reverse } = request;
    let read = fetch(&shared, &channel, Wanted { since, limit, bytes: MAX_PART_BYTES, reverse }).await?;
    let undecodable = read.entries.iter().filter(|kept| kept.routed.is_none()).count();
    shared.tally.undecodable.add(undecodable as u64);
    let publications = read.entries.into_iter().filter_map(|kept| kept.routed).collect();
    Ok(HistoryPart { position: read.position, publications, more: read.more })
}
