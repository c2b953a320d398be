//! A TCP proxy before Redis that can stop passing bytes without closing anything, as a half-open link does.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{Redis, http};

/// The proxy. It ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    flows: watch::Sender<bool>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// Listens, and passes bytes on to `redis`.
    pub async fn start(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (flows, watcher) = watch::channel(true);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, http::address(&redis.url()), watcher));
        Self { address, flows, _task: task }
    }

    /// The Redis URL of this address.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Passes nothing on any more, and closes nothing. New connections are accepted, and hear nothing.
    pub fn stall(&self) {
        self.flows.send_replace(false);
    }

    /// Passes on everything again, also what has come meanwhile.
    pub fn flow(&self) {
        self.flows.send_replace(true);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, flows: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let flows = flows.clone();
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let (client_reads, client_writes) = client.into_split();
            let (server_reads, server_writes) = server.into_split();
            // When one direction ends both are closed.
            tokio::select! {
                () = pass(client_reads, server_writes, flows.clone()) => {}
                () = pass(server_reads, client_writes, flows) => {}
            }
        });
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut flows: watch::Receiver<bool>) {
    let mut bytes = Vec::with_capacity(16 << 10);
    while from.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
        if flows.wait_for(|flows| *flows).await.is_err() || to.write_all(&bytes).await.is_err() {
            return;
        }
        bytes.clear();
    }
}
