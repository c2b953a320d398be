//! Many channels with one subscriber each.

use std::time::Duration;

use anyhow::ensure;

use crate::report::Report;
use crate::scenario::crew::{Crew, Group};
use crate::scenario::stage::{Options, Stage, positive};
use crate::schedule::Schedule;

/// How much of what.
#[derive(Debug, Clone, clap::Args)]
pub struct Channels {
    /// Connections.
    #[arg(long, default_value_t = 200)]
    pub connections: usize,
    /// Channels of each connection, which nobody else hears.
    #[arg(long, default_value_t = 100)]
    pub per_connection: usize,
    /// Messages a second, each on another channel.
    #[arg(long, default_value_t = 20_000.0)]
    pub rate: f64,
    /// How long messages are published.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// How long messages are published before it counts.
    #[arg(long, default_value_t = 2.0)]
    pub warm_up: f64,
    /// How long nothing may come before the rest counts as lost, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub patience: f64,
    /// What every scenario has to be told.
    #[command(flatten)]
    pub options: Options,
}

impl Channels {
    /// Runs it.
    pub fn run(&self) -> anyhow::Result<Report> {
        positive("--rate", self.rate)?;
        positive("--seconds", self.seconds)?;
        positive("--warm-up", self.warm_up)?;
        positive("--patience", self.patience)?;
        ensure!(self.connections > 0 && self.per_connection > 0, "--connections and --per-connection are at least 1");
        let names: Vec<String> =
            (0..self.connections * self.per_connection).map(|number| format!("c{number}")).collect();
        let group = |(number, channels): (usize, &[String])| Group {
            connections: 1,
            channels: channels.to_vec(),
            first_channel: (number * self.per_connection) as u32,
            stalled: false,
        };
        let crew = Crew::new(names.chunks(self.per_connection).enumerate().map(group).collect());
        let mut stage = Stage::new("channels", &self.options, crew)?;
        stage.connect_all()?;

        let patience = Duration::from_secs_f64(self.patience);
        let count = |seconds: f64| (self.rate * seconds).ceil() as u64;
        let mut schedule = Schedule::new(names, 0, self.rate, count(self.warm_up), self.options.size);
        stage.prove(std::slice::from_mut(&mut schedule))?;
        stage.publish(vec![schedule.again(count(self.warm_up))], patience)?;
        let schedule = stage.swarm.schedules()[0].again(count(self.seconds));
        stage.swarm.ledger.reset();
        let measured = stage.measure(|stage| stage.publish(vec![schedule], patience))?;
        let received = stage.swarm.ledger.received;
        stage.book_usage(measured, received.max(1) as f64);
        stage.book_deliveries();
        Ok(stage.finish())
    }
}
