//! What others ask of Redis: who is in a channel, how many, and which channels there are.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline};
use tokio::time::{Instant, timeout};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::presence::{MAX_PAGE, MembersPage, Occupancy};

use super::calls::{self, Refusal};
use super::entry;
use crate::redis::Shared;
use crate::redis::commands::Commands;
use crate::{ChannelsPage, ChannelsRequest, PageRequest, PresenceError, PublishError};

/// How long a list of all channels is good for.
const LIST_FOR: Duration = Duration::from_secs(1);

/// All channels that had subscribers at a time, in order.
#[derive(Debug)]
pub(super) struct Listed {
    at: Instant,
    channels: Arc<[ChannelName]>,
}

/// The link, once it stands.
async fn link(shared: &Shared) -> Result<Commands, PresenceError> {
    let mut link = shared.keeper.link.subscribe();
    let standing = link.wait_for(Option::is_some).await;
    standing.ok().and_then(|link| link.clone()).ok_or(PresenceError::Unavailable)
}

/// Runs `read` within the deadline of a command.
async fn in_time<T>(shared: &Shared, read: impl Future<Output = Result<T, PresenceError>>) -> Result<T, PresenceError> {
    let bounded = async {
        let _permit = shared.keeper.reads.acquire().await;
        read.await
    };
    timeout(shared.config.command_timeout, bounded).await.unwrap_or(Err(PresenceError::Unavailable))
}

async fn ask<T: FromRedisValue>(shared: &Shared, commands: Pipeline) -> Result<Vec<T>, PresenceError> {
    let mut link = link(shared).await?;
    let answers = calls::all::<T>(shared, &mut link, commands).await;
    let answers = answers.map_err(|_| PresenceError::Unavailable)?;
    answers.into_iter().map(|answer| answer.map_err(refused)).collect()
}

fn refused(refusal: Refusal) -> PresenceError {
    match refusal {
        Refusal::Said(reason) => PresenceError::Refused(reason),
        Refusal::Unknown => PresenceError::Unavailable,
    }
}

/// See [`Presence::members`](crate::Presence::members).
pub(in crate::redis) async fn members(
    shared: Arc<Shared>,
    channel: ChannelName,
    page: PageRequest,
) -> Result<MembersPage, PresenceError> {
    let cursor = match page.cursor.as_deref() {
        None => 0,
        Some(cursor) => read_cursor(cursor).ok_or(PresenceError::Cursor)?,
    };
    let [presence, ..] = shared.names.presence(channel.as_str());
    let mut scan = Pipeline::new();
    scan.cmd("HSCAN").arg(presence).arg(cursor).arg("COUNT").arg(page.limit.clamp(1, MAX_PAGE));
    let answers = in_time(&shared, ask::<(String, Vec<Vec<u8>>)>(&shared, scan)).await?;
    let (next, fields) = answers.into_iter().next().ok_or(PresenceError::Unavailable)?;
    let (pairs, _) = fields.as_chunks::<2>();
    let members: Vec<_> =
        pairs.iter().filter_map(|[session, value]| entry::read(session, value)).map(|read| read.member).collect();
    shared.tally.presence_invalid.add((pairs.len() - members.len()) as u64);
    Ok(MembersPage { members, cursor: (next != "0").then_some(next) })
}

/// A cursor as Redis writes it. That of the first page is none that was named.
fn read_cursor(cursor: &str) -> Option<u64> {
    let number: u64 = cursor.parse().ok().filter(|number| *number > 0)?;
    (number.to_string() == cursor).then_some(number)
}

/// See [`Presence::occupancy`](crate::Presence::occupancy).
pub(in crate::redis) async fn occupancy(shared: Arc<Shared>, channel: ChannelName) -> Result<Occupancy, PresenceError> {
    let [presence, users, _] = shared.names.presence(channel.as_str());
    let mut lengths = Pipeline::new();
    lengths.cmd("HLEN").arg(presence).cmd("HLEN").arg(users);
    match in_time(&shared, ask::<u64>(&shared, lengths)).await?[..] {
        [connections, users] => Ok(Occupancy { connections, users }),
        _ => Err(PresenceError::Unavailable),
    }
}

/// See [`Broker::channels`](crate::Broker::channels).
pub(in crate::redis) async fn channels(
    shared: Arc<Shared>,
    request: ChannelsRequest,
) -> Result<ChannelsPage, PublishError> {
    let listed = timeout(shared.config.command_timeout, list(&shared)).await.unwrap_or(Err(PublishError::Timeout))?;
    let behind = |name: &ChannelName| request.after.as_deref().is_some_and(|after| name.as_str() <= after);
    let from = listed.partition_point(|name| name.as_str() < request.prefix.as_str() || behind(name));
    let mut names = listed[from..].iter().take_while(|name| name.as_str().starts_with(&request.prefix));
    let channels = names.by_ref().take(request.limit).cloned().collect();
    Ok(ChannelsPage { channels, more: names.next().is_some() })
}

/// All channels, asked for at most once a second, whoever wants to know.
async fn list(shared: &Shared) -> Result<Arc<[ChannelName]>, PublishError> {
    let mut listed = shared.keeper.listed.lock().await;
    if let Some(listed) = listed.as_ref().filter(|listed| listed.at.elapsed() < LIST_FOR) {
        return Ok(Arc::clone(&listed.channels));
    }
    let link = link(shared).await.map_err(|_| PublishError::Unreachable)?;
    let mut command = Cmd::new();
    let kind = if shared.place.is_sharded() { "SHARDCHANNELS" } else { "CHANNELS" };
    command.arg("PUBSUB").arg(kind).arg(shared.names.pattern());
    let at = Instant::now();
    let mut names = Vec::new();
    for (mut master, _) in link.masters() {
        match calls::one::<Vec<Vec<u8>>>(shared, &mut master, &command).await {
            Ok(Ok(some)) => names.extend(some),
            Ok(Err(Refusal::Said(reason))) => return Err(PublishError::Refused(reason)),
            Ok(Err(Refusal::Unknown)) | Err(_) => return Err(PublishError::Unreachable),
        }
    }
    let mut channels: Vec<ChannelName> = names
        .iter()
        .filter_map(|name| shared.names.read(name).and_then(|name| ChannelName::parse(name).ok()))
        .collect();
    channels.sort_unstable();
    channels.dedup();
    let channels: Arc<[ChannelName]> = channels.into();
    *listed = Some(Listed { at, channels: Arc::clone(&channels) });
    Ok(channels)
}
