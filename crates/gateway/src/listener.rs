//! Accepts connections and deals them out to the shards in turn.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::select_all;
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::address::{Addresses, Lease};
use crate::answer::Refused;
use crate::capacity::{Capacity, Permit};
use crate::forwarded::is_trusted;

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 4096;

/// How long to wait when the process is out of file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// How many connections beyond a limit are answered at a time. The rest are closed at once.
const TURNED_AWAY: usize = 64;

/// A connection that was accepted.
pub(crate) struct Arrival {
    /// Until it is taken.
    pub(crate) stream: Option<std::net::TcpStream>,
    pub(crate) accepted: Instant,
    /// A TLS handshake comes first.
    pub(crate) secure: bool,
    /// The peer is a proxy that is trusted to say whom it speaks for.
    pub(crate) proxied: bool,
    pub(crate) place: Place,
    /// What it is to be told, if there is no room for it.
    pub(crate) refused: Option<Refused>,
}

/// The room that a connection takes, given back when it is dropped.
pub(crate) struct Place {
    _permit: Permit,
    /// Its share of its address' room; none if it has no limits.
    lease: Option<Lease>,
}

impl Place {
    pub(crate) fn new(permit: Permit, lease: Option<Lease>) -> Self {
        Self { _permit: permit, lease }
    }

    /// Behind a proxy the client is known late.
    pub(crate) fn set_lease(&mut self, lease: Option<Lease>) {
        self.lease = lease;
    }

    pub(crate) fn admitted(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.admitted();
        }
    }
}

/// Opens the listener. Accepted sockets inherit its options, which saves a call for each.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What all listeners of a node share.
pub(crate) struct Acceptor {
    shards: Vec<mpsc::Sender<Arrival>>,
    turn: AtomicUsize,
    capacity: Capacity,
    turned_away: Capacity,
    addresses: Arc<Addresses>,
    trusted: Vec<IpNet>,
    /// Connections beyond the node's limit for whom there was not even an answer.
    closed: AtomicU64,
}

impl Acceptor {
    pub(crate) fn new(
        shards: Vec<mpsc::Sender<Arrival>>,
        connections: usize,
        addresses: Arc<Addresses>,
        trusted: Vec<IpNet>,
    ) -> Self {
        let (capacity, turned_away) = (Capacity::new(connections), Capacity::new(TURNED_AWAY));
        Self { shards, turn: AtomicUsize::new(0), capacity, turned_away, addresses, trusted, closed: AtomicU64::new(0) }
    }

    /// How many connections were beyond the node's limit and got no answer.
    pub(crate) fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    /// Accepts until `stop`. `secure`: a TLS handshake comes first.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, secure: bool, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (stream, peer) = match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_if_exhausted(&error).await;
                    continue;
                }
            };
            let Some(arrival) = self.judge(stream, peer.ip(), secure) else { continue };
            tokio::select! {
                dealt = self.deal(arrival) => if !dealt { return },
                () = stop.cancelled() => return,
            }
        }
    }

    /// Finds room for a connection. None if there is none, and no answer either: within TLS that would cost a
    /// handshake.
    fn judge(&self, stream: std::net::TcpStream, peer: IpAddr, secure: bool) -> Option<Arrival> {
        let proxied = is_trusted(peer, &self.trusted);
        let arrival = |place, refused| Arrival {
            stream: Some(stream),
            accepted: Instant::now(),
            secure,
            proxied,
            place,
            refused,
        };
        let Some(permit) = self.capacity.take() else {
            let turned_away = self.turned_away.take().filter(|_| !secure);
            if turned_away.is_none() {
                self.closed.fetch_add(1, Ordering::Relaxed);
            }
            return turned_away.map(|permit| arrival(Place::new(permit, None), Some(Refused::full())));
        };
        // Whom a proxy speaks for is known when its request has come.
        let lease = if proxied { Ok(None) } else { self.addresses.enter(peer) };
        match lease {
            Ok(lease) => Some(arrival(Place::new(permit, lease), None)),
            Err(_) => {
                let permit = self.turned_away.take().filter(|_| !secure)?;
                Some(arrival(Place::new(permit, None), Some(Refused::too_many())))
            }
        }
    }

    /// Hands a connection to the shard whose turn it is, or to another if that one has its hands full. Where all have,
    /// connections wait in the kernel. Whether there are shards.
    async fn deal(&self, mut arrival: Arrival) -> bool {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for offset in 0..self.shards.len() {
            match self.shards[(first.wrapping_add(offset)) % self.shards.len()].try_send(arrival) {
                Ok(()) => return true,
                Err(TrySendError::Full(returned)) => arrival = returned,
                // A shard that has ended has told why; the process ends with it.
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        if self.shards.is_empty() {
            return false;
        }
        let (free, _, _) = select_all(self.shards.iter().map(|shard| Box::pin(shard.reserve()))).await;
        match free {
            Ok(free) => free.send(arrival),
            Err(_) => return false,
        }
        true
    }
}

async fn pause_if_exhausted(error: &io::Error) {
    // EMFILE and ENFILE. Other errors belong to the connection that was to be accepted.
    if matches!(error.raw_os_error(), Some(23 | 24)) {
        tracing::warn!(%error, "out of file descriptors, connections have to wait");
        tokio::time::sleep(EXHAUSTED_PAUSE).await;
    } else {
        tracing::debug!(%error, "a connection was gone before it was accepted");
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;
    use crate::config::PerAddress;

    fn acceptor(shards: Vec<mpsc::Sender<Arrival>>) -> Acceptor {
        let limits = PerAddress { connections: 1, ..PerAddress::default() };
        let trusted = vec!["10.0.0.0/8".parse().unwrap()];
        Acceptor::new(shards, 4, Arc::new(Addresses::new(limits)), trusted)
    }

    fn judged(acceptor: &Acceptor, peer: [u8; 4], secure: bool) -> Option<Arrival> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        acceptor.judge(stream, peer.into(), secure)
    }

    #[tokio::test]
    async fn a_full_shard_keeps_nobody_from_the_others() {
        let (full, _kept) = mpsc::channel(1);
        let (free, mut arrivals) = mpsc::channel(2);
        let acceptor = acceptor(vec![full, free]);
        for expected in [0, 1, 2] {
            assert!(acceptor.deal(judged(&acceptor, [10, 0, 0, 1], false).unwrap()).await);
            assert_eq!(arrivals.len(), expected, "the first shard has room for one");
        }
        // Both are full now: dealing waits for whoever has room first.
        let arrival = judged(&acceptor, [10, 0, 0, 1], false).unwrap();
        let (dealt, _) = tokio::join!(acceptor.deal(arrival), arrivals.recv());
        assert!(dealt);
        assert_eq!(arrivals.len(), 2);
    }

    #[test]
    fn who_is_over_a_limit_is_told_so_or_closed() {
        let acceptor = acceptor(Vec::new());
        let first = judged(&acceptor, [203, 0, 113, 1], false).unwrap();
        assert!(first.refused.is_none() && !first.proxied);
        let second = judged(&acceptor, [203, 0, 113, 1], false).unwrap();
        assert_eq!(second.refused.map(|refused| refused.status), Some(429));
        assert!(judged(&acceptor, [203, 0, 113, 1], true).is_none(), "an answer within TLS would cost a handshake");
        assert_eq!(acceptor.closed(), 0);
        let _proxied = [1, 2, 3].map(|_| {
            let arrival = judged(&acceptor, [10, 0, 0, 1], false).unwrap();
            assert!(arrival.refused.is_none() && arrival.proxied);
            arrival
        });
        let full = judged(&acceptor, [203, 0, 113, 2], false).unwrap();
        assert_eq!(full.refused.map(|refused| refused.status), Some(503), "the node has four places");
        assert!(judged(&acceptor, [203, 0, 113, 2], true).is_none());
        assert_eq!(acceptor.closed(), 1);
    }
}
