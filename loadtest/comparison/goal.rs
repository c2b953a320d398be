//! What was to be reached, and what was.

use ullim_loadtest::report::Report;

use crate::experiment::PEERS;
use crate::results::{Figure, Outcome, Results};

/// A goal and its figure.
pub(crate) struct Goal {
    pub(crate) text: String,
    /// The goal itself, as it is written.
    pub(crate) limit: String,
    pub(crate) figure: Option<Figure>,
    /// Digits behind the point.
    pub(crate) digits: usize,
    pub(crate) unit: &'static str,
    pub(crate) verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Reached,
    /// The median is; some runs are not.
    ReachedByMedian,
    Missed,
    /// A run failed, lost connections or messages, or repeated them.
    Doubtful,
    NotMeasured,
}

impl Verdict {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::ReachedByMedian => "reached by the median",
            Self::Missed => "**missed**",
            Self::Doubtful => "**doubtful**: see the runs",
            Self::NotMeasured => "not measured",
        }
    }
}

type Value = fn(&Report) -> Option<f64>;

pub(crate) fn cpu(report: &Report) -> Option<f64> {
    Some(report.server?.micros_per_unit)
}

pub(crate) fn p50(report: &Report) -> Option<f64> {
    Some(report.deliveries.as_ref()?.latency.p50)
}

pub(crate) fn p99(report: &Report) -> Option<f64> {
    Some(report.deliveries.as_ref()?.latency.p99)
}

/// Resident KiB for each connection.
pub(crate) fn kibibytes(report: &Report) -> Option<f64> {
    Some(report.server?.resident_per_connection / 1024.0)
}

/// Deliveries that were lost, came twice or too late.
pub(crate) fn wrong(report: &Report) -> Option<f64> {
    let deliveries = report.deliveries.as_ref()?;
    Some((deliveries.lost + deliveries.duplicates + deliveries.reordered) as f64)
}

fn growth(report: &Report) -> Option<f64> {
    let server = report.server?;
    Some(server.resident_after as f64 / server.resident as f64)
}

fn back(report: &Report) -> Option<f64> {
    report.connecting.as_ref()?.back_seconds
}

fn stayed(report: &Report) -> Option<f64> {
    let (before, meanwhile) = report.connecting.as_ref()?.stayed?;
    Some(meanwhile.p99 / before.p99)
}

/// All goals, in their order.
pub(crate) fn all(results: &Results) -> Vec<Goal> {
    let ratio = |experiment, one, other, value: Value| {
        results.paired(experiment, (one, other), value, |one, other| one / other)
    };
    let mut goals = Vec::new();
    let mut add = |experiment, goal: Goal| goals.push(goal.judged_in(results, experiment));
    for (experiment, size) in [("fanout-1000", "1,000"), ("fanout-5000", "5,000")] {
        for (label, format) in [("Ullim", "JSON"), ("Ullim, MessagePack", "MessagePack")] {
            let text = format!("CPU per delivery to {size} subscribers, {format}");
            add(experiment, most(text, 1.10, "× the floor", 2, ratio(experiment, label, "floor", cpu)));
        }
    }
    for (label, way) in [("Ullim, STOMP", "TCP"), ("Ullim, STOMP, WebSocket", "WebSocket")] {
        let text = format!("CPU per delivery to 1,000 subscribers, STOMP on {way}");
        add("stomp", most(text, 1.3, "× the floor", 2, ratio("stomp", label, "floor", cpu)));
    }
    add(
        "burst",
        most("a burst: lost, repeated or reordered", 0.0, "messages", 0, results.figure("burst", "Ullim", wrong)),
    );
    let batched = ratio("burst", "Ullim", "floor, batched", p99);
    add("burst", most("a burst: p99 delay", 1.3, "× the batched floor", 2, batched));
    let ahead = best_peer(results, "burst", |ours, theirs| theirs / ours);
    add("burst", least("a burst: p99 delay of the best clustered peer", 25.0, "× ours", 0, ahead));
    add("idle", most("resident, plain", 1.1, "KiB each", 2, results.figure("idle", "Ullim", kibibytes)));
    add("idle", most("resident, TLS", 9.0, "KiB each", 2, results.figure("idle", "Ullim, TLS", kibibytes)));
    add("idle", most("resident after a minute", 1.02, "× before", 3, results.figure("idle", "Ullim", growth)));
    add("idle", most("CPU of an idle connection", 2.0, "µs/s", 2, results.figure("idle", "Ullim", cpu)));
    let text = "CPU per connection: handshake, token, subscription";
    add("storm", most(text, 3.0, "× the floor's handshake", 2, ratio("storm", "Ullim", "floor", cpu)));
    add("storm", most("15,000 that were cut are back", 5.0, "s", 2, results.figure("storm", "Ullim", back)));
    add("storm", most("p99 delay of those who stayed", 2.0, "× before", 2, results.figure("storm", "Ullim", stayed)));
    let text = "to those who stayed: lost, repeated or reordered";
    add("storm", most(text, 0.0, "messages", 0, results.figure("storm", "Ullim", wrong)));
    let beyond = results.paired("channels", ("Ullim", "floor"), cpu, |ours, floor| ours - floor);
    add("channels", most("20,000 channels: CPU per message beyond the floor's write", 3.0, "µs", 2, beyond));
    add(
        "channels",
        most(
            "20,000 channels: lost, repeated or reordered",
            0.0,
            "messages",
            0,
            results.figure("channels", "Ullim", wrong),
        ),
    );
    let cluster = ratio("cluster", "Ullim", "floor, one node", p99);
    add("cluster", most("two nodes: p99 delay", 1.5, "× the one-node floor", 2, cluster));
    let peer = best_peer(results, "cluster", |ours, theirs| ours / theirs);
    add("cluster", most("two nodes: p99 delay", 1.0, "× the best peer's", 2, peer));
    for size in ["100", "15000"] {
        let labels = (format!("Ullim, {size}"), format!("floor, {size}"));
        let figure = results.paired("growth", (&labels.0, &labels.1), cpu, |ours, floor| ours / floor);
        add("growth", most(format!("CPU per delivery to {size} subscribers"), 1.10, "× the floor", 2, figure));
    }
    let shards = ratio("shards", "Ullim, 2 shards", "Ullim, 1 shard", cpu);
    add("shards", most("CPU per delivery with two shards on one CPU", 1.1, "× with one shard", 2, shards));
    let many = ratio("many-channels", "Ullim, 100,001 channels", "Ullim, 1 channel", cpu);
    add("many-channels", most("CPU per delivery beside 100,000 channels", 1.2, "× with one channel", 2, many));
    add("lone", most("a lone publication: p50", 1.25, "× the floor", 2, ratio("lone", "Ullim", "floor", p50)));
    add("lone", most("a lone publication: p99", 1.5, "× the floor", 2, ratio("lone", "Ullim", "floor", p99)));
    let stalled = ratio("stalled", "Ullim, one stalled", "Ullim, all read", p99);
    add("stalled", most("p99 delay beside a stalled reader", 1.5, "× without it", 2, stalled));
    let closed = results.figure("stalled", "Ullim, one stalled", |report| Some(report.stalled_closed? as f64));
    add("stalled", least("stalled readers that are closed", 1.0, "connection", 0, closed));
    let hot = ratio("hot", "Ullim, beside a hot channel", "Ullim, alone", p99);
    add("hot", most("p99 delay beside a hot channel", 2.0, "× without it", 2, hot));
    goals
}

/// Against the peer that did best, run by run.
fn best_peer(results: &Results, experiment: &str, join: fn(f64, f64) -> f64) -> Option<Figure> {
    let median = |peer: &&str| results.figure(experiment, peer, p99).map_or(f64::INFINITY, |figure| figure.median);
    let best = PEERS.iter().min_by(|one, other| median(one).total_cmp(&median(other)))?;
    results.paired(experiment, ("Ullim", best), p99, join)
}

impl Goal {
    /// What was reached by runs that went wrong was not reached.
    fn judged_in(self, results: &Results, experiment: &str) -> Self {
        let own = results.runs.get(experiment).into_iter().flatten();
        let mut own = own.filter(|(label, _)| label.starts_with("Ullim") || label.starts_with("floor"));
        let is_doubtful = own.any(|(_, outcomes)| outcomes.iter().any(Outcome::is_doubtful));
        match self.verdict {
            Verdict::Reached | Verdict::ReachedByMedian if is_doubtful => Self { verdict: Verdict::Doubtful, ..self },
            _ => self,
        }
    }
}

fn most(text: impl Into<String>, limit: f64, unit: &'static str, digits: usize, figure: Option<Figure>) -> Goal {
    goal(text, format!("≤ {limit} {unit}"), unit, digits, figure, |value| value <= limit)
}

fn least(text: impl Into<String>, limit: f64, unit: &'static str, digits: usize, figure: Option<Figure>) -> Goal {
    goal(text, format!("≥ {limit} {unit}"), unit, digits, figure, |value| value >= limit)
}

fn goal(
    text: impl Into<String>,
    limit: String,
    unit: &'static str,
    digits: usize,
    figure: Option<Figure>,
    is_reached: impl Fn(f64) -> bool,
) -> Goal {
    let verdict = match figure {
        None => Verdict::NotMeasured,
        Some(figure) if is_reached(figure.least) && is_reached(figure.greatest) => Verdict::Reached,
        Some(figure) if is_reached(figure.median) => Verdict::ReachedByMedian,
        Some(_) => Verdict::Missed,
    };
    Goal { text: text.into(), limit, figure, digits, unit, verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_judged_by_its_median_and_its_range() {
        let judged = |values: &[f64]| most("", 2.0, "", 0, Figure::of(values.iter().copied())).verdict;
        assert_eq!(judged(&[1.0, 2.0]), Verdict::Reached);
        assert_eq!(judged(&[1.0, 2.0, 3.0]), Verdict::ReachedByMedian);
        assert_eq!(judged(&[1.0, 3.0, 3.0]), Verdict::Missed);
        assert_eq!(judged(&[]), Verdict::NotMeasured);
    }

    #[test]
    fn what_was_reached_by_runs_that_went_wrong_is_doubtful() {
        let verdict = |outcome| {
            let mut results = Results::default();
            results.add("lone", "Ullim", outcome);
            most("", 2.0, "", 0, Figure::of([1.0])).judged_in(&results, "lone").verdict
        };
        let report = |lost_connections| Outcome::Measured(Box::new(Report { lost_connections, ..Report::default() }));
        assert_eq!(verdict(report(0)), Verdict::Reached);
        assert_eq!(verdict(report(1)), Verdict::Doubtful);
        assert_eq!(verdict(Outcome::Failed(String::new())), Verdict::Doubtful);
    }
}
