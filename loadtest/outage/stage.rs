//! What a scenario is played on: Redis and some nodes, on ports of their own, and what every scenario has to be told.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use ullim_loadtest::clock;
use ullim_loadtest::target::Token;
use ullim_loadtest::token::Signer;

use crate::server::{Server, free_port};
use crate::store::Store;

/// How long a node may take to be ready, and to end beyond its window.
const PATIENCE: Duration = Duration::from_secs(60);

/// What tokens are signed with.
const SECRET: &str = "a secret that everybody may know, for measuring";

/// What every scenario has to be told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The binary of the nodes; else the one beside this program.
    #[arg(long)]
    pub(crate) ullim: Option<PathBuf>,
    /// A further setting of the nodes, such as `namespaces.kept.history_size=1000`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing of what is going on.
    #[arg(long)]
    pub(crate) quiet: bool,
}

impl Options {
    /// Says what is going on.
    pub(crate) fn say(&self, what: &str) {
        if !self.quiet {
            eprintln!("{what}");
        }
    }

    fn binary(&self) -> anyhow::Result<PathBuf> {
        let beside = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("ullim"));
        let path = self.ullim.clone().map_or_else(beside, Ok)?;
        ensure!(path.is_file(), "{} is not there: cargo build --release, or give --ullim", path.display());
        Ok(path)
    }
}

/// Redis, and places for nodes.
pub(crate) struct Stage {
    /// Redis.
    pub(crate) store: Store,
    nodes: Vec<Node>,
    binary: PathBuf,
    settings: Vec<String>,
    window: Duration,
    folder: TempDir,
}

/// A place for a node, which keeps its ports.
struct Node {
    port: u16,
    internal: u16,
    server: Option<Server>,
}

impl Stage {
    /// Redis runs, the nodes do not yet. `window` is that of their drains; there will be so many `clients`.
    pub(crate) async fn new(options: &Options, nodes: usize, window: Duration, clients: usize) -> anyhow::Result<Self> {
        allow_open_files(clients)?;
        let binary = options.binary()?;
        let store = Store::start().await?;
        let node = || Ok(Node { port: free_port()?, internal: free_port()?, server: None });
        let nodes = (0..nodes).map(|_| node()).collect::<anyhow::Result<_>>()?;
        Ok(Self { store, nodes, binary, settings: options.set.clone(), window, folder: tempfile::tempdir()? })
    }

    /// Where clients connect.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("ws://127.0.0.1:{}/ws", node.port)).collect()
    }

    /// Signs the tokens of `user-0`, `user-1` and so on.
    pub(crate) fn signer(&self) -> anyhow::Result<Signer> {
        let token = Token { algorithm: "HS256".to_owned(), secret: Some(SECRET.to_owned()), key: None };
        Signer::new(&token, "")
    }

    /// Starts a node, and waits until it is ready.
    pub(crate) async fn start(&mut self, number: usize) -> anyhow::Result<()> {
        let redis = self.store.url();
        let node = self.nodes.get_mut(number).context("no such node")?;
        ensure!(node.server.is_none(), "it runs already");
        let file = self.folder.path().join(format!("{number}.toml"));
        fs::write(&file, configuration(node, &redis, self.window))?;
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--config").arg(&file);
        for setting in &self.settings {
            command.arg("--set").arg(setting);
        }
        let server = node.server.insert(Server::start(&format!("node-{number}"), &mut command, self.folder.path())?);
        let begun = clock::now();
        while !is_ready(node.internal).await {
            server.still_runs()?;
            ensure!(clock::elapsed(begun) < PATIENCE, "node {number} is not ready within {PATIENCE:?}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// `kill -9`. When, by `clock`.
    pub(crate) fn kill(&mut self, number: usize) -> anyhow::Result<u64> {
        let node = self.nodes.get_mut(number).context("no such node")?;
        let mut server = node.server.take().context("it does not run")?;
        let at = clock::now();
        server.kill()?;
        Ok(at)
    }

    /// SIGTERM, and waits for the end. When it was sent, and when the node had ended, by `clock`.
    pub(crate) async fn drain(&mut self, number: usize) -> anyhow::Result<(u64, u64)> {
        let node = self.nodes.get_mut(number).context("no such node")?;
        let mut server = node.server.take().context("it does not run")?;
        let at = clock::now();
        server.terminate()?;
        loop {
            if let Some(status) = server.ended()? {
                ensure!(status.success(), "node {number} ended its drain with {status}");
                return Ok((at, clock::now()));
            }
            let limit = self.window + PATIENCE;
            ensure!(clock::elapsed(at) < limit, "node {number} has not ended within {limit:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Fails if a node that should run has ended.
    pub(crate) fn still_runs(&mut self) -> anyhow::Result<()> {
        self.nodes.iter_mut().filter_map(|node| node.server.as_mut()).try_for_each(Server::still_runs)
    }
}

/// Files beside the connections of clients, of this process and of a node; a node keeps 5 % and a hundred of its own.
const OTHER_FILES: u64 = 600;

/// Lets this process, and the nodes that it starts, have as many files open as the system allows.
fn allow_open_files(clients: usize) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let needed = clients as u64 * 20 / 19 + OTHER_FILES;
    ensure!(needed <= most, "{clients} clients need {needed} open files, of which there may be {most}: see ulimit -n");
    if limit.current.is_some_and(|current| current < needed) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit })?;
    }
    Ok(())
}

/// Defaults, but for the limits, which are to measure nothing.
fn configuration(node: &Node, redis: &str, window: Duration) -> String {
    format!(
        r#"
[client]
listen = "127.0.0.1:{port}"
per_address.connections = 0
per_address.unauthenticated = 0
per_address.handshakes_per_second = 0

[internal]
listen = "127.0.0.1:{internal}"

[auth]
hs256_secret = "{SECRET}"

[broker]
kind = "redis"
redis.url = "{redis}"

[hub]
subscriptions = 1000
commands_per_second = 100000

[drain]
window = "{window}"

[namespaces.load]
subscribe = "user"

[namespaces.kept]
subscribe = "user"
recoverable = true

[namespaces.room]
subscribe = "user"
presence = true

[log]
level = "warn"
"#,
        port = node.port,
        internal = node.internal,
        window = humantime::format_duration(window),
    )
}

/// Whether the node says that it is ready.
async fn is_ready(port: u16) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    matches!(timeout(Duration::from_secs(2), asking).await, Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 200"))
}
