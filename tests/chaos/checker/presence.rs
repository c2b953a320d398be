//! Presence: who dies with a node leaves once and soon; who comes back at once never left.

use super::{Kind, Verdict};
use crate::chaos::log::{Entry, Fault, Log, Member, Ms, Subscriber, What};

/// How soon a dead node's members must be gone.
const GHOSTS_GONE: Ms = 10_000;

/// Checks the comings and goings that subscribers with events were told of.
pub(super) fn check(log: &Log, verdict: &mut Verdict) {
    for watcher in &log.subscribers {
        let told = |entry: &Entry| matches!(entry.what, What::Presence { .. });
        let Some(channel) = watcher.entries.iter().find(|entry| told(entry)).and_then(|entry| entry.what.channel())
        else {
            continue;
        };
        for fault in &log.faults {
            let window = (fault.begin, fault.begin + GHOSTS_GONE);
            // Who was away itself, or was told that something may be missing, cannot tell.
            if !fault.touches.killed.is_empty() && watched(watcher, window.0, window.1, channel) {
                ghosts(log, watcher, channel, fault, verdict);
            }
            let until = fault.end + GHOSTS_GONE;
            if !fault.touches.drained.is_empty() && watched(watcher, fault.begin, until, channel) {
                drained(log, watcher, channel, fault, verdict);
            }
        }
    }
}

/// Whether nothing came between the watcher and the channel.
fn watched(watcher: &Subscriber, from: Ms, to: Ms, channel: usize) -> bool {
    let mut subscribed = false;
    for entry in &watcher.entries {
        if entry.at > to {
            break;
        }
        let disturbs = match &entry.what {
            What::Subscribed { channel: other, .. } if *other == channel => {
                subscribed = true;
                true
            }
            What::Lost { .. } => {
                subscribed = false;
                true
            }
            What::Gap { channel: other, .. } => *other == channel,
            _ => false,
        };
        if disturbs && entry.at >= from {
            return false;
        }
    }
    subscribed
}

fn leaves(watcher: &Subscriber, user: &str, from: Ms, to: Ms) -> usize {
    let is_one = |entry: &&Entry| {
        let is_leave = matches!(&entry.what, What::Presence { user: other, came: false, .. } if other == user);
        is_leave && (from..=to).contains(&entry.at)
    };
    watcher.entries.iter().filter(is_one).count()
}

/// Who was on a node that died at `at`, and had been for a while.
fn was_there(member: &Subscriber, nodes: &[usize], at: Ms) -> bool {
    let mut on = None;
    for entry in member.entries.iter().take_while(|entry| entry.at + 2000 < at) {
        match entry.what {
            What::Connected { node } => on = Some(node),
            What::Lost { .. } => on = None,
            _ => {}
        }
    }
    on.is_some_and(|node| nodes.contains(&node))
}

fn ghosts(log: &Log, watcher: &Subscriber, channel: usize, fault: &Fault, verdict: &mut Verdict) {
    for member in &log.subscribers {
        if member.member.is_none() || !was_there(member, &fault.touches.killed, fault.begin) {
            continue;
        }
        let count = leaves(watcher, &member.name, fault.begin, fault.begin + GHOSTS_GONE);
        let wanted = usize::from(member.member == Some(Member::Vanishes));
        if count != wanted {
            let detail = format!("{} left {count} times within 10 s of the end of its node, not {wanted}", member.name);
            verdict.find(log, Kind::Presence, &watcher.name, channel, fault.begin, detail);
        }
    }
}

fn drained(log: &Log, watcher: &Subscriber, channel: usize, fault: &Fault, verdict: &mut Verdict) {
    for member in log.subscribers.iter().filter(|member| member.member.is_some()) {
        let count = leaves(watcher, &member.name, fault.begin, fault.end + GHOSTS_GONE);
        if count > 0 {
            let detail = format!("{} left {count} times, though its nodes only sent it elsewhere", member.name);
            verdict.find(log, Kind::Presence, &watcher.name, channel, fault.begin, detail);
        }
    }
}
