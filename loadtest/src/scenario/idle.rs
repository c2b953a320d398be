//! Connections that are subscribed and hear nothing but heartbeats.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::clock;
use crate::report::Report;
use crate::scenario::crew::{Crew, Group};
use crate::scenario::stage::{Options, Stage, positive};

/// How much of what.
#[derive(Debug, Clone, clap::Args)]
pub struct Idle {
    /// Connections, each subscribed to one channel.
    #[arg(long, default_value_t = 15_000)]
    pub connections: usize,
    /// Channels among which they are spread.
    #[arg(long, default_value_t = 1)]
    pub channels: usize,
    /// How long they are watched.
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
    /// How long they are left alone before that.
    #[arg(long, default_value_t = 3.0)]
    pub rest: f64,
    /// Processes among which the connections are divided, each from a source address of its own: a process may have
    /// only so many files open, and an address only so many ports.
    #[arg(long, default_value_t = 1)]
    pub processes: usize,
    /// Only connects, says so, and stays until its input ends.
    #[arg(long, hide = true)]
    pub follow: bool,
    /// What every scenario has to be told.
    #[command(flatten)]
    pub options: Options,
}

impl Idle {
    /// Runs it.
    pub fn run(&self) -> anyhow::Result<Report> {
        ensure!((1..=100).contains(&self.processes), "--processes is {}: it is 1 to 100", self.processes);
        ensure!(
            self.connections >= self.processes,
            "--connections is {}: it is at least --processes",
            self.connections
        );
        positive("--seconds", self.seconds)?;
        positive("--rest", self.rest)?;
        let own = self.connections / self.processes;
        let channels = self.channels.clamp(1, own.max(1));
        let group = |number: usize| {
            let connections = own / channels + usize::from(number < own % channels);
            Group::of_channel(connections, &format!("idle{number}"), number as u32)
        };
        let crew = Crew::new((0..channels).map(group).collect());
        let mut stage = Stage::new("idle", &self.options, crew)?;
        let mut followers = Vec::new();
        stage.connect_all()?;
        for number in 1..self.processes {
            followers.push(Follower::start(own, Ipv4Addr::new(127, 0, number as u8, 1))?);
            stage.add_connections(own);
        }
        if self.follow {
            println!("ready");
            let done = std::thread::spawn(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
            stage.swarm.run(Duration::MAX, |_| done.is_finished())?;
            return Ok(stage.finish());
        }
        stage.swarm.run(Duration::from_secs_f64(self.rest), |_| false)?;
        stage.show("watching", self.seconds as u64);
        let measured = stage.measure(|stage| {
            let (progress, begun) = (stage.progress(), clock::now());
            stage.swarm.run(Duration::from_secs_f64(self.seconds), |_| {
                progress.set_position(clock::elapsed(begun).as_secs());
                false
            })?;
            Ok(())
        })?;
        let units = (own * self.processes) as f64 * measured.1;
        stage.book_usage(measured, units);
        drop(followers);
        Ok(stage.finish())
    }
}

/// Another process of this program, which holds its part of the connections until it is dropped.
struct Follower(Child);

impl Follower {
    /// Starts it with the arguments of this one, and waits until it is connected.
    fn start(connections: usize, source: Ipv4Addr) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(std::env::args_os().skip(1));
        command.args(["--follow", "--processes", "1", "--quiet", "--connections", &connections.to_string()]);
        command.args(["--source", &source.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut follower = Self(command.spawn().context("cannot start another process")?);
        let output = follower.0.stdout.take().context("the other process has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "ready\n", "the process that connects from {source} has failed");
        Ok(follower)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Its input ends, and with it what it waits for.
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
