//! How soon after each fault each subscriber heard something again.

use std::collections::HashMap;

use serde::Serialize;

use super::super::log::{Fault, Log, Mark, Ms, What};

/// The spread of some times, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Times {
    /// The fault.
    pub fault: String,
    /// Which node, how long.
    pub detail: String,
    /// How long it lasted.
    pub lasted: Ms,
    /// Of how many subscriptions.
    pub count: usize,
    /// Half of them were sooner.
    pub p50: Ms,
    /// 99 of 100 were sooner.
    pub p99: Ms,
    /// The slowest.
    pub max: Ms,
    /// Subscriptions to busy channels that heard nothing again before the next fault.
    pub never: usize,
}

/// From the end of each fault (the begin, if it killed a node) to the first publication sent after it.
pub(super) fn times(log: &Log) -> Vec<Times> {
    let sent: HashMap<(usize, Mark), Ms> =
        log.publications.iter().map(|one| ((one.channel, one.mark), one.sent)).collect();
    let next = |fault: &Fault| log.faults.iter().map(|other| other.begin).find(|begin| *begin > fault.begin);
    log.faults.iter().map(|fault| after(log, fault, next(fault).unwrap_or(Ms::MAX), &sent)).collect()
}

fn after(log: &Log, fault: &Fault, next: Ms, sent: &HashMap<(usize, Mark), Ms>) -> Times {
    let since = if fault.touches.killed.is_empty() { fault.end } else { fault.begin };
    let mut times = Vec::new();
    let mut never = 0;
    for subscriber in &log.subscribers {
        let mut first: HashMap<usize, Option<Ms>> = HashMap::new();
        for entry in &subscriber.entries {
            match entry.what {
                What::Subscribed { channel, .. } if log.channels[channel].busy && entry.at < since => {
                    first.entry(channel).or_default();
                }
                What::Left { channel, .. } if entry.at < next => {
                    first.remove(&channel);
                }
                What::Stalled { .. } if entry.at < next => first.clear(),
                What::Heard { channel, mark, .. } if entry.at >= since && entry.at < next => {
                    let is_new = sent.get(&(channel, mark)).is_some_and(|sent| *sent >= since);
                    if is_new && let Some(slot) = first.get_mut(&channel) {
                        slot.get_or_insert(entry.at - since);
                    }
                }
                _ => {}
            }
        }
        times.extend(first.values().flatten().copied());
        never += first.values().filter(|time| time.is_none()).count();
    }
    times.sort_unstable();
    let at =
        |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1))).copied().unwrap_or(0);
    Times {
        fault: fault.name.to_owned(),
        detail: fault.detail.clone(),
        lasted: fault.end - fault.begin,
        count: times.len(),
        p50: at(50),
        p99: at(99),
        max: at(100),
        never,
    }
}
