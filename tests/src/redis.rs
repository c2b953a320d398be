//! A real redis-server on a free port, and ways to hurt it.

pub mod sentinel;
pub mod server;
pub mod sharded;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Process, eventually, free_port};

/// A Redis server without persistence.
pub struct Redis {
    process: Option<Process>,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Self {
        let mut redis = Self::absent();
        redis.resume().await;
        redis
    }

    /// Only the address: nothing listens there yet.
    pub fn absent() -> Self {
        Self { process: None, port: free_port(), folder: TempDir::new().unwrap() }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again, at the same address.
    pub async fn resume(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--dir", self.folder.path().to_str().unwrap()]);
        if command.get_program() == "redis-server" && !is_installed() {
            panic!("redis-server is not installed: tests/run installs it");
        }
        let mut process = Process::start("redis", &mut command, self.folder.path());
        eventually("redis-server to answer", async || {
            if let Some(status) = process.ended() {
                panic!("redis-server ended ({status}):\n{}", process.stdout());
            }
            let mut connection = self.try_connection().await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.ok()
        })
        .await;
        self.process = Some(process);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGSTOP: it keeps its sockets open, and does nothing.
    pub fn freeze(&self) {
        self.running().signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.running().signal(Signal::CONT);
    }

    /// A connection without deadlines.
    pub async fn connection(&self) -> MultiplexedConnection {
        self.try_connection().await.expect("Redis is there")
    }

    /// A connection, if Redis is there.
    pub async fn try_connection(&self) -> Option<MultiplexedConnection> {
        connect(&self.url()).await
    }

    /// `redis-cli ARGUMENTS`: what it printed.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = self.cli_command().args(arguments).output().unwrap();
        assert!(output.status.success(), "redis-cli {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `PUBLISH` on the channel `channel` of Ullim.
    pub fn publish(&self, channel: &str, payload: &str) {
        self.cli(&["PUBLISH", &format!("ullim:{{{channel}}}"), payload]);
    }

    /// `PUBLISH` of any bytes.
    pub async fn publish_bytes(&self, channel: &str, payload: &[u8]) {
        let mut connection = self.connection().await;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(format!("ullim:{{{channel}}}")).arg(payload);
        publish.query_async::<u64>(&mut connection).await.unwrap();
    }

    /// `PUBLISH` of any bytes: when that was, by Redis' clock in Unix milliseconds.
    pub async fn publish_at(&self, channel: &str, payload: &[u8]) -> u64 {
        const PUBLISH: &str = "\
            local time = redis.call('TIME')
            redis.call('PUBLISH', ARGV[1], ARGV[2])
            return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))";
        let mut publish = redis::cmd("EVAL");
        publish.arg(PUBLISH).arg(0).arg(format!("ullim:{{{channel}}}")).arg(payload);
        publish.query_async::<String>(&mut self.connection().await).await.unwrap().parse().unwrap()
    }

    /// Publishes all of (channel, payload) through one `redis-cli --pipe`.
    pub fn publish_pipeline<'a>(&self, publications: impl Iterator<Item = (&'a str, String)>) {
        let mut commands = String::new();
        let mut count = 0;
        for (channel, payload) in publications {
            let channel = format!("ullim:{{{channel}}}");
            commands.push_str("*3\r\n$7\r\nPUBLISH\r\n");
            write!(commands, "${}\r\n{channel}\r\n${}\r\n{payload}\r\n", channel.len(), payload.len()).unwrap();
            count += 1;
        }
        let mut child = self.cli_command().arg("--pipe").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("errors: 0, replies: {count}")), "redis-cli --pipe: {said}");
    }

    fn cli_command(&self) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("Redis runs")
    }
}

/// A connection to the Redis server at `url` without deadlines, if it is there.
pub(crate) async fn connect(url: &str) -> Option<MultiplexedConnection> {
    let patient = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    Client::open(url).unwrap().get_multiplexed_async_connection_with_config(&patient).await.ok()
}

fn is_installed() -> bool {
    Command::new("redis-server").arg("--version").output().is_ok()
}
