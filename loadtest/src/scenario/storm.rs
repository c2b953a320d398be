//! Everybody comes as fast as it goes; then all are cut at once and come back, while others stay and listen.

use std::time::Duration;

use anyhow::ensure;

use crate::clock;
use crate::ledger::latency;
use crate::report::Report;
use crate::scenario::crew::{Crew, Group};
use crate::scenario::stage::{Options, Stage, positive};
use crate::schedule::Schedule;

/// The channel of those who stay, and of those who do not.
const STAYING: &str = "stay0";
const GOING: &str = "storm1";

/// How much of what.
#[derive(Debug, Clone, clap::Args)]
pub struct Storm {
    /// Connections that come, are cut, and come back.
    #[arg(long, default_value_t = 15_000)]
    pub connections: usize,
    /// Connections that are made before, so that nothing is measured cold. They stay and listen.
    #[arg(long, default_value_t = 1_000)]
    pub staying: usize,
    /// Messages a second to those who stay.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// For how long their deliveries are measured before the cut.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Only connects.
    #[arg(long)]
    pub no_cut: bool,
    /// What every scenario has to be told.
    #[command(flatten)]
    pub options: Options,
}

impl Storm {
    /// Runs it.
    pub fn run(&self) -> anyhow::Result<Report> {
        ensure!(self.connections > 0 && self.staying > 0, "--connections and --staying are at least 1");
        positive("--rate", self.rate)?;
        positive("--seconds", self.seconds)?;
        let crew = Crew::new(vec![Group::of_channel(self.staying, STAYING, 0)]).beside(Group::of_channel(
            self.connections,
            GOING,
            1,
        ));
        let going = self.staying..self.staying + self.connections;
        let mut stage = Stage::new("storm", &self.options, crew)?;
        stage.connect(0..self.staying, false)?;
        stage.forget_connecting();
        let measured = stage.measure(|stage| stage.connect(going.clone(), false).map(drop))?;
        stage.book_usage(measured, self.connections as f64);
        if !self.no_cut {
            self.cut(&mut stage, going)?;
        }
        Ok(stage.finish())
    }

    fn cut(&self, stage: &mut Stage, going: std::ops::Range<usize>) -> anyhow::Result<()> {
        let count = (self.rate * self.seconds).ceil() as u64;
        let schedule = |count| Schedule::new(vec![STAYING.to_owned()], 0, self.rate, count, self.options.size);
        stage.publish(vec![schedule(count)], Duration::from_secs(10))?;
        let before = latency(&stage.swarm.ledger.latency);

        let next = stage.swarm.schedules()[0].again(u64::MAX);
        stage.swarm.ledger.reset();
        stage.swarm.publish(vec![next])?;
        let begun = clock::now();
        stage.swarm.cut(going.clone())?;
        // A server that is out of room for a moment may refuse some; they try again.
        stage.connect(going, true)?;
        let back = clock::elapsed(begun).as_secs_f64();
        // What was held up is still to come, and counts.
        stage.swarm.stop_publishing();
        stage.await_deliveries(Duration::from_secs(10))?;
        let meanwhile = latency(&stage.swarm.ledger.latency);
        stage.book_deliveries();
        stage.book_connecting(|connecting| {
            connecting.back_seconds = Some(back);
            connecting.stayed = Some((before, meanwhile));
        });
        Ok(())
    }
}
