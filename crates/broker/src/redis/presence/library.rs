//! The functions that Redis runs for us, and their loading.

use redis::aio::MultiplexedConnection;

use super::calls::{self, Broken, Refusal};
use crate::redis::Shared;

const SOURCE: &str = include_str!("ullim.lua");

/// The revision in the source.
pub(super) const REVISION: u64 = 2;

/// Makes sure that Redis has these functions, or newer ones, and that we may use them.
pub(super) async fn ensure(shared: &Shared, connection: &mut MultiplexedConnection) -> Result<(), Broken> {
    for _ in 0..3 {
        let asked = calls::one(shared, connection, &calls::on_nodes(&shared.names, "ullim_revision")).await?;
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

async fn load(shared: &Shared, connection: &mut MultiplexedConnection, replace: bool) -> Result<(), Broken> {
    let mut command = redis::cmd("FUNCTION");
    command.arg("LOAD");
    if replace {
        command.arg("REPLACE");
    }
    match calls::one::<String>(shared, connection, command.arg(SOURCE)).await? {
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
}
