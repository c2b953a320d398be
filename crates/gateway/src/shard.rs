//! A shard: a thread with its own runtime, its sockets in one event queue of their own, and its hub. Nothing in it is
//! shared with another shard.
//!
//! One turn: what the sockets say, what has been waited for, what the broker relays, who arrives, what time it is.
//!
//! * `accepting`: the listeners, while this shard has the turn
//! * `arrivals`: who arrives; `securing`: TLS handshakes, `queue`: whose turn it is; `opening`: requests, and their
//!   answers
//! * `input`: from a connection's bytes to the hub's commands; `frames`: those of STOMP
//! * `sockets`: the event queue

mod accepting;
mod arrivals;
mod frames;
mod input;
mod opening;
mod queue;
mod securing;
mod sockets;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use mio::Events;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use ullim_broker::{Histogram, Relayed, ShardId, ShardInbox};
use ullim_hub::{ConnectionId, Finished, Hub, Setup, Transport, Work};
use ullim_protocol::websocket::Limits;

use crate::address::Addresses;
use crate::config::Config;
use crate::counters::{Counters, Published, TlsCounters};
use crate::encode::Frames;
use crate::handshake::Rules;
use crate::listener::Acceptor;
use crate::pages::Pages;
use crate::shard::accepting::Accepting;
use crate::shard::arrivals::{ArrivingSockets, Key};
use crate::shard::sockets::Sockets;
use crate::socket::Socket;
use crate::stomp;
use crate::tls::Job;

pub(crate) use securing::Securing;

/// The most bytes taken from a socket by one read. One buffer of this size serves all of a shard's connections.
const READ_BYTES: usize = 64 << 10;

/// The most events taken from the sockets in one turn: what is relayed goes out between two.
const EVENTS: usize = 128;

/// How often the time is looked at when nothing else happens, at most.
const TICK: Duration = Duration::from_millis(100);

/// What a shard is told from outside.
pub(crate) enum Order {
    /// Send every client elsewhere within `window`, and end.
    Drain { window: Duration, drained: oneshot::Sender<()> },
}

/// What a shard is made of.
pub(crate) struct ShardSetup {
    pub(crate) id: ShardId,
    pub(crate) config: Config,
    pub(crate) hub: Setup,
    pub(crate) inbox: ShardInbox,
    pub(crate) acceptor: Arc<Acceptor>,
    /// Its number among the acceptor's shards.
    pub(crate) number: usize,
    /// None without a listener with TLS.
    pub(crate) securing: Option<Securing>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) pages: Pages,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) published: Arc<Published>,
}

pub(crate) struct Shard {
    sockets: Sockets,
    events: Events,
    hub: Hub<Socket, Frames>,
    accepting: Accepting,
    arriving: ArrivingSockets,
    securing: Option<Securing>,
    addresses: Arc<Addresses>,
    pages: Pages,
    rules: Rules,
    /// Of a WebSocket's messages.
    limits: Limits,
    stomp: stomp::Rules,
    inbox: ShardInbox,
    /// What was taken from `inbox`, and how much of it the hub has had.
    backlog: Vec<Relayed>,
    relayed: usize,
    orders: mpsc::Receiver<Order>,
    work: FuturesUnordered<WaitFor>,
    /// Connections that had their share of this turn and more to read.
    unfinished: Vec<ConnectionId>,
    buffer: Vec<u8>,
    started: Instant,
    tick: Duration,
    refused: BTreeMap<u16, u64>,
    handshake_duration: Histogram,
    tls: TlsCounters,
    published: Arc<Published>,
    /// How long a peer may take to end a connection that was closed.
    close_timeout: Duration,
    /// Until when, and who waits for the end.
    draining: Option<(Instant, oneshot::Sender<()>)>,
}

type WaitFor = std::pin::Pin<Box<dyn Future<Output = Finished> + Send>>;

/// What a turn begins with.
enum Wake {
    Sockets,
    Relay,
    Called,
    Worked(Job<Key>),
    Finished(Finished),
    Order(Option<Order>),
    Tick,
}

impl Shard {
    /// A shard without connections. Must be called within the runtime that will run it.
    pub(crate) fn new(setup: ShardSetup) -> io::Result<Self> {
        let ShardSetup { id, config, hub, inbox, acceptor, number, securing, addresses, pages, orders, published } =
            setup;
        let limits = Limits { message_bytes: config.message_bytes, fragments: config.message_fragments };
        let stomp = stomp::Rules::new(&config, &hub.config);
        let transport = Transport { message_bytes: config.message_bytes, close_timeout: config.close_timeout };
        let tick = (hub.config.ping_interval / 256).clamp(Duration::from_millis(1), TICK);
        Ok(Self {
            sockets: Sockets::new()?,
            events: Events::with_capacity(EVENTS),
            hub: Hub::new(hub, id, Frames, transport),
            accepting: Accepting::new(acceptor, number),
            arriving: ArrivingSockets::new(config.handshake_timeout),
            securing,
            addresses,
            pages,
            rules: Rules {
                header_bytes: config.header_bytes,
                origins: config.origins,
                trusted: config.trusted_proxies,
            },
            limits,
            stomp,
            inbox,
            backlog: Vec::new(),
            relayed: 0,
            orders,
            work: FuturesUnordered::new(),
            unfinished: Vec::new(),
            buffer: vec![0; READ_BYTES],
            started: Instant::now(),
            tick,
            refused: BTreeMap::new(),
            handshake_duration: Histogram::default(),
            tls: TlsCounters::default(),
            published,
            close_timeout: config.close_timeout,
            draining: None,
        })
    }

    /// Turns until it is drained.
    pub(crate) async fn run(mut self) {
        self.hub.warm_up();
        let mut ticks = tokio::time::interval(self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut published = Instant::now();
        loop {
            let is_behind = !self.backlog.is_empty()
                || !self.unfinished.is_empty()
                || self.hub.is_behind()
                || self.accepting.is_behind();
            let wake = match is_behind {
                true => {
                    tokio::task::yield_now().await;
                    Wake::Sockets
                }
                false => self.wait(&mut ticks).await,
            };
            self.hub.advance(self.started.elapsed());
            self.turn(wake, is_behind);
            if published.elapsed() > Duration::from_millis(250) {
                published = Instant::now();
                self.publish_counters();
            }
            if self.is_drained() {
                return;
            }
        }
    }

    async fn wait(&mut self, ticks: &mut tokio::time::Interval) -> Wake {
        tokio::select! {
            () = self.sockets.ready() => Wake::Sockets,
            () = self.inbox.filled() => Wake::Relay,
            () = self.accepting.called() => Wake::Called,
            Some(finished) = self.work.next() => Wake::Finished(finished),
            order = self.orders.recv(), if self.draining.is_none() => Wake::Order(order),
            job = Securing::next(&mut self.securing) => Wake::Worked(job),
            _ = ticks.tick() => Wake::Tick,
        }
    }

    fn turn(&mut self, wake: Wake, is_behind: bool) {
        match wake {
            Wake::Sockets => self.look_at_sockets(),
            Wake::Called => self.accepting.begin(&self.sockets),
            Wake::Worked(job) => self.take_worked(job),
            Wake::Finished(finished) => self.hub.finished(finished),
            Wake::Order(Some(Order::Drain { window, drained })) => self.drain(window, drained),
            // The gateway is gone without a drain: there is nobody to serve.
            Wake::Order(None) => self.drain(Duration::ZERO, oneshot::channel().0),
            Wake::Relay | Wake::Tick => {}
        }
        if is_behind {
            // What a shard that has nothing to do would wait for.
            if let Ok(Order::Drain { window, drained }) = self.orders.try_recv() {
                self.drain(window, drained);
            }
            if self.accepting.called().now_or_never().is_some() {
                self.accepting.begin(&self.sockets);
            }
            while let Some(job) = self.securing.as_mut().and_then(Securing::next_now) {
                self.take_worked(job);
            }
            while let Some(Some(finished)) = self.work.next().now_or_never() {
                self.hub.finished(finished);
            }
        }
        self.relay();
        self.go_on_reading();
        self.accept_waiting();
        self.time_out_arriving();
        self.work.extend(self.hub.take_work().into_iter().map(Work::into_future));
    }

    fn relay(&mut self) {
        if self.backlog.is_empty() {
            self.inbox.take(&mut self.backlog);
        }
        if self.backlog.is_empty() {
            return;
        }
        let began = Instant::now();
        self.relayed += self.hub.relay(&self.backlog[self.relayed..]);
        self.hub.fanned_out(began.elapsed());
        if self.relayed == self.backlog.len() {
            self.backlog.clear();
            self.relayed = 0;
        }
    }

    fn look_at_sockets(&mut self) {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        if let Err(error) = self.sockets.take(&mut events) {
            tracing::error!(%error, "the sockets' events cannot be read");
        }
        for event in &events {
            let ended = event.is_read_closed() || event.is_error();
            if self.accepting.has_event(event.token()) {
                continue;
            }
            if let Some(index) = ArrivingSockets::index_of(event.token()) {
                self.advance(index);
            } else if let Some(id) = self.hub.connection_in(event.token().0) {
                if event.is_writable() {
                    self.writable(id);
                }
                if event.is_readable() || ended {
                    self.read(id, ended);
                }
            }
        }
        self.events = events;
    }

    /// What was encrypted for a peer goes out before what was not.
    fn writable(&mut self, id: ConnectionId) {
        match self.hub.outlet(id).map(Socket::flush) {
            Some(Ok(true)) => self.hub.writable(id),
            Some(Err(_)) => self.hub.lost(id),
            Some(Ok(false)) | None => {}
        }
    }

    fn drain(&mut self, window: Duration, drained: oneshot::Sender<()>) {
        self.refuse_arriving();
        self.hub.drain(window);
        self.draining = Some((Instant::now() + window + self.close_timeout, drained));
    }

    fn is_drained(&mut self) -> bool {
        let Some((deadline, _)) = &self.draining else {
            return false;
        };
        if !self.hub.is_empty() && Instant::now() < *deadline {
            return false;
        }
        self.publish_counters();
        if let Some((_, drained)) = self.draining.take() {
            // Whoever asked may have given up waiting.
            let _ = drained.send(());
        }
        true
    }

    fn publish_counters(&self) {
        self.published.publish(Counters {
            hub: self.hub.counters(),
            handshakes_refused: self.refused.clone(),
            handshake_duration: self.handshake_duration,
            tls: self.tls,
            ..Counters::default()
        });
    }
}
