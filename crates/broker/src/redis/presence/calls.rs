//! Commands on the presence link, and what their answers mean.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value};

use crate::redis::Shared;
use crate::redis::address::WireNames;
use crate::redis::commands::Commands;

/// The link cannot go on, and why.
#[derive(Debug)]
pub(in crate::redis) struct Broken(pub(in crate::redis) String);

/// Why a command was not done, on a link that stands.
#[derive(Debug)]
pub(in crate::redis) enum Refusal {
    /// Redis does not know the function (any more).
    Unknown,
    /// Redis says so.
    Said(String),
}

impl Refusal {
    pub(in crate::redis) fn as_str(&self) -> &str {
        match self {
            Self::Unknown => "the functions are gone",
            Self::Said(reason) => reason,
        }
    }
}

/// A call of a function on a channel's keys. Its first argument is where events are published.
pub(in crate::redis) fn on_channel(names: &WireNames, function: &str, channel: &str) -> Cmd {
    let mut call = redis::cmd("FCALL");
    call.arg(function).arg(3).arg(&names.presence(channel)).arg(names.write(channel));
    call
}

/// A call of a function on the nodes' leases.
pub(in crate::redis) fn on_nodes(names: &WireNames, function: &str) -> Cmd {
    let mut call = redis::cmd("FCALL");
    call.arg(function).arg(1).arg(names.nodes());
    call
}

pub(in crate::redis) fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// Sends one command.
pub(in crate::redis) async fn one<T: FromRedisValue>(
    shared: &Shared,
    connection: &mut Commands,
    command: &Cmd,
) -> Result<Result<T, Refusal>, Broken> {
    let answer = connection.one(command).await;
    judged(shared, answer)
}

/// Sends commands together. As many answers as commands.
pub(in crate::redis) async fn all<T: FromRedisValue>(
    shared: &Shared,
    connection: &mut Commands,
    mut commands: Pipeline,
) -> Result<Vec<Result<T, Refusal>>, Broken> {
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    commands.ignore_errors();
    let answers = connection.all(&commands).await.map_err(|error| Broken(error.to_string()))?;
    answers.into_iter().map(|answer| judged(shared, answer)).collect()
}

fn judged<T: FromRedisValue>(shared: &Shared, answer: RedisResult<Value>) -> Result<Result<T, Refusal>, Broken> {
    match answer {
        Ok(value) => match redis::from_redis_value(value) {
            Ok(value) => Ok(Ok(value)),
            Err(error) => Ok(Err(Refusal::Said(error.to_string()))),
        },
        Err(error) => judge(shared, &error).map(Err),
    }
}

fn judge(shared: &Shared, error: &RedisError) -> Result<Refusal, Broken> {
    // Errors of the client's own have no code: the connection is not to be trusted.
    let Some(code) = error.code() else {
        return Err(Broken(error.to_string()));
    };
    if error.detail().is_some_and(|detail| detail.contains("Function not found")) {
        return Ok(Refusal::Unknown);
    }
    shared.tally.redis_errors.add(1);
    match code {
        // This server is not, or not yet, the one to talk to.
        "READONLY" | "LOADING" | "MASTERDOWN" | "MOVED" | "ASK" | "CLUSTERDOWN" | "NOAUTH" => {
            Err(Broken(error.to_string()))
        }
        _ => Ok(Refusal::Said(error.to_string())),
    }
}
