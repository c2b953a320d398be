//! The functions that Redis runs for us, and their loading.

use std::borrow::Cow;

use super::calls::{self, Broken, Refusal};
use crate::redis::Shared;
use crate::redis::commands::Commands;

const SOURCE: &str = include_str!("ullim.lua");

/// The revision in the source.
pub(super) const REVISION: u64 = 2;

/// How a single server publishes, and how a Cluster.
const PLAIN: &str = "\nlocal PUBLISH = 'publish'\n";
const SHARDED: &str = "\nlocal PUBLISH = 'spublish'\n";

/// The library's source: its events travel in sharded channels, or in plain ones.
fn source(is_sharded: bool) -> Cow<'static, str> {
    match is_sharded {
        true => SOURCE.replacen(PLAIN, SHARDED, 1).into(),
        false => SOURCE.into(),
    }
}

/// Makes sure that Redis has these functions, or newer ones, and that we may use them; in a Cluster, every master that
/// can be reached.
pub(super) async fn ensure(shared: &Shared, connection: &mut Commands) -> Result<(), Broken> {
    let mut broken = Ok(());
    let mut some = false;
    for (mut master, tag) in connection.masters() {
        let key = tag.map_or_else(|| shared.names.nodes(), |tag| shared.names.canary(&tag));
        match ensure_at(shared, &mut master, &key).await {
            Ok(()) => some = true,
            Err(error) => broken = Err(error),
        }
    }
    // What is on a master that cannot be reached is tried again.
    if some { Ok(()) } else { broken }
}

async fn ensure_at(shared: &Shared, connection: &mut Commands, key: &str) -> Result<(), Broken> {
    let mut revision = redis::cmd("FCALL");
    revision.arg("ullim_revision").arg(1).arg(key);
    for _ in 0..3 {
        let asked = calls::one(shared, connection, &revision).await?;
        let is_there = match asked {
            Ok((revision, missing)) => usable(revision, missing)?,
            Err(Refusal::Unknown) => None,
            Err(Refusal::Said(reason)) => return Err(Broken(reason)),
        };
        if is_there == Some(true) {
            return Ok(());
        }
        load(shared, connection, is_there.is_some()).await?;
    }
    Err(Broken("the functions do not stay in redis: who else loads a library \"ullim\"?".to_owned()))
}

/// Whether what is there is new enough.
fn usable(revision: u64, missing: String) -> Result<Option<bool>, Broken> {
    match missing.is_empty() {
        true => Ok(Some(revision >= REVISION)),
        false => Err(Broken(format!("the user at redis may not use the command {missing} on the keys"))),
    }
}

async fn load(shared: &Shared, connection: &mut Commands, replace: bool) -> Result<(), Broken> {
    let mut command = redis::cmd("FUNCTION");
    command.arg("LOAD");
    if replace {
        command.arg("REPLACE");
    }
    match calls::one::<String>(shared, connection, command.arg(&*source(shared.place.is_sharded()))).await? {
        Ok(_) => tracing::info!(revision = REVISION, "loaded the functions into redis"),
        // Another node was first; or it is said with the next question.
        Err(Refusal::Said(reason)) if reason.contains("already exists") => {}
        Err(Refusal::Said(reason)) => return Err(Broken(reason)),
        Err(Refusal::Unknown) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_has_the_revision() {
        assert!(SOURCE.contains(&format!("\nlocal REVISION = {REVISION}\n")));
    }

    #[test]
    fn in_a_cluster_events_are_sharded() {
        assert_eq!(source(false), SOURCE);
        assert!(source(true).contains(SHARDED) && !source(true).contains(PLAIN));
        assert!(!SOURCE.to_lowercase().contains("call('publish"));
    }
}
