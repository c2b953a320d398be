//! Whoever wants a channel is subscribed to it in the end.

use super::{Kind, Verdict, entries_of};
use crate::chaos::log::{Log, Ms, Subscriber, What};

/// How long it may take to subscribe.
const PATIENCE: Ms = 10_000;

/// Looks for channels that one subscriber wanted, and did not get.
pub(super) fn check(log: &Log, subscriber: &Subscriber, verdict: &mut Verdict) {
    for &channel in &subscriber.wants {
        let mut subscribed = false;
        let mut since = 0;
        let mut refused = None;
        for entry in entries_of(subscriber, channel) {
            match &entry.what {
                What::Subscribed { .. } => subscribed = true,
                What::Left { .. } | What::Lost { .. } => {
                    if subscribed {
                        since = entry.at;
                    }
                    subscribed = false;
                }
                What::Refused { error, .. } => refused = Some(error),
                _ => {}
            }
        }
        if !subscribed && since + PATIENCE < log.end {
            let detail = format!("not subscribed since {since}, until {}; refused with {refused:?}", log.end);
            verdict.find(log, Kind::Stuck, &subscriber.name, channel, since, detail);
        }
    }
}
