//! One shard's hub: connections come, speak and go, and time passes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use ullim_auth::ResumeKey;
use ullim_broker::{Broker, History, Presence, ShardId};
use ullim_protocol::codes;
use ullim_protocol::command::{DecodeError, Refusal, Request};
use ullim_protocol::session::SessionId;

use crate::config::{Config, Namespaces};
use crate::connection::{Connection, ConnectionId};
use crate::cork::Cork;
use crate::counters::Counters;
use crate::deadlines::Deadlines;
use crate::draining::Draining;
use crate::expiry::Expiries;
use crate::fanout::Scratch;
use crate::heartbeat::Wheel;
use crate::outbox::Outbox;
use crate::outlet::{Encode, Outlet, Wire};
use crate::pipeline::{Pipeline, Ticket};
use crate::rate::{Rate, Verdict};
use crate::registry::{ChannelKey, Registry};
use crate::repair::READ_AGAIN;
use crate::tokens::Tokens;
use crate::work::Work;

/// How long a connection that has resumed a session waits for its own order to replace the older ones.
const REPLACE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long who has sent too fast is not read from, at least.
const SLOWED: Duration = Duration::from_millis(100);

/// What all hubs of a node share.
#[derive(Clone)]
pub struct Setup {
    /// Limits of sessions.
    pub config: Config,
    /// The options of the namespaces.
    pub namespaces: Arc<Namespaces>,
    /// Who clients are.
    pub verifier: Arc<dyn Tokens>,
    /// Where publications come from and go to.
    pub broker: Arc<dyn Broker>,
    /// Who is in which channel.
    pub presence: Arc<dyn Presence>,
    /// What was published before.
    pub history: Arc<dyn History>,
    /// Opens and seals resume tokens.
    pub resume: Arc<ResumeKey>,
}

/// What a hub has to know of its transport.
#[derive(Debug, Clone, Copy)]
pub struct Transport {
    /// The most bytes of a client's message, as `connect` tells it.
    pub message_bytes: usize,
    /// How long a peer may take to end a connection that was closed.
    pub close_timeout: Duration,
}

/// Whether the transport should go on reading from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Yes.
    Go,
    /// Not before the connection is among [`Hub::take_resumed`].
    Wait,
    /// What comes is to be thrown away: the connection is closing, or gone.
    Discard,
}

/// What becomes of a command for the number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charge {
    Carry,
    Refuse,
}

/// A shard's connections, sessions and subscriptions.
pub struct Hub<O, E> {
    pub(crate) config: Config,
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) verifier: Arc<dyn Tokens>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) history: Arc<dyn History>,
    pub(crate) resume_key: Arc<ResumeKey>,
    pub(crate) shard: ShardId,
    pub(crate) encode: E,
    pub(crate) message_bytes: usize,
    pub(crate) connections: Slab<Connection<O>>,
    /// The slot of each open session.
    pub(crate) sessions: HashMap<SessionId, u32, ahash::RandomState>,
    /// What waits behind a `connect` whose token is judged. There are few of them at a time.
    pub(crate) connecting: HashMap<ConnectionId, Box<Pipeline>>,
    pub(crate) expiries: Expiries,
    pub(crate) registry: Registry,
    pub(crate) wheel: Wheel,
    pub(crate) work: Vec<Work>,
    pub(crate) subscribe_deadlines: Deadlines<Ticket>,
    pub(crate) replace_deadlines: Deadlines<ConnectionId>,
    /// When to read again what could not be read.
    pub(crate) repair_deadlines: Deadlines<ChannelKey>,
    pub(crate) counters: Counters,
    pub(crate) scratch: Scratch,
    /// Since the shard's start.
    pub(crate) now: Duration,
    pub(crate) next_sequence: u64,
    next_generation: u32,
    pub(crate) connect_deadlines: Deadlines<ConnectionId>,
    pub(crate) close_deadlines: Deadlines<ConnectionId>,
    /// When to look whether who has sent too fast may be read from again.
    pub(crate) slow_deadlines: Deadlines<ConnectionId>,
    /// Clients are sent elsewhere.
    pub(crate) draining: Option<Draining>,
    resumed: Vec<ConnectionId>,
    pub(crate) cork: Cork,
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// An empty hub for the shard that `setup.broker` knows as `shard`.
    pub fn new(setup: Setup, shard: ShardId, encode: E, transport: Transport) -> Self {
        let Setup { config, namespaces, verifier, broker, presence, history, resume } = setup;
        let mut registry = Registry::default();
        registry.sabotage(&config);
        Self {
            wheel: Wheel::new(config.ping_interval),
            subscribe_deadlines: Deadlines::new(config.subscribe_timeout),
            replace_deadlines: Deadlines::new(REPLACE_TIMEOUT),
            repair_deadlines: Deadlines::new(READ_AGAIN),
            connect_deadlines: Deadlines::new(config.connect_timeout),
            close_deadlines: Deadlines::new(transport.close_timeout),
            slow_deadlines: Deadlines::new(SLOWED),
            config,
            namespaces,
            verifier,
            broker,
            presence,
            history,
            resume_key: resume,
            shard,
            encode,
            message_bytes: transport.message_bytes,
            connections: Slab::new(),
            sessions: HashMap::default(),
            connecting: HashMap::default(),
            expiries: Expiries::default(),
            registry,
            work: Vec::new(),
            counters: Counters::default(),
            scratch: Scratch::default(),
            now: Duration::ZERO,
            next_sequence: 0,
            next_generation: 0,
            draining: None,
            resumed: Vec::new(),
            cork: Cork::default(),
        }
    }

    /// A transport has opened a connection.
    pub fn open(&mut self, outlet: O, wire: Wire) -> ConnectionId {
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        let slot = self.connections.insert(Connection {
            outlet,
            outbox: Outbox::default(),
            session: None,
            rate: Rate::new(self.config.commands_per_second, self.now),
            generation,
            wire,
            missed: 0,
            closing: false,
            finished: false,
            paused: false,
            slowed: false,
        });
        let connection = ConnectionId { slot: slot as u32, generation };
        self.connect_deadlines.add(self.now, connection);
        self.counters.opened += 1;
        connection
    }

    /// The connection in `slot`, if there is one: for transports whose events name the slot.
    pub fn connection_in(&self, slot: usize) -> Option<ConnectionId> {
        let connection = self.connections.get(slot)?;
        Some(ConnectionId { slot: slot as u32, generation: connection.generation })
    }

    /// The outlet of a connection, for the reading side that the transport keeps there.
    pub fn outlet(&mut self, id: ConnectionId) -> Option<&mut O> {
        self.connection(id).map(|connection| &mut connection.outlet)
    }

    /// The wire of a connection.
    pub fn wire(&self, id: ConnectionId) -> Option<Wire> {
        let connection = self.connections.get(id.slot as usize)?;
        (connection.generation == id.generation).then_some(connection.wire)
    }

    /// Whether the transport should read from a connection.
    pub fn reading(&self, id: ConnectionId) -> Reading {
        match self.connections.get(id.slot as usize) {
            Some(connection) if connection.generation == id.generation && !connection.closing => {
                if connection.paused {
                    Reading::Wait
                } else {
                    Reading::Go
                }
            }
            _ => Reading::Discard,
        }
    }

    /// Something was heard from the peer.
    pub fn heard(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connection(id) {
            connection.missed = 0;
        }
    }

    /// A client's message, decoded or refused. Answers are written by [`uncork`](Self::uncork).
    pub fn command(&mut self, id: ConnectionId, request: Result<Request, DecodeError>) -> Reading {
        let over = match self.charge(id) {
            Some(Charge::Carry) => None,
            Some(Charge::Refuse) => Some(self.rate_limited()),
            None => return Reading::Discard,
        };
        self.counters.commands += 1;
        match (request, over) {
            (Ok(request), None) => self.take(id, request),
            (Ok(Request { id: number, .. }), Some(refusal)) => self.refuse(id, Some(number), refusal),
            (Err(error), refusal) => self.refuse(id, error.id, refusal.unwrap_or(error.refusal)),
        }
        self.reading(id)
    }

    /// A control frame of the transport, counted like a command; whether it should be answered.
    pub fn control_frame(&mut self, id: ConnectionId) -> bool {
        self.charge(id) == Some(Charge::Carry)
    }

    /// Bytes of the transport's own for the peer, in their order among the messages.
    pub fn send_own(&mut self, id: ConnectionId, write: impl FnOnce(&mut Vec<u8>)) {
        if self.connection(id).is_some_and(|connection| !connection.closing) {
            self.corked(id.slot, |_, _, out| write(out));
        }
    }

    /// Takes a command's price; `None` if the connection is closing, or was closed for it.
    fn charge(&mut self, id: ConnectionId) -> Option<Charge> {
        let (per_second, now) = (self.config.commands_per_second, self.now);
        let connection = self.connection(id).filter(|connection| !connection.closing)?;
        if connection.session.as_ref().is_some_and(|session| session.identity.is_service) {
            return Some(Charge::Carry);
        }
        let (verdict, wire) = (connection.rate.take(per_second, now), connection.wire);
        if verdict == Verdict::Within {
            return Some(Charge::Carry);
        }
        self.counters.rate_limited += 1;
        if self.encode.refusals_end(wire) {
            // It cannot be told to slow down: it is made to.
            self.slow_down(id);
            return Some(Charge::Carry);
        }
        if verdict == Verdict::Flood {
            self.close(id, &codes::COMMAND_FLOOD, "slow down when you are told rate_limited");
            return None;
        }
        Some(Charge::Refuse)
    }

    /// Whether what is refused to a connection ends it.
    pub(crate) fn refusals_end(&self, id: ConnectionId) -> bool {
        self.wire(id).is_some_and(|wire| self.encode.refusals_end(wire))
    }

    /// Reads no more from a connection until there are tokens for commands again.
    fn slow_down(&mut self, id: ConnectionId) {
        let now = self.now;
        if let Some(connection) = self.connection(id).filter(|connection| !connection.slowed) {
            connection.slowed = true;
            connection.paused = true;
            self.slow_deadlines.add(now, id);
        }
    }

    /// It was not read from for a while.
    pub(crate) fn slowed_down(&mut self, id: ConnectionId) {
        let (per_second, now) = (self.config.commands_per_second, self.now);
        let Some(connection) = self.connection(id) else { return };
        if !connection.rate.has_tokens(per_second, now) {
            return self.slow_deadlines.add(now, id);
        }
        connection.slowed = false;
        if self.pipeline(id).is_none_or(|pipeline| pipeline.has_room()) {
            self.resume(id);
        }
    }

    fn rate_limited(&self) -> Refusal {
        let limit = self.config.commands_per_second;
        Refusal::new(&codes::RATE_LIMITED, format!("at most {limit} commands per second"))
    }

    /// The peer takes bytes again.
    pub fn writable(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        if !connection.outbox.is_empty() && connection.outbox.write_to(&mut connection.outlet).is_err() {
            return self.lost(id);
        }
        self.finish_if_flushed(id);
    }

    /// What must be waited for, to be brought back to [`finished`](Self::finished).
    pub fn take_work(&mut self) -> Vec<Work> {
        std::mem::take(&mut self.work)
    }

    /// From now on the connection is written to in another way: it was found out which only by what its client said.
    pub fn set_wire(&mut self, id: ConnectionId, wire: Wire) {
        self.uncork();
        if let Some(connection) = self.connection(id) {
            connection.wire = wire;
        }
    }

    /// Connections that may be read from again.
    pub fn take_resumed(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.resumed)
    }

    pub(crate) fn pause(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connection(id) {
            connection.paused = true;
        }
    }

    pub(crate) fn resume(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connection(id).filter(|connection| !connection.slowed)
            && std::mem::take(&mut connection.paused)
        {
            self.resumed.push(id);
        }
    }

    /// A call of [`relay`](Self::relay) took so long, by the transport's clock.
    pub fn fanned_out(&mut self, took: Duration) {
        self.counters.fanout_duration.record(took, 1);
    }

    /// What this hub has counted.
    pub fn counters(&self) -> Counters {
        let channels = self.registry.len() as u64;
        Counters { connections: self.connections.len() as u64, channels, ..self.counters.clone() }
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Whether no connection is left.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    pub(crate) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection<O>> {
        self.connections.get_mut(id.slot as usize).filter(|connection| connection.generation == id.generation)
    }
}
