//! Starts the listeners and the shards, and drains them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use ullim_broker::{MAX_SHARDS, shard_queue};
use ullim_hub::Setup;

use crate::address::Addresses;
use crate::capacity::default_max_connections;
use crate::config::Config;
use crate::counters::{Counters, Published};
use crate::listener::{self, Acceptor};
use crate::pages::Pages;
use crate::shard::{Order, Securing, Shard, ShardSetup};
use crate::tls::{self, CertificateError, Certificates, Workers};

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not ours.
    #[error("cannot listen for clients on {0} (client.listen): does another node run here?")]
    Listen(SocketAddr, #[source] io::Error),
    /// The same, of the listener with TLS.
    #[error("cannot listen for clients on {0} (client.tls.listen): does another node run here?")]
    ListenTls(SocketAddr, #[source] io::Error),
    /// The same, of the listener for STOMP.
    #[error("cannot listen for clients on {0} (client.stomp.listen): does another node run here?")]
    ListenStomp(SocketAddr, #[source] io::Error),
    /// The same, of the listener for STOMP with TLS.
    #[error("cannot listen for clients on {0} (client.stomp.tls_listen): does another node run here?")]
    ListenStompTls(SocketAddr, #[source] io::Error),
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS cannot be set up: there is no randomness.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// A shard has no thread or no event queue.
    #[error("cannot start a shard")]
    Shard(#[source] io::Error),
}

/// The client-facing side of a node, running. It ends when it is dropped.
pub struct Gateway {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    stomp_address: Option<SocketAddr>,
    stomp_tls_address: Option<SocketAddr>,
    acceptor: Arc<Acceptor>,
    addresses: Arc<Addresses>,
    certificates: Option<Arc<Certificates>>,
    /// Ends the watch over the certificate's files.
    stop: CancellationToken,
    watching: TaskTracker,
    shards: Vec<RunningShard>,
}

struct RunningShard {
    orders: mpsc::Sender<Order>,
    published: Arc<Published>,
}

impl Gateway {
    /// Opens the listeners and starts the shards' threads. `broker_queue_bytes` bounds what waits for each shard;
    /// `pages` are served to those who ask for no WebSocket. Must be called within a tokio runtime, which
    /// watches the certificate. A shard that panics is gone with its clients: the process should end with it.
    pub fn start(config: &Config, broker_queue_bytes: usize, setup: &Setup, pages: Pages) -> Result<Self, StartError> {
        let (plain, address) = bind(config.listen, StartError::Listen)?;
        let (tls, tls_address) = bind_if(config.tls.listen, StartError::ListenTls)?;
        let (stomp, stomp_address) = bind_if(config.stomp.listen, StartError::ListenStomp)?;
        let (stomp_tls, stomp_tls_address) = bind_if(config.stomp.tls_listen, StartError::ListenStompTls)?;
        // In the order of `Door::ALL`.
        let listeners = [Some(plain), tls, stomp, stomp_tls];
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let count = if config.shards == 0 { cores() } else { config.shards }.min(MAX_SHARDS);

        let stop = CancellationToken::new();
        let watching = TaskTracker::new();
        let mut certificates = None;
        let mut securing = None;
        if config.has_tls() {
            let (loaded, watcher) = Certificates::load(&config.tls)?;
            watching.spawn(watcher.run(stop.clone()));
            let workers = Workers::start(count * Securing::AT_WORK).map_err(StartError::Shard)?;
            securing = Some((tls::server_config(Arc::clone(&loaded))?, workers));
            certificates = Some(loaded);
        }

        let addresses = Arc::new(Addresses::new(config.per_address.clone()));
        watching.close();
        let connections = config.max_connections.unwrap_or_else(default_max_connections);
        let (addresses_of, trusted) = (Arc::clone(&addresses), config.trusted_proxies.clone());
        let acceptor = Arc::new(Acceptor::new(listeners, count, connections, addresses_of, trusted));
        let mut shards = Vec::new();
        for number in 0..count {
            let securing = securing
                .as_ref()
                .map(|(tls, workers)| Securing::new(tls.clone(), workers.clone(), config.handshake_timeout));
            let (acceptor, addresses) = (Arc::clone(&acceptor), Arc::clone(&addresses));
            let parts = ShardParts { acceptor, number, securing, addresses };
            let shard = start_shard(config, broker_queue_bytes, setup, pages.clone(), parts);
            shards.push(shard.map_err(StartError::Shard)?);
        }
        Ok(Self {
            address,
            tls_address,
            stomp_address,
            stomp_tls_address,
            acceptor,
            addresses,
            certificates,
            stop,
            watching,
            shards,
        })
    }

    /// Where clients connect without TLS.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where clients connect with TLS, if they can.
    pub fn tls_local_addr(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Where clients connect with STOMP over TCP, if they can.
    pub fn stomp_local_addr(&self) -> Option<SocketAddr> {
        self.stomp_address
    }

    /// Where clients connect with STOMP over TLS, if they can.
    pub fn stomp_tls_local_addr(&self) -> Option<SocketAddr> {
        self.stomp_tls_address
    }

    /// What the shards have counted, a quarter of a second ago at most.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        let closed = self.acceptor.closed();
        if closed > 0 {
            sum.handshakes_refused.insert(503, closed);
        }
        sum.address_limited = self.addresses.refused().collect();
        if let Some(certificates) = &self.certificates {
            certificates.count_in(&mut sum.tls);
        }
        for shard in &self.shards {
            shard.published.add_to(&mut sum);
        }
        sum
    }

    /// Stops accepting, sends every client elsewhere, evenly over `window`, and waits until they have gone: as long as
    /// that and `client.close_timeout` at most.
    pub async fn drain(&self, window: Duration) {
        self.acceptor.close();
        self.stop.cancel();
        self.watching.wait().await;
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

impl Drop for Gateway {
    fn drop(&mut self) {
        self.acceptor.close();
        self.stop.cancel();
    }
}

fn bind(
    address: SocketAddr,
    failed: fn(SocketAddr, io::Error) -> StartError,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = listener::bind(address).and_then(|listener| listener.local_addr().map(|bound| (listener, bound)));
    bound.map_err(|error| failed(address, error))
}

fn bind_if(
    address: Option<SocketAddr>,
    failed: fn(SocketAddr, io::Error) -> StartError,
) -> Result<(Option<TcpListener>, Option<SocketAddr>), StartError> {
    let bound = address.map(|address| bind(address, failed)).transpose()?;
    Ok(bound.unzip())
}

/// What a shard is given beside the configuration.
struct ShardParts {
    acceptor: Arc<Acceptor>,
    number: usize,
    securing: Option<Securing>,
    addresses: Arc<Addresses>,
}

fn start_shard(
    config: &Config,
    broker_queue_bytes: usize,
    setup: &Setup,
    pages: Pages,
    parts: ShardParts,
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
        acceptor: parts.acceptor,
        number: parts.number,
        securing: parts.securing,
        addresses: parts.addresses,
        pages,
        orders,
        published: Arc::clone(&published),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let number = parts.number;
    let shard = Shard::new(shard_setup)?;
    drop(entered);
    std::thread::Builder::new().name(format!("ullim-shard-{number}")).spawn(move || {
        runtime.block_on(shard.run());
    })?;
    Ok(RunningShard { orders: order_sender, published })
}

#[cfg(test)]
mod tests;
