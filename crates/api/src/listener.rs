//! Accepts the connections of operators and backends, and bounds them: their number, the time that each may take for a
//! request's head and for reading an answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::stall::Stalling;

/// How long to wait when the process is out of file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// How many connections beyond the limit are still answered at a time. The rest are closed at once.
const TURNED_AWAY: usize = 32;

/// The most bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;

/// What connections are answered by.
pub(crate) struct Routes {
    /// Everything.
    pub(crate) all: Router,
    /// What is left beyond the limit of connections, one request for each: an operator must still see the node.
    pub(crate) when_full: Router,
}

/// Serves until `shutdown`, and ends the requests that are under way.
pub(crate) async fn serve(
    listener: TcpListener,
    config: &Config,
    routes: Routes,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_if_exhausted(&error).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            () = shutdown.cancelled() => break,
        };
        let (router, place, keep_alive) = match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => (&routes.all, place, true),
            Err(_) => match Arc::clone(&turned_away).try_acquire_owned() {
                Ok(place) => (&routes.when_full, place, false),
                Err(_) => {
                    tracing::debug!("too many connections to the internal listener, one was closed");
                    continue;
                }
            },
        };
        let connection = Connection {
            stream,
            router: router.clone(),
            keep_alive,
            idle_timeout: config.idle_timeout,
            request_timeout: config.request_timeout,
            _place: place,
        };
        connections.spawn(connection.serve(shutdown.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// One connection, which holds its place until it ends.
struct Connection {
    stream: TcpStream,
    router: Router,
    keep_alive: bool,
    idle_timeout: Duration,
    request_timeout: Duration,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, shutdown: CancellationToken) {
        // It only makes answers slower if it cannot be set.
        let _ = self.stream.set_nodelay(true);
        let socket = TokioIo::new(Stalling::new(self.stream, self.request_timeout));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.idle_timeout);
        http.max_buf_size(HEAD_BYTES).keep_alive(self.keep_alive);
        let mut connection = std::pin::pin!(http.serve_connection(socket, TowerToHyperService::new(self.router)));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the internal listener broke");
        }
    }
}

async fn pause_if_exhausted(error: &io::Error) {
    // EMFILE and ENFILE. Other errors belong to the connection that was to be accepted.
    if matches!(error.raw_os_error(), Some(23 | 24)) {
        tracing::warn!(%error, "out of file descriptors, connections to the internal listener have to wait");
        tokio::time::sleep(EXHAUSTED_PAUSE).await;
    }
}
