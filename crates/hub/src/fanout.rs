//! From the broker's queue to the connections: publications, comings and goings, gaps.
//!
//! What is queued is taken in batches. Within a batch the publications of a channel form a *segment*, which is encoded
//! once per wire into one contiguous frame sequence; then the connections are walked in slot order, and each is sent
//! all its segments in one write. Joins and leaves are segments too, for those who want them.
//!
//! Of the batch `a1 b1 a2`, for instance, the segments are `a1 a2` and `b1`. A connection that hears both channels is
//! written `a1 a2 b1`: the order holds within each channel, and is not promised across them.

use bytes::Bytes;
use ullim_broker::Relayed;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::outgoing::{Gap, GapReason, Outgoing, Push};
use ullim_protocol::session::SessionId;

use crate::catching_up::event_size;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet, Wire};
use crate::registry::{ChannelKey, Registry};

/// How many bytes of data one batch takes, so that the sockets are looked at in between.
const BATCH_BYTES: usize = 256 << 10;

/// How many writes one batch may cause before it takes no further channel. An order counts as one for each connection
/// that is looked at.
const BATCH_WRITES: usize = 16 << 10;

/// What fan-out needs while it runs; kept for its memory.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    segments: Vec<Segment>,
    /// For each item of the batch, the next one of its segment.
    next: Vec<Option<u32>>,
    /// Whom to send which segment: the slot in the upper half, the segment in the lower. Sorted, it is the order of
    /// the writes.
    order: Vec<u64>,
    frames: Vec<Bytes>,
    /// Connections that refused, or whose outbox has grown.
    troubled: Vec<(ConnectionId, bool)>,
}

/// Publications, or joins and leaves, of one channel that follow each other there and have the same receivers.
#[derive(Debug)]
struct Segment {
    channel: ChannelKey,
    receivers: Receivers,
    exclude: Option<SessionId>,
    first: u32,
    last: u32,
    /// How many connections it was written or queued to.
    reached: u64,
    frames: [Option<Bytes>; Wire::COUNT],
}

/// Who of a channel's subscribers hears a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receivers {
    Live,
    Watching,
}

impl<O: Outlet, E: Encode> Hub<O, E> {
    /// Takes what the broker has relayed, in order, up to a batch; how many items that was.
    pub fn relay(&mut self, items: &[Relayed]) -> usize {
        self.uncork();
        let (mut taken, mut bytes, mut writes) = (0, 0, 0);
        while taken < items.len() && bytes < BATCH_BYTES && writes < BATCH_WRITES {
            match &items[taken] {
                item @ Relayed::Publication(routed) => {
                    bytes += routed.size();
                    writes += self.scratch.collect(&mut self.registry, taken as u32, item);
                }
                item @ Relayed::Presence(routed) => {
                    bytes += event_size(routed.event.info.as_ref());
                    writes += self.scratch.collect(&mut self.registry, taken as u32, item);
                }
                Relayed::Joined(name) => {
                    self.fan_out(items);
                    self.joined(name);
                }
                item @ Relayed::Gap(name, gap) => {
                    self.fan_out(items);
                    writes += self.tell_gap(item, name, *gap);
                }
                Relayed::Control(control) => {
                    writes += 1;
                    if self.concerns(control) {
                        self.fan_out(items);
                        writes += self.obey(control);
                    }
                }
            }
            taken += 1;
        }
        self.fan_out(items);
        self.uncork();
        taken
    }

    fn fan_out(&mut self, items: &[Relayed]) {
        self.uncork();
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.plan(&mut self.registry);
        let mut bytes = 0;
        let mut rest = scratch.order.as_slice();
        while let Some(first) = rest.first() {
            let slot = first >> 32;
            let segments = rest.iter().take_while(|entry| *entry >> 32 == slot).count();
            let (own, others) = rest.split_at(segments);
            rest = others;
            let Some(connection) = self.connections.get_mut(slot as usize) else {
                continue;
            };
            for entry in own {
                let segment = &mut scratch.segments[*entry as u32 as usize];
                let session = connection.session.as_ref();
                if segment.exclude.is_some() && segment.exclude == session.map(|session| session.id) {
                    continue;
                }
                segment.reached += 1;
                let frame = segment.frame(connection.wire, &self.encode, items, &scratch.next);
                bytes += frame.len();
                scratch.frames.push(frame);
            }
            let sent = connection.send(&scratch.frames).is_ok();
            scratch.frames.clear();
            if !sent || connection.outbox.bytes_behind() > self.config.queue_bytes {
                let id = ConnectionId { slot: slot as u32, generation: connection.generation };
                scratch.troubled.push((id, sent));
            }
        }
        self.counters.message_bytes_out += bytes as u64;
        self.count(&scratch, items);
        scratch.segments.clear();
        scratch.order.clear();
        scratch.next.clear();
        for (id, sent) in scratch.troubled.drain(..) {
            self.after_sending(id, sent);
        }
        self.scratch = scratch;
    }

    /// Counts what a batch has brought to how many.
    fn count(&mut self, scratch: &Scratch, items: &[Relayed]) {
        if scratch.segments.is_empty() {
            return;
        }
        let now = self.broker.now();
        for segment in scratch.segments.iter().filter(|segment| segment.reached > 0) {
            for at in items_from(segment.first, &scratch.next) {
                match &items[at] {
                    Relayed::Publication(routed) => {
                        self.counters.delivered(now, routed.publication.time, segment.reached);
                    }
                    _ => self.counters.presence_events += segment.reached,
                }
            }
        }
    }

    /// Tells the channel's subscribers what they may have missed while they were subscribed; how many there are.
    fn tell_gap(&mut self, item: &Relayed, name: &ChannelName, gap: Gap) -> usize {
        let Some(key) = self.registry.find(name.as_str()) else { return 0 };
        let Some(channel) = self.registry.get(key) else { return 0 };
        channel.hold(item);
        let slots: Vec<u32> = match gap.reason {
            GapReason::Presence => channel.watching().collect(),
            _ => channel.live.iter().copied().collect(),
        };
        for slot in &slots {
            self.tell_gap_to(*slot, key, name, gap);
        }
        slots.len()
    }

    pub(crate) fn tell_gap_to(&mut self, slot: u32, key: ChannelKey, name: &ChannelName, gap: Gap) {
        let session = self.connections.get_mut(slot as usize).and_then(|connection| connection.session.as_mut());
        let since = session.and_then(|session| session.subscription(key)).map(|subscription| subscription.since);
        // Never left out: clocks may have been set back since the subscription began.
        let from = gap.from.max(since.unwrap_or_default()).min(gap.to);
        let gap = Gap { from, ..gap };
        self.counters.gaps += 1;
        self.tell(slot, &Outgoing::Push(name.as_str(), Push::Gap(gap)));
    }
}

impl Scratch {
    /// Puts the item with this index into its channel's segment; how many writes that adds to the batch.
    fn collect(&mut self, registry: &mut Registry, index: u32, item: &Relayed) -> usize {
        let (name, receivers, exclude) = match item {
            Relayed::Publication(routed) => (&routed.channel, Receivers::Live, routed.exclude),
            Relayed::Presence(routed) => (&routed.channel, Receivers::Watching, None),
            _ => return 0,
        };
        let Some(key) = registry.find(name.as_str()) else { return 0 };
        let Some(channel) = registry.get(key) else { return 0 };
        channel.hold(item);
        self.next.resize(index as usize + 1, None);
        if let (Some(open), None) = (channel.open_segment, exclude)
            && self.segments[open as usize].receivers == receivers
        {
            let segment = &mut self.segments[open as usize];
            self.next[segment.last as usize] = Some(index);
            segment.last = index;
            return 0;
        }
        // Behind a publication that one session must not hear, and between publications and joins or leaves, a new
        // segment begins, so that the order holds.
        channel.open_segment = exclude.is_none().then_some(self.segments.len() as u32);
        self.segments.push(Segment {
            channel: key,
            receivers,
            exclude,
            first: index,
            last: index,
            reached: 0,
            frames: Default::default(),
        });
        match receivers {
            Receivers::Live => channel.live.len(),
            Receivers::Watching => channel.watching().len(),
        }
    }

    /// Works out whom to send what.
    fn plan(&mut self, registry: &mut Registry) {
        for (index, segment) in self.segments.iter().enumerate() {
            let Some(channel) = registry.get(segment.channel) else {
                continue;
            };
            channel.open_segment = None;
            let entry = |slot: u32| u64::from(slot) << 32 | index as u64;
            match segment.receivers {
                Receivers::Live => self.order.extend(channel.live.iter().copied().map(entry)),
                Receivers::Watching => self.order.extend(channel.watching().map(entry)),
            }
        }
        if self.segments.len() > 1 {
            self.order.sort_unstable();
        }
    }
}

impl Segment {
    /// All publications of the segment in the bytes of a wire, encoded when the first connection needs them.
    fn frame(&mut self, wire: Wire, encode: &impl Encode, items: &[Relayed], next: &[Option<u32>]) -> Bytes {
        let frame = &mut self.frames[usize::from(wire.0)];
        if let Some(frame) = frame {
            return frame.clone();
        }
        let mut out = Vec::new();
        for at in items_from(self.first, next) {
            match &items[at] {
                Relayed::Publication(routed) => {
                    let push = Outgoing::Push(routed.channel.as_str(), Push::Publication(&routed.publication));
                    encode.message(wire, &push, &mut out);
                }
                Relayed::Presence(routed) => {
                    let push = Outgoing::Push(routed.channel.as_str(), Push::Presence(&routed.event));
                    encode.message(wire, &push, &mut out);
                }
                _ => {}
            }
        }
        frame.insert(Bytes::from(out)).clone()
    }
}

/// The places of a segment's items in the batch, from its first on.
fn items_from(first: u32, next: &[Option<u32>]) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(first), |at| next.get(*at as usize).copied().flatten()).map(|at| at as usize)
}
