//! Accepts connections and deals them out to the shards in turn.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::capacity::{Capacity, Permit};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 4096;

/// How long to wait when the process is out of file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// How many connections beyond the limit are answered with 503 at a time. The rest are closed at once.
const TURNED_AWAY: usize = 64;

/// A connection that was accepted.
pub(crate) struct Arrival {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) place: Place,
}

/// Whether there is room for it.
pub(crate) enum Place {
    /// It may stay.
    Permitted(Permit),
    /// It is to be told that the node is full.
    Full(Permit),
}

impl Place {
    pub(crate) fn into_permit(self) -> Permit {
        match self {
            Self::Permitted(permit) | Self::Full(permit) => permit,
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

/// Accepts until `stop`. `closed` counts those for whom there was not even an answer.
pub(crate) async fn accept(
    listener: TcpListener,
    capacity: Capacity,
    shards: Vec<mpsc::Sender<Arrival>>,
    closed: Arc<AtomicU64>,
    stop: CancellationToken,
) {
    let turned_away = Capacity::new(TURNED_AWAY);
    let mut turns = (0..shards.len()).cycle();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let stream = match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => stream,
            Err(error) => {
                pause_if_exhausted(&error).await;
                continue;
            }
        };
        let place = match capacity.take() {
            Some(permit) => Place::Permitted(permit),
            None => match turned_away.take() {
                Some(permit) => Place::Full(permit),
                None => {
                    closed.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            },
        };
        let Some(turn) = turns.next() else { return };
        if shards[turn].send(Arrival { stream, place }).await.is_err() {
            return;
        }
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
