//! The listeners, which all shards share: whose turn it is to accept, and what room there is.
//!
//! A shard accepts on its own thread: handing a connection over would cost more than accepting it. Where there are
//! several, one of them has the turn: it alone watches the listeners. After each burst the turn goes to whoever has the
//! fewest connections, so that they stay evenly dealt.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::address::{Addresses, Lease};
use crate::answer::Refused;
use crate::capacity::{Capacity, Permit};
use crate::door::Door;
use crate::forwarded::is_trusted;

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 4096;

/// How many connections beyond a limit are answered at a time. The rest are closed at once.
const TURNED_AWAY: usize = 64;

/// A connection that was accepted.
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) visitor: Visitor,
}

/// What is known of a connection before its request is answered.
pub(crate) struct Visitor {
    pub(crate) accepted: Instant,
    pub(crate) door: Door,
    /// The peer is a proxy that is trusted to say whom it speaks for.
    pub(crate) proxied: bool,
    pub(crate) place: Place,
    /// What it is to be told, whatever it asks for, if there is no room for it.
    pub(crate) refused: Option<Box<Refused>>,
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

/// Opens a listener. Accepted sockets inherit its options, which saves a call for each.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Finds out within two minutes that a peer is gone that says nothing and is told nothing: over TCP a STOMP client may
/// do without heart-beats.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4)
}

/// What all shards of a node share of its listeners.
pub(crate) struct Acceptor {
    /// In the order of [`Door::ALL`]. None that is closed.
    listeners: Mutex<[Option<TcpListener>; Self::LISTENERS]>,
    shards: Vec<Seat>,
    capacity: Capacity,
    turned_away: Capacity,
    addresses: Arc<Addresses>,
    trusted: Vec<IpNet>,
    /// Connections beyond the node's limit for whom there was not even an answer.
    closed: AtomicU64,
}

/// What the shards know of one of them.
#[derive(Default)]
struct Seat {
    connections: AtomicUsize,
    called: Notify,
}

impl Acceptor {
    /// How many listeners there are at most.
    pub(crate) const LISTENERS: usize = Door::ALL.len();

    /// The first of `shards` has the turn.
    pub(crate) fn new(
        listeners: [Option<TcpListener>; Self::LISTENERS],
        shards: usize,
        connections: usize,
        addresses: Arc<Addresses>,
        trusted: Vec<IpNet>,
    ) -> Self {
        let shards: Vec<Seat> = std::iter::repeat_with(Seat::default).take(shards).collect();
        if let Some(first) = shards.first() {
            first.called.notify_one();
        }
        let (capacity, turned_away) = (Capacity::new(connections), Capacity::new(TURNED_AWAY));
        let listeners = Mutex::new(listeners);
        Self { listeners, shards, capacity, turned_away, addresses, trusted, closed: AtomicU64::new(0) }
    }

    /// How many connections were beyond the node's limit and got no answer.
    pub(crate) fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    /// Ends the listeners. Connections that were not accepted are reset.
    pub(crate) fn close(&self) {
        *self.listeners() = Default::default();
    }

    /// Does something with each listener that is open.
    pub(crate) fn each(&self, mut act: impl FnMut(usize, &mut TcpListener) -> io::Result<()>) -> io::Result<()> {
        let mut listeners = self.listeners();
        let mut open = listeners.iter_mut().enumerate().filter_map(|(index, it)| Some((index, it.as_mut()?)));
        open.try_for_each(|(index, listener)| act(index, listener))
    }

    /// The next connection that waits at a listener; `WouldBlock` if none does, also where there is no listener.
    pub(crate) fn accept(&self, listener: usize) -> io::Result<(TcpStream, IpAddr)> {
        match &self.listeners()[listener] {
            Some(listener) => listener.accept().map(|(stream, peer)| (stream, peer.ip())),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Waits until a shard has the turn.
    pub(crate) async fn called(&self, shard: usize) {
        self.shards[shard].called.notified().await;
    }

    /// A shard has so many connections.
    pub(crate) fn report(&self, shard: usize, connections: usize) {
        // Nobody writes it but that shard, and whoever reads it can do with an older number.
        let known = &self.shards[shard].connections;
        if known.load(Ordering::Relaxed) != connections {
            known.store(connections, Ordering::Relaxed);
        }
    }

    /// How many connections a shard had when it last said so.
    pub(crate) fn connections(&self, shard: usize) -> usize {
        self.shards[shard].connections.load(Ordering::Relaxed)
    }

    /// Who has fewer connections than `shard` has, and the fewest of all.
    pub(crate) fn next_after(&self, shard: usize) -> Option<usize> {
        // Of equals the next in the round.
        let others = (1..self.shards.len()).map(|offset| (shard + offset) % self.shards.len());
        let fewest = others.min_by_key(|other| self.connections(*other))?;
        (self.connections(fewest) < self.connections(shard)).then_some(fewest)
    }

    /// Gives the turn to a shard. Whoever had it must not watch the listeners any longer.
    pub(crate) fn call(&self, shard: usize) {
        self.shards[shard].called.notify_one();
    }

    /// Finds room for a connection. None if there is none, and no answer either.
    pub(crate) fn judge(&self, peer: IpAddr, door: Door) -> Option<Visitor> {
        let proxied = is_trusted(peer, &self.trusted);
        let visitor = |place, refused: Option<Refused>| Visitor {
            accepted: Instant::now(),
            door,
            proxied,
            place,
            refused: refused.map(Box::new),
        };
        let Some(permit) = self.capacity.take() else {
            let turned_away = self.turned_away.take().filter(|_| door.answers_refused());
            if turned_away.is_none() {
                self.closed.fetch_add(1, Ordering::Relaxed);
            }
            return turned_away.map(|permit| visitor(Place::new(permit, None), Some(Refused::full())));
        };
        // Whom a proxy speaks for is known when its request has come; where it sends none, it speaks for nobody.
        let lease = if proxied { Ok(None) } else { self.addresses.enter(peer) };
        match lease {
            Ok(lease) => Some(visitor(Place::new(permit, lease), None)),
            Err(_) => {
                let permit = self.turned_away.take().filter(|_| door.answers_refused())?;
                Some(visitor(Place::new(permit, None), Some(Refused::too_many())))
            }
        }
    }

    fn listeners(&self) -> MutexGuard<'_, [Option<TcpListener>; Self::LISTENERS]> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::PerAddress;

    fn acceptor(shards: usize) -> Acceptor {
        let limits = PerAddress { connections: 1, ..PerAddress::default() };
        let trusted = vec!["10.0.0.0/8".parse().unwrap()];
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Acceptor::new([Some(listener), None, None, None], shards, 4, Arc::new(Addresses::new(limits)), trusted)
    }

    #[tokio::test]
    async fn the_turn_goes_to_whoever_has_the_fewest() {
        let acceptor = acceptor(3);
        acceptor.called(0).await;
        assert_eq!(acceptor.next_after(0), None, "nobody has fewer");
        acceptor.report(0, 2);
        assert_eq!(acceptor.next_after(0), Some(1), "of equals the next in the round");
        acceptor.report(1, 1);
        assert_eq!(acceptor.next_after(0), Some(2));
        acceptor.report(2, 1);
        assert_eq!(acceptor.next_after(2), None, "no more than any other");
        assert_eq!(acceptor.next_after(0), Some(1));
        acceptor.call(1);
        acceptor.called(1).await;
    }

    #[test]
    fn a_listener_that_is_closed_refuses_and_has_nobody_waiting() {
        let acceptor = acceptor(1);
        let address = acceptor.listeners()[0].as_ref().unwrap().local_addr().unwrap();
        let _waiting = std::net::TcpStream::connect(address).unwrap();
        assert!(acceptor.accept(0).is_ok());
        assert_eq!(acceptor.accept(0).err().unwrap().kind(), io::ErrorKind::WouldBlock);
        acceptor.close();
        assert_eq!(acceptor.accept(0).err().unwrap().kind(), io::ErrorKind::WouldBlock);
        assert!(std::net::TcpStream::connect(address).is_err());
    }

    #[test]
    fn who_is_over_a_limit_is_told_so_or_closed() {
        let acceptor = acceptor(1);
        let judged = |peer: [u8; 4], door| acceptor.judge(peer.into(), door);
        let first = judged([203, 0, 113, 1], Door::Http).unwrap();
        assert!(first.refused.is_none() && !first.proxied);
        let second = judged([203, 0, 113, 1], Door::Http).unwrap();
        assert_eq!(second.refused.map(|refused| refused.status), Some(429));
        for door in [Door::HttpTls, Door::Stomp, Door::StompTls] {
            assert!(judged([203, 0, 113, 1], door).is_none(), "{door:?} has no answer");
        }
        assert_eq!(acceptor.closed(), 0);
        let _proxied = [1, 2, 3].map(|_| {
            let visitor = judged([10, 0, 0, 1], Door::Http).unwrap();
            assert!(visitor.refused.is_none() && visitor.proxied);
            visitor
        });
        let full = judged([203, 0, 113, 2], Door::Http).unwrap();
        assert_eq!(full.refused.map(|refused| refused.status), Some(503), "the node has four places");
        for (closed, door) in [Door::HttpTls, Door::Stomp, Door::StompTls].into_iter().enumerate() {
            assert!(judged([203, 0, 113, 2], door).is_none(), "{door:?}");
            assert_eq!(acceptor.closed(), closed as u64 + 1, "{door:?}");
        }
    }
}
