//! `ullim-chaos`: faults under traffic against a cluster of its own, and a report. Ends with 1 if there are findings.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a program of the tests: what does not work ends it")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};
use ullim_tests::chaos::{Form, Options, Report, faults, faults_of, run};

/// Hurts a cluster under traffic, and says whether anything was lost silently.
#[derive(Debug, Parser)]
#[command(name = "ullim-chaos")]
struct Arguments {
    /// The form of Redis
    #[arg(long, value_enum, default_value = "single")]
    redis: Form,
    /// The same seed makes the same faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long faults go on; each is done once at least
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// Names with commas between them, `all` or `none`
    #[arg(long, default_value = "all", value_delimiter = ',')]
    faults: Vec<String>,
    /// A cluster of its own for each fault
    #[arg(long)]
    each: bool,
    /// Seconds between two faults
    #[arg(long, default_value_t = 12)]
    quiet: u64,
    /// How many nodes
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// The binary to test
    #[arg(long)]
    ullim: Option<PathBuf>,
    /// Further settings of the nodes
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Only traffic on channels of this kind: live, recoverable
    #[arg(long)]
    only: Option<String>,
    /// A folder for what each subscriber receives, as it is received
    #[arg(long)]
    frames: Option<PathBuf>,
    /// Where to write the report as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Short faults
    #[arg(long)]
    brief: bool,
    /// Ends with 1 if there are no findings: for servers that are broken on purpose
    #[arg(long)]
    expect_findings: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut options = options(&arguments);
    let mut reports: Vec<Report> = Vec::new();
    if arguments.each {
        for fault in std::mem::take(&mut options.faults) {
            println!("==> {fault}");
            options.faults = vec![fault];
            let report = run(&options).await;
            print!("{report}");
            reports.push(report);
        }
    } else {
        let report = run(&options).await;
        print!("{report}");
        reports.push(report);
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&reports).unwrap()).unwrap();
    }
    let found = reports.iter().any(|report| !report.findings().is_empty());
    if found == arguments.expect_findings { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options(arguments: &Arguments) -> Options {
    let mut options = Options::new(arguments.redis);
    options.seed = arguments.seed;
    options.length = Duration::from_secs(60 * arguments.minutes);
    options.quiet = Duration::from_secs(arguments.quiet);
    options.nodes = arguments.nodes;
    options.ullim = arguments.ullim.clone();
    options.settings = arguments.settings.clone();
    options.frames = arguments.frames.clone();
    options.brief = arguments.brief;
    options.talks = true;
    options.promises = match arguments.only.as_deref() {
        Some("live") => (true, false),
        Some("recoverable") => (false, true),
        _ => (true, true),
    };
    options.faults = match arguments.faults.as_slice() {
        [one] if one == "all" => faults_of(arguments.redis).map(str::to_owned).collect(),
        [one] if one == "none" => Vec::new(),
        names => {
            if let Some(unknown) = names.iter().find(|name| !faults().any(|known| known == **name)) {
                let known: Vec<_> = faults().collect();
                let said = format!("there is no fault {unknown}: there are all, none, {}", known.join(", "));
                Arguments::command().error(ErrorKind::InvalidValue, said).exit();
            }
            names.to_vec()
        }
    };
    if let Some(frames) = &arguments.frames {
        std::fs::create_dir_all(frames).unwrap();
    }
    options
}
