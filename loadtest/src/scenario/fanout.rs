//! One channel with many subscribers: at a rate for a time, or in a burst; on one node or several.

use std::time::Duration;

use anyhow::ensure;

use crate::report::Report;
use crate::scenario::crew::{Crew, Group};
use crate::scenario::stage::{Options, Stage, positive};
use crate::schedule::Schedule;

/// The channel that is measured.
const CHANNEL: &str = "fan0";

/// The channel that is only load.
const HOT: &str = "hot1";

/// How many channels, of those on which nothing is published, each connection hears.
const OTHERS_EACH: usize = 500;

/// A number that no published channel has.
const SILENT: u32 = 1 << 23;

/// How much of what.
#[derive(Debug, Clone, clap::Args)]
pub struct Fanout {
    /// Subscribers of the channel.
    #[arg(long)]
    pub subscribers: Option<usize>,
    /// Messages a second.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Messages in all. Left out, as many as the rate brings within `--seconds`.
    #[arg(long)]
    pub messages: Option<u64>,
    /// How long messages are published.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// How long messages are published before it counts.
    #[arg(long)]
    pub warm_up: Option<f64>,
    /// How long nothing may come before the rest counts as lost, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub patience: f64,
    /// Further subscribers of the channel, who do not read.
    #[arg(long, default_value_t = 0)]
    pub stalled: usize,
    /// Subscribers of another channel, which are not measured.
    #[arg(long, default_value_t = 0)]
    pub hot_subscribers: usize,
    /// Messages a second on that other channel.
    #[arg(long, default_value_t = 100.0)]
    pub hot_rate: f64,
    /// Further channels, on which nothing is published, among connections with 500 of them each.
    #[arg(long, default_value_t = 0)]
    pub other_channels: usize,
    /// What every scenario has to be told.
    #[command(flatten)]
    pub options: Options,
}

/// What is not said on the command line.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// Of the scenario.
    pub name: &'static str,
    /// See [`Fanout::subscribers`].
    pub subscribers: usize,
    /// See [`Fanout::rate`].
    pub rate: f64,
    /// See [`Fanout::messages`].
    pub messages: Option<u64>,
    /// See [`Fanout::warm_up`].
    pub warm_up: f64,
}

/// A steady rate.
pub const FANOUT: Defaults = Defaults { name: "fanout", subscribers: 1_000, rate: 50.0, messages: None, warm_up: 2.0 };

/// More than goes out one at a time.
pub const BURST: Defaults =
    Defaults { name: "burst", subscribers: 10_000, rate: 100.0, messages: Some(100), warm_up: 0.0 };

/// Several nodes: 45,000 deliveries a second.
pub const CLUSTER: Defaults =
    Defaults { name: "cluster", subscribers: 1_000, rate: 45.0, messages: None, warm_up: 2.0 };

impl Fanout {
    /// Runs it.
    pub fn run(&self, defaults: Defaults) -> anyhow::Result<Report> {
        let subscribers = self.subscribers.unwrap_or(defaults.subscribers);
        let rate = positive("--rate", self.rate.unwrap_or(defaults.rate))?;
        positive("--seconds", self.seconds)?;
        positive("--hot-rate", self.hot_rate)?;
        positive("--patience", self.patience)?;
        let messages = self.messages.or(defaults.messages).unwrap_or((rate * self.seconds).ceil() as u64);
        let warm_up = self.warm_up.unwrap_or(defaults.warm_up);
        ensure!(subscribers > 0 && messages > 0, "--subscribers and --messages are at least 1");
        ensure!((0.0..1e9).contains(&warm_up), "--warm-up is {warm_up}: it is a number of seconds, or 0");
        let patience = Duration::from_secs_f64(self.patience);
        let size = self.options.size;

        let mut crew = Crew::new(vec![Group::of_channel(subscribers, CHANNEL, 0)])
            .beside(Group { stalled: true, ..Group::of_channel(self.stalled, CHANNEL, 0) })
            .beside(Group::of_channel(self.hot_subscribers, HOT, 1));
        for first in (0..self.other_channels).step_by(OTHERS_EACH) {
            let numbers = first..(first + OTHERS_EACH).min(self.other_channels);
            let channels = numbers.map(|number| format!("other{number}")).collect();
            crew = crew.beside(Group { connections: 1, channels, first_channel: SILENT, stalled: false });
        }
        let mut stage = Stage::new(defaults.name, &self.options, crew)?;
        stage.connect_all()?;

        let mut schedules = vec![Schedule::new(vec![CHANNEL.to_owned()], 0, rate, messages, size)];
        if self.hot_subscribers > 0 {
            schedules.push(Schedule::new(vec![HOT.to_owned()], 1, self.hot_rate, u64::MAX, size));
        }
        stage.prove(&mut schedules)?;
        let warm = (rate * warm_up).ceil() as u64;
        if warm > 0 {
            stage.publish(again(&schedules, warm), patience)?;
            schedules = again(stage.swarm.schedules(), messages);
        }
        stage.swarm.ledger.reset();
        let measured = stage.measure(|stage| stage.publish(again(&schedules, messages), patience))?;
        let received = stage.swarm.ledger.received;
        stage.book_usage(measured, received.max(1) as f64);
        stage.book_deliveries();
        if self.stalled > 0 {
            let open = stage.swarm.stalled_and_open();
            stage.note_stalled(self.stalled - open);
        }
        Ok(stage.finish())
    }
}

/// The same schedules from now on, the first for so many messages.
fn again(schedules: &[Schedule], count: u64) -> Vec<Schedule> {
    let count = |place| if place == 0 { count } else { u64::MAX };
    schedules.iter().enumerate().map(|(place, schedule)| schedule.again(count(place))).collect()
}
