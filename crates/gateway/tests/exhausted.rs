//! A process that is out of file descriptors. In a binary of its own: the limit is the whole process'.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not work is a failed test")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use ullim_auth::{ResumeKey, Verifier};
use ullim_broker::ChannelRules;
use ullim_broker::memory::MemoryBroker;
use ullim_gateway::{Config, Gateway, Pages};
use ullim_hub::{Namespaces, Setup};

const PATIENCE: Duration = Duration::from_secs(10);

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Tells of warnings.
struct Warnings(SyncSender<()>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        let _ = self.0.try_send(());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn connections_wait_while_there_are_no_descriptors_and_are_accepted_then() {
    let (sender, warnings) = sync_channel(2);
    tracing::subscriber::set_global_default(Warnings(sender)).unwrap();
    let auth = ullim_auth::Config { anonymous: true, ..Default::default() };
    let broker = Arc::new(MemoryBroker::new(&ullim_broker::Config::default(), ChannelRules::default()));
    let setup = Setup {
        config: ullim_hub::Config::default(),
        namespaces: Arc::new(Namespaces::default()),
        verifier: Arc::new(Verifier::new(&auth).unwrap()),
        broker: broker.clone(),
        presence: broker.clone(),
        history: broker,
        resume: Arc::new(ResumeKey::new(&auth).unwrap()),
    };
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), shards: 2, ..Config::default() };
    let gateway = Gateway::start(&config, 1 << 20, &setup, Pages::default()).unwrap();

    // The clients have their descriptors before there are none.
    let sockets: Vec<Socket> = (0..5).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(1), ..before }).unwrap();
    let mut clients: Vec<TcpStream> = Vec::new();
    for socket in sockets {
        socket.connect(&gateway.local_addr().into()).unwrap();
        clients.push(socket.into());
        clients.last_mut().unwrap().write_all(UPGRADE.as_bytes()).unwrap();
    }
    for _ in 0..2 {
        warnings.recv_timeout(PATIENCE).expect("it tries, and tries again");
    }
    setrlimit(Resource::Nofile, before).unwrap();
    for mut client in clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
    }
}
