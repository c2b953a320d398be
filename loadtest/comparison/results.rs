//! What came of the runs, kept as JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use ullim_loadtest::report::{Deliveries, Report};

/// Everything that was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Vec<String>,
    /// By target.
    pub(crate) versions: BTreeMap<String, String>,
    /// By experiment and contestant, in the order of the runs.
    pub(crate) runs: BTreeMap<String, BTreeMap<String, Vec<Outcome>>>,
}

/// What came of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Measured(Box<Report>),
    /// The server is not installed.
    Skipped(String),
    /// Something did not work.
    Failed(String),
}

/// A figure of some runs: the median, and the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
    pub(crate) runs: usize,
}

impl Figure {
    /// None without a value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Self { median, least: first, greatest: last, runs: values.len() })
    }
}

impl Outcome {
    pub(crate) fn report(&self) -> Option<&Report> {
        match self {
            Self::Measured(report) => Some(report),
            Self::Skipped(_) | Self::Failed(_) => None,
        }
    }

    /// Whether something went wrong, so that the figures may be too good.
    pub(crate) fn is_doubtful(&self) -> bool {
        match self {
            Self::Skipped(_) => false,
            Self::Failed(_) => true,
            Self::Measured(report) => {
                let wrong = |deliveries: &Deliveries| deliveries.lost + deliveries.duplicates + deliveries.reordered;
                report.lost_connections > 0 || report.deliveries.as_ref().map_or(0, wrong) > 0
            }
        }
    }

    /// A line for whoever watches.
    pub(crate) fn summary(&self) -> String {
        let report = match self {
            Self::Measured(report) => report,
            Self::Skipped(why) => return format!("skipped: {why}"),
            Self::Failed(why) => return format!("FAILED: {why}"),
        };
        let mut parts = Vec::new();
        if let Some(server) = &report.server {
            parts.push(format!(
                "{:.2} µs each, {:.0} B resident each",
                server.micros_per_unit, server.resident_per_connection
            ));
        }
        if let Some(deliveries) = &report.deliveries {
            parts.push(format!("p50 {:.2} p99 {:.2} ms", deliveries.latency.p50, deliveries.latency.p99));
            if deliveries.lost + deliveries.duplicates + deliveries.reordered > 0 {
                let wrong = (deliveries.lost, deliveries.duplicates, deliveries.reordered);
                parts.push(format!("LOST {} TWICE {} LATE {}", wrong.0, wrong.1, wrong.2));
            }
        }
        if let Some(back) = report.connecting.as_ref().and_then(|connecting| connecting.back_seconds) {
            parts.push(format!("back in {back:.2} s"));
        }
        parts.extend(report.warnings.iter().map(|warning| format!("! {warning}")));
        parts.join(", ")
    }
}

impl Results {
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(file)?)?)
    }

    /// Replaces the file only once the new one is whole.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let beside = file.with_extension("new");
        fs::write(&beside, serde_json::to_string_pretty(self)?)?;
        Ok(fs::rename(beside, file)?)
    }

    pub(crate) fn add(&mut self, experiment: &str, contestant: &str, outcome: Outcome) {
        let runs = self.runs.entry(experiment.to_owned()).or_default();
        runs.entry(contestant.to_owned()).or_default().push(outcome);
    }

    /// What came of a contestant's runs.
    pub(crate) fn outcomes(&self, experiment: &str, contestant: &str) -> &[Outcome] {
        self.runs.get(experiment).and_then(|runs| runs.get(contestant)).map_or(&[], Vec::as_slice)
    }

    /// A figure of a contestant's, over its runs.
    pub(crate) fn figure(
        &self,
        experiment: &str,
        contestant: &str,
        value: impl Fn(&Report) -> Option<f64>,
    ) -> Option<Figure> {
        let reports = self.outcomes(experiment, contestant).iter().filter_map(Outcome::report);
        Figure::of(reports.filter_map(value))
    }

    /// Two contestants' values, joined run by run.
    pub(crate) fn paired(
        &self,
        experiment: &str,
        (one, other): (&str, &str),
        value: impl Fn(&Report) -> Option<f64>,
        join: impl Fn(f64, f64) -> f64,
    ) -> Option<Figure> {
        let value = |outcome: &Outcome| outcome.report().and_then(&value);
        let pairs = self.outcomes(experiment, one).iter().zip(self.outcomes(experiment, other));
        Figure::of(pairs.filter_map(|(one, other)| Some(join(value(one)?, value(other)?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_and_the_range() {
        let figure = Figure::of([5.0, 1.0, f64::NAN, 3.0]).unwrap();
        assert_eq!((figure.least, figure.median, figure.greatest, figure.runs), (1.0, 3.0, 5.0, 3));
        assert_eq!(Figure::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Figure::of([]), None);
    }
}
