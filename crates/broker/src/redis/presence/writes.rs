//! Brings Redis to agree with the table, in batches.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::time::{Instant, sleep_until};
use ullim_protocol::channel::ChannelName;

use super::calls::{self, Broken, Refusal};
use super::table::{Order, What};
use super::{entry, library};
use crate::presence::user_name;
use crate::redis::Shared;
use crate::redis::commands::Commands;

/// The most calls in one batch. Others on the link wait for one batch at most.
const BATCH: usize = 256;

/// How long after a refusal a call is repeated.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// When to look again where nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// Writes until the link breaks.
pub(super) async fn run(shared: &Shared, mut connection: Commands) -> Broken {
    loop {
        match turn(shared, &mut connection).await {
            Ok(true) => {}
            Ok(false) => {
                let next = shared.keeper.table().next_departure();
                tokio::select! {
                    () = shared.keeper.changed.notified() => {}
                    () = sleep_until(next.unwrap_or_else(|| Instant::now() + IDLE)) => {}
                }
            }
            Err(broken) => return broken,
        }
    }
}

/// Does a batch of everything. Says whether there was something to do.
async fn turn(shared: &Shared, connection: &mut Commands) -> Result<bool, Broken> {
    if !shared.keeper.table().is_leased(Instant::now()) {
        // The next renewal is followed by another turn.
        tokio::time::sleep(Duration::from_millis(50)).await;
        return Ok(shared.keeper.table().is_leased(Instant::now()));
    }
    let registered = register(shared, connection).await?;
    let orders = shared.keeper.table().take(BATCH);
    let some_orders = !orders.is_empty();
    write(shared, connection, orders).await?;
    let departed = depart(shared, connection).await?;
    let tidied = unregister(shared, connection).await?;
    if shared.keeper.table().is_settled() {
        shared.keeper.settled.notify_waiters();
    }
    Ok(registered || some_orders || departed || tidied)
}

/// Adds rooms to the node's channels, before anything is written in them.
async fn register(shared: &Shared, connection: &mut Commands) -> Result<bool, Broken> {
    let mut some = false;
    loop {
        let channels = shared.keeper.table().take_unregistered(BATCH);
        if channels.is_empty() {
            return Ok(some);
        }
        some = true;
        add_channels(shared, connection, &channels).await?;
    }
}

/// Adds `channels` to the node's. Says whether Redis took them.
pub(super) async fn add_channels(
    shared: &Shared,
    connection: &mut Commands,
    channels: &[ChannelName],
) -> Result<bool, Broken> {
    let node = shared.keeper.node();
    let mut command = redis::cmd("SADD");
    command.arg(shared.names.node_channels(&node));
    command.arg(channels.iter().map(ChannelName::as_str).collect::<Vec<_>>());
    let added = calls::one::<u64>(shared, connection, &command).await?;
    let added = added.inspect_err(|refusal| complain(shared, refusal.as_str())).is_ok();
    shared.keeper.table().registered(&node, channels, added);
    Ok(added)
}

async fn write(shared: &Shared, connection: &mut Commands, orders: Vec<Order>) -> Result<(), Broken> {
    let mut batch = Pipeline::with_capacity(orders.len());
    for order in &orders {
        batch.add_command(call(shared, order));
    }
    let answers = calls::all::<(Value, i64)>(shared, connection, batch).await?;
    if settle(shared, orders, answers) {
        library::ensure(shared, connection).await?;
    }
    Ok(())
}

/// Takes note of what became of orders. Says whether Redis has lost the functions.
fn settle(shared: &Shared, orders: Vec<Order>, answers: Vec<Result<(Value, i64), Refusal>>) -> bool {
    let mut library_is_gone = false;
    let mut table = shared.keeper.table();
    let now = Instant::now();
    for (order, answer) in orders.into_iter().zip(answers) {
        let (first, away) = match answer {
            Ok(answer) => answer,
            Err(Refusal::Unknown) => {
                library_is_gone = true;
                table.again(&order);
                continue;
            }
            Err(Refusal::Said(reason)) => {
                complain(shared, &reason);
                table.refuse(order, &reason);
                continue;
            }
        };
        if let Ok(away @ 1..) = u64::try_from(away) {
            table.away(&order.channel, Duration::from_millis(away), now);
        }
        match order.what {
            What::Enter { .. } => match entered(first) {
                Entered::Since(since) => {
                    shared.tally.presence_reasserted.add(u64::from(table.entered(&order, since)));
                }
                Entered::Anothers => table.taken(order, now),
                Entered::Late => table.late(&order),
            },
            What::Leave { .. } => table.left(&order),
        }
    }
    library_is_gone
}

/// What Redis says of an enter.
enum Entered {
    Since(u64),
    /// Another node has the place.
    Anothers,
    /// The lease was over.
    Late,
}

fn entered(answer: Value) -> Entered {
    let answer: String = redis::from_redis_value(answer).unwrap_or_default();
    match answer.as_str() {
        "late" => Entered::Late,
        since => since.parse().map_or(Entered::Anothers, Entered::Since),
    }
}

fn call(shared: &Shared, order: &Order) -> Cmd {
    let channel = order.channel.as_str();
    let session = order.session.to_string();
    match &order.what {
        What::Enter { entry, since, names, lease_end } => {
            let mut call = calls::on_channel(&shared.names, "ullim_enter", channel);
            let user = user_name(entry.user.as_ref(), entry.session);
            call.arg(session).arg(&*user).arg(entry::head(entry, &order.node)).arg(*since);
            call.arg(calls::millis(entry::grace(entry))).arg(entry::event(entry)).arg(names).arg(*lease_end);
            call
        }
        What::Leave { user, grace } => {
            let mut call = calls::on_channel(&shared.names, "ullim_leave", channel);
            call.arg(session).arg(&**user).arg(&*order.node).arg(calls::millis(*grace));
            call
        }
    }
}

/// Has those told of whose deadline has passed.
async fn depart(shared: &Shared, connection: &mut Commands) -> Result<bool, Broken> {
    let channels = shared.keeper.table().take_departures(Instant::now(), BATCH);
    let answers = pending(shared, connection, &channels).await?;
    let now = Instant::now();
    for (channel, answer) in channels.iter().zip(answers) {
        let mut table = shared.keeper.table();
        match answer {
            Ok(deadlines) => table.departed(channel, deadlines.map(|(first, _)| first), now),
            Err(_) => table.depart_again(channel, now + AGAIN),
        }
    }
    Ok(!channels.is_empty())
}

/// What is known of a room's deadlines: how long it is until the first and the last, if there are any; an error if
/// Redis does not say.
type Deadlines = Result<Option<(Duration, Duration)>, Refusal>;

/// Has those told of whose deadline has passed, in each of `channels`, and returns which deadlines there are.
pub(super) async fn pending(
    shared: &Shared,
    connection: &mut Commands,
    channels: &[ChannelName],
) -> Result<Vec<Deadlines>, Broken> {
    let mut batch = Pipeline::with_capacity(channels.len());
    for channel in channels {
        batch.add_command(calls::on_channel(&shared.names, "ullim_depart", channel.as_str()));
    }
    let answers = calls::all::<(i64, i64)>(shared, connection, batch).await?;
    let after = |millis: i64| u64::try_from(millis).ok().map(Duration::from_millis);
    let deadlines = answers.into_iter().map(|answer| {
        answer
            .map(|(first, last)| after(first).zip(after(last)))
            .inspect_err(|refusal| complain(shared, refusal.as_str()))
    });
    Ok(deadlines.collect())
}

/// Takes rooms that are of no use any more from the node's channels.
async fn unregister(shared: &Shared, connection: &mut Commands) -> Result<bool, Broken> {
    let node = shared.keeper.node();
    let channels = shared.keeper.table().take_idle();
    for chunk in channels.chunks(BATCH) {
        let mut command = redis::cmd("SREM");
        command.arg(shared.names.node_channels(&node));
        command.arg(chunk.iter().map(ChannelName::as_str).collect::<Vec<_>>());
        if let Err(refusal) = calls::one::<u64>(shared, connection, &command).await? {
            complain(shared, refusal.as_str());
        }
        shared.keeper.table().unregistered(chunk);
    }
    Ok(!channels.is_empty())
}

/// Says that Redis refused something that will be tried again. Not each time.
pub(super) fn complain(shared: &Shared, reason: &str) {
    if shared.tally.refused_presence.is_due(Instant::now(), Duration::from_secs(10)) {
        tracing::warn!(%reason, "redis refused a change of presence, trying again");
    }
}
