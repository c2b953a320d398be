//! The command link: publications in small batches, and `TIME`, which proves the link and sets the clock. `PUBLISH` is
//! never repeated; a call of `ullim_publish` is, as it has an id.

use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Value};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::connection::Connection;
use super::history::library;
use super::history::publish::{self, Remedy};
use super::lane::{Batch, Request};
use super::outage::Backoff;
use super::presence::calls::Broken;
use crate::PublishError;

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
                if shared.command.up(&shared.address) {
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
        shared.command.down(&shared.address, &reason);
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

struct Link(Connection);

async fn connect(shared: &Shared) -> Result<Link, String> {
    let set_up = async {
        let mut link = Link(Connection::open(shared).await?);
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
        let ended = Arc::clone(&self.0.ended);
        loop {
            let served = tokio::select! {
                () = ended.notified() => return "redis closed the connection".to_owned(),
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
        let (seconds, micros) = redis::cmd("TIME").query_async(&mut self.0.commands).await?;
        shared.clock.learn(seconds, micros, asked, Instant::now());
        Ok(())
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
        loop {
            requests = self.publish_once(shared, requests).await?;
            if requests.is_empty() {
                return Ok(());
            }
            // The functions were gone. If they cannot be loaded that is told to those who need them, unless the link
            // itself is to blame: others go on.
            if let Err(Broken(reason)) = library::ensure(shared, &mut self.0.commands).await {
                if let Err(error) = self.read_time(shared).await {
                    shared.lane.put_back(requests);
                    return Err(error);
                }
                shared.tally.publish_errors.add(requests.len() as u64);
                for request in requests {
                    request.answer(Err(PublishError::Refused(reason.clone())));
                }
                return Ok(());
            }
        }
    }

    /// Returns those that are to be repeated when the functions are there.
    async fn publish_once(&mut self, shared: &Shared, requests: Vec<Request>) -> RedisResult<Vec<Request>> {
        let mut commands = redis::Pipeline::with_capacity(requests.len());
        for request in &requests {
            publish::add(&mut commands, request);
        }
        commands.ignore_errors();
        let asked = Instant::now();
        let answers: RedisResult<Vec<RedisResult<Value>>> = commands.query_async(&mut self.0.commands).await;
        shared.tally.answered(asked.elapsed());
        let (answers, mut broken) = match answers {
            Ok(answers) => (answers, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let mut answers = answers.into_iter();
        let control = shared.names.control();
        let (mut again, mut elsewhere) = (Vec::new(), Vec::new());
        for request in requests {
            let is_call = request.call.is_some();
            let result = match answers.next() {
                Some(Ok(_)) if !is_call => Ok(None),
                Some(Ok(answer)) => match publish::position(&answer) {
                    Some(position) => Ok(Some(position)),
                    None => Err(PublishError::Refused("redis answered with something else".to_owned())),
                },
                Some(Err(error)) => {
                    shared.tally.redis_errors.add(1);
                    match publish::remedy(&error) {
                        Remedy::Load if is_call => {
                            again.push(request);
                            continue;
                        }
                        Remedy::Reconnect if is_call => {
                            elsewhere.push(request);
                            broken = Some(error);
                            continue;
                        }
                        _ => Err(PublishError::Refused(error.to_string())),
                    }
                }
                None if is_call => {
                    elsewhere.push(request);
                    continue;
                }
                None => Err(PublishError::Timeout),
            };
            match result {
                // Orders are not counted as publications.
                _ if request.wire_name == control => {}
                Ok(_) => shared.tally.published.add(1),
                Err(_) => shared.tally.publish_errors.add(1),
            }
            request.answer(result);
        }
        match broken {
            None => Ok(again),
            Some(error) => {
                again.append(&mut elsewhere);
                shared.lane.put_back(again);
                Err(error)
            }
        }
    }
}
