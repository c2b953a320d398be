//! One Ullim node: the real binary, as `ullim dev`.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;

use crate::{Process, Redis, eventually, free_port, http};

/// The HS256 secret of the nodes in the tests.
pub const TOKEN_SECRET: &str = "a secret of the end-to-end tests, which protects nothing";

/// A running node.
pub struct Node {
    /// Its process.
    pub process: Process,
    /// What it said of itself.
    pub addresses: Addresses,
    _folder: TempDir,
}

/// The line that `ullim dev --json` prints when it is ready.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    /// The WebSocket URL.
    pub ws: String,
    /// The URL of the listener for clients.
    pub http: String,
    /// The URL of the internal listener.
    pub internal: String,
    /// A token for clients.
    pub token: String,
    /// What backends show to publish.
    pub api_key: String,
}

/// How a node is to be started.
#[derive(Default)]
pub struct NodeBuilder {
    redis: Option<String>,
    internal: Option<SocketAddr>,
    listen: Option<SocketAddr>,
    binary: Option<PathBuf>,
    under: Vec<String>,
    settings: Vec<String>,
}

impl Node {
    /// A node on its own, with the embedded broker.
    pub async fn start() -> Self {
        NodeBuilder::default().start().await
    }

    /// A node on its own, with one setting changed.
    pub async fn with(key: &str, value: &str) -> Self {
        Self::builder().set(key, value).start().await
    }

    /// A node that is to be described first.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        http::address(&self.addresses.ws)
    }

    /// The URL for `path` on the internal listener.
    pub fn internal(&self, path: &str) -> String {
        format!("{}{path}", self.addresses.internal.trim_end_matches('/'))
    }

    /// Publishes through the HTTP API, with `data` as JSON.
    pub async fn publish(&self, channel: &str, data: serde_json::Value) {
        let authorization = format!("Bearer {}", self.addresses.api_key);
        let body = serde_json::json!({"channel": channel, "data": data}).to_string();
        let url = self.internal("/api/publish");
        let answer = http::post(&url, &[("Authorization", &authorization)], body.as_bytes()).await;
        assert!(answer.status < 300, "{answer:?}");
    }
}

impl NodeBuilder {
    /// Joined by this Redis server.
    pub fn redis(mut self, redis: &Redis) -> Self {
        self.redis = Some(redis.url());
        self
    }

    /// Joined by the Redis server behind this URL.
    pub fn redis_at(mut self, url: &str) -> Self {
        self.redis = Some(url.to_owned());
        self
    }

    /// With the internal listener at this address.
    pub fn internal(mut self, address: SocketAddr) -> Self {
        self.internal = Some(address);
        self
    }

    /// With the listener for clients at this address.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Another binary than the one that the tests build.
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.to_owned());
        self
    }

    /// Started by this program with these arguments, which becomes the node.
    pub fn under(mut self, program: &[&str]) -> Self {
        self.under = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// With this setting.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push(format!("{key}={value}"));
        self
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> Node {
        let (process, folder) = self.spawn();
        Node::ready(process, folder).await
    }

    /// Starts it without waiting.
    pub fn spawn(self) -> (Process, TempDir) {
        let folder = TempDir::new().unwrap();
        let internal = self.internal.map_or("127.0.0.1:0".to_owned(), |address| address.to_string());
        let listen = self.listen.map_or("127.0.0.1:0".to_owned(), |address| address.to_string());
        let binary = self.binary.unwrap_or_else(binary);
        let mut command = match self.under.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command.args(["dev", "--json", "--listen", &listen, "--internal", &internal]);
        command.args(["--set", &format!("auth.hs256_secret={TOKEN_SECRET}")]);
        if let Some(redis) = &self.redis {
            command.args(["--redis", redis]);
        }
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.current_dir(folder.path());
        (Process::start("node", &mut command, folder.path()), folder)
    }
}

impl Node {
    /// Waits until a spawned node is ready.
    pub async fn ready(mut process: Process, folder: TempDir) -> Self {
        let line = process.line("the line with its addresses", |_| true).await;
        let addresses: Addresses =
            serde_json::from_value(line.clone()).unwrap_or_else(|error| panic!("{error}: {line}"));
        let node = Self { process, addresses, _folder: folder };
        let health = node.internal("/health/ready");
        eventually("the node to be ready", async || (http::get(&health).await.status == 200).then_some(())).await;
        node
    }
}

/// An address that nothing listens on.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// The `ullim` binary: `$ULLIM_BIN`, else the one that cargo put above the tests.
pub(crate) fn binary() -> PathBuf {
    let path = match env::var_os("ULLIM_BIN") {
        Some(path) => PathBuf::from(path),
        None => artifact("ullim"),
    };
    assert!(path.is_file(), "{} does not exist: tests/run builds it, or set ULLIM_BIN", path.display());
    path
}

/// A file in the folder that cargo builds to, with the profile of this test or program.
pub fn artifact(name: &str) -> PathBuf {
    let program = env::current_exe().unwrap();
    let folder = program.parent().unwrap();
    // Tests are one folder below programs.
    let profile = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
    profile.join(name)
}
