//! The subscription link: a connection that carries SUBSCRIBE, UNSUBSCRIBE and PING, and nothing else. It does what the
//! table of interest asks for, and tells the table what Redis confirmed and when the link broke. It has a thread of its
//! own, and never waits for a shard.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::address::Address;
use super::canary::Canary;
use super::control;
use super::handshake::{self, Connection, LinkError, check_role};
use super::outage::Backoff;
use super::resp::Value;
use super::wire::{self, Link, Wire};

/// The most channels in one SUBSCRIBE or UNSUBSCRIBE. The next goes out when all of them are confirmed.
const BATCH: usize = 512;

/// How long after this link other nodes' publications have followed to another server.
const FOLLOW: Duration = Duration::from_secs(2);

/// Builds the link again and again, until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    stop.run_until_cancelled(supervise(&shared)).await;
}

async fn supervise(shared: &Shared) {
    let mut backoff = Backoff::default();
    let mut last = None;
    loop {
        let set_up = async {
            let address = shared.place.master().await.map_err(LinkError::Unknown)?;
            let connection = handshake::connect(shared, &address).await?;
            Ok((address, connection))
        };
        let reason = match timeout(shared.config.ping_timeout, set_up).await.unwrap_or(Err(LinkError::Silent("HELLO")))
        {
            Ok((address, connection)) => {
                let since = connection.since;
                if last.replace(address.clone()).is_some_and(|last| last != address) {
                    shared.interest().moved(shared.started.elapsed() + FOLLOW);
                }
                let (proven, reason) = serve(shared, &address, connection).await;
                shared.canary.disarm();
                shared.interest().broken(shared.clock.span(proven).earliest);
                backoff.stood(since, Instant::now());
                reason
            }
            Err(reason) => reason,
        };
        shared.subscription.down(&shared.place, &reason);
        sleep(backoff.next()).await;
    }
}

/// What goes on on a connection.
#[derive(Debug)]
struct Traffic<'a> {
    wire: Wire,
    address: &'a Address,
    canary: &'a Canary,
    /// Channels that were asked for or left, and not confirmed, and since when.
    outstanding: usize,
    outstanding_since: Instant,
    /// The server's role was asked for, and the answer is awaited.
    role_awaited: bool,
    /// Orders are heard.
    is_controlled: bool,
    /// How many channels are yet to be confirmed before the link counts as up; `None` when it does.
    backlog: Option<usize>,
}

/// Serves a connection until it breaks. Returns since when publications may be lost, and why it broke.
async fn serve(shared: &Shared, address: &Address, connection: Connection) -> (Instant, LinkError) {
    let Connection { stream, mut input, tells_role, since } = connection;
    let mut wire = Wire::new(since, tells_role);
    // First, so that no order is missed that a client of a channel needs.
    wire.command("SUBSCRIBE", &[shared.names.control(), shared.canary.wire_name()]);
    let mut traffic = Traffic {
        wire,
        address,
        canary: &shared.canary,
        outstanding: 2,
        outstanding_since: since,
        role_awaited: false,
        is_controlled: false,
        backlog: Some(shared.interest().requests_waiting()),
    };
    let reason = tokio::select! {
        biased;
        // First: what the old master has sent is heard before it is left.
        Err(reason) = wire::serve(&mut traffic, shared, stream, &mut input, &shared.interest_changed) => reason,
        () = shared.place.moved(address) => LinkError::Moved,
    };
    (traffic.wire.proven, reason)
}

impl Link for Traffic<'_> {
    fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    fn canary(&self) -> Option<&Canary> {
        Some(self.canary)
    }

    fn ask(&mut self, shared: &Shared) -> Instant {
        let wakes = self.commands(shared);
        self.catch_up(shared);
        wakes
    }

    fn take(&mut self, shared: &Shared, value: Value) -> Result<(), LinkError> {
        match value {
            Value::Push(parts) => self.take_push(shared, parts),
            pong if self.wire.is_pong(&pong) => self.take_pong(shared),
            Value::List(_) if std::mem::take(&mut self.role_awaited) => check_role(&value),
            Value::Error(text) => Err(LinkError::refused("a command", &text)),
            _ => Err(LinkError::Unexpected("a command")),
        }
    }
}

impl Traffic<'_> {
    /// Queues the commands that are due. Says when there is something to do even if nothing happens.
    fn commands(&mut self, shared: &Shared) -> Instant {
        let now = Instant::now();
        let settles = self.settle(shared, now);
        if self.wire.ping(shared, now) {
            self.role_awaited |= self.wire.tells_role;
        }
        let wakes = self.wire.wakes(shared);
        let wakes = settles.map_or(wakes, |settles| wakes.min(settles));
        if self.outstanding > 0 {
            return wakes;
        }
        let mut interest = shared.interest();
        let joins = interest.requests(BATCH);
        let leaves = interest.leaves(now - shared.started, BATCH);
        let next_leave = interest.next_leave();
        drop(interest);
        for (command, channels) in [("SUBSCRIBE", joins), ("UNSUBSCRIBE", leaves)] {
            if !channels.is_empty() {
                let wire_names = channels.iter().map(|channel| shared.names.write(channel.as_str()));
                self.wire.command(command, &wire_names.collect::<Vec<_>>());
                self.outstanding += channels.len();
                self.outstanding_since = now;
            }
        }
        match next_leave {
            Some(leave) if self.outstanding == 0 => wakes.min(shared.started + leave),
            _ => wakes,
        }
    }

    /// Tells the gaps that wait for publishers, if it is time; else says when it is.
    fn settle(&self, shared: &Shared, now: Instant) -> Option<Instant> {
        let mut interest = shared.interest();
        let settles = interest.settles()?;
        let gaps = interest.settle(shared.clock.span(now).latest, now - shared.started);
        drop(interest);
        shared.tally.gaps.add(gaps);
        Some(shared.started + settles).filter(|settles| *settles > now)
    }

    fn take_pong(&mut self, shared: &Shared) -> Result<(), LinkError> {
        self.wire.pong(shared, Some(self.canary))?;
        // Redis answers in order: what was asked for before the PING is answered by now.
        match self.outstanding > 0 && self.outstanding_since < self.wire.pinged {
            true => Err(LinkError::Unexpected("a subscription")),
            false => Ok(()),
        }
    }

    fn take_push(&mut self, shared: &Shared, mut parts: Vec<Value>) -> Result<(), LinkError> {
        let kind = match parts.first() {
            Some(Value::Text(kind)) => kind.clone(),
            _ => return Ok(()),
        };
        let is = |own: &str| matches!(parts.get(1), Some(Value::Text(name)) if **name == *own.as_bytes());
        let (is_control, is_canary) = (is(shared.names.control()), is(self.canary.wire_name()));
        match (&kind[..], parts.len()) {
            (b"message", 3) if is_control => {
                let payload = match &parts[2] {
                    Value::Text(payload) => Some(&payload[..]),
                    _ => None,
                };
                control::message(shared, payload);
            }
            (b"message", 3) if is_canary => {
                if let Value::Text(payload) = &parts[2] {
                    self.canary.heard(payload);
                }
            }
            (b"message", 3) => {
                let payload = parts.swap_remove(2);
                self.wire.relay(shared, &parts[1], payload);
            }
            (b"subscribe", 3) if is_control => {
                self.is_controlled = true;
                self.answered();
            }
            (b"subscribe", 3) if is_canary => {
                self.canary.arm();
                self.answered();
            }
            (b"unsubscribe", 3) if is_control || is_canary => {
                return Err(LinkError::Unexpected("a subscription of its own"));
            }
            (b"subscribe", 3) => self.confirmed(shared, &parts[1]),
            (b"unsubscribe", 3) => self.left(shared, &parts[1]),
            _ => {}
        }
        Ok(())
    }

    fn confirmed(&mut self, shared: &Shared, wire_name: &Value) {
        let Some(name) = channel_name(shared, wire_name) else {
            return;
        };
        let now = Instant::now();
        let latest = shared.clock.span(now).latest;
        if let Some(gaps) = shared.interest().confirmed(name, latest, now - shared.started) {
            shared.tally.gaps.add(gaps);
            self.answered();
            self.backlog = self.backlog.map(|backlog| backlog.saturating_sub(1));
        }
    }

    fn left(&mut self, shared: &Shared, wire_name: &Value) {
        let Some(name) = channel_name(shared, wire_name) else {
            return;
        };
        let earliest = shared.clock.span(self.wire.proven).earliest;
        if shared.interest().left(name, earliest) {
            self.answered();
        }
    }

    fn answered(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// The link is up when what waited at its set-up is confirmed, and not only when nothing is outstanding: on a busy
    /// node something always is. Channels are requested in turn, so those are the first. To be called after
    /// [`commands`](Self::commands).
    fn catch_up(&mut self, shared: &Shared) {
        // Some of them may not be wanted any more, and are never requested.
        let caught_up = self.is_controlled && (self.backlog == Some(0) || self.outstanding == 0);
        if caught_up && self.backlog.take().is_some() && shared.subscription.up(self.address) {
            shared.tally.reconnects.add(1);
        }
    }
}

fn channel_name<'a>(shared: &Shared, wire_name: &'a Value) -> Option<&'a str> {
    match wire_name {
        Value::Text(wire_name) => shared.names.read(wire_name),
        _ => None,
    }
}
