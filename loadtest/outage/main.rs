//! `ullim-outage`: starts Redis and nodes of its own, does to them what outages do, and measures what thousands of clients
//! see of it.
//!
//! * `scenario`: what is done, and what is measured
//! * `stage`: Redis and the nodes; `server` one process of them, `store` what is asked of Redis
//! * `crowd`: the clients, with `seen`, what each of them has seen; `heard`, the books of one subscription
//! * `publisher`: what is published meanwhile
//! * `report`: the figures, for people and for programs

mod crowd;
mod heard;
mod publisher;
mod report;
mod scenario;
mod seen;
mod server;
mod stage;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use scenario::killed::Killed;
use scenario::resubscribed::Resubscribed;
use scenario::rolling::Rolling;

/// Measures outages: starts Redis and nodes of its own, ends some of them, and says what their clients saw of it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// `kill -9` of the node that holds all clients, beside another one.
    Killed(Killed),
    /// SIGTERM to each of three nodes in turn, and a new start.
    Rolling(Rolling),
    /// `kill -9` of Redis under a node with many channels, and a new start.
    Resubscribed(Resubscribed),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (report, json) = match &arguments.scenario {
        Scenario::Killed(killed) => (runtime.block_on(killed.run())?, killed.options.json),
        Scenario::Rolling(rolling) => (runtime.block_on(rolling.run())?, rolling.options.json),
        Scenario::Resubscribed(resubscribed) => (runtime.block_on(resubscribed.run())?, resubscribed.options.json),
    };
    match json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{report}"),
    }
    Ok(())
}
