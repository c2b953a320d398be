//! `ullim-compare`: runs every scenario for every server that is found here, in turns, and writes the page about it.
//!
//! * `experiment`: what is run, for whom, how often
//! * `lab`: the servers, Redis and the generator, each on its core
//! * `results`: what came of it, kept as JSON so that the page can be written again
//! * `goal`: what was to be reached, and whether it was
//! * `page`, `plot`: how it is shown

mod experiment;
mod goal;
mod lab;
mod machine;
mod page;
mod plot;
mod results;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Parser;

use experiment::{Contestant, Experiment};
use lab::{Lab, Started};
use results::{Outcome, Results};

/// Compares Ullim with the least that a server can do, and with other servers that are found on this machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Every row in about ten minutes: once, and for a shorter time.
    #[arg(long)]
    quick: bool,
    /// Only these experiments, separated by commas. The others keep the figures that they had.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each is run, instead of the usual number.
    #[arg(long)]
    runs: Option<usize>,
    /// Runs nothing: writes the page again from the figures that are kept.
    #[arg(long)]
    page_only: bool,
    /// Where the page goes; figures and plots go into a folder of the same name beside it.
    #[arg(long, default_value = "docs/performance.md")]
    page: PathBuf,
    /// Where the built programs are.
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
    /// The CPU that servers run on.
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// The CPU that the generator and Redis run on.
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// Lists the experiments.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    let experiments = experiment::all();
    if arguments.list {
        experiments.iter().for_each(|experiment| println!("{:<16} {}", experiment.id, experiment.title));
        return Ok(());
    }
    for name in &arguments.only {
        ensure!(
            experiments.iter().any(|experiment| experiment.id == name),
            "there is no experiment {name}: see --list"
        );
    }
    let folder = arguments.page.with_extension("");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("figures.json");
    let mut results = match arguments.page_only || !arguments.only.is_empty() {
        true => Results::read(&file).unwrap_or_default(),
        false => Results::default(),
    };
    if !arguments.page_only {
        let lab = Lab::open(&arguments.bin, arguments.server_cpu, arguments.load_cpu)?;
        results.machine = machine::describe()?;
        for experiment in experiments.iter() {
            if arguments.only.is_empty() || arguments.only.iter().any(|name| name == experiment.id) {
                run(&lab, experiment, arguments, &mut results)?;
                results.write(&file)?;
                // Also if it is broken off later.
                show(&results, &experiments, arguments, &folder)?;
            }
        }
    }
    show(&results, &experiments, arguments, &folder)
}

/// Writes the page and the plots.
fn show(results: &Results, experiments: &[Experiment], arguments: &Arguments, folder: &Path) -> anyhow::Result<()> {
    plot::draw_all(results, folder)?;
    let page = page::write(results, experiments, folder)?;
    std::fs::write(&arguments.page, page).with_context(|| format!("cannot write {}", arguments.page.display()))
}

/// Runs an experiment: all contestants once, then all again, so that what changes on the machine meanwhile meets all.
fn run(lab: &Lab, experiment: &Experiment, arguments: &Arguments, results: &mut Results) -> anyhow::Result<()> {
    results.runs.remove(experiment.id);
    let runs = arguments.runs.unwrap_or(if arguments.quick { 1 } else { experiment.runs });
    for round in 0..runs {
        for contestant in experiment.contestants.iter().filter(|contestant| round < contestant.most_runs) {
            eprint!("{:<16} {}/{runs} {:<28} ", experiment.id, round + 1, contestant.label);
            let outcome = one(lab, experiment, contestant, arguments.quick, results)?;
            eprintln!("{}", outcome.summary());
            results.add(experiment.id, contestant.label, outcome);
        }
    }
    Ok(())
}

fn one(
    lab: &Lab,
    experiment: &Experiment,
    contestant: &Contestant,
    quick: bool,
    results: &mut Results,
) -> anyhow::Result<Outcome> {
    let target = lab.target(contestant.target)?;
    if let Some(version) = lab.version(&target) {
        results.versions.insert(contestant.target.to_owned(), version);
    }
    let nodes = match lab.start(&target, contestant)? {
        Started::Nodes(nodes) => nodes,
        Started::Missing(why) => return Ok(Outcome::Skipped(why)),
    };
    let arguments = experiment.arguments(contestant, quick);
    Ok(match lab.drive(&target, &nodes, experiment.scenario, &arguments) {
        Ok(report) => Outcome::Measured(Box::new(report)),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    })
}
