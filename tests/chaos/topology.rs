//! The servers of a run: Redis in one of its forms, the links to it, and the nodes.

mod directory;
mod servers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{sleep, timeout};

pub(crate) use directory::Directory;
pub use servers::Form;
pub(crate) use servers::Servers;

use super::log::Channel;
use crate::{Link, Node, NodeBuilder, free_address};

/// How long a node may take to end in order.
const DRAIN: Duration = Duration::from_secs(40);

/// Where a node is found, now and after each restart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    /// Its listener for clients.
    pub(crate) client: SocketAddr,
    /// Its listener for STOMP on TCP.
    pub(crate) stomp: SocketAddr,
    /// Its internal listener.
    pub(crate) internal: SocketAddr,
}

/// What backends of the nodes under test show.
pub(crate) const API_KEY: &str = "the key of backends in the chaos runs";

/// All servers of a run.
pub(crate) struct World {
    /// Redis.
    pub(crate) servers: Servers,
    /// One for each node, where Redis is a single server.
    pub(crate) links: Vec<Link>,
    /// The nodes; `None` while one is down.
    pub(crate) nodes: Vec<Option<Node>>,
    /// Where they are.
    pub(crate) seats: Vec<Seat>,
    /// What is published on.
    pub(crate) channels: Vec<Channel>,
    directory: Directory,
    ullim: Option<PathBuf>,
    settings: Vec<String>,
}

impl World {
    /// Starts Redis in `form`, and `nodes` nodes.
    pub(crate) async fn start(
        form: Form,
        nodes: usize,
        channels: Vec<Channel>,
        ullim: Option<PathBuf>,
        settings: Vec<String>,
    ) -> Self {
        let servers = Servers::start(form).await;
        let mut links = Vec::new();
        if let Servers::Single(server) = &servers {
            for _ in 0..nodes {
                links.push(Link::start(server.address()).await);
            }
        }
        let seat = || Seat { client: free_address(), stomp: free_address(), internal: free_address() };
        let seats: Vec<Seat> = (0..nodes).map(|_| seat()).collect();
        let directory = servers.directory();
        let mut world = Self { servers, directory, links, nodes: Vec::new(), seats, channels, ullim, settings };
        for node in 0..nodes {
            world.nodes.push(None);
            world.start_node(node, &[]).await;
        }
        world
    }

    /// Where publishers ask for the master.
    pub(crate) fn directory(&self) -> Directory {
        self.directory.clone()
    }

    /// Starts a node that is down, `under` another program, and waits until it is ready.
    pub(crate) async fn start_node(&mut self, node: usize, under: &[&str]) {
        assert!(self.nodes[node].is_none(), "it runs already");
        let seat = self.seats[node];
        let mut builder: NodeBuilder = Node::builder().listen(seat.client).internal(seat.internal).under(under);
        if let Some(ullim) = &self.ullim {
            builder = builder.binary(ullim);
        }
        builder = builder.set("internal.api_key", API_KEY);
        builder = builder.set("client.stomp.listen", &seat.stomp.to_string());
        for setting in &self.settings {
            let (key, value) = setting.split_once('=').expect("a setting is key=value");
            builder = builder.set(key, value);
        }
        builder = self.servers.tell(builder, self.links.get(node));
        self.nodes[node] = Some(builder.start().await);
    }

    /// A node that runs.
    pub(crate) fn node(&self, node: usize) -> &Node {
        self.nodes[node].as_ref().expect("it runs")
    }

    /// `kill -9`.
    pub(crate) fn kill_node(&mut self, node: usize) {
        self.nodes[node] = None;
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn drain_node(&mut self, node: usize) {
        let Some(mut running) = self.nodes[node].take() else { return };
        running.process.signal(Signal::TERM);
        let ended = async {
            while running.process.ended().is_none() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        if timeout(DRAIN, ended).await.is_err() {
            eprintln!("node {node} did not end within {DRAIN:?}, and is killed");
        }
    }

    /// What each node has logged at the levels WARN and ERROR.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let log = node.process.stderr();
            let serious = log.lines().filter(|line| line.contains("ERROR") || line.contains("panicked"));
            warnings.extend(serious.map(|line| format!("node {number}: {line}")));
        }
        warnings
    }
}
