//! Removes from Redis what nobody keeps up any more: the members of dead nodes, and members in this node's name that it
//! does not know.

use std::collections::VecDeque;

use redis::Pipeline;
use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::session::SessionId;

use super::calls::{self, Broken, Refusal};
use super::entry::{self, Read};
use super::lease::{CLAIM, LEASE};
use super::writes::{AGAIN, add_channels, complain, pending};
use crate::presence::user_name;
use crate::redis::Shared;
use crate::redis::commands::Commands;

/// How many channels are looked at together.
const CHANNELS: usize = 64;

/// How many members are looked at, or removed, with one call.
const MEMBERS: usize = 256;

/// How many channels' members are read together: with the largest entries it is about 10 MiB.
const SCANS: usize = 8;

/// A page of a scan: where the next begins, and what is on it.
type Page = (Vec<u8>, Vec<Vec<u8>>);

/// Does what there is to do until the link breaks.
pub(super) async fn run(shared: &Shared, mut connection: Commands) -> Broken {
    loop {
        if let Err(broken) = turn(shared, &mut connection).await {
            // What was under way is found again.
            shared.keeper.sweep();
            return broken;
        }
        shared.keeper.chores_changed.notified().await;
    }
}

async fn turn(shared: &Shared, connection: &mut Commands) -> Result<(), Broken> {
    loop {
        let sweep = std::mem::take(&mut shared.keeper.chores().sweep);
        if sweep {
            clean(shared, connection, &shared.keeper.node(), Whose::Own).await?;
        }
        let Some(node) = shared.keeper.chores().dead.pop_front() else {
            return Ok(());
        };
        reap(shared, connection, &node).await?;
    }
}

/// Cleans up after a dead node, if nobody else does.
async fn reap(shared: &Shared, connection: &mut Commands, node: &str) -> Result<(), Broken> {
    let mut claim = calls::on_nodes(&shared.names, "ullim_claim");
    claim.arg(node).arg(calls::millis(LEASE)).arg(calls::millis(CLAIM));
    let renewed = match calls::one::<String>(shared, connection, &claim).await? {
        Ok(renewed) if renewed.is_empty() => return Ok(()),
        Ok(renewed) => renewed,
        Err(refusal) => {
            complain(shared, refusal.as_str());
            return Ok(());
        }
    };
    let since = Instant::now();
    let Cleaned { removed: reaped, is_whole } = clean(shared, connection, node, Whose::Dead { renewed }).await?;
    if !is_whole {
        // Somebody claims it again.
        return Ok(());
    }
    let mut forget = Pipeline::new();
    forget.cmd("DEL").arg(shared.names.node_channels(node));
    forget.cmd("HDEL").arg(shared.names.nodes()).arg(node);
    calls::all::<u64>(shared, connection, forget).await?;
    let (node, took) = (node.escape_debug(), since.elapsed());
    match reaped {
        // Whoever drains leaves no members, but perhaps some whose grace is not over.
        0 => tracing::info!(%node, ?took, "removed a node that had no members any more"),
        _ => tracing::warn!(%node, reaped, ?took, "removed the members of a dead node"),
    }
    Ok(())
}

/// Whose members are looked for.
enum Whose {
    /// This node's, those that it does not know.
    Own,
    /// All of a dead node's, which renewed its lease for the last time then.
    Dead { renewed: String },
}

/// What became of a cleaning-up.
#[derive(Debug, Clone, Copy)]
struct Cleaned {
    /// How many members were removed at once.
    removed: u64,
    /// Nothing was refused but what can never be done.
    is_whole: bool,
}

impl Cleaned {
    fn refused(&mut self, shared: &Shared, refusal: &Refusal) {
        complain(shared, refusal.as_str());
        self.is_whole &= refusal.as_str().contains("WRONGTYPE");
    }
}

/// Looks at all channels of a node.
async fn clean(shared: &Shared, connection: &mut Commands, node: &str, whose: Whose) -> Result<Cleaned, Broken> {
    let mut cleaned = Cleaned { removed: 0, is_whole: true };
    let mut cursor = b"0".to_vec();
    loop {
        let mut scan = redis::cmd("SSCAN");
        scan.arg(shared.names.node_channels(node)).arg(&cursor).arg("COUNT").arg(CHANNELS);
        let (next, names) = match calls::one::<Page>(shared, connection, &scan).await? {
            Ok(page) => page,
            Err(refusal) => {
                cleaned.refused(shared, &refusal);
                return Ok(cleaned);
            }
        };
        let names = names.iter().filter_map(|name| ChannelName::parse(std::str::from_utf8(name).ok()?).ok());
        for channels in names.collect::<Vec<_>>().chunks(CHANNELS) {
            clean_channels(shared, connection, node, &whose, channels, &mut cleaned).await?;
        }
        if next == b"0" {
            return Ok(cleaned);
        }
        cursor = next;
    }
}

async fn clean_channels(
    shared: &Shared,
    connection: &mut Commands,
    node: &str,
    whose: &Whose,
    channels: &[ChannelName],
    cleaned: &mut Cleaned,
) -> Result<(), Broken> {
    let keeper = &shared.keeper;
    channels.iter().for_each(|channel| keeper.table().adopt(channel));
    // Whoever cleans up after this node finds the deadlines: if not in this node's channels, then in those of the other.
    cleaned.is_whole &= add_channels(shared, connection, channels).await?;
    let mut rest: VecDeque<(&ChannelName, Vec<u8>)> = channels.iter().map(|channel| (channel, b"0".to_vec())).collect();
    while !rest.is_empty() {
        let some: Vec<_> = rest.drain(..rest.len().min(SCANS)).collect();
        let mut scans = Pipeline::with_capacity(some.len());
        for (channel, cursor) in &some {
            let [presence, ..] = shared.names.presence(channel.as_str());
            scans.cmd("HSCAN").arg(presence).arg(cursor).arg("COUNT").arg(MEMBERS);
        }
        let pages = calls::all::<Page>(shared, connection, scans).await?;
        let mut reaping = Pipeline::new();
        for ((channel, _), page) in some.into_iter().zip(pages) {
            let (cursor, fields) = match page {
                Ok(page) => page,
                Err(refusal) => {
                    cleaned.refused(shared, &refusal);
                    continue;
                }
            };
            let of_node = members_of(node, &fields);
            match whose {
                Whose::Own => forget(shared, channel, of_node),
                Whose::Dead { renewed } => {
                    for some in of_node.chunks(MEMBERS) {
                        let mut call = calls::on_channel(&shared.names, "ullim_reap", channel.as_str());
                        call.arg(node).arg(renewed);
                        call.arg(some.iter().map(|read| read.member.session.to_string()).collect::<Vec<_>>());
                        reaping.add_command(call);
                    }
                }
            }
            if cursor != b"0" {
                rest.push_back((channel, cursor));
            }
        }
        for answer in calls::all::<u64>(shared, connection, reaping).await? {
            match answer {
                Ok(some) => {
                    cleaned.removed += some;
                    shared.tally.presence_reaped.add(some);
                }
                Err(refusal) => cleaned.refused(shared, &refusal),
            }
        }
    }
    let deadlines = pending(shared, connection, channels).await?;
    let now = Instant::now();
    for (channel, deadlines) in channels.iter().zip(deadlines) {
        keeper.table().adopted(channel, deadlines.unwrap_or(Some((AGAIN, AGAIN))), now);
    }
    keeper.changed.notify_one();
    Ok(())
}

/// Those of a page's members that name `node`.
fn members_of(node: &str, fields: &[Vec<u8>]) -> Vec<Read> {
    let (pairs, _) = fields.as_chunks::<2>();
    let members = pairs.iter().filter_map(|[session, value]| entry::read(session, value));
    members.filter(|read| read.node == node).collect()
}

fn forget(shared: &Shared, channel: &ChannelName, members: Vec<Read>) {
    let mut table = shared.keeper.table();
    for Read { grace, member, .. } in members {
        let session: SessionId = member.session;
        table.forget(channel, session, user_name(member.user.as_ref(), session), grace);
    }
}
