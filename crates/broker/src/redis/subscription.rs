//! The subscription link: a connection that carries SUBSCRIBE, UNSUBSCRIBE and PING, and nothing else. It does what the
//! table of interest asks for, and tells the table what Redis confirmed and when the link broke. It has a thread of its
//! own, and never waits for a shard.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::control;
use super::handshake::{self, Connection, Input, LinkError, write_command};
use super::outage::Backoff;
use super::relay::Batch;
use super::resp::Value;

/// The most channels in one SUBSCRIBE or UNSUBSCRIBE. The next goes out when all of them are confirmed.
const BATCH: usize = 512;

/// Builds the link again and again, until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    stop.run_until_cancelled(supervise(&shared)).await;
}

async fn supervise(shared: &Shared) {
    let mut backoff = Backoff::default();
    loop {
        let set_up = timeout(shared.config.ping_timeout, handshake::connect(shared)).await;
        let reason = match set_up.unwrap_or(Err(LinkError::Silent("HELLO"))) {
            Ok(connection) => {
                let since = connection.since;
                let (proven, reason) = serve(shared, connection).await;
                shared.interest().broken(shared.clock.span(proven).earliest);
                backoff.stood(since, Instant::now());
                reason
            }
            Err(reason) => reason,
        };
        shared.subscription.down(&shared.address, &reason);
        sleep(backoff.next()).await;
    }
}

/// What goes on on a connection.
#[derive(Debug)]
struct Traffic {
    /// What is to be written, and how much of it is.
    out: Vec<u8>,
    written: usize,
    /// Channels that were asked for or left, and not confirmed, and since when.
    outstanding: usize,
    outstanding_since: Instant,
    /// When the last PING was sent, and whether its answer is awaited.
    pinged: Instant,
    pong_awaited: bool,
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
async fn serve(shared: &Shared, connection: Connection) -> (Instant, LinkError) {
    let Connection { stream, mut input, since } = connection;
    // First, so that no order is missed that a client of a channel needs.
    let mut out = Vec::new();
    write_command(&mut out, "SUBSCRIBE", &[shared.names.control()]);
    let mut traffic = Traffic {
        out,
        written: 0,
        outstanding: 1,
        outstanding_since: since,
        pinged: since,
        pong_awaited: false,
        proven: since,
        heard: since,
        is_controlled: false,
        backlog: Some(shared.interest().requests_waiting()),
    };
    let Err(reason) = traffic.run(shared, stream, &mut input).await;
    (traffic.proven, reason)
}

impl Traffic {
    async fn run(
        &mut self,
        shared: &Shared,
        mut stream: tokio::net::TcpStream,
        input: &mut Input,
    ) -> Result<std::convert::Infallible, LinkError> {
        let (mut reading, mut writing) = stream.split();
        let mut due = std::pin::pin!(sleep_until(self.heard));
        loop {
            self.take_all(shared, input)?;
            let wake = self.ask(shared);
            self.catch_up(shared);
            if due.deadline() != wake {
                due.as_mut().reset(wake);
            }
            // Biased: what can be read is read before a deadline is judged, so that a node that was held up itself
            // does not blame the link. Writing is first, because it ends; reading need not.
            tokio::select! {
                biased;
                written = writing.write(&self.out[self.written..]), if self.written < self.out.len() => {
                    self.wrote(written?);
                }
                read = reading.read(&mut input.buffer) => {
                    input.filled(read?)?;
                    self.heard = Instant::now();
                }
                () = shared.interest_changed.notified() => {}
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
                if message.channel != shared.names.control().as_bytes() {
                    batch.add(message);
                    continue;
                }
                batch.deliver();
                control::message(shared, Some(message.payload));
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
        if !self.pong_awaited && now >= self.pinged + shared.config.ping_interval {
            write_command(&mut self.out, "PING", &[""; 0]);
            self.pinged = now;
            self.pong_awaited = true;
        }
        let ping = match self.pong_awaited {
            true => self.deadline(shared),
            false => self.pinged + shared.config.ping_interval,
        };
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

    fn wrote(&mut self, bytes: usize) {
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
            Value::Error(text) => Err(LinkError::refused("a command", &text)),
            _ => Err(LinkError::Unexpected("a command")),
        }
    }

    fn take_pong(&mut self, shared: &Shared) -> Result<(), LinkError> {
        shared.tally.probe_rtt.set(self.pinged.elapsed());
        self.pong_awaited = false;
        self.proven = self.pinged;
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
        let is_control =
            matches!(parts.get(1), Some(Value::Text(name)) if **name == *shared.names.control().as_bytes());
        match (&kind[..], parts.len()) {
            (b"message", 3) if is_control => {
                let payload = match &parts[2] {
                    Value::Text(payload) => Some(&payload[..]),
                    _ => None,
                };
                control::message(shared, payload);
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
            (b"unsubscribe", 3) if is_control => return Err(LinkError::Unexpected("the subscription to orders")),
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
    fn catch_up(&mut self, shared: &Shared) {
        // Some of them may not be wanted any more, and are never requested.
        let caught_up = self.is_controlled && (self.backlog == Some(0) || self.outstanding == 0);
        if caught_up && self.backlog.take().is_some() && shared.subscription.up(&shared.address) {
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
