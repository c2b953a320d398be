//! What is said about a run: for people, and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Options;
use super::checker::{Finding, Kind, Times, Verdict};
use super::log::Log;

/// How many findings of a kind are printed.
const SHOWN: usize = 8;

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The form of Redis.
    pub redis: String,
    /// The seed.
    pub seed: u64,
    /// What was checked.
    pub verdict: Verdict,
    /// Faults that were not done, and why.
    pub skipped: Vec<(String, String)>,
    /// How many faults were done.
    pub faults: usize,
    /// How many subscribers there were.
    pub subscribers: usize,
    /// What nodes logged as errors.
    pub errors: Vec<String>,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        log: &Log,
        verdict: Verdict,
        skipped: Vec<(String, String)>,
        errors: Vec<String>,
    ) -> Self {
        Self {
            redis: format!("{:?}", options.form).to_lowercase(),
            seed: options.seed,
            verdict,
            skipped,
            faults: log.faults.len(),
            subscribers: log.subscribers.len(),
            errors,
        }
    }

    /// What must not be.
    pub fn findings(&self) -> &[Finding] {
        &self.verdict.findings
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { findings, signals, answered, unknown, heard, repeated_across_epochs, recovery } = &self.verdict;
        writeln!(
            f,
            "\nRedis: {}, seed {}, {} faults, {} subscribers",
            self.redis, self.seed, self.faults, self.subscribers
        )?;
        writeln!(f, "published {answered} (and {unknown} of which nobody knows), heard {heard}, signals {signals}")?;
        if *repeated_across_epochs > 0 {
            writeln!(f, "published again after Redis had lost its history, with one id: {repeated_across_epochs}")?;
        }
        if !recovery.is_empty() {
            writeln!(
                f,
                "\n{:<20} {:>8} {:>6} {:>8} {:>8} {:>8} {:>6}",
                "fault", "lasted", "count", "p50 ms", "p99 ms", "max ms", "never"
            )?;
        }
        for Times { fault, detail, lasted, count, p50, p99, max, never } in recovery {
            writeln!(f, "{fault:<20} {lasted:>8} {count:>6} {p50:>8} {p99:>8} {max:>8} {never:>6}  {detail}")?;
        }
        for (name, why) in &self.skipped {
            writeln!(f, "skipped: {name}: {why}")?;
        }
        for error in &self.errors {
            writeln!(f, "logged: {error}")?;
        }
        let mut kinds: BTreeMap<Kind, Vec<&Finding>> = BTreeMap::new();
        for finding in findings {
            kinds.entry(finding.kind).or_default().push(finding);
        }
        for (kind, findings) in &kinds {
            writeln!(f, "\n{kind:?}: {}", findings.len())?;
            for Finding { who, channel, at, during, detail, .. } in findings.iter().take(SHOWN) {
                writeln!(f, "  {at} {who} {channel} [{}]: {detail}", during.join(", "))?;
            }
        }
        let verdict = if findings.is_empty() { "nothing was lost silently" } else { "THERE ARE FINDINGS" };
        writeln!(f, "\n{verdict}")
    }
}
