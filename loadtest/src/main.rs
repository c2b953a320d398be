//! `ullim-loadtest`: drives a server and says what came of it.

use clap::{Parser, Subcommand};
use ullim_loadtest::report::Report;
use ullim_loadtest::scenario::channels::Channels;
use ullim_loadtest::scenario::fanout::{BURST, CLUSTER, FANOUT, Fanout};
use ullim_loadtest::scenario::idle::Idle;
use ullim_loadtest::scenario::storm::Storm;

/// Drives a server that fans messages out, and says what came of it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Many subscribers of one channel, at a steady rate.
    Fanout(Fanout),
    /// Many subscribers of one channel, and more messages at once than go out one at a time.
    Burst(Fanout),
    /// Many connections that do nothing.
    Idle(Idle),
    /// Everybody connects at once, is cut, and comes back.
    Storm(Storm),
    /// Many channels with one subscriber each.
    Channels(Channels),
    /// Subscribers of one channel on several nodes: give each node's `--url`.
    Cluster(Fanout),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (report, json) = match &arguments.scenario {
        Scenario::Fanout(fanout) => (fanout.run(FANOUT)?, fanout.options.json),
        Scenario::Burst(burst) => (burst.run(BURST)?, burst.options.json),
        Scenario::Cluster(cluster) => (cluster.run(CLUSTER)?, cluster.options.json),
        Scenario::Idle(idle) => (idle.run()?, idle.options.json),
        Scenario::Storm(storm) => (storm.run()?, storm.options.json),
        Scenario::Channels(channels) => (channels.run()?, channels.options.json),
    };
    match json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print(&report),
    }
    Ok(())
}

fn print(report: &Report) {
    println!("{report:#?}");
}
