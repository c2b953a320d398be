//! A subscription link to one master of a Cluster: SSUBSCRIBE, one command for each slot, SUNSUBSCRIBE, PING and ROLE;
//! on one of the links also the orders, and a pattern for what is published without sharding.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;

use super::desk::LinkId;
use super::slot;
use super::upkeep::Quarters;
use crate::redis::Shared;
use crate::redis::address::Address;
use crate::redis::canary::Canary;
use crate::redis::control;
use crate::redis::handshake::{Connection, LinkError, check_role};
use crate::redis::resp::Value;
use crate::redis::wire::{self, Link, Wire};

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
    pub(super) wire: Wire,
    expected: VecDeque<Expected>,
    /// Channels that are to be asked for anew, wherever their slot is then, and when.
    refused: Vec<ChannelName>,
    refused_until: Option<Instant>,
}

impl Traffic {
    pub(super) fn new(
        quarters: Quarters,
        id: LinkId,
        since: Instant,
        tells_role: bool,
        canary: Option<Arc<Canary>>,
    ) -> Self {
        let wire = Wire::new(since, tells_role);
        let expected = VecDeque::new();
        let mut traffic = Self { quarters, id, canary, wire, expected, refused: Vec::new(), refused_until: None };
        if let Some(canary) = &traffic.canary {
            traffic.wire.command("SSUBSCRIBE", &[canary.wire_name()]);
            traffic.expected.push_back(Expected::Canary);
        }
        traffic
    }

    /// Serves a connection until it breaks, and says why.
    pub(super) async fn run(&mut self, connection: Connection, wake: &Notify) -> Result<Infallible, LinkError> {
        let Connection { stream, mut input, .. } = connection;
        let shared = Arc::clone(&self.quarters.shared);
        wire::serve(self, &shared, stream, &mut input, wake).await
    }
}

impl Link for Traffic {
    fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    fn canary(&self) -> Option<&Canary> {
        self.canary.as_deref()
    }

    fn ask(&mut self, shared: &Shared) -> Instant {
        let now = Instant::now();
        if self.wire.ping(shared, now) {
            self.expected.extend(self.wire.tells_role.then_some(Expected::Role));
            self.expected.push_back(Expected::Pong);
        }
        let fleet = &self.quarters.fleet;
        if self.refused_until.is_some_and(|until| until <= now) {
            self.refused_until = None;
            fleet.refused(shared, self.id, std::mem::take(&mut self.refused));
        }
        if fleet.is_to_be_home(self.id) {
            self.wire.command("SUBSCRIBE", &[shared.names.control()]);
            self.wire.command("PSUBSCRIBE", &[shared.names.pattern()]);
            self.expected.extend([Expected::Orders, Expected::Pattern]);
        }
        self.ask_for_channels(shared);
        let wakes = self.wire.wakes(shared);
        self.refused_until.map_or(wakes, |until| until.min(wakes))
    }

    fn take(&mut self, shared: &Shared, value: Value) -> Result<(), LinkError> {
        if let Value::Push(parts) = value {
            return self.take_push(shared, parts);
        }
        match (self.expected.pop_front(), value) {
            (Some(Expected::Pong), pong) if self.wire.is_pong(&pong) => self.wire.pong(shared, self.canary.as_deref()),
            (Some(Expected::Role), Value::Error(_)) => {
                self.wire.tells_role = false;
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
}

impl Traffic {
    /// Asks for channels and leaves others, once what was asked for before is answered.
    fn ask_for_channels(&mut self, shared: &Shared) {
        let is_busy = |expected: &Expected| {
            matches!(expected, Expected::Join { .. } | Expected::Early { .. } | Expected::Leave { .. })
        };
        if self.expected.iter().any(is_busy) {
            return;
        }
        let work = self.quarters.fleet.work(self.id, BATCH);
        for channels in by_slot(shared, work.joins) {
            self.command("SSUBSCRIBE", &channels);
            self.expected.push_back(Expected::Join { left: channels.len(), channels });
        }
        for channels in by_slot(shared, work.early) {
            self.wire.command("ASKING", &[""; 0]);
            self.command("SSUBSCRIBE", &channels);
            self.expected.extend([Expected::Asking, Expected::Early { left: channels.len(), channels }]);
        }
        for channels in by_slot(shared, work.leaves) {
            self.command("SUNSUBSCRIBE", &channels);
            self.expected.push_back(Expected::Leave { left: channels.len(), channels });
        }
    }

    fn command(&mut self, command: &str, channels: &[ChannelName]) {
        let names = &self.quarters.shared.names;
        let wire_names: Vec<String> = channels.iter().map(|channel| names.write(channel.as_str())).collect();
        self.wire.command(command, &wire_names);
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

    fn take_push(&mut self, shared: &Shared, mut parts: Vec<Value>) -> Result<(), LinkError> {
        let text = |value: Option<&Value>| match value {
            Some(Value::Text(text)) => text.clone(),
            _ => Bytes::new(),
        };
        let (kind, name) = (text(parts.first()), text(parts.get(1)));
        match (&kind[..], parts.len()) {
            (b"smessage" | b"message", 3) if let Some(canary) = self.canary_named(&name) => {
                canary.heard(&text(parts.get(2)));
            }
            (b"message", 3) if name == shared.names.control() => {
                let payload = match &parts[2] {
                    Value::Text(payload) => Some(&payload[..]),
                    _ => None,
                };
                control::message(shared, payload);
            }
            (b"smessage" | b"message", 3) => {
                let payload = parts.swap_remove(2);
                self.wire.relay(shared, &parts[1], payload);
            }
            (b"pmessage", 4) => {
                shared.tally.unsharded.add(1);
                if shared.tally.unsharded_seen.is_due(Instant::now(), WARN_EVERY) {
                    tracing::warn!(channel = %String::from_utf8_lossy(&text(parts.get(2))).escape_debug(),
                        "a backend publishes with PUBLISH: in a cluster use SPUBLISH, which does not go to every node");
                }
                let payload = parts.swap_remove(3);
                self.wire.relay(shared, &parts[2], payload);
            }
            (b"subscribe", 3) => {
                self.answered(|expected| matches!(expected, Expected::Orders))?;
                self.quarters.fleet.hears_orders(shared, self.id);
            }
            (b"psubscribe", 3) => self.answered(|expected| matches!(expected, Expected::Pattern))?,
            (b"ssubscribe", 3) if self.canary_named(&name).is_some() => {
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
                    self.quarters.fleet.confirmed(shared, self.id, name);
                }
            }
            (b"sunsubscribe", 3) if self.canary_named(&name).is_some() => self.forget_canary(),
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

    fn canary_named(&self, wire_name: &[u8]) -> Option<&Canary> {
        self.canary.as_deref().filter(|canary| canary.is_named(wire_name))
    }

    fn left(&self, name: &str) {
        let Quarters { shared, topology, fleet } = &self.quarters;
        fleet.left(shared, topology, self.id, name, self.wire.proven);
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
