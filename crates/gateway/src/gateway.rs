//! Starts the listener and the shards, and drains them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use ullim_broker::{MAX_SHARDS, shard_queue};
use ullim_hub::Setup;

use crate::capacity::{Capacity, default_max_connections};
use crate::config::Config;
use crate::counters::{Counters, Published};
use crate::listener;
use crate::shard::{Order, Shard, ShardSetup};

/// How many connections may wait for a shard to take them.
const ARRIVALS: usize = 1024;

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not ours.
    #[error("cannot listen for clients on {0} (client.listen)")]
    Listen(SocketAddr, #[source] io::Error),
    /// A shard has no thread or no event queue.
    #[error("cannot start a shard")]
    Shard(#[source] io::Error),
}

/// The client-facing side of a node, running.
pub struct Gateway {
    address: SocketAddr,
    /// Connections beyond the limit that were closed without an answer.
    closed: Arc<AtomicU64>,
    stop_accepting: CancellationToken,
    accepting: TaskTracker,
    shards: Vec<RunningShard>,
}

struct RunningShard {
    orders: mpsc::Sender<Order>,
    published: Arc<Published>,
}

impl Gateway {
    /// Opens the listener and starts the shards' threads. `broker_queue_bytes` bounds what waits for each shard. Must be
    /// called within a tokio runtime, which accepts connections. A shard that panics is gone with its clients: the
    /// process should end with it.
    pub fn start(config: &Config, broker_queue_bytes: usize, setup: &Setup) -> Result<Self, StartError> {
        let listener = listener::bind(config.listen).map_err(|error| StartError::Listen(config.listen, error))?;
        let address = listener.local_addr().map_err(|error| StartError::Listen(config.listen, error))?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let count = if config.shards == 0 { cores() } else { config.shards }.min(MAX_SHARDS);
        let mut shards = Vec::new();
        let mut arrivals = Vec::new();
        for index in 0..count {
            let (arrival_sender, arrival_receiver) = mpsc::channel(ARRIVALS);
            arrivals.push(arrival_sender);
            let shard = start_shard(index, config, broker_queue_bytes, setup, arrival_receiver);
            shards.push(shard.map_err(StartError::Shard)?);
        }
        let capacity = Capacity::new(config.max_connections.unwrap_or_else(default_max_connections));
        let closed = Arc::new(AtomicU64::new(0));
        let stop_accepting = CancellationToken::new();
        let accepting = TaskTracker::new();
        accepting.spawn(listener::accept(listener, capacity, arrivals, Arc::clone(&closed), stop_accepting.clone()));
        accepting.close();
        Ok(Self { address, closed, stop_accepting, accepting, shards })
    }

    /// Where clients connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What the shards have counted, a quarter of a second ago at most.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        let closed = self.closed.load(Ordering::Relaxed);
        if closed > 0 {
            sum.handshakes_refused.insert(503, closed);
        }
        for shard in &self.shards {
            shard.published.add_to(&mut sum);
        }
        sum
    }

    /// Stops accepting, tells every client to go elsewhere, and waits until they have gone, `window` at most.
    pub async fn drain(&self, window: Duration) {
        self.stop_accepting.cancel();
        self.accepting.wait().await;
        let mut drained = Vec::new();
        for shard in &self.shards {
            let (sender, receiver) = oneshot::channel();
            // A shard that has ended has no connections.
            if shard.orders.send(Order::Drain { window, drained: sender }).await.is_ok() {
                drained.push(receiver);
            }
        }
        for receiver in drained {
            let _ = receiver.await;
        }
    }
}

fn start_shard(
    index: usize,
    config: &Config,
    broker_queue_bytes: usize,
    setup: &Setup,
    arrivals: mpsc::Receiver<crate::listener::Arrival>,
) -> io::Result<RunningShard> {
    let (queue, inbox) = shard_queue(broker_queue_bytes);
    let id = setup.broker.attach(queue);
    let (order_sender, orders) = mpsc::channel(4);
    let published = Arc::new(Published::default());
    let shard_setup = ShardSetup {
        id,
        config: config.clone(),
        hub: setup.clone(),
        inbox,
        arrivals,
        orders,
        published: Arc::clone(&published),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let shard = Shard::new(shard_setup)?;
    drop(entered);
    std::thread::Builder::new().name(format!("ullim-shard-{index}")).spawn(move || {
        runtime.block_on(shard.run());
    })?;
    Ok(RunningShard { orders: order_sender, published })
}
