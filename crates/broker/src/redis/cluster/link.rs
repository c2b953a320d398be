//! A subscription link to one master of a Cluster: SSUBSCRIBE, one command for each slot, SUNSUBSCRIBE, PING and ROLE;
//! on one of the links also the orders, and a pattern for what is published without sharding.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use ullim_protocol::channel::ChannelName;

use super::desk::LinkId;
use super::slot;
use super::upkeep::Quarters;
use crate::redis::Shared;
use crate::redis::address::Address;
use crate::redis::canary::Canary;
use crate::redis::control;
use crate::redis::handshake::{Connection, Input, LinkError, check_role, write_command};
use crate::redis::relay::Batch;
use crate::redis::resp::Value;
use crate::redis::socket::{self, Stream};

/// The most channels of each kind that are asked for at once. The next when all of them are confirmed.
const BATCH: usize = 512;

/// After how long a subscription is tried anew that was refused for now.
const AGAIN: Duration = Duration::from_millis(100);

/// How often it is logged that somebody publishes without sharding.
const WARN_EVERY: Duration = Duration::from_secs(600);

/// What was asked for and is not answered, in order.
#[derive(Debug)]
enum Expected {
    /// Orders.
    Orders,
    /// All that is published without sharding.
    Pattern,
    Canary,
    Join {
        channels: Vec<ChannelName>,
        left: usize,
    },
    Asking,
    Early {
        channels: Vec<ChannelName>,
        left: usize,
    },
    Leave {
        channels: Vec<ChannelName>,
        left: usize,
    },
    Role,
    Pong,
}

/// What goes on on a connection.
pub(super) struct Traffic {
    quarters: Quarters,
    id: LinkId,
    canary: Option<Arc<Canary>>,
    out: Vec<u8>,
    written: usize,
    unflushed: bool,
    expected: VecDeque<Expected>,
    /// Channels that are to be asked for anew, wherever their slot is then, and when.
    refused: Vec<ChannelName>,
    refused_until: Option<Instant>,
    tells_role: bool,
    pinged: Instant,
    pong_awaited: bool,
    /// All that was published on this link before has been read.
    pub(super) proven: Instant,
    heard: Instant,
}

impl Traffic {
    pub(super) fn new(
        quarters: Quarters,
        id: LinkId,
        since: Instant,
        tells_role: bool,
        canary: Option<Arc<Canary>>,
    ) -> Self {
        let mut traffic = Self {
            quarters,
            id,
            canary,
            out: Vec::new(),
            written: 0,
            unflushed: false,
            expected: VecDeque::new(),
            refused: Vec::new(),
            refused_until: None,
            tells_role,
            pinged: since,
            pong_awaited: false,
            proven: since,
            heard: since,
        };
        if let Some(canary) = &traffic.canary {
            write_command(&mut traffic.out, "SSUBSCRIBE", &[canary.wire_name()]);
            traffic.expected.push_back(Expected::Canary);
        }
        traffic
    }

    /// Serves a connection until it breaks, and says why.
    pub(super) async fn run(&mut self, connection: Connection, wake: &Notify) -> Result<Infallible, LinkError> {
        let Connection { stream, mut input, .. } = connection;
        let (mut reading, mut writing): (tokio::io::ReadHalf<Stream>, _) = tokio::io::split(stream);
        let mut due = std::pin::pin!(sleep_until(self.heard));
        loop {
            self.take_all(&mut input)?;
            let at = self.ask();
            if due.deadline() != at {
                due.as_mut().reset(at);
            }
            // In this order for the reasons that the single link has.
            tokio::select! {
                biased;
                sent = socket::send(&mut writing, &self.out[self.written..]),
                    if self.unflushed || self.written < self.out.len() => self.sent(sent?),
                read = reading.read(&mut input.buffer) => {
                    input.filled(read?)?;
                    self.heard = Instant::now();
                }
                () = wake.notified() => {}
                () = &mut due => self.judge()?,
            }
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

    fn take_all(&mut self, input: &mut Input) -> Result<(), LinkError> {
        let shared = Arc::clone(&self.quarters.shared);
        let (reader, mut rest) = input.unread();
        let mut batch = Batch::new(&shared, self.proven, self.heard);
        while !rest.is_empty() {
            if let Some(message) = reader.message(&mut rest) {
                if message.channel == shared.names.control().as_bytes() {
                    batch.deliver();
                    control::message(&shared, Some(message.payload));
                } else if self.is_canary(message.channel) {
                    self.heard_canary(message.payload);
                } else {
                    batch.add(message);
                }
                continue;
            }
            let value = reader.next(&mut rest);
            batch.deliver();
            if let Some(value) = value? {
                self.take(value)?;
                batch = Batch::new(&shared, self.proven, self.heard);
            }
        }
        batch.deliver();
        Ok(())
    }

    fn is_canary(&self, name: &[u8]) -> bool {
        self.canary.as_ref().is_some_and(|canary| canary.wire_name().as_bytes() == name)
    }

    fn heard_canary(&self, payload: &[u8]) {
        if let Some(canary) = &self.canary {
            canary.heard(payload);
        }
    }

    /// Queues the commands that are due. Says when there is something to do even if nothing happens.
    fn ask(&mut self) -> Instant {
        let Quarters { shared, fleet, .. } = &self.quarters;
        let now = Instant::now();
        if !self.pong_awaited && now >= self.pinged + shared.config.ping_interval {
            if self.tells_role {
                write_command(&mut self.out, "ROLE", &[""; 0]);
                self.expected.push_back(Expected::Role);
            }
            write_command(&mut self.out, "PING", &[""; 0]);
            self.expected.push_back(Expected::Pong);
            self.pinged = now;
            self.pong_awaited = true;
        }
        if self.refused_until.is_some_and(|until| until <= now) {
            self.refused_until = None;
            fleet.refused(shared, self.id, std::mem::take(&mut self.refused));
        }
        if fleet.is_to_be_home(self.id) {
            write_command(&mut self.out, "SUBSCRIBE", &[shared.names.control()]);
            write_command(&mut self.out, "PSUBSCRIBE", &[shared.names.pattern()]);
            self.expected.extend([Expected::Orders, Expected::Pattern]);
        }
        let is_busy = |expected: &Expected| {
            matches!(expected, Expected::Join { .. } | Expected::Early { .. } | Expected::Leave { .. })
        };
        if !self.expected.iter().any(is_busy) {
            let work = fleet.work(self.id, BATCH);
            let shared = Arc::clone(shared);
            for channels in by_slot(&shared, work.joins) {
                self.command("SSUBSCRIBE", &channels);
                self.expected.push_back(Expected::Join { left: channels.len(), channels });
            }
            for channels in by_slot(&shared, work.early) {
                write_command(&mut self.out, "ASKING", &[""; 0]);
                self.command("SSUBSCRIBE", &channels);
                self.expected.extend([Expected::Asking, Expected::Early { left: channels.len(), channels }]);
            }
            for channels in by_slot(&shared, work.leaves) {
                self.command("SUNSUBSCRIBE", &channels);
                self.expected.push_back(Expected::Leave { left: channels.len(), channels });
            }
        }
        let ping = match self.pong_awaited {
            true => self.deadline(),
            false => self.pinged + self.quarters.shared.config.ping_interval,
        };
        self.refused_until.map_or(ping, |until| until.min(ping))
    }

    fn command(&mut self, command: &str, channels: &[ChannelName]) {
        let names = &self.quarters.shared.names;
        let wire_names: Vec<String> = channels.iter().map(|channel| names.write(channel.as_str())).collect();
        write_command(&mut self.out, command, &wire_names);
    }

    fn deadline(&self) -> Instant {
        self.pinged.max(self.heard) + self.quarters.shared.config.ping_timeout
    }

    fn judge(&self) -> Result<(), LinkError> {
        match self.pong_awaited && Instant::now() >= self.deadline() {
            true => {
                self.quarters.shared.tally.probe_failures.add(1);
                Err(LinkError::Silent("PING"))
            }
            false => Ok(()),
        }
    }

    fn take(&mut self, value: Value) -> Result<(), LinkError> {
        if let Value::Push(parts) = value {
            return self.take_push(parts);
        }
        match (self.expected.pop_front(), value) {
            (Some(Expected::Pong), Value::Text(text)) if text == "PONG" => self.take_pong(),
            (Some(Expected::Role), Value::Error(_)) => {
                self.tells_role = false;
                Ok(())
            }
            (Some(Expected::Role), role) => check_role(&role),
            (Some(Expected::Asking), _) => Ok(()),
            (Some(Expected::Join { channels, .. }), Value::Error(text)) => self.refused(channels, &text),
            (Some(Expected::Early { channels, .. }), Value::Error(_)) => {
                self.quarters.fleet.not_early(self.id, &channels);
                Ok(())
            }
            (Some(Expected::Leave { channels, .. }), Value::Error(_)) => {
                // The slot is elsewhere, and with it what was subscribed here.
                channels.iter().for_each(|channel| self.left(channel.as_str()));
                Ok(())
            }
            (Some(Expected::Canary), Value::Error(text)) if is_redirect(&text) => {
                // Another is chosen with the next link.
                self.forget_canary();
                Ok(())
            }
            (Some(Expected::Pattern), Value::Error(text)) => {
                let reason = String::from_utf8_lossy(&text);
                tracing::warn!(%reason, "what is published without SPUBLISH will not be heard");
                Ok(())
            }
            (_, Value::Error(text)) => Err(LinkError::refused("a command", &text)),
            _ => Err(LinkError::Unexpected("a command")),
        }
    }

    fn refused(&mut self, channels: Vec<ChannelName>, text: &Bytes) -> Result<(), LinkError> {
        let Quarters { shared, topology, fleet } = &self.quarters;
        let words = String::from_utf8_lossy(text);
        let mut words = words.split(' ');
        match (words.next(), words.next().map(str::parse), words.next().and_then(Address::parse)) {
            (Some("MOVED"), Some(Ok(slot)), Some(address)) if topology.learn(slot, &address) => {
                fleet.refused(shared, self.id, channels);
            }
            // The map knows no better, or the Cluster is down: a little later it is tried anew.
            (Some("MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN"), ..) => {
                topology.refresh();
                self.refused_until.get_or_insert(Instant::now() + AGAIN);
                self.refused.extend(channels);
            }
            _ => return Err(LinkError::refused("SSUBSCRIBE", text)),
        }
        Ok(())
    }

    fn take_pong(&mut self) -> Result<(), LinkError> {
        let shared = &self.quarters.shared;
        shared.tally.probe_rtt.set(self.pinged.elapsed());
        self.pong_awaited = false;
        self.proven = self.pinged;
        if self.canary.as_ref().is_some_and(|canary| canary.is_missed(self.pinged)) {
            shared.tally.probe_failures.add(1);
            return Err(LinkError::Deaf);
        }
        Ok(())
    }

    fn take_push(&mut self, mut parts: Vec<Value>) -> Result<(), LinkError> {
        let shared = Arc::clone(&self.quarters.shared);
        let text = |value: Option<&Value>| match value {
            Some(Value::Text(text)) => text.clone(),
            _ => Bytes::new(),
        };
        let (kind, name) = (text(parts.first()), text(parts.get(1)));
        match (&kind[..], parts.len()) {
            (b"smessage" | b"message", 3) if self.is_canary(&name) => self.heard_canary(&text(parts.get(2))),
            (b"message", 3) if name == shared.names.control() => {
                let payload = match &parts[2] {
                    Value::Text(payload) => Some(&payload[..]),
                    _ => None,
                };
                control::message(&shared, payload);
            }
            (b"smessage" | b"message", 3) => self.relay(&shared, &parts[1].clone(), parts.swap_remove(2)),
            (b"pmessage", 4) => {
                shared.tally.unsharded.add(1);
                if shared.tally.unsharded_seen.is_due(Instant::now(), WARN_EVERY) {
                    tracing::warn!(channel = %String::from_utf8_lossy(&text(parts.get(2))).escape_debug(),
                        "a backend publishes with PUBLISH: in a cluster use SPUBLISH, which does not go to every node");
                }
                self.relay(&shared, &parts[2].clone(), parts.swap_remove(3));
            }
            (b"subscribe", 3) => {
                self.answered(|expected| matches!(expected, Expected::Orders))?;
                self.quarters.fleet.hears_orders(&shared, self.id);
            }
            (b"psubscribe", 3) => self.answered(|expected| matches!(expected, Expected::Pattern))?,
            (b"ssubscribe", 3) if self.is_canary(&name) => {
                self.answered(|expected| matches!(expected, Expected::Canary))?;
                if let Some(canary) = &self.canary {
                    canary.arm();
                }
            }
            (b"ssubscribe", 3) => {
                self.answered(|expected| match expected {
                    Expected::Join { left, .. } | Expected::Early { left, .. } => {
                        *left -= 1;
                        *left == 0
                    }
                    _ => false,
                })?;
                if let Some(name) = shared.names.read(&name) {
                    self.quarters.fleet.confirmed(&shared, self.id, name);
                }
            }
            (b"sunsubscribe", 3) if self.is_canary(&name) => self.forget_canary(),
            (b"sunsubscribe", 3) => {
                if let Some(Expected::Leave { channels, left }) = self.expected.front_mut() {
                    let is_among = channels.iter().any(|channel| shared.names.read(&name) == Some(channel.as_str()));
                    *left -= usize::from(is_among);
                    if *left == 0 {
                        self.expected.pop_front();
                    }
                }
                if let Some(name) = shared.names.read(&name) {
                    self.left(name);
                }
            }
            (b"unsubscribe" | b"punsubscribe", 3) => return Err(LinkError::Unexpected("a subscription of its own")),
            _ => {}
        }
        Ok(())
    }

    fn relay(&self, shared: &Shared, wire_name: &Value, payload: Value) {
        let mut batch = Batch::new(shared, self.proven, self.heard);
        batch.add_value(wire_name, payload);
        batch.deliver();
    }

    /// A confirmation came. `takes` says whether it was the last of what was expected next.
    fn answered(&mut self, takes: impl FnOnce(&mut Expected) -> bool) -> Result<(), LinkError> {
        let Some(expected) = self.expected.front_mut() else {
            return Err(LinkError::Unexpected("nothing"));
        };
        if takes(expected) {
            self.expected.pop_front();
        }
        Ok(())
    }

    fn left(&self, name: &str) {
        let Quarters { shared, topology, fleet } = &self.quarters;
        fleet.left(shared, topology, self.id, name, self.proven);
    }

    /// Its slot has moved.
    fn forget_canary(&mut self) {
        let Quarters { shared, topology, .. } = &self.quarters;
        if let Some(canary) = self.canary.take() {
            canary.disarm();
            shared.canaries().retain(|other| !Arc::ptr_eq(other, &canary));
        }
        topology.refresh();
    }
}

/// Also where the link is ended from outside.
impl Drop for Traffic {
    fn drop(&mut self) {
        if let Some(canary) = &self.canary {
            self.quarters.shared.canaries().retain(|other| !Arc::ptr_eq(other, canary));
        }
    }
}

fn is_redirect(text: &[u8]) -> bool {
    text.starts_with(b"MOVED ") || text.starts_with(b"ASK ") || text.starts_with(b"CLUSTERDOWN")
}

fn by_slot(shared: &Shared, channels: VecDeque<ChannelName>) -> Vec<Vec<ChannelName>> {
    let mut slots = BTreeMap::<u16, Vec<ChannelName>>::new();
    for channel in channels {
        let slot = slot::of(shared.names.write(channel.as_str()).as_bytes());
        slots.entry(slot).or_default().push(channel);
    }
    slots.into_values().collect()
}
