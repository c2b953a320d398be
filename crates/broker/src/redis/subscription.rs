//! The subscription link: a connection that carries SUBSCRIBE, UNSUBSCRIBE and PING, and nothing else. It does what the
//! table of interest asks for, and tells the table what Redis confirmed and when the link broke. It has a thread of its
//! own, and never waits for a shard.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::address::Address;
use super::control;
use super::handshake::{self, Connection, Input, LinkError, check_role, write_command};
use super::outage::Backoff;
use super::relay::Batch;
use super::resp::Value;
use super::socket::{self, Stream};

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
struct Traffic {
    /// What is to be written, and how much of it is.
    out: Vec<u8>,
    written: usize,
    /// What was written may wait in the stream.
    unflushed: bool,
    /// Channels that were asked for or left, and not confirmed, and since when.
    outstanding: usize,
    outstanding_since: Instant,
    /// When the last PING was sent, and whether its answer is awaited.
    pinged: Instant,
    pong_awaited: bool,
    /// Whether the server's role is asked for, and whether the answer is awaited.
    tells_role: bool,
    role_awaited: bool,
    /// All that was published before has been read.
    proven: Instant,
    /// When something was last read.
    heard: Instant,
    /// Orders are heard.
    is_controlled: bool,
    /// How many channels are yet to be confirmed before the link counts as up; `None` when it does.
    backlog: Option<usize>,
}

/// Serves a connection until it breaks. Returns since when publications may be lost, and why it broke.
async fn serve(shared: &Shared, address: &Address, connection: Connection) -> (Instant, LinkError) {
    let Connection { stream, mut input, tells_role, since } = connection;
    // First, so that no order is missed that a client of a channel needs.
    let mut out = Vec::new();
    write_command(&mut out, "SUBSCRIBE", &[shared.names.control(), shared.canary.wire_name()]);
    let mut traffic = Traffic {
        out,
        written: 0,
        unflushed: false,
        outstanding: 2,
        outstanding_since: since,
        pinged: since,
        pong_awaited: false,
        tells_role,
        role_awaited: false,
        proven: since,
        heard: since,
        is_controlled: false,
        backlog: Some(shared.interest().requests_waiting()),
    };
    let Err(reason) = traffic.run(shared, address, stream, &mut input).await;
    (traffic.proven, reason)
}

impl Traffic {
    async fn run(
        &mut self,
        shared: &Shared,
        address: &Address,
        stream: Stream,
        input: &mut Input,
    ) -> Result<std::convert::Infallible, LinkError> {
        let (mut reading, mut writing) = tokio::io::split(stream);
        let mut due = std::pin::pin!(sleep_until(self.heard));
        let mut moved = std::pin::pin!(shared.place.moved(address));
        loop {
            self.take_all(shared, input)?;
            let wake = self.ask(shared);
            self.catch_up(shared, address);
            if due.deadline() != wake {
                due.as_mut().reset(wake);
            }
            // Biased: what can be read is read before a deadline is judged, so that a node that was held up itself
            // does not blame the link. Writing is first, because it ends; reading need not.
            tokio::select! {
                biased;
                sent = socket::send(&mut writing, &self.out[self.written..]),
                    if self.unflushed || self.written < self.out.len() => self.sent(sent?),
                read = reading.read(&mut input.buffer) => {
                    input.filled(read?)?;
                    self.heard = Instant::now();
                }
                () = shared.interest_changed.notified() => {}
                () = &mut moved => return Err(LinkError::Moved),
                () = &mut due => self.judge(shared)?,
            }
        }
    }

    /// Takes what was read.
    fn take_all(&mut self, shared: &Shared, input: &mut Input) -> Result<(), LinkError> {
        let (reader, mut rest) = input.unread();
        let mut batch = Batch::new(shared, self.proven, self.heard);
        while !rest.is_empty() {
            if let Some(message) = reader.message(&mut rest) {
                if message.channel == shared.names.control().as_bytes() {
                    batch.deliver();
                    control::message(shared, Some(message.payload));
                } else if message.channel == shared.canary.wire_name().as_bytes() {
                    shared.canary.heard(message.payload);
                } else {
                    batch.add(message);
                }
                continue;
            }
            let value = reader.next(&mut rest);
            // Whatever it is, it has its place behind what came before.
            batch.deliver();
            if let Some(value) = value? {
                self.take(shared, value)?;
                batch = Batch::new(shared, self.proven, self.heard);
            }
        }
        batch.deliver();
        Ok(())
    }

    /// Queues the commands that are due. Says when there is something to do even if nothing happens.
    fn ask(&mut self, shared: &Shared) -> Instant {
        let now = Instant::now();
        let settles = self.settle(shared, now);
        if !self.pong_awaited && now >= self.pinged + shared.config.ping_interval {
            if self.tells_role {
                write_command(&mut self.out, "ROLE", &[""; 0]);
                self.role_awaited = true;
            }
            write_command(&mut self.out, "PING", &[""; 0]);
            self.pinged = now;
            self.pong_awaited = true;
        }
        let ping = match self.pong_awaited {
            true => self.deadline(shared),
            false => self.pinged + shared.config.ping_interval,
        };
        let ping = settles.map_or(ping, |settles| ping.min(settles));
        if self.outstanding > 0 {
            return ping;
        }
        let mut interest = shared.interest();
        let joins = interest.requests(BATCH);
        let leaves = interest.leaves(now - shared.started, BATCH);
        let next_leave = interest.next_leave();
        drop(interest);
        for (command, channels) in [("SUBSCRIBE", joins), ("UNSUBSCRIBE", leaves)] {
            if !channels.is_empty() {
                let wire_names = channels.iter().map(|channel| shared.names.write(channel.as_str()));
                write_command(&mut self.out, command, &wire_names.collect::<Vec<_>>());
                self.outstanding += channels.len();
                self.outstanding_since = now;
            }
        }
        match next_leave {
            Some(leave) if self.outstanding == 0 => ping.min(shared.started + leave),
            _ => ping,
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

    /// Until when something must be heard. A link that delivers lives, even if the answer to a PING is far behind.
    fn deadline(&self, shared: &Shared) -> Instant {
        self.pinged.max(self.heard) + shared.config.ping_timeout
    }

    fn judge(&self, shared: &Shared) -> Result<(), LinkError> {
        match self.pong_awaited && Instant::now() >= self.deadline(shared) {
            true => {
                shared.tally.probe_failures.add(1);
                Err(LinkError::Silent("PING"))
            }
            false => Ok(()),
        }
    }

    fn sent(&mut self, bytes: usize) {
        self.unflushed = bytes > 0;
        self.written += bytes;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
    }

    fn take(&mut self, shared: &Shared, value: Value) -> Result<(), LinkError> {
        match value {
            Value::Push(parts) => self.take_push(shared, parts),
            Value::Text(text) if self.pong_awaited && text == "PONG" => self.take_pong(shared),
            Value::List(_) if std::mem::take(&mut self.role_awaited) => check_role(&value),
            Value::Error(text) => Err(LinkError::refused("a command", &text)),
            _ => Err(LinkError::Unexpected("a command")),
        }
    }

    fn take_pong(&mut self, shared: &Shared) -> Result<(), LinkError> {
        shared.tally.probe_rtt.set(self.pinged.elapsed());
        self.pong_awaited = false;
        self.proven = self.pinged;
        if shared.canary.is_missed(self.pinged) {
            shared.tally.probe_failures.add(1);
            return Err(LinkError::Deaf);
        }
        // Redis answers in order: what was asked for before the PING is answered by now.
        match self.outstanding > 0 && self.outstanding_since < self.pinged {
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
        let (is_control, is_canary) = (is(shared.names.control()), is(shared.canary.wire_name()));
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
                    shared.canary.heard(payload);
                }
            }
            (b"message", 3) => {
                let payload = parts.swap_remove(2);
                let mut batch = Batch::new(shared, self.proven, self.heard);
                batch.add_value(&parts[1], payload);
                batch.deliver();
            }
            (b"subscribe", 3) if is_control => {
                self.is_controlled = true;
                self.answered();
            }
            (b"subscribe", 3) if is_canary => {
                shared.canary.arm();
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
        let earliest = shared.clock.span(self.proven).earliest;
        if shared.interest().left(name, earliest) {
            self.answered();
        }
    }

    fn answered(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// The link is up when what waited at its set-up is confirmed, and not only when nothing is outstanding: on a busy
    /// node something always is. Channels are requested in turn, so those are the first. To be called after
    /// [`ask`](Self::ask).
    fn catch_up(&mut self, shared: &Shared, address: &Address) {
        // Some of them may not be wanted any more, and are never requested.
        let caught_up = self.is_controlled && (self.backlog == Some(0) || self.outstanding == 0);
        if caught_up && self.backlog.take().is_some() && shared.subscription.up(address) {
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
