//! What a publication costs Redis: a plain `PUBLISH` beside the function that keeps it and gives it a position, without
//! and with an id. Pipelined for Redis' CPU time, one at a time for the delay. Nobody has to be subscribed, but a node
//! must have loaded the functions, and the channel's namespace must be recoverable.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;

use crate::clock;
use crate::ledger::{histogram, latency};
use crate::report::{Publishing, Report};

/// Commands in one batch.
const BATCH: u64 = 100;

/// How long Redis may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of what.
#[derive(Debug, Clone, clap::Args)]
pub struct PublishCost {
    /// The Redis server, host:port. Nothing else should use it meanwhile.
    #[arg(long, default_value = "127.0.0.1:6379")]
    pub redis: String,
    /// What the names of channels in Redis begin with.
    #[arg(long, default_value = "ullim")]
    pub prefix: String,
    /// The channel, in a recoverable namespace.
    #[arg(long, default_value = "kept:cost")]
    pub channel: String,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 128)]
    pub size: usize,
    /// Publications of each kind in each round, pipelined.
    #[arg(long, default_value_t = 50_000)]
    pub messages: u64,
    /// Publications of each kind in each round, one at a time.
    #[arg(long, default_value_t = 5_000)]
    pub single: u64,
    /// How often the kinds take turns.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A way to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Kept,
    KeptOnce,
}

const KINDS: [(Kind, &str); 3] =
    [(Kind::Plain, "PUBLISH"), (Kind::Kept, "ullim_publish"), (Kind::KeptOnce, "ullim_publish with an id")];

impl PublishCost {
    /// Runs it.
    pub fn run(&self) -> anyhow::Result<Report> {
        ensure!(
            self.messages >= BATCH && self.single > 0 && self.rounds > 0,
            "--messages is at least {BATCH}, the rest 1"
        );
        let mut redis = Redis::connect(&self.redis)?;
        let name = format!("{}:{{{}}}", self.prefix, self.channel);
        let payload = vec![b'x'; self.size];
        // So that ids of an earlier run are not repeated.
        let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros();
        let mut number = 0_u64;
        let mut command = |kind: Kind, out: &mut Vec<u8>| {
            number += 1;
            let id = format!("{run}-{number}");
            let ids = format!("{name}:ids");
            let (name, id, ids) = (name.as_bytes(), id.as_bytes(), ids.as_bytes());
            let call: &[&[u8]] = match kind {
                Kind::Plain => &[b"PUBLISH", name, &payload],
                Kind::Kept => &[b"FCALL", b"ullim_publish", b"1", name, &payload],
                Kind::KeptOnce => &[b"FCALL", b"ullim_publish", b"2", name, ids, &payload, b"id", id],
            };
            write_command(call, out);
        };
        let mut costs = KINDS.map(|(kind, name)| (kind, Cost::new(name)));
        for _ in 0..self.rounds {
            for (kind, cost) in &mut costs {
                cost.pipelined(&mut redis, self.messages, |out| command(*kind, out))?;
                cost.one_by_one(&mut redis, self.single, |out| command(*kind, out))?;
            }
        }
        let publishing = costs.into_iter().map(|(_, cost)| cost.report()).collect();
        let target = format!("Redis {} at {}", redis.field("server", "redis_version")?, self.redis);
        Ok(Report { scenario: "publish".to_owned(), target, publishing, ..Report::default() })
    }
}

/// What came of one way to publish, over all rounds.
struct Cost {
    way: &'static str,
    published: u64,
    cpu_seconds: f64,
    seconds: f64,
    delays: Histogram<u64>,
}

impl Cost {
    fn new(way: &'static str) -> Self {
        Self { way, published: 0, cpu_seconds: 0.0, seconds: 0.0, delays: histogram() }
    }

    fn pipelined(
        &mut self,
        redis: &mut Redis,
        messages: u64,
        mut command: impl FnMut(&mut Vec<u8>),
    ) -> anyhow::Result<()> {
        let before = redis.cpu()?;
        let begun = clock::now();
        let mut out = Vec::new();
        for _ in 0..messages / BATCH {
            out.clear();
            (0..BATCH).for_each(|_| command(&mut out));
            redis.send(&out)?;
            (0..BATCH).try_for_each(|_| redis.answer())?;
        }
        self.seconds += clock::elapsed(begun).as_secs_f64();
        self.cpu_seconds += redis.cpu()? - before;
        self.published += messages / BATCH * BATCH;
        Ok(())
    }

    fn one_by_one(
        &mut self,
        redis: &mut Redis,
        messages: u64,
        mut command: impl FnMut(&mut Vec<u8>),
    ) -> anyhow::Result<()> {
        let mut out = Vec::new();
        for _ in 0..messages {
            out.clear();
            command(&mut out);
            let begun = clock::now();
            redis.send(&out)?;
            redis.answer()?;
            self.delays.saturating_record(clock::now() - begun);
        }
        Ok(())
    }

    fn report(self) -> Publishing {
        Publishing {
            way: self.way.to_owned(),
            published: self.published,
            redis_micros: self.cpu_seconds * 1e6 / self.published.max(1) as f64,
            per_second: self.published as f64 / self.seconds.max(f64::MIN_POSITIVE),
            latency: latency(&self.delays),
        }
    }
}

/// One connection that waits for its answers.
struct Redis {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Redis {
    fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to Redis at {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), line: String::new() })
    }

    fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// Passes over one answer.
    fn answer(&mut self) -> anyhow::Result<()> {
        let mut rest = 1_u64;
        while rest > 0 {
            rest -= 1;
            let (kind, text) = self.head()?;
            match kind {
                b':' | b'+' => {}
                b'$' => drop(self.bulk(&text)?),
                b'*' => rest += text.parse::<u64>().unwrap_or_default(),
                _ => bail!(
                    "Redis says {text:?}: a node has to have loaded the functions, and the channel's namespace to be \
                     recoverable"
                ),
            }
        }
        Ok(())
    }

    fn head(&mut self) -> anyhow::Result<(u8, String)> {
        self.line.clear();
        self.stream.read_line(&mut self.line).context("Redis does not answer")?;
        let line = self.line.trim_end();
        let kind = *line.as_bytes().first().context("Redis closed the connection")?;
        Ok((kind, line[1..].to_owned()))
    }

    fn bulk(&mut self, length: &str) -> anyhow::Result<String> {
        let length: usize = length.parse().with_context(|| format!("an answer of {length} bytes"))?;
        let mut bytes = vec![0; length + 2];
        std::io::Read::read_exact(&mut self.stream, &mut bytes)?;
        bytes.truncate(length);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What `INFO section` says of `field`.
    fn field(&mut self, section: &str, field: &str) -> anyhow::Result<String> {
        let mut out = Vec::new();
        write_command(&[b"INFO", section.as_bytes()], &mut out);
        self.send(&out)?;
        let (kind, length) = self.head()?;
        ensure!(kind == b'$', "INFO was answered {length:?}");
        let info = self.bulk(&length)?;
        let mut fields = info.lines().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(name, _)| *name == field).map(|(_, value)| value.trim().to_owned());
        found.with_context(|| format!("INFO {section} has no {field}"))
    }

    /// Seconds that the thread which runs commands has been on a CPU.
    fn cpu(&mut self) -> anyhow::Result<f64> {
        let user: f64 = self.field("cpu", "used_cpu_user_main_thread")?.parse()?;
        let system: f64 = self.field("cpu", "used_cpu_sys_main_thread")?.parse()?;
        Ok(user + system)
    }
}

fn write_command(parts: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}
