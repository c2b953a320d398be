//! What Redis has forgotten with its data: goings whose time had not come, and perhaps more. Nobody can know which, so
//! those who watch a channel are told that something may be missing, and read its members anew.

use tokio::time::Instant;
use ullim_protocol::outgoing::{Gap, GapReason};

use super::lease::LEASE;
use crate::redis::Shared;

/// Tells a gap in each channel that this node has members in: from the last renewal, which found everything as it was,
/// until `now`. Only where it `is_concerned`.
pub(super) fn tell(shared: &Shared, now: Instant, is_concerned: impl Fn(&str) -> bool) {
    let (renewed, channels) = shared.keeper.table().concerned();
    // A renewal that is not remembered was longer ago than a lease lasts, or was another link's.
    let since = renewed.or_else(|| now.checked_sub(LEASE)).unwrap_or(now);
    let (from, to) = (shared.clock.span(since).earliest, shared.clock.span(now).latest);
    let gap = Gap { from, to, reason: GapReason::Presence, position: None };
    for channel in channels.into_iter().filter(|channel| is_concerned(channel.as_str())) {
        let told = shared.interest().tell_gap(channel, gap);
        shared.tally.gaps.add(told.queued);
    }
}
