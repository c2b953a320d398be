//! The figures of a run, for people and for programs.

use std::fmt;

use serde::Serialize;

/// What came of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Which scenario.
    pub(crate) scenario: &'static str,
    /// What was done, in words.
    pub(crate) setting: String,
    /// The figures, in an order for people.
    pub(crate) figures: Vec<Figure>,
    /// Reconnections in each tenth of the drains' window, and at last those behind it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tenths: Vec<u64>,
    /// Whatever makes the figures doubtful, in words.
    pub(crate) warnings: Vec<String>,
}

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// For programs.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) what: String,
    /// How much.
    pub(crate) value: f64,
    /// Of what: `s`, `%`, or nothing for a count.
    pub(crate) unit: &'static str,
    /// The goal: so much at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<f64>,
}

impl Report {
    /// A number of things.
    pub(crate) fn count(&mut self, name: &'static str, what: &str, count: u64, at_most: Option<u64>) {
        let (value, at_most) = (count as f64, at_most.map(|most| most as f64));
        self.figures.push(Figure { name, what: what.to_owned(), value, unit: "", at_most });
    }

    /// A time, in seconds.
    pub(crate) fn seconds(&mut self, name: &'static str, what: &str, value: f64, at_most: Option<f64>) {
        self.figures.push(Figure { name, what: what.to_owned(), value, unit: "s", at_most });
    }

    /// p50, p99 and the greatest of times in nanoseconds, under these three names; the goal is for p99.
    pub(crate) fn spread(&mut self, names: [&'static str; 3], what: &str, mut nanos: Vec<u64>, p99: Option<f64>) {
        nanos.sort_unstable();
        let at = |share: f64| {
            let place = (nanos.len() as f64 * share).ceil() as usize;
            nanos.get(place.saturating_sub(1)).map_or(0.0, |nanos| *nanos as f64 / 1e9)
        };
        self.seconds(names[0], &format!("{what}, p50"), at(0.5), None);
        self.seconds(names[1], &format!("{what}, p99"), at(0.99), p99);
        self.seconds(names[2], &format!("{what}, longest"), at(1.0), None);
    }

    /// A share, in percent.
    pub(crate) fn share(&mut self, name: &'static str, what: &str, share: f64) {
        let what = what.to_owned();
        self.figures.push(Figure { name, what, value: share * 100.0, unit: "%", at_most: None });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.setting)?;
        for Figure { what, value, unit, at_most, .. } in &self.figures {
            let written = |value: f64| match *unit {
                "s" => format!("{value:.2} s"),
                "%" => format!("{value:.1} %"),
                _ => format!("{value}"),
            };
            write!(f, "  {what:<64} {:>8}", written(*value))?;
            if let Some(most) = at_most {
                let verdict = if value <= most { "reached" } else { "MISSED" };
                write!(f, "   goal ≤ {}: {verdict}", written(*most))?;
            }
            writeln!(f)?;
        }
        if let Some((behind, tenths)) = self.tenths.split_last() {
            let tenths: Vec<String> = tenths.iter().map(u64::to_string).collect();
            writeln!(f, "  reconnections in each tenth of the window: {}; behind it: {behind}", tenths.join(" "))?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "  ! {warning}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured_and_a_missed_goal_is_told() {
        let mut report = Report::default();
        let nanos = (1..=200).rev().map(|number| number * 100_000_000).collect();
        report.spread(["p50", "p99", "max"], "away", nanos, Some(10.0));
        report.count("lost", "lost", 0, Some(0));
        let values: Vec<f64> = report.figures.iter().map(|figure| figure.value).collect();
        assert_eq!(values, [10.0, 19.8, 20.0, 0.0]);
        let text = report.to_string();
        assert!(text.contains("19.80 s   goal ≤ 10.00 s: MISSED") && text.contains("goal ≤ 0: reached"), "{text}");
    }
}
