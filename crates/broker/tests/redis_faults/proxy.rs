//! The way to Redis, as a TCP proxy that can turn into a black hole without closing anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) struct Proxy {
    address: SocketAddr,
    /// Swallows what comes: for the connections of the moment, for ever.
    hole: std::sync::Mutex<Arc<AtomicBool>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// A way to `server`, as `host:port`.
    pub(crate) async fn start(server: String) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Arc::new_cyclic(|proxy: &std::sync::Weak<Self>| {
            let proxy = proxy.clone();
            let mut accepting = JoinSet::new();
            accepting.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    let Some(proxy) = proxy.upgrade() else { return };
                    let hole = Arc::clone(&proxy.hole.lock().unwrap());
                    let (from_client, to_client) = client.into_split();
                    let server = TcpStream::connect(&server).await.unwrap();
                    let (from_server, to_server) = server.into_split();
                    connections.spawn(carry(from_client, to_server, Arc::clone(&hole)));
                    connections.spawn(carry(from_server, to_client, hole));
                }
            });
            Self { address, hole: std::sync::Mutex::default(), _accepting: accepting }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on nothing comes through on the connections of the moment, either way. New ones work.
    pub(crate) fn swallow(&self) {
        let hole = std::mem::take(&mut *self.hole.lock().unwrap());
        hole.store(true, Ordering::SeqCst);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, hole: Arc<AtomicBool>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        if !hole.load(Ordering::SeqCst) && to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}
