//! Redis: started, killed, started again with what it had written; and what the scenarios ask of it.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use ullim_loadtest::clock;

use crate::server::{Server, free_port};

/// How long a start or one command may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is asked whether it answers.
const LOOK: Duration = Duration::from_millis(1);

/// Commands in one batch.
const BATCH: usize = 500;

/// What the names of channels in Redis begin with.
const PREFIX: &str = "ullim";

/// A server with an append-only file.
pub(crate) struct Store {
    server: Option<Server>,
    port: u16,
    folder: TempDir,
}

/// An entry of a presence hash.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry {
    /// Whose session it is.
    pub(crate) user: Option<String>,
    /// The node that holds it.
    pub(crate) node: String,
}

impl Store {
    /// Starts one on a free port.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut store = Self { server: None, port: free_port()?, folder: tempfile::tempdir()? };
        store.start_again().await?;
        Ok(store)
    }

    /// Starts it with its append-only file. When it first answered a PING, by `clock`.
    pub(crate) async fn start_again(&mut self) -> anyhow::Result<u64> {
        ensure!(self.server.is_none(), "it runs already");
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--appendonly", "yes", "--save", ""]).arg("--dir").arg(self.folder.path());
        let server = Server::start("redis-server", &mut command, self.folder.path())?;
        let server = self.server.insert(server);
        let begun = clock::now();
        loop {
            // While it loads its file it answers LOADING.
            if answers(self.port).await {
                return Ok(clock::now());
            }
            server.still_runs()?;
            ensure!(clock::elapsed(begun) < PATIENCE, "redis-server does not answer within {PATIENCE:?}");
            sleep(LOOK).await;
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        let mut server = self.server.take().context("it does not run")?;
        server.kill()
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection. No command of it may take longer than 30 s.
    pub(crate) async fn connect(&self) -> anyhow::Result<Link> {
        let config = AsyncConnectionConfig::new();
        let config = config.set_response_timeout(Some(PATIENCE)).set_connection_timeout(Some(PATIENCE));
        Ok(Link(Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await?))
    }
}

/// Whether it answers a PING: with as little around it as there can be, for it is timed.
async fn answers(port: u16) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    matches!(timeout(Duration::from_millis(200), asking).await, Ok(Ok(answer)) if answer == *b"+PONG\r\n")
}

/// A connection to Redis.
pub(crate) struct Link(MultiplexedConnection);

impl Link {
    /// Publishes the message with this number on each of these recoverable channels, and checks that each stands where
    /// its number says, if `checked`.
    pub(crate) async fn publish_kept(&mut self, messages: &[(&str, u64)], checked: bool) -> anyhow::Result<()> {
        for batch in messages.chunks(BATCH) {
            let mut pipeline = Pipeline::with_capacity(batch.len());
            for (channel, number) in batch {
                pipeline.cmd("FCALL").arg("ullim_publish").arg(1).arg(name(channel)).arg(payload(*number));
            }
            let positions: Vec<(String, u64)> = pipeline.query_async(&mut self.0).await?;
            for ((channel, number), (_, offset)) in batch.iter().zip(&positions) {
                ensure!(!checked || offset == number, "{channel}: number {number} was given the offset {offset}");
            }
            ensure!(positions.len() == batch.len(), "{} of {} were answered", positions.len(), batch.len());
        }
        Ok(())
    }

    /// Publishes the message with this number on each of these live channels.
    pub(crate) async fn publish_live(&mut self, messages: &[(&str, u64)]) -> anyhow::Result<()> {
        for batch in messages.chunks(BATCH) {
            let mut pipeline = Pipeline::with_capacity(batch.len());
            for (channel, number) in batch {
                pipeline.cmd("PUBLISH").arg(name(channel)).arg(payload(*number)).ignore();
            }
            pipeline.query_async::<()>(&mut self.0).await?;
        }
        Ok(())
    }

    /// The members of a channel, by session.
    pub(crate) async fn members(&mut self, channel: &str) -> anyhow::Result<HashMap<String, Entry>> {
        let key = format!("{}:presence", name(channel));
        let all: HashMap<String, String> = redis::cmd("HGETALL").arg(key).query_async(&mut self.0).await?;
        all.into_iter().map(|(session, entry)| Ok((session, serde_json::from_str(&entry)?))).collect()
    }

    /// How many channels anybody is subscribed to.
    pub(crate) async fn subscribed(&mut self) -> anyhow::Result<usize> {
        let info: String = redis::cmd("INFO").arg("stats").query_async(&mut self.0).await?;
        let count = info.lines().find_map(|line| line.strip_prefix("pubsub_channels:"));
        Ok(count.context("INFO stats without pubsub_channels")?.trim().parse()?)
    }

    /// How many of these channels nobody is subscribed to.
    pub(crate) async fn unsubscribed(&mut self, channels: &[String]) -> anyhow::Result<usize> {
        let mut missing = 0;
        for batch in channels.chunks(BATCH) {
            let mut command = Cmd::new();
            command.arg("PUBSUB").arg("NUMSUB");
            for channel in batch {
                command.arg(name(channel));
            }
            let counts: Vec<(String, u64)> = command.query_async(&mut self.0).await?;
            missing += batch.len() - counts.iter().filter(|(_, count)| *count > 0).count();
        }
        Ok(missing)
    }
}

fn name(channel: &str) -> String {
    format!("{PREFIX}:{{{channel}}}")
}

fn payload(number: u64) -> String {
    format!("{{\"n\":{number}}}")
}
