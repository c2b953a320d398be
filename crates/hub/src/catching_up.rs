//! Subscriptions that have begun but are not answered yet. What happens on the channel meanwhile is held back, in order
//! and bounded in bytes, and sent right behind the reply: what the reply lists and what follows it leave nothing out.

use ullim_broker::{Relayed, Window};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::outgoing::{Gap, GapReason, Outgoing, Push};
use ullim_protocol::presence::Info;
use ullim_protocol::session::SessionId;

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::registry::ChannelKey;
use crate::session::Progress;

/// How many bytes are held for one subscription before they are dropped and told as a gap.
const HELD_BYTES: usize = 64 << 10;

/// What a held item costs beside its data.
const ITEM_BYTES: usize = 128;

/// What is held back for one subscription.
#[derive(Debug)]
pub(crate) struct CatchingUp {
    session: SessionId,
    /// Whether joins and leaves are for it.
    pub(crate) events: bool,
    held: Held,
}

#[derive(Debug)]
enum Held {
    All {
        items: Vec<Relayed>,
        bytes: usize,
    },
    /// It was too much: when the first and the last of what was lost happened.
    Lost(Window),
}

impl CatchingUp {
    pub(crate) fn new(session: SessionId, events: bool) -> Self {
        Self { session, events, held: Held::All { items: Vec::new(), bytes: 0 } }
    }

    /// Holds back what is for this subscription.
    pub(crate) fn hold(&mut self, item: &Relayed) {
        let (window, size) = match item {
            Relayed::Publication(routed) if routed.exclude != Some(self.session) => (routed.published, routed.size()),
            Relayed::Presence(routed) if self.events => (routed.published, event_size(routed.event.info.as_ref())),
            Relayed::Gap(_, gap) => (Window { from: gap.from, to: gap.to }, ITEM_BYTES),
            _ => return,
        };
        match &mut self.held {
            Held::All { items, bytes } if *bytes + size <= HELD_BYTES => {
                items.push(item.clone());
                *bytes += size;
            }
            Held::All { items, .. } => {
                let lost = items.iter().filter_map(window_of).fold(window, widest);
                self.held = Held::Lost(lost);
            }
            Held::Lost(lost) => *lost = widest(*lost, window),
        }
    }

    /// What was held, in order; one gap if it was too much.
    fn into_items(self, channel: &ChannelName) -> Vec<Relayed> {
        match self.held {
            Held::All { items, .. } => items,
            Held::Lost(Window { from, to }) => {
                vec![Relayed::Gap(channel.clone(), Gap { from, to, reason: GapReason::Overload })]
            }
        }
    }
}

/// What a join or leave with this info costs.
pub(crate) fn event_size(info: Option<&Info>) -> usize {
    ITEM_BYTES + info.map_or(0, |info| info.as_str().len())
}

fn window_of(item: &Relayed) -> Option<Window> {
    match item {
        Relayed::Publication(routed) => Some(routed.published),
        Relayed::Presence(routed) => Some(routed.published),
        Relayed::Gap(_, gap) => Some(Window { from: gap.from, to: gap.to }),
        Relayed::Joined(_) | Relayed::Control(_) => None,
    }
}

fn widest(a: Window, b: Window) -> Window {
    Window { from: a.from.min(b.from), to: a.to.max(b.to) }
}

impl<O: Outlet, E: Encode> Hub<O, E> {
    /// From now on what happens on the channel is held back for this subscription, until [`caught_up`](Self::caught_up).
    pub(crate) fn begin_catching_up(&mut self, id: ConnectionId, key: ChannelKey) {
        let now = self.broker.now();
        let Some(session) = self.session(id) else { return };
        let session_id = session.id;
        let Some(subscription) = session.subscription(key) else { return };
        subscription.progress = Progress::CatchingUp;
        subscription.since = now;
        let events = subscription.events;
        self.registry.hold_for(key, id.slot, CatchingUp::new(session_id, events));
    }

    /// The subscription was answered: what was held follows, and then everything as it happens.
    pub(crate) fn caught_up(&mut self, id: ConnectionId, key: ChannelKey) {
        let Some((name, caught)) = self.registry.release_held(key, id.slot) else { return };
        let events = caught.events;
        let now = self.broker.now();
        for item in caught.into_items(&name) {
            let before = self.cork.len();
            match &item {
                Relayed::Publication(routed) => {
                    let publication = &routed.publication;
                    self.tell(id.slot, &Outgoing::Push(name.as_str(), Push::Publication(publication)));
                    self.counters.delivered(now, publication.time, 1);
                }
                Relayed::Presence(routed) => {
                    self.tell(id.slot, &Outgoing::Push(name.as_str(), Push::Presence(&routed.event)));
                    self.counters.presence_events += 1;
                }
                Relayed::Gap(_, gap) => {
                    self.tell_gap_to(id.slot, key, &name, *gap);
                    continue;
                }
                Relayed::Joined(_) | Relayed::Control(_) => continue,
            }
            self.counters.message_bytes_out += self.cork.len().saturating_sub(before) as u64;
        }
        self.registry.hear(key, id.slot, events);
        if let Some(subscription) = self.session(id).and_then(|session| session.subscription(key)) {
            subscription.progress = Progress::Live;
        }
    }
}
