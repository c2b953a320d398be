//! Connections that are subscribed and hear nothing but heartbeats.

use std::time::Duration;

use crate::clock;
use crate::report::Report;
use crate::scenario::crew::{Crew, Group};
use crate::scenario::stage::{Options, Stage};

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
    /// What every scenario has to be told.
    #[command(flatten)]
    pub options: Options,
}

impl Idle {
    /// Runs it.
    pub fn run(&self) -> anyhow::Result<Report> {
        let channels = self.channels.clamp(1, self.connections.max(1));
        let group = |number: usize| {
            let connections = self.connections / channels + usize::from(number < self.connections % channels);
            Group::of_channel(connections, &format!("idle{number}"), number as u32)
        };
        let crew = Crew::new((0..channels).map(group).collect());
        let mut stage = Stage::new("idle", &self.options, crew)?;
        stage.connect_all()?;
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
        let units = self.connections as f64 * measured.1;
        stage.book_usage(measured, units);
        Ok(stage.finish())
    }
}
