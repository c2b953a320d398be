//! `ullim-loadtest`: drives a server and says what came of it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ullim_loadtest::report::{Latency, Report};
use ullim_loadtest::scenario::channels::Channels;
use ullim_loadtest::scenario::fanout::{BURST, CLUSTER, FANOUT, Fanout};
use ullim_loadtest::scenario::idle::Idle;
use ullim_loadtest::scenario::publish::PublishCost;
use ullim_loadtest::scenario::storm::Storm;

/// Drives a server that fans messages out, and says what came of it.
#[derive(Debug, Parser)]
#[command(version, args_override_self = true)]
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
    /// What a publication costs Redis, plain and kept. Drives Redis alone.
    Publish(PublishCost),
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
    let (report, json) = match &arguments.scenario {
        Scenario::Fanout(fanout) => (fanout.run(FANOUT)?, fanout.options.json),
        Scenario::Burst(burst) => (burst.run(BURST)?, burst.options.json),
        Scenario::Cluster(cluster) => (cluster.run(CLUSTER)?, cluster.options.json),
        Scenario::Idle(idle) => (idle.run()?, idle.options.json),
        Scenario::Storm(storm) => (storm.run()?, storm.options.json),
        Scenario::Publish(publish) => (publish.run()?, publish.json),
        Scenario::Channels(channels) => (channels.run()?, channels.options.json),
    };
    match json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print(&report),
    }
    Ok(())
}

/// For people: one figure a line.
fn print(report: &Report) {
    println!("{}: {}", report.scenario, report.target);
    let line = |name: &str, value: String| println!("  {name:<22} {value}");
    for publishing in &report.publishing {
        let cost = format!("{:.2} µs of Redis, {:.0} a second", publishing.redis_micros, publishing.per_second);
        println!("  {}\n    pipelined            {cost}", publishing.way);
        println!("    one at a time        {}", delays(&publishing.latency));
    }
    if !report.publishing.is_empty() {
        return;
    }
    line("connections", format!("{} of {}, {} lost", report.connected, report.connections, report.lost_connections));
    if let Some(closed) = report.stalled_closed {
        line("closed, not reading", closed.to_string());
    }
    if let Some(connecting) = &report.connecting {
        line("connected", format!("{:.0} a second, {}", connecting.per_second, delays(&connecting.latency)));
        if let Some(back) = connecting.back_seconds {
            line("all back after", format!("{back:.2} s"));
        }
        if let Some((before, meanwhile)) = &connecting.stayed {
            line("who stayed, before", delays(before));
            line("who stayed, meanwhile", delays(meanwhile));
        }
    }
    if let Some(deliveries) = &report.deliveries {
        let delivered = format!("{} of {} in {:.2} s", deliveries.received, deliveries.expected, deliveries.seconds);
        line("delivered", delivered);
        let wrong = (deliveries.lost, deliveries.duplicates, deliveries.reordered);
        line("lost, twice, late", format!("{}, {}, {}", wrong.0, wrong.1, wrong.2));
        line("delay", delays(&deliveries.latency));
    }
    if let Some(server) = &report.server {
        let cpu = server.user_seconds + server.system_seconds;
        line("server's CPU", format!("{cpu:.2} s in {:.2} s, {:.2} µs each", server.seconds, server.micros_per_unit));
        line("of it in user space", format!("{:.2} µs each", server.user_micros_per_unit));
        let resident = (server.resident as f64 / 1048576.0, server.resident_per_connection / 1024.0);
        line("resident", format!("{:.1} MiB, {:.2} KiB for each connection", resident.0, resident.1));
        line("resident at the end", format!("{:.1} MiB", server.resident_after as f64 / 1048576.0));
    }
    line("generator's CPU", format!("{:.2} s", report.generator_cpu_seconds));
    for warning in &report.warnings {
        println!("  ! {warning}");
    }
}

fn delays(latency: &Latency) -> String {
    let Latency { p50, p90, p99, max, .. } = latency;
    format!("p50 {p50:.2} ms, p90 {p90:.2}, p99 {p99:.2}, max {max:.2}")
}
