//! From a broker to a shard: a queue that is bounded in bytes. What does not fit is dropped, and the channels that lost
//! something are named in band, where it was lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::position::Position;
use ullim_protocol::publication::{Headers, Publication};
use ullim_protocol::session::SessionId;

use crate::control::Control;
use crate::presence::RoutedEvent;

/// What a queued item costs beside its data.
const ITEM_BYTES: usize = 128;

/// The most orders that wait for one shard: of backends, and as many of nodes, which may be many at once when clients
/// resume their sessions.
const MAX_CONTROLS: usize = 65_536;

/// What a shard hears from its broker. The order is the broker's, per channel.
#[derive(Debug, Clone)]
pub enum Relayed {
    /// Every later publication of this channel will come, or a gap. With where it stands, if it is recoverable: the
    /// next publication is the one behind that.
    Joined(ChannelName, Option<Position>),
    /// The history of this recoverable channel has gone back: what was heard of it counts no more, and positions that it
    /// was heard at are issued again. With where it stands now: the next publication is the one behind that. Gaps never
    /// go back.
    Reset(ChannelName, Position),
    /// Something was published.
    Publication(Arc<Routed>),
    /// Somebody has come or gone.
    Presence(Arc<RoutedEvent>),
    /// Something may be missing here.
    Gap(ChannelName, Gap),
    /// An order that concerns this shard's connections.
    Control(Arc<Control>),
}

/// A publication on its way to the subscribers of a channel.
#[derive(Debug)]
pub struct Routed {
    /// Where it was published.
    pub channel: ChannelName,
    /// What was published.
    pub publication: Publication,
    /// The session that is not to hear it.
    pub exclude: Option<SessionId>,
    /// When it was published for certain. `publication.time` may be the publisher's own claim; gaps go by this one.
    pub published: Window,
}

impl Routed {
    /// What it takes of a queue, in bytes: its data and headers, and something for itself.
    pub fn size(&self) -> usize {
        let headers = self.publication.headers.as_ref().map_or(0, Headers::bytes);
        self.publication.data.bytes().len() + headers + ITEM_BYTES
    }
}

/// A span of time by the broker's clock, in Unix milliseconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Not before.
    pub from: u64,
    /// Not after.
    pub to: u64,
}

impl Window {
    /// A window that is a moment.
    pub fn at(time: u64) -> Self {
        Self { from: time, to: time }
    }
}

/// A queue for one shard that takes up to `limit_bytes`.
pub fn shard_queue(limit_bytes: usize) -> (ShardQueue, ShardInbox) {
    let shared = Arc::new(Shared { state: Mutex::default(), filled: Notify::new(), limit_bytes });
    (ShardQueue(Arc::clone(&shared)), ShardInbox(shared))
}

/// The broker's end. Never waits.
#[derive(Debug, Clone)]
pub struct ShardQueue(Arc<Shared>);

/// The shard's end.
#[derive(Debug)]
pub struct ShardInbox(Arc<Shared>);

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Gaps that are in the queues.
    pub(crate) gaps: u64,
    /// Others that did not fit: there will be gaps for them.
    pub(crate) dropped: u64,
}

impl std::ops::AddAssign for Delivered {
    fn add_assign(&mut self, other: Self) {
        self.gaps += other.gaps;
        self.dropped += other.dropped;
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    filled: Notify,
    limit_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    items: Vec<Relayed>,
    bytes: usize,
    /// Orders among the items: of backends, of nodes.
    controls: [usize; 2],
    /// Channels that lost publications since the last that was queued for them, and from when to when.
    lost: HashMap<ChannelName, Window>,
    /// Gaps told because something did not fit.
    overload_gaps: u64,
}

impl ShardQueue {
    /// Queues `item`. A publication or a gap that does not fit is dropped, to be told as a gap of the reason `overload`
    /// that covers it, and `false` is returned. [`Relayed::Joined`] always fits: the shard asked for it; and so does
    /// [`Relayed::Reset`]: for each the history was read. An order beyond 65,536 that wait is dropped;
    /// [`Control::Replace`] is counted apart from the others.
    pub fn push(&self, item: Relayed) -> bool {
        let mut state = self.0.lock();
        let was_empty = state.items.is_empty();
        let queued = state.push(item, self.0.limit_bytes);
        drop(state);
        // Also when nothing was queued: the shard has a gap to hear of.
        if was_empty {
            self.0.filled.notify_one();
        }
        queued
    }

    /// [`push`](Self::push) of one after the other, under one lock and with one wake. Leaves `items` empty.
    pub(crate) fn push_all(&self, items: &mut Vec<Relayed>) -> Delivered {
        let mut delivered = Delivered::default();
        let mut state = self.0.lock();
        let was_empty = state.items.is_empty();
        state.items.reserve(items.len());
        for item in items.drain(..) {
            let is_gap = matches!(item, Relayed::Gap(..));
            let queued = state.push(item, self.0.limit_bytes);
            delivered.gaps += u64::from(is_gap && queued);
            delivered.dropped += u64::from(!is_gap && !queued);
        }
        drop(state);
        if was_empty {
            self.0.filled.notify_one();
        }
        delivered
    }

    /// How many gaps this queue has told of because something did not fit.
    pub fn overload_gaps(&self) -> u64 {
        self.0.lock().overload_gaps
    }
}

impl ShardInbox {
    /// Waits until something is queued.
    pub async fn filled(&self) {
        self.0.filled.notified().await;
    }

    /// Moves all that is queued to the end of `items`.
    pub fn take(&self, items: &mut Vec<Relayed>) {
        let mut state = self.0.lock();
        match items.is_empty() {
            true => std::mem::swap(items, &mut state.items),
            false => items.append(&mut state.items),
        }
        state.bytes = 0;
        state.controls = [0; 2];
        let lost = std::mem::take(&mut state.lost);
        state.overload_gaps += lost.len() as u64;
        drop(state);
        items.extend(lost.into_iter().map(|(channel, window)| overload(channel, window)));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, item: Relayed, limit_bytes: usize) -> bool {
        let (channel, window, size) = match &item {
            Relayed::Joined(..) | Relayed::Reset(..) => {
                self.items.push(item);
                return true;
            }
            Relayed::Control(control) => {
                let waiting = &mut self.controls[usize::from(matches!(**control, Control::Replace { .. }))];
                let fits = *waiting < MAX_CONTROLS;
                if fits {
                    *waiting += 1;
                    self.items.push(item);
                }
                return fits;
            }
            Relayed::Publication(routed) => (&routed.channel, routed.published, routed.size()),
            Relayed::Presence(routed) => (&routed.channel, routed.published, routed.size() + ITEM_BYTES),
            Relayed::Gap(channel, gap) => (channel, Window { from: gap.from, to: gap.to }, ITEM_BYTES),
        };
        if self.bytes + size > limit_bytes {
            let lost = self.lost.entry(channel.clone()).or_insert(window);
            *lost = Window { from: lost.from.min(window.from), to: lost.to.max(window.to) };
            return false;
        }
        if !self.lost.is_empty()
            && let Some(window) = self.lost.remove(channel)
        {
            self.overload_gaps += 1;
            self.items.push(overload(channel.clone(), window));
        }
        self.bytes += size;
        self.items.push(item);
        true
    }
}

fn overload(channel: ChannelName, Window { from, to }: Window) -> Relayed {
    Relayed::Gap(channel, Gap { from, to, reason: GapReason::Overload, position: None })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ullim_protocol::publication::{Data, Publication};

    use super::*;

    fn publication(channel: &str, bytes: usize, time: u64) -> Relayed {
        let data = Data::Binary(Bytes::from(vec![0; bytes]));
        Relayed::Publication(Arc::new(Routed {
            channel: ChannelName::parse(channel).unwrap(),
            publication: Publication { data, time, headers: None, position: None },
            exclude: None,
            published: Window::at(time),
        }))
    }

    fn taken(inbox: &ShardInbox) -> Vec<String> {
        let mut items = Vec::new();
        inbox.take(&mut items);
        let name = |item| match item {
            Relayed::Joined(channel, _) => format!("joined {channel}"),
            Relayed::Publication(routed) => format!("{} {}", routed.channel, routed.published.to),
            Relayed::Gap(channel, gap) => {
                format!("{channel} {}-{} {}", gap.from, gap.to, gap.reason.name())
            }
            other => format!("{other:?}"),
        };
        items.into_iter().map(name).collect()
    }

    #[test]
    fn what_does_not_fit_is_told_where_it_was_lost() {
        let (queue, inbox) = shard_queue(2 * (ITEM_BYTES + 10));
        assert!(queue.push(publication("a", 10, 1)));
        assert!(queue.push(publication("b", 5, 2)));
        assert!(!queue.push(publication("a", 10, 3)));
        assert!(!queue.push(publication("a", 10, 4)));
        assert_eq!(taken(&inbox), ["a 1", "b 2", "a 3-4 overload"]);
        assert!(queue.push(publication("a", 10, 5)));
        assert_eq!(taken(&inbox), ["a 5"]);
        assert_eq!(queue.overload_gaps(), 1);
    }

    #[test]
    fn a_later_publication_that_fits_comes_after_the_gap() {
        let (queue, inbox) = shard_queue(ITEM_BYTES + 100);
        assert!(!queue.push(publication("a", 101, 1)));
        assert!(queue.push(publication("a", 10, 2)));
        assert_eq!(taken(&inbox), ["a 1-1 overload", "a 2"]);
    }

    #[test]
    fn gaps_beyond_the_limit_become_one_and_joins_always_fit() {
        let (queue, inbox) = shard_queue(ITEM_BYTES);
        let channel = ChannelName::parse("a").unwrap();
        let gap = |at| Gap { from: at, to: at, reason: GapReason::Undecodable, position: None };
        for at in 1..=1000 {
            assert_eq!(queue.push(Relayed::Gap(channel.clone(), gap(at))), at == 1);
        }
        assert!(queue.push(Relayed::Joined(channel, None)));
        assert_eq!(taken(&inbox), ["a 1-1 undecodable", "joined a", "a 2-1000 overload"]);
    }

    #[test]
    fn orders_fit_beside_full_publications_up_to_their_own_limit() {
        let (queue, inbox) = shard_queue(0);
        let order = Relayed::Control(Arc::new(Control::Disconnect { user: "alice".into() }));
        let replace = Relayed::Control(Arc::new(Control::Replace { session: SessionId([7; 16]), keep: 1 }));
        // A storm of resumed sessions pushes out none of a backend's.
        for order in [&replace, &order] {
            assert!((0..MAX_CONTROLS).all(|_| queue.push(order.clone())));
            assert!(!queue.push(order.clone()));
        }
        assert_eq!(taken(&inbox).len(), 2 * MAX_CONTROLS);
        assert!(queue.push(order));
    }

    #[tokio::test]
    async fn a_batch_is_queued_as_if_one_by_one() {
        let (queue, inbox) = shard_queue(2 * (ITEM_BYTES + 10));
        let gap = |at| {
            let gap = Gap { from: at, to: at, reason: GapReason::Undecodable, position: None };
            Relayed::Gap(ChannelName::parse("c").unwrap(), gap)
        };
        let mut batch = vec![gap(1), publication("a", 20, 2), publication("a", 10, 3), publication("a", 10, 4), gap(5)];
        assert_eq!(queue.push_all(&mut batch), Delivered { gaps: 1, dropped: 2 });
        assert!(batch.is_empty());
        inbox.filled().await;
        assert_eq!(taken(&inbox)[..2], ["c 1-1 undecodable", "a 2"]);
        assert_eq!(queue.overload_gaps(), 2);
        assert_eq!(queue.push_all(&mut vec![publication("a", 10, 6)]), Delivered::default());
        inbox.filled().await;
        assert_eq!(taken(&inbox), ["a 6"]);
    }

    #[tokio::test]
    async fn a_shard_is_woken_even_if_all_that_came_was_too_large() {
        let (queue, inbox) = shard_queue(10);
        assert!(!queue.push(publication("a", 11, 1)));
        inbox.filled().await;
        assert_eq!(taken(&inbox), ["a 1-1 overload"]);
    }
}
