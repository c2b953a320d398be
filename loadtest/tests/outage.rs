//! Each outage, at a small size: the figures are there, nothing is lost, and what would be lost is found. Needs
//! `redis-server`, and `ullim` beside the program that is tested, or as `$ULLIM_BIN`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not work is a failed test")]

use std::collections::HashMap;
use std::process::{Command, Output};

use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ullim-outage"));
    command.args(arguments).args(["--json", "--quiet"]);
    if let Some(ullim) = std::env::var_os("ULLIM_BIN").filter(|_| !arguments.contains(&"--ullim")) {
        command.arg("--ullim").arg(ullim);
    }
    command.output().unwrap()
}

/// The report of a run that succeeds, and its figures by name.
fn report(arguments: &[&str]) -> (Value, HashMap<String, f64>) {
    let output = run(arguments);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let figures = report["figures"].as_array().unwrap();
    let named = figures.iter().map(|figure| {
        let name = figure["name"].as_str().unwrap().to_owned();
        (name, figure["value"].as_f64().unwrap())
    });
    let named = named.collect();
    (report, named)
}

/// Those figures whose goal is none at all, and which are not none.
fn faults(report: &Value) -> Vec<&Value> {
    let figures = report["figures"].as_array().unwrap().iter();
    figures.filter(|figure| figure["at_most"] == 0.0 && figure["value"] != 0.0).collect()
}

fn refused(arguments: &[&str], because: &str) {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(because), "{output:?}");
}

#[test]
fn when_a_node_is_killed_its_clients_come_back_and_only_those_leave_who_stay_away() {
    let small = ["--clients", "50", "--members", "20", "--stay-away", "5", "--channels", "5", "--before", "1"];
    let (report, figures) = report(&[&["killed"][..], &small].concat());
    assert_eq!(faults(&report), Vec::<&Value>::new());
    assert_eq!((figures["resumed"], figures["leaves"]), (45.0, 5.0));
    assert!(figures["published"] > 0.0 && figures["expected"] > figures["published"], "{figures:?}");
    assert!(figures["resumed_p99"] > 0.0 && figures["ghosts_gone"] > 0.0, "{figures:?}");
}

#[test]
fn when_nodes_are_restarted_one_by_one_nobody_misses_anything_or_leaves() {
    let small = ["--clients", "50", "--members", "20", "--channels", "5", "--window", "1s", "--after", "1s"];
    let (report, figures) = report(&[&["rolling"][..], &small].concat());
    assert_eq!(faults(&report), Vec::<&Value>::new());
    let tenths: Vec<u64> = serde_json::from_value(report["tenths"].clone()).unwrap();
    assert_eq!((tenths.len(), tenths.iter().sum::<u64>() as f64), (11, figures["sent_away"]));
    assert!(figures["sent_away"] >= 53.0, "each client at least once: {figures:?}");
    assert!(figures["published"] > 0.0, "{figures:?}");
}

#[test]
fn when_redis_is_restarted_every_channel_is_subscribed_again_and_told() {
    let small = ["--connections", "10", "--per-connection", "20", "--away", "500ms"];
    let (report, figures) = report(&[&["resubscribed"][..], &small].concat());
    assert_eq!(faults(&report), Vec::<&Value>::new());
    assert_eq!(figures["channels"], 200.0);
    assert!(figures["resubscribed"] > 0.0 && figures["live_max"] > 0.0 && figures["kept_max"] > 0.0, "{figures:?}");
}

#[test]
fn what_clients_lose_is_found() {
    // The history is too short for what they miss while they are away.
    let much = ["--clients", "50", "--members", "2", "--stay-away", "1", "--channels", "1", "--rate", "500"];
    let short = ["--before", "1", "--set", "namespaces.kept.history_size=1"];
    let (_, figures) = report(&[&["killed"][..], &much, &short].concat());
    assert!(figures["lost"] > 0.0 && figures["signals"] > 0.0, "{figures:?}");
}

#[test]
fn a_run_that_would_measure_nothing_is_refused() {
    refused(
        &["killed", "--rate", "0", "--clients", "3", "--members", "2", "--stay-away", "1", "--channels", "1"],
        "published",
    );
    refused(&["killed", "--clients", "3", "--members", "2", "--stay-away", "2", "--channels", "1"], "--stay-away");
    refused(&["rolling", "--nodes", "1"], "--nodes");
    refused(&["rolling", "--clients", "0", "--members", "0"], "--clients");
    refused(&["resubscribed", "--connections", "0"], "--connections");
    refused(&["killed", "--clients", "100000000"], "open files");
    refused(&["rolling", "--ullim", "/nowhere/ullim"], "/nowhere/ullim");
}
