//! The command link: publications in small batches, and `TIME`, which proves the link and sets the clock. `PUBLISH` is
//! never repeated; a call of `ullim_publish` is, as it has an id.

use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, RedisResult, Value};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::cluster::{UNANSWERED, UNREACHABLE};
use super::connection::Connection;
use super::history::library;
use super::history::publish::{self, Remedy};
use super::lane::{Batch, Request};
use super::outage::Backoff;
use super::place::Form;
use super::presence::calls::Broken;
use crate::PublishError;

/// How long what a Cluster could not take waits until it is repeated.
const REPEAT: Duration = Duration::from_millis(50);

/// How often in a row the functions are loaded for a batch that still needs them, before others have their turn.
const LOADS: usize = 2;

/// Builds the link again and again, until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let link = stop.run_until_cancelled(supervise(&shared)).await;
    debug_assert!(link.is_none(), "the supervisor never ends by itself");
    refuse_waiting(&shared);
}

async fn supervise(shared: &Shared) {
    let mut backoff = Backoff::default();
    loop {
        let reason = match connect(shared).await {
            Ok(link) => {
                let since = Instant::now();
                if shared.command.up(&shared.place) {
                    shared.tally.reconnects.add(1);
                }
                shared.lane.open();
                let reason = link.serve(shared).await;
                refuse_waiting(shared);
                backoff.stood(since, Instant::now());
                reason
            }
            Err(reason) => reason,
        };
        shared.command.down(&shared.place, &reason);
        tokio::time::sleep(backoff.next()).await;
    }
}

fn refuse_waiting(shared: &Shared) {
    let waiting = shared.lane.close();
    shared.tally.publish_errors.add(waiting.len() as u64);
    for request in waiting {
        request.answer(Err(PublishError::Unreachable));
    }
}

struct Link {
    connection: Connection,
    /// Whether the server's role is asked for. In a Cluster the map tells of it.
    tells_role: bool,
}

async fn connect(shared: &Shared) -> Result<Link, String> {
    let set_up = async {
        let mut link = Link { connection: Connection::open(shared).await?, tells_role: !shared.place.is_sharded() };
        link.read_time(shared).await?;
        RedisResult::Ok(link)
    };
    let deadline = shared.config.ping_timeout;
    match timeout(deadline, set_up).await {
        Ok(link) => link.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {deadline:?}")),
    }
}

impl Link {
    /// Publishes what comes, until the link breaks; says why.
    async fn serve(mut self, shared: &Shared) -> String {
        let mut prove = interval(shared.config.ping_interval.max(Duration::from_millis(10)));
        prove.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let connection = self.connection.clone();
        let mut over = std::pin::pin!(connection.unusable(shared));
        loop {
            let served = tokio::select! {
                reason = &mut over => return reason,
                _ = prove.tick() => self.read_time(shared).await,
                () = shared.lane.filled() => self.publish_waiting(shared).await,
            };
            if let Err(error) = served {
                return error.to_string();
            }
        }
    }

    async fn read_time(&mut self, shared: &Shared) -> RedisResult<()> {
        let asked = Instant::now();
        let mut questions = redis::pipe();
        questions.cmd("TIME").ignore_errors();
        if self.tells_role {
            questions.cmd("ROLE");
        }
        let mut answers = self.connection.commands.all(&questions).await?.into_iter();
        let unanswered = || Err((redis::ErrorKind::UnexpectedReturnType, "fewer answers than questions").into());
        match answers.next().unwrap_or_else(unanswered) {
            // The others serve on.
            Err(_) if shared.place.is_sharded() => {}
            time => {
                let (seconds, micros) = redis::from_redis_value(time?)?;
                shared.clock.learn(seconds, micros, asked, Instant::now());
            }
        }
        match answers.next() {
            Some(Ok(Value::Array(parts))) if parts.first().is_some_and(|role| !is_master(role)) => {
                Err((redis::ErrorKind::Client, "this server is a replica").into())
            }
            // A user that may not ask is not told.
            Some(Err(_)) => {
                self.tells_role = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn publish_waiting(&mut self, shared: &Shared) -> RedisResult<()> {
        let Batch { due, late } = shared.lane.take();
        shared.tally.publish_errors.add(late.len() as u64);
        for request in late {
            request.answer(Err(PublishError::Unreachable));
        }
        match due.is_empty() {
            true => Ok(()),
            false => self.publish(shared, due).await,
        }
    }

    async fn publish(&mut self, shared: &Shared, mut requests: Vec<Request>) -> RedisResult<()> {
        let mut loads = 0;
        loop {
            let Again { requests: again, load, elsewhere } = self.publish_once(shared, requests).await;
            if again.is_empty() && elsewhere.is_none() {
                return Ok(());
            }
            // If the functions cannot be loaded that is told to those who need them, unless the link itself is to blame:
            // others go on.
            if load && let Err(Broken(reason)) = library::ensure(shared, &mut self.connection.commands).await {
                if let Err(error) = self.read_time(shared).await {
                    shared.lane.put_back(again);
                    return Err(error);
                }
                shared.tally.publish_errors.add(again.len() as u64);
                for request in again {
                    request.answer(Err(PublishError::Refused(reason.clone())));
                }
                return Ok(());
            }
            if let Some(error) = elsewhere {
                shared.lane.put_back(again);
                // In a Cluster the others serve on.
                if !shared.place.is_sharded() {
                    return Err(error);
                }
                tokio::time::sleep(REPEAT).await;
                return Ok(());
            }
            loads += 1;
            if loads >= LOADS {
                // A master that has not got them, whoever said that all have. It is not to keep the proof of the link
                // waiting; those that find none until their deadline are told so by the lane.
                shared.lane.put_back(again);
                tokio::time::sleep(REPEAT).await;
                return Ok(());
            }
            requests = again;
        }
    }

    async fn publish_once(&mut self, shared: &Shared, requests: Vec<Request>) -> Again {
        let mut commands = redis::Pipeline::with_capacity(requests.len());
        for request in &requests {
            let sharded = shared.place.is_sharded() && request.wire_name != shared.names.control();
            publish::add(&mut commands, request, sharded);
        }
        // Behind a failover a server that is no master any more takes live publications all the same, and nobody hears them.
        let asks_role = self.tells_role && matches!(shared.place.form, Form::Sentinel(_));
        if asks_role {
            commands.cmd("ROLE");
        }
        commands.ignore_errors();
        let asked = Instant::now();
        let answers = self.connection.commands.all(&commands).await;
        shared.tally.answered(asked.elapsed());
        let mut again = Again { requests: Vec::new(), load: false, elsewhere: None };
        let answers = answers.unwrap_or_else(|error| {
            again.elsewhere = Some(error);
            Vec::new()
        });
        let is_replica = asks_role
            && matches!(answers.last(), Some(Ok(Value::Array(parts))) if parts.first().is_some_and(|role| !is_master(role)));
        if is_replica {
            again.elsewhere = Some((redis::ErrorKind::Client, "this server is a replica").into());
        }
        let mut answers = answers.into_iter();
        let is_own = |name: &str| name == shared.names.control() || shared.names.is_canary(name);
        for request in requests {
            let is_call = request.call.is_some();
            let result = match answers.next() {
                Some(Ok(_)) if !is_call && is_replica => Err(PublishError::Timeout),
                Some(Ok(_)) if !is_call => Ok(None),
                Some(Ok(answer)) => match publish::position(&answer) {
                    Some(position) => Ok(Some(position)),
                    None => Err(PublishError::Refused("redis answered with something else".to_owned())),
                },
                Some(Err(error)) => {
                    shared.tally.redis_errors.add(1);
                    match publish::remedy(&error) {
                        Remedy::Load if is_call => {
                            again.load = true;
                            again.requests.push(request);
                            continue;
                        }
                        Remedy::Repeat if is_call => {
                            again.elsewhere = Some(error);
                            again.requests.push(request);
                            continue;
                        }
                        _ => Err(told(&error)),
                    }
                }
                None if is_call => {
                    again.requests.push(request);
                    continue;
                }
                None => Err(PublishError::Timeout),
            };
            match result {
                // Orders and canaries are not counted as publications.
                _ if is_own(&request.wire_name) => {}
                Ok(_) => shared.tally.published.add(1),
                Err(_) => shared.tally.publish_errors.add(1),
            }
            request.answer(result);
        }
        again
    }
}

/// What of a batch is to be repeated, in its order.
struct Again {
    requests: Vec<Request>,
    /// The functions have to be loaded first.
    load: bool,
    /// No server took some of them, or it is not known whether one did, and why.
    elsewhere: Option<RedisError>,
}

/// What a publisher is told.
fn told(error: &RedisError) -> PublishError {
    match error.code() {
        Some(UNANSWERED) => PublishError::Timeout,
        Some(UNREACHABLE) => PublishError::Unreachable,
        _ => PublishError::Refused(error.to_string()),
    }
}

fn is_master(role: &Value) -> bool {
    match role {
        Value::BulkString(role) => role == b"master",
        Value::SimpleString(role) => role == "master",
        _ => false,
    }
}
