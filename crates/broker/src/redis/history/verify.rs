//! Compares what the shards have heard with the histories, and brings what is missing: paced, in batches.

use std::convert::Infallible;
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::time::{Instant, sleep_until};

use super::library;
use super::read::{self, Wanted};
use crate::interest::{Check, Read, Repaired};
use crate::queue::Delivered;
use crate::redis::Shared;
use crate::redis::commands::Commands;
use crate::redis::presence::calls::{self, Broken, Refusal};

/// The most histories in one batch, and of each the most entries and bytes.
const BATCH: usize = 128;
const ENTRIES: usize = 512;
const BYTES: usize = 128 << 10;

/// How long one that Redis refuses waits until it is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// Reads what the table of interest wants read, until the link breaks.
pub(super) async fn run(shared: &Shared, mut link: Commands) -> Result<Infallible, Broken> {
    let (mut refused, mut large) = (Open(shared, Vec::new()), Open(shared, Vec::new()));
    let mut retry = Instant::now();
    let mut was_unknown = false;
    loop {
        // One by one, as each of them may be as large as a publication can be.
        if let Some(check) = large.1.pop() {
            batch(shared, &mut link, vec![check], Size::Any, (&mut refused, &mut large), was_unknown).await?;
            continue;
        }
        tokio::select! {
            () = shared.histories.wanted.notified() => {}
            () = sleep_until(retry), if !refused.1.is_empty() => refused.return_all(),
        }
        let checks = shared.interest().checks(BATCH);
        if !checks.is_empty() {
            let before = refused.1.len();
            let later = (&mut refused, &mut large);
            was_unknown = batch(shared, &mut link, checks, Size::Bounded, later, was_unknown).await?;
            if before == 0 {
                retry = Instant::now() + RETRY;
            }
        }
    }
}

/// Whether the first entry of each history may have more than [`BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Any,
    Bounded,
}

/// Checks that are not done. Returned to the table at the latest when the link breaks.
struct Open<'a>(&'a Shared, Vec<Check>);

impl Open<'_> {
    fn return_all(&mut self) {
        let mut interest = self.0.interest();
        self.1.drain(..).for_each(|check| interest.unchecked(&check));
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.return_all();
    }
}

/// Takes what was read to the shards.
fn apply(shared: &Shared, check: &Check, read: &Read) -> (Delivered, Repaired) {
    let mut interest = shared.interest();
    let (delivered, repaired) = interest.checked(check, read);
    if repaired.was_reset {
        // Before anybody who was told can ask.
        shared.histories.flights.forget(&check.channel);
        drop(interest);
        tracing::warn!(
            channel = %check.channel, position = %read.position,
            "a history has gone back behind what was heard of it: its subscribers are told to begin anew"
        );
    }
    (delivered, repaired)
}

/// Reads some histories. Puts those that Redis refuses into `refused`, and those that are too large for a batch into
/// `large`. Says whether the functions were unknown: if they were so to the batch before, too, loading them does not help,
/// and what needs them has to wait.
async fn batch(
    shared: &Shared,
    link: &mut Commands,
    checks: Vec<Check>,
    size: Size,
    (refused, large): (&mut Open<'_>, &mut Open<'_>),
    was_unknown: bool,
) -> Result<bool, Broken> {
    // Also if this future is dropped, because the link is gone.
    let mut open = Open(shared, checks);
    let mut commands = Pipeline::with_capacity(open.1.len());
    for Check { channel, after, .. } in &open.1 {
        let limit = if after.is_some() { ENTRIES } else { 0 };
        let wanted = Wanted { since: *after, limit, bytes: BYTES, reverse: false };
        commands.add_command(match size {
            Size::Any => read::call(shared, channel, wanted),
            Size::Bounded => read::call_within(shared, channel, wanted),
        });
    }
    let answers = calls::all::<Value>(shared, link, commands).await?;
    let (mut are_gone, mut is_unknown) = (false, false);
    for (check, answer) in open.1.drain(..).zip(answers) {
        let reason = match answer {
            Ok(answer) if size == Size::Bounded && read::too_large(&answer).is_some() => {
                large.1.push(check);
                continue;
            }
            Ok(answer) => match read::parse(shared, &check.channel, answer) {
                Some(read) => {
                    let (delivered, repaired) = apply(shared, &check, &read);
                    let tally = &shared.tally;
                    tally.verified.add(1);
                    tally.repairs.add(u64::from(repaired.publications > 0));
                    tally.repaired.add(repaired.publications);
                    tally.undecodable.add(repaired.undecodable);
                    tally.overflowed.add(delivered.dropped);
                    tally.gaps.add(delivered.gaps);
                    continue;
                }
                None => "the answer cannot be read".to_owned(),
            },
            Err(Refusal::Unknown) => {
                (are_gone, is_unknown) = (true, true);
                if !was_unknown {
                    shared.interest().unchecked(&check);
                    continue;
                }
                Refusal::Unknown.as_str().to_owned()
            }
            Err(Refusal::Said(reason)) => {
                are_gone |= reason.contains("ULLIMPREFIX");
                reason
            }
        };
        shared.tally.history_errors.add(1);
        if shared.tally.refused_history.is_due(Instant::now(), Duration::from_secs(10)) {
            tracing::warn!(channel = %check.channel, %reason, "a history cannot be read, trying again");
        }
        refused.1.push(check);
    }
    if are_gone {
        library::ensure(shared, link).await?;
    }
    Ok(is_unknown)
}
