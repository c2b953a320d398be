//! Subscriptions that have begun but are not answered yet. What happens on the channel meanwhile is held back, and sent
//! right behind the reply: what the reply lists and what follows it leave nothing out.
//!
//! A channel holds one log for all of them, bounded in bytes, and each knows where in it its own part begins: that
//! thousands come back at once costs no more memory than one. What does not fit is dropped, the oldest first, and told
//! to those whose part it was as one gap. On a recoverable channel it is read from the history instead: see `recovering`.

use std::collections::VecDeque;

use ullim_broker::{Relayed, Window};
use ullim_protocol::outgoing::{Gap, GapReason, Push};
use ullim_protocol::position::Position;
use ullim_protocol::presence::Info;

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::labels::To;
use crate::outlet::{Encode, Outlet};
use crate::registry::ChannelKey;
use crate::session::Progress;

/// How many bytes a channel holds for its subscriptions that are not answered yet.
const HELD_BYTES: usize = 64 << 10;

/// What a held item costs beside its data.
const ITEM_BYTES: usize = 128;

/// A subscription that is not answered yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CatchingUp {
    /// The number of the first item of the log that is for it.
    pub(crate) begun: u64,
    /// Where the channel stood then, if it is recoverable.
    pub(crate) from: Option<Position>,
    /// Whether joins and leaves are for it.
    pub(crate) events: bool,
}

/// What has happened on a channel while some subscription was not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Log {
    items: VecDeque<Relayed>,
    bytes: usize,
    /// The number of the first item that is there.
    first: u64,
    lost_events: Option<Lost>,
    /// And gaps. Those without a position: the others are in the history.
    lost_publications: Option<Lost>,
    /// The last with a position: its number.
    lost_position: Option<(u64, Position)>,
}

/// What is held for one subscription.
#[derive(Debug)]
pub(crate) struct Held {
    /// When that happened which was dropped and is in no history; `Presence` if no publications are among it.
    pub(crate) lost: Option<(Window, GapReason)>,
    pub(crate) items: Vec<Relayed>,
}

/// Items of one kind that were dropped.
#[derive(Debug, Clone, Copy)]
struct Lost {
    /// The number of the last.
    last: u64,
    /// When they happened.
    window: Window,
}

impl Log {
    /// The number of the next item.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// Adds an item, and drops the oldest that do not fit any longer.
    pub(crate) fn push(&mut self, item: &Relayed) {
        self.items.push_back(item.clone());
        self.bytes += size(item);
        // The newest stays, whatever its size.
        while self.bytes > HELD_BYTES
            && self.items.len() > 1
            && let Some(oldest) = self.items.pop_front()
        {
            self.bytes -= size(&oldest);
            self.lose(&oldest);
            self.first += 1;
        }
    }

    fn lose(&mut self, item: &Relayed) {
        if let Some(position) = position_of(item) {
            self.lost_position = Some((self.first, position));
            return;
        }
        let (lost, window) = match item {
            Relayed::Presence(routed) => (&mut self.lost_events, routed.published),
            Relayed::Gap(_, gap) if is_of_presence(item) => {
                (&mut self.lost_events, Window { from: gap.from, to: gap.to })
            }
            Relayed::Publication(routed) => (&mut self.lost_publications, routed.published),
            Relayed::Gap(_, gap) => (&mut self.lost_publications, Window { from: gap.from, to: gap.to }),
            Relayed::Joined(..) | Relayed::Reset(..) | Relayed::Control(_) => return,
        };
        let window = lost.map_or(window, |lost| widest(lost.window, window));
        *lost = Some(Lost { last: self.first, window });
    }

    /// What there is for a subscription: when what it has lost happened, and the items that are left.
    pub(crate) fn part(&self, caught: CatchingUp) -> Held {
        let of_its_own = |lost: Option<Lost>| lost.filter(|lost| lost.last >= caught.begun).map(|lost| lost.window);
        let events = of_its_own(self.lost_events).filter(|_| caught.events);
        let publications = of_its_own(self.lost_publications);
        let reason = if publications.is_some() { GapReason::Overload } else { GapReason::Presence };
        let lost = [events, publications].into_iter().flatten().reduce(widest).map(|window| (window, reason));
        let skipped = caught.begun.saturating_sub(self.first) as usize;
        let items = self.items.iter().skip(skipped);
        let items = items.filter(|item| caught.events || !is_of_presence(item));
        Held { lost, items: items.cloned().collect() }
    }

    /// The position behind which everything is held for a subscription.
    pub(crate) fn held_from(&self, caught: CatchingUp) -> Option<Position> {
        let lost = self.lost_position.filter(|(last, _)| *last >= caught.begun).map(|(_, position)| position);
        lost.max(caught.from)
    }
}

/// Where the channel stands with an item, if the item says so.
pub(crate) fn position_of(item: &Relayed) -> Option<Position> {
    match item {
        Relayed::Publication(routed) => routed.publication.position,
        Relayed::Gap(_, gap) => gap.position,
        _ => None,
    }
}

/// Whether only those who asked for events are concerned.
fn is_of_presence(item: &Relayed) -> bool {
    matches!(item, Relayed::Presence(_) | Relayed::Gap(_, Gap { reason: GapReason::Presence, .. }))
}

fn size(item: &Relayed) -> usize {
    match item {
        Relayed::Publication(routed) => routed.size(),
        Relayed::Presence(routed) => event_size(routed.event.info.as_ref()),
        Relayed::Gap(..) | Relayed::Joined(..) | Relayed::Reset(..) | Relayed::Control(_) => ITEM_BYTES,
    }
}

/// What a join or leave with this info costs.
pub(crate) fn event_size(info: Option<&Info>) -> usize {
    ITEM_BYTES + info.map_or(0, |info| info.as_str().len())
}

pub(crate) fn widest(a: Window, b: Window) -> Window {
    Window { from: a.from.min(b.from), to: a.to.max(b.to) }
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// From now on what happens on the channel is held back for this subscription, until [`caught_up`](Self::caught_up).
    pub(crate) fn begin_catching_up(&mut self, id: ConnectionId, key: ChannelKey) {
        let now = self.broker.now();
        let Some(subscription) = self.session(id).and_then(|session| session.subscription(key)) else { return };
        subscription.progress = Progress::CatchingUp;
        subscription.since = now;
        let events = subscription.events;
        self.registry.hold_for(key, id.slot, events);
    }

    /// The subscription was answered, on a recoverable channel with the position `begun`: what was held and lies behind
    /// that follows, and then everything as it happens.
    pub(crate) fn caught_up(&mut self, id: ConnectionId, key: ChannelKey, begun: Option<Position>) {
        let Some(channel) = self.registry.get(key) else { return };
        let name = channel.name.clone();
        let Some((caught, Held { lost, items })) = channel.release_held(id.slot) else { return };
        let session = self.session(id).map(|session| session.id);
        if let Some((Window { from, to }, reason)) = lost {
            let position = begun.filter(|_| reason != GapReason::Presence);
            self.tell_gap_to(id.slot, key, &name, Gap { from, to, reason, position });
        }
        let now = self.broker.now();
        for item in items {
            if position_of(&item).is_some_and(|position| begun.is_some_and(|begun| position <= begun)) {
                continue;
            }
            let before = self.cork.len();
            match &item {
                Relayed::Publication(routed) if routed.exclude.is_some() && routed.exclude == session => {
                    // As in `tell_epoch`.
                    if let Some(position) = routed.publication.position.filter(|position| position.offset == 1) {
                        self.tell_push(id.slot, key, &name, Push::Position(position), To::All);
                    }
                    continue;
                }
                Relayed::Publication(routed) => {
                    let publication = &routed.publication;
                    self.tell_push(id.slot, key, &name, Push::Publication(publication), To::All);
                    self.counters.delivered(now, publication.time, 1);
                }
                Relayed::Presence(routed) => {
                    self.tell_push(id.slot, key, &name, Push::Presence(&routed.event), To::All);
                    self.counters.presence_events += 1;
                }
                Relayed::Gap(_, gap) => {
                    self.tell_gap_to(id.slot, key, &name, *gap);
                    continue;
                }
                Relayed::Joined(..) | Relayed::Reset(..) | Relayed::Control(_) => continue,
            }
            self.counters.message_bytes_out += self.cork.len().saturating_sub(before) as u64;
        }
        // It may have been closed meanwhile for what it was told.
        if let Some(subscription) = self.session(id).and_then(|session| session.subscription(key)) {
            subscription.progress = Progress::Live;
            self.registry.hear(key, id.slot, caught.events);
        }
    }
}
