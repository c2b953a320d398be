//! A redis-server with any arguments, which keeps its port and its folder when it is ended and started again.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError, RedisResult, Value};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{Process, eventually, free_port};

const REDIS: &str = "redis-server";

/// How long one command may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// What a server begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Nothing.
    None,
    /// The append-only file that it wrote.
    Log,
    /// The dump that it wrote last.
    Dump,
}

/// A server; it is killed when it is dropped.
pub struct Server {
    process: Option<Process>,
    port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Server {
    /// A server that is not started yet, with these arguments beside its own.
    pub fn new(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { process: None, port: free_port(), folder: TempDir::new().unwrap(), arguments }
    }

    /// A server with these arguments beside its own, which runs and has nothing.
    pub async fn running(arguments: &[&str]) -> Self {
        let mut server = Self::new(arguments);
        server.start(Data::None).await;
        server
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The same, as a URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The folder that it works in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether it was started and not ended.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Starts it with `data`, and waits until it answers.
    pub async fn start(&mut self, data: Data) {
        if data == Data::None {
            self.forget();
        }
        let appends = if data == Data::Log { "yes" } else { "no" };
        let mut arguments = ["--appendonly", appends, "--save", ""].map(str::to_owned).to_vec();
        arguments.extend(self.arguments.iter().cloned());
        self.launch(&arguments).await;
    }

    /// Starts it as a sentinel, with this configuration.
    pub async fn start_as_sentinel(&mut self, configuration: &str) {
        let file = self.folder().join("sentinel.conf");
        std::fs::write(&file, configuration).unwrap();
        self.launch(&[file.display().to_string(), "--sentinel".to_owned()]).await;
    }

    async fn launch(&mut self, arguments: &[String]) {
        assert!(self.process.is_none(), "it runs already");
        assert!(is_installed(), "redis-server is not installed: tests/run installs it");
        let mut command = Command::new(program(arguments));
        command.args(arguments).args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--dir", self.folder.path().to_str().unwrap()]);
        let mut process = Process::start("redis", &mut command, self.folder.path());
        let address = self.address();
        eventually("redis-server to answer", async || {
            if let Some(status) = process.ended() {
                panic!("redis-server ended ({status}):\n{}", process.stdout());
            }
            // While it loads its data it answers LOADING.
            ask(address, &["PING"]).await.ok()
        })
        .await;
        self.process = Some(process);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGSTOP: it keeps its sockets open, and does nothing.
    pub fn freeze(&self) {
        self.process().signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process().signal(Signal::CONT);
    }

    /// A connection without deadlines.
    pub async fn client(&self) -> RedisResult<MultiplexedConnection> {
        connect_within(self.address(), None).await
    }

    /// One command that is to succeed, however long it takes.
    pub async fn run<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_run(words).await.unwrap_or_else(|error| panic!("{words:?} on {}: {error}", self.port))
    }

    /// One command, however long it takes.
    pub async fn try_run<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut self.client().await?).await
    }

    /// Its functions begin anew, as after a restart: they remember nothing.
    pub async fn renew_functions(&self) {
        let functions: Vec<u8> = self.run(&["FUNCTION", "DUMP"]).await;
        let mut restore = redis::cmd("FUNCTION");
        restore.arg("RESTORE").arg(functions).arg("FLUSH");
        restore.query_async::<()>(&mut self.client().await.unwrap()).await.unwrap();
    }

    /// One command on a connection of its own, within a deadline.
    pub async fn ask(&self, words: &[&str]) -> RedisResult<Value> {
        ask(self.address(), words).await
    }

    /// One command that is to succeed, within a deadline: its answer as text.
    pub async fn text(&self, words: &[&str]) -> String {
        let answer = self.ask(words).await.unwrap_or_else(|error| panic!("{words:?} on {}: {error}", self.port));
        redis::from_redis_value(answer).unwrap_or_default()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// Removes its data.
    fn forget(&self) {
        let _none = std::fs::remove_dir_all(self.folder.path().join("appendonlydir"));
        let _none = std::fs::remove_file(self.folder.path().join("dump.rdb"));
    }
}

/// `VALKEY_SERVER` names another binary to test against, where no TLS is needed.
fn program(arguments: &[String]) -> String {
    let is_tls = arguments.iter().any(|argument| argument.starts_with("--tls-"));
    std::env::var("VALKEY_SERVER").ok().filter(|_| !is_tls).unwrap_or_else(|| REDIS.to_owned())
}

fn is_installed() -> bool {
    Command::new(REDIS).arg("--version").output().is_ok()
}

/// A connection to the server at `address`, if it takes one within the deadline. Answers have no deadline.
pub async fn connect(address: SocketAddr) -> RedisResult<MultiplexedConnection> {
    connect_within(address, Some(DEADLINE)).await
}

/// The same; without a deadline where there is none.
pub(crate) async fn connect_within(
    address: SocketAddr,
    deadline: Option<Duration>,
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(deadline);
    Client::open(format!("redis://{address}"))?.get_multiplexed_async_connection_with_config(&config).await
}

/// One command on a connection of its own, within a deadline.
pub async fn ask(address: SocketAddr, words: &[&str]) -> RedisResult<Value> {
    let mut connection = connect(address).await?;
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    timeout(DEADLINE, command.query_async(&mut connection)).await.unwrap_or_else(|_| Err(too_late()))
}

/// No answer came in time.
pub fn too_late() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time").into()
}
