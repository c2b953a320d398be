//! The page: goals, tables, and what they were measured with.

use std::fmt::Write as _;
use std::path::Path;

use ullim_loadtest::report::Report;

use crate::experiment::{Contestant, Experiment};
use crate::goal::{self, cpu, kibibytes, p50, p99, wrong};
use crate::plot;
use crate::results::{Figure, Outcome, Results};

const INTRODUCTION: &str = "\
# Performance

What this page says was measured by `loadtest/compare`, which writes it: every server of a comparison in turns, in one \
run, the server on one CPU, the load generator and Redis on another. *The floor* is a program that does nothing but \
write one ready-made frame to each connection (`loadtest/floor`): what the kernel makes anybody pay. *Batched*, it writes \
all that waits for a connection at once.

Figures are medians, with the least and the greatest of all runs. What is a ratio is the median of the ratios of runs \
that followed each other, not the ratio of medians: the machine is noisy, and both meet the same noise. Delays count from \
when a message was due to be published, so that no wait is left out. `figures.json` beside the plots has every run.

To measure for yourself: `loadtest/compare` (about an hour), or `loadtest/compare --quick` (ten minutes). \
To drive a deployment of your own: `cargo run --release -p ullim-loadtest -- fanout --help`.

";

/// Columns of an experiment's table.
struct Column {
    name: String,
    digits: usize,
    value: fn(&Report) -> Option<f64>,
}

pub(crate) fn write(results: &Results, experiments: &[Experiment], folder: &Path) -> anyhow::Result<String> {
    let mut page = INTRODUCTION.to_owned();
    machine(&mut page, results)?;
    goals(&mut page, results)?;
    for experiment in experiments.iter().filter(|experiment| results.runs.contains_key(experiment.id)) {
        table(&mut page, results, experiment, folder)?;
    }
    caveats(&mut page)?;
    Ok(page)
}

fn machine(page: &mut String, results: &Results) -> anyhow::Result<()> {
    writeln!(page, "## The machine and the servers\n")?;
    for line in &results.machine {
        writeln!(page, "* {line}")?;
    }
    // Several targets may be one server.
    let versions: std::collections::BTreeSet<_> = results.versions.values().collect();
    for version in versions {
        writeln!(page, "* {version}")?;
    }
    let skipped = results.runs.values().flatten().filter_map(|(label, outcomes)| match outcomes.first()? {
        Outcome::Skipped(why) => Some((label.as_str(), why.as_str())),
        _ => None,
    });
    let skipped: std::collections::BTreeMap<_, _> = skipped.collect();
    for (label, why) in skipped {
        writeln!(page, "* {label} is not here: {why}")?;
    }
    Ok(writeln!(page)?)
}

fn goals(page: &mut String, results: &Results) -> anyhow::Result<()> {
    writeln!(page, "## Goals\n\n| | goal | measured | |\n|---|---|---|---|")?;
    for goal in goal::all(results) {
        let figure = goal
            .figure
            .map_or_else(|| "–".to_owned(), |figure| format!("{} {}", spread(figure, goal.digits), goal.unit));
        writeln!(page, "| {} | {} | {figure} | {} |", goal.text, goal.limit, goal.verdict.text())?;
    }
    Ok(writeln!(page)?)
}

fn columns(experiment: &Experiment) -> Vec<Column> {
    let column = |name: &str, digits, value| Column { name: name.to_owned(), digits, value };
    let cpu_name = format!("CPU per {}, µs", experiment.unit);
    let mut columns = vec![column(&cpu_name, 2, cpu)];
    match experiment.scenario {
        "idle" => {
            columns.push(column("resident each, KiB", 2, kibibytes));
        }
        "storm" => {
            columns.push(column("connections a second", 0, |report| Some(report.connecting.as_ref()?.per_second)));
            if !experiment.arguments.contains("--no-cut") {
                columns.push(column("all back after, s", 2, |report| report.connecting.as_ref()?.back_seconds));
                columns.push(column("p99 of those who stay, ms", 2, |report| {
                    Some(report.connecting.as_ref()?.stayed?.0.p99)
                }));
                columns.push(column("meanwhile", 2, |report| Some(report.connecting.as_ref()?.stayed?.1.p99)));
            }
        }
        _ => {
            columns.push(column("p50, ms", 2, p50));
            columns.push(column("p99, ms", 2, p99));
            columns.push(column("lost, repeated, reordered", 0, wrong));
            columns.push(column("resident, MiB", 1, |report| Some(report.server?.resident_after as f64 / 1048576.0)));
        }
    }
    columns
}

fn table(page: &mut String, results: &Results, experiment: &Experiment, folder: &Path) -> anyhow::Result<()> {
    writeln!(page, "## {}\n", experiment.title)?;
    let columns = columns(experiment);
    let yardstick = experiment.contestants[0].label;
    write!(page, "| | × {yardstick}, CPU ")?;
    for column in &columns {
        write!(page, "| {} ", column.name)?;
    }
    writeln!(page, "| runs |\n|---|---|{}---|", "---|".repeat(columns.len()))?;
    for contestant in &experiment.contestants {
        row(page, results, experiment, contestant, &columns)?;
    }
    let seconds = experiment.arguments(&experiment.contestants[0], false).join(" ");
    writeln!(page, "\n`ullim-loadtest {} {seconds}`\n", experiment.scenario)?;
    for warning in warnings(results, experiment) {
        writeln!(page, "* {warning}")?;
    }
    writeln!(page)?;
    for plot in plot::of(experiment.id) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        writeln!(page, "![{}]({name}/{}.svg)\n", plot.title, plot.name)?;
    }
    Ok(())
}

/// What the generator warned of, and in how many runs of whom.
fn warnings(results: &Results, experiment: &Experiment) -> Vec<String> {
    let mut lines = Vec::new();
    for contestant in &experiment.contestants {
        let reports = results.outcomes(experiment.id, contestant.label).iter().filter_map(Outcome::report);
        let mut counts = std::collections::BTreeMap::<&str, (usize, &str)>::new();
        for warning in reports.flat_map(|report| &report.warnings) {
            // What comes before the figures is the same in each run.
            let kind = warning.split(|sign: char| sign.is_ascii_digit()).next().unwrap_or_default();
            let entry = counts.entry(kind).or_default();
            *entry = (entry.0 + 1, warning);
        }
        lines.extend(counts.values().map(|(count, last)| match count {
            1 => format!("{}, one run: {last}", contestant.label),
            _ => format!("{}, {count} runs, such as: {last}", contestant.label),
        }));
    }
    lines
}

fn row(
    page: &mut String,
    results: &Results,
    experiment: &Experiment,
    contestant: &Contestant,
    columns: &[Column],
) -> anyhow::Result<()> {
    let outcomes = results.outcomes(experiment.id, contestant.label);
    let measured = outcomes.iter().filter_map(Outcome::report).count();
    if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Skipped(_))) {
        return Ok(());
    }
    let ratio =
        results
            .paired(experiment.id, (contestant.label, experiment.contestants[0].label), cpu, |one, other| one / other);
    let cell = |figure: Option<Figure>, digits| figure.map_or_else(|| "–".to_owned(), |figure| spread(figure, digits));
    write!(page, "| {} | {} ", contestant.label, cell(ratio, 2))?;
    for column in columns {
        let figure = results.figure(experiment.id, contestant.label, column.value);
        write!(page, "| {} ", cell(figure, column.digits))?;
    }
    let failed = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Failed(why) => {
            Some(format!(", {} failed: {}", outcomes.len() - measured, why.replace(['|', '\n'], " ")))
        }
        _ => None,
    });
    Ok(writeln!(page, "| {measured}{} |", failed.unwrap_or_default())?)
}

/// The median, and in parentheses the range if it is one.
fn spread(figure: Figure, digits: usize) -> String {
    let text = |value: f64| grouped(format!("{value:.digits$}"));
    let (median, least, greatest) = (text(figure.median), text(figure.least), text(figure.greatest));
    match least == greatest {
        true => median,
        false => format!("{median} ({least}–{greatest})"),
    }
}

/// With commas between thousands.
fn grouped(number: String) -> String {
    let end = number.find('.').unwrap_or(number.len());
    let mut out = String::new();
    for (place, digit) in number[..end].char_indices() {
        if place > 0 && (end - place).is_multiple_of(3) && digit.is_ascii_digit() && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out + &number[end..]
}

fn caveats(page: &mut String) -> anyhow::Result<()> {
    Ok(write!(
        page,
        "## What these figures do not say\n\n\
         * On loopback the sender pays for the receiver's half of the network stack: a delivery costs more here than on a \
         server with a network card, and the floor's share of it is greater.\n\
         * Every server has one CPU, because the generator needs the other. How they use several is not measured here. \
         Two shards on one CPU show only that a second shard adds nothing to the cost of a delivery.\n\
         * The peers run with one worker, without logs and limits, and as their documentation recommends otherwise \
         (`loadtest/servers`). None of them checks a token here; Ullim does. None of them keeps a history here.\n\
         * Socket.IO and Nchan were given their messages through what they offer for it: Socket.IO's Redis emitter, \
         Nchan's HTTP endpoint. The emitter shares the generator's CPU.\n\
         * RabbitMQ has a queue for each subscriber, in which nothing is kept on disk, and checks a password. *By SEND* and \
         RabbitMQ's messages are published by a client over STOMP, whose part of the CPU is in the figure; those of the \
         other rows by `PUBLISH` in Redis.\n\
         * Where a hot channel is beside the one that is measured, CPU is divided by the deliveries of the latter alone.\n\
         * User and system time are told apart by the kernel's clock ticks, where it is told at all; their sum is exact.\n"
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_with_their_range() {
        let figure = |least, median, greatest| Figure { least, median, greatest, runs: 3 };
        assert_eq!(spread(figure(1.0, 1.004, 1.2), 2), "1.00 (1.00–1.20)");
        assert_eq!(spread(figure(2.0, 2.0, 2.0), 0), "2");
        assert_eq!(spread(figure(15000.0, 15000.0, 1234567.0), 0), "15,000 (15,000–1,234,567)");
    }
}
