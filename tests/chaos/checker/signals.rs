//! Signals (gaps, `recovered: false`) have a reason: a fault that was in effect, and could touch that channel there.

use super::{Kind, Verdict};
use crate::chaos::log::{Fault, Log, Ms, Promise, Subscriber, What};

/// How long after its end a fault may still be the reason of a signal.
pub(super) const MARGIN: Ms = 15_000;

/// How much earlier than its fault a signal may seem to be.
const EARLY: Ms = 100;

/// The faults that may have consequences at a time.
pub(super) fn in_effect(log: &Log, at: Ms) -> impl Iterator<Item = &Fault> {
    between(log, at, at)
}

fn between(log: &Log, from: Ms, to: Ms) -> impl Iterator<Item = &Fault> {
    log.faults.iter().filter(move |fault| fault.begin <= to + EARLY && from <= fault.end + MARGIN)
}

/// Counts the signals of one subscriber, and looks for the reason of each.
pub(super) fn check(log: &Log, subscriber: &Subscriber, verdict: &mut Verdict) {
    let mut node = 0;
    // When it was last surely in step, for what it learns when it comes back.
    let mut in_step = vec![0; log.channels.len()];
    let mut away = vec![false; log.channels.len()];
    let mut stalled = 0;
    for entry in &subscriber.entries {
        let promise = entry.what.channel().map(|channel| log.channels[channel].promise);
        match &entry.what {
            What::Connected { node: other } => node = *other,
            What::Lost { since, .. } => {
                for (channel, time) in in_step.iter_mut().enumerate() {
                    if !away[channel] {
                        *time = *since;
                        away[channel] = true;
                    }
                }
            }
            What::Left { channel, since } => {
                in_step[*channel] = *since;
                away[*channel] = true;
            }
            What::Stalled { until } => stalled = *until,
            What::Malformed { detail } => verdict.malformed(log, &subscriber.name, entry.at, detail),
            What::Gap { channel, from, reason, to, position } => {
                verdict.signals += 1;
                let since = if away[*channel] { in_step[*channel] } else { entry.at };
                let excused = match reason.as_str() {
                    // A stalled subscriber is its own reason.
                    "slow_consumer" => entry.at <= stalled + MARGIN,
                    "presence" => in_effect(log, entry.at).next().is_some(),
                    _ => {
                        let near = between(log, since, entry.at).any(|fault| explains(fault, promise, node, *channel));
                        near || (promise == Some(Promise::Recoverable) && unnoticed(log, entry.at))
                    }
                };
                if !excused {
                    let detail = format!("gap ({reason}) from {from} to {to}, {position:?}");
                    verdict.find(log, Kind::SignalWithoutFault, &subscriber.name, *channel, entry.at, detail);
                }
            }
            What::Subscribed { channel, asked, recovered, position, .. } => {
                let since = if in_step[*channel] == 0 { entry.at } else { in_step[*channel] };
                if *recovered == Some(false) {
                    verdict.signals += 1;
                    let near = between(log, since, entry.at).any(|fault| explains(fault, promise, node, *channel));
                    if !near && !unnoticed(log, entry.at) {
                        let detail = format!("asked for {asked:?}, not recovered, now at {position:?}");
                        verdict.find(log, Kind::SignalWithoutFault, &subscriber.name, *channel, entry.at, detail);
                    }
                }
            }
            // Behind a reply to subscribe there may be a gap that belongs to it: in step is who hears again.
            What::Heard { channel, .. } => away[*channel] = false,
            _ => {}
        }
    }
}

/// Whether a history may have been lost at any time before, and nobody noticed.
fn unnoticed(log: &Log, at: Ms) -> bool {
    log.faults.iter().any(|fault| fault.touches.unnoticed && fault.begin <= at)
}

fn explains(fault: &Fault, promise: Option<Promise>, node: usize, channel: usize) -> bool {
    match promise {
        Some(Promise::Recoverable) => fault.touches.history.includes(channel),
        _ => fault.touches.links.includes(node) && fault.touches.live.includes(channel),
    }
}
