//! A TCP proxy on a fixed port that can be slow, stand still, or swallow what it is sent. It closes nothing by itself.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// What a link does to what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Passes it on.
    Flows,
    /// Passes it on so much later.
    Slow(Duration),
    /// Reads nothing: the buffers of both ends fill.
    Stands,
    /// Reads it and drops it. What is connected then never hears anything again, as behind a firewall that forgot it.
    Swallows,
}

/// The link. It ends, and cuts its connections, when it is dropped.
pub struct Link {
    address: SocketAddr,
    way: watch::Sender<Way>,
    _task: JoinSet<()>,
}

/// The most that is on its way in one direction.
const IN_FLIGHT: usize = 256;

/// Small, so that a link that stands is soon felt at the other end.
const BUFFER: u32 = 64 << 10;

impl Link {
    /// Listens, and passes on to `server`.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", crate::free_port())).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, watcher) = watch::channel(Way::Flows);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, server, watcher));
        Self { address, way, _task: task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, way: watch::Receiver<Way>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            client = listener.accept() => {
                if let Ok((client, _)) = client {
                    connections.spawn(join(client, server, way.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn join(client: TcpStream, server: SocketAddr, way: watch::Receiver<Way>) {
    let Ok(socket) = TcpSocket::new_v4() else { return };
    if socket.set_recv_buffer_size(BUFFER).is_err() {
        return;
    }
    let Ok(server) = socket.connect(server).await else { return };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    // When one direction ends both are closed.
    tokio::select! {
        () = pass(client_reads, server_writes, way.clone()) => {}
        () = pass(server_reads, client_writes, way) => {}
    }
}

/// Passes one direction on, until it ends.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut swallowed = false;
    loop {
        let now = *way.borrow_and_update();
        swallowed |= now == Way::Swallows;
        if swallowed {
            waiting.clear();
        }
        let due = waiting.front().map(|(due, _)| *due);
        let reads = now != Way::Stands && waiting.len() < IN_FLIGHT;
        let mut bytes = Vec::with_capacity(16 << 10);
        tokio::select! {
            changed = way.changed() => if changed.is_err() { return },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && now != Way::Stands => {
                let Some((_, bytes)) = waiting.pop_front() else { continue };
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            count = from.read_buf(&mut bytes), if reads => {
                // An end is passed on as an end, unless the other side is to know nothing.
                match count {
                    Ok(0) | Err(_) => return,
                    Ok(_) if swallowed => {}
                    Ok(_) => {
                        let delay = if let Way::Slow(delay) = now { delay } else { Duration::ZERO };
                        waiting.push_back((Instant::now() + delay, bytes));
                    }
                }
            }
        }
    }
}
