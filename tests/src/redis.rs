//! A real redis-server on a free port, and ways to hurt it.

pub mod sentinel;
pub mod server;
pub mod sharded;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use redis::aio::MultiplexedConnection;

use self::server::{Data, Server};

/// A Redis server without persistence.
pub struct Redis {
    server: Server,
}

impl Redis {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Self {
        Self { server: Server::running(&[]).await }
    }

    /// Only the address: nothing listens there yet.
    pub fn absent() -> Self {
        Self { server: Server::new(&[]) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The same, as a URL.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Starts it again, at the same address.
    pub async fn resume(&mut self) {
        self.server.start(Data::None).await;
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// SIGSTOP: it keeps its sockets open, and does nothing.
    pub fn freeze(&self) {
        self.server.freeze();
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.server.thaw();
    }

    /// Its functions begin anew: they remember nothing.
    pub async fn renew_functions(&self) {
        self.server.renew_functions().await;
    }

    /// A connection without deadlines.
    pub async fn connection(&self) -> MultiplexedConnection {
        self.try_connection().await.expect("Redis is there")
    }

    /// A connection, if Redis is there.
    pub async fn try_connection(&self) -> Option<MultiplexedConnection> {
        self.server.client().await.ok()
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
        command.args(["-h", "127.0.0.1", "-p", &self.server.port().to_string()]);
        command
    }
}
