//! What both kinds of subscription link are at the bottom, to a single server and to a master of a Cluster: bytes that
//! go out and come in, and the proof that the other side lives. What is asked for, and what the answers mean, is the
//! link's own.

use std::convert::Infallible;

use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::canary::Canary;
use super::control;
use super::handshake::{Input, LinkError, write_command};
use super::relay::Batch;
use super::resp::Value;
use super::socket::{self, Stream};

/// What goes over a link, and when something last did.
#[derive(Debug)]
pub(super) struct Wire {
    /// What is to be written, and how much of it is.
    out: Vec<u8>,
    written: usize,
    /// What was written may wait in the stream.
    unflushed: bool,
    /// The server's role is asked for with each PING.
    pub(super) tells_role: bool,
    /// When the last PING was sent, and whether its answer is awaited.
    pub(super) pinged: Instant,
    pong_awaited: bool,
    /// All that was published on this link before has been read.
    pub(super) proven: Instant,
    /// When something was last read.
    pub(super) heard: Instant,
}

/// What a link asks for, and does with what comes.
pub(super) trait Link {
    /// What it goes over.
    fn wire(&mut self) -> &mut Wire;

    /// The canary that it hears.
    fn canary(&self) -> Option<&Canary>;

    /// Queues the commands that are due. Says when there is something to do even if nothing happens.
    fn ask(&mut self, shared: &Shared) -> Instant;

    /// Takes what is no plain publication.
    fn take(&mut self, shared: &Shared, value: Value) -> Result<(), LinkError>;
}

impl Wire {
    /// That of a connection which was begun at `since`.
    pub(super) fn new(since: Instant, tells_role: bool) -> Self {
        Self {
            out: Vec::new(),
            written: 0,
            unflushed: false,
            tells_role,
            pinged: since,
            pong_awaited: false,
            proven: since,
            heard: since,
        }
    }

    /// Queues a command.
    pub(super) fn command(&mut self, command: &str, arguments: &[impl AsRef<str>]) {
        write_command(&mut self.out, command, arguments);
    }

    /// Queues a PING if it is due, and ROLE before it where that may be asked. Says whether it did.
    pub(super) fn ping(&mut self, shared: &Shared, now: Instant) -> bool {
        let is_due = !self.pong_awaited && now >= self.pinged + shared.config.ping_interval;
        if is_due {
            if self.tells_role {
                self.command("ROLE", &[""; 0]);
            }
            self.command("PING", &[""; 0]);
            self.pinged = now;
            self.pong_awaited = true;
        }
        is_due
    }

    /// When the next PING is due, or the answer to the last one.
    pub(super) fn wakes(&self, shared: &Shared) -> Instant {
        match self.pong_awaited {
            true => self.deadline(shared),
            false => self.pinged + shared.config.ping_interval,
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

    /// Whether a value answers the PING.
    pub(super) fn is_pong(&self, value: &Value) -> bool {
        self.pong_awaited && matches!(value, Value::Text(text) if text == "PONG")
    }

    /// The PING is answered: the canary should have come before.
    pub(super) fn pong(&mut self, shared: &Shared, canary: Option<&Canary>) -> Result<(), LinkError> {
        shared.tally.probe_rtt.set(self.pinged.elapsed());
        self.pong_awaited = false;
        self.proven = self.pinged;
        if canary.is_some_and(|canary| canary.is_missed(self.pinged)) {
            shared.tally.probe_failures.add(1);
            return Err(LinkError::Deaf);
        }
        Ok(())
    }

    /// Hands on a publication that came in pieces.
    pub(super) fn relay(&self, shared: &Shared, wire_name: &Value, payload: Value) {
        let mut batch = Batch::new(shared, self.proven, self.heard);
        batch.add_value(wire_name, payload);
        batch.deliver();
    }

    fn is_unsent(&self) -> bool {
        self.unflushed || self.written < self.out.len()
    }

    fn sent(&mut self, bytes: usize) {
        self.unflushed = bytes > 0;
        self.written += bytes;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
    }
}

/// Serves a link until it breaks, and says why. `wake`: there may be something to ask for.
pub(super) async fn serve(
    link: &mut impl Link,
    shared: &Shared,
    stream: Stream,
    input: &mut Input,
    wake: &Notify,
) -> Result<Infallible, LinkError> {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut due = std::pin::pin!(sleep_until(link.wire().heard));
    loop {
        take_all(link, shared, input)?;
        let wakes = link.ask(shared);
        if due.deadline() != wakes {
            due.as_mut().reset(wakes);
        }
        let wire = link.wire();
        // Biased: what can be read is read before a deadline is judged, so that a node that was held up itself does not
        // blame the link. Writing is first, because it ends; reading need not.
        tokio::select! {
            biased;
            sent = socket::send(&mut writing, &wire.out[wire.written..]), if wire.is_unsent() => wire.sent(sent?),
            read = reading.read(&mut input.buffer) => {
                input.filled(read?)?;
                wire.heard = Instant::now();
            }
            () = wake.notified() => {}
            () = &mut due => wire.judge(shared)?,
        }
    }
}

/// Takes what was read.
fn take_all(link: &mut impl Link, shared: &Shared, input: &mut Input) -> Result<(), LinkError> {
    let (reader, mut rest) = input.unread();
    let Wire { proven, heard, .. } = *link.wire();
    let mut batch = Batch::new(shared, proven, heard);
    while !rest.is_empty() {
        if let Some(message) = reader.message(&mut rest) {
            if message.channel == shared.names.control().as_bytes() {
                batch.deliver();
                control::message(shared, Some(message.payload));
            } else if let Some(canary) = link.canary().filter(|canary| canary.is_named(message.channel)) {
                canary.heard(message.payload);
            } else {
                batch.add(message);
            }
            continue;
        }
        let value = reader.next(&mut rest);
        // Whatever it is, it has its place behind what came before.
        batch.deliver();
        if let Some(value) = value? {
            link.take(shared, value)?;
            let Wire { proven, heard, .. } = *link.wire();
            batch = Batch::new(shared, proven, heard);
        }
    }
    batch.deliver();
    Ok(())
}
