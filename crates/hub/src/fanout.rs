//! From the broker's queue to the connections: publications, joins and gaps.
//!
//! What is queued is taken in batches. Within a batch the publications of a channel form a *segment*, which is encoded
//! once per wire into one contiguous frame sequence; then the connections are walked in slot order, and each is sent
//! all its segments in one write.
//!
//! Of the batch `a1 b1 a2`, for instance, the segments are `a1 a2` and `b1`. A connection that hears both channels is
//! written `a1 a2 b1`: the order holds within each channel, and is not promised across them.

use bytes::Bytes;
use ullim_broker::{Relayed, Routed};
use ullim_protocol::outgoing::{Gap, Outgoing, Push};
use ullim_protocol::session::SessionId;

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet, Wire};
use crate::registry::{ChannelKey, Registry};

/// How many bytes of data one batch takes, so that the sockets are looked at in between.
const BATCH_BYTES: usize = 256 << 10;

/// How many writes one batch may cause before it takes no further channel.
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

/// Publications of one channel that follow each other there and have the same receivers.
#[derive(Debug)]
struct Segment {
    channel: ChannelKey,
    exclude: Option<SessionId>,
    first: u32,
    last: u32,
    count: u64,
    frames: [Option<Bytes>; Wire::COUNT],
}

impl<O: Outlet, E: Encode> Hub<O, E> {
    /// Takes what the broker has relayed, in order, up to a batch; how many items that was.
    pub fn relay(&mut self, items: &[Relayed]) -> usize {
        self.uncork();
        let (mut taken, mut bytes, mut writes) = (0, 0, 0);
        while taken < items.len() && bytes < BATCH_BYTES && writes < BATCH_WRITES {
            match &items[taken] {
                Relayed::Publication(routed) => {
                    bytes += routed.size();
                    writes += self.scratch.collect(&mut self.registry, taken as u32, routed);
                }
                Relayed::Joined(name) => {
                    self.fan_out(items);
                    self.joined(name.as_str());
                }
                Relayed::Presence(_) | Relayed::Control(_) => {}
                Relayed::Gap(name, gap) => {
                    self.fan_out(items);
                    writes += self.tell_gap(name.as_str(), *gap);
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
                self.counters.deliveries += segment.count;
                scratch.frames.push(segment.frame(connection.wire, &self.encode, items, &scratch.next));
            }
            let sent = connection.send(&scratch.frames).is_ok();
            scratch.frames.clear();
            if !sent || connection.outbox.bytes_behind() > self.config.queue_bytes {
                let id = ConnectionId { slot: slot as u32, generation: connection.generation };
                scratch.troubled.push((id, sent));
            }
        }
        scratch.segments.clear();
        scratch.order.clear();
        scratch.next.clear();
        for (id, sent) in scratch.troubled.drain(..) {
            self.after_sending(id, sent);
        }
        self.scratch = scratch;
    }

    /// The broker is sure to relay every later publication of this channel.
    fn joined(&mut self, name: &str) {
        let Some(key) = self.registry.find(name) else { return };
        let waiting = self.registry.confirm(key);
        let now = self.broker.now();
        for ticket in &waiting {
            let connection = self.connection(ticket.connection);
            let session = connection.and_then(|connection| connection.session.as_mut());
            if let Some(subscription) = session.and_then(|session| session.subscription(key)) {
                subscription.since.get_or_insert(now);
            }
        }
        for ticket in waiting {
            self.channel_confirmed(ticket, name);
        }
        if let Some(name) = self.registry.release(key) {
            self.broker.unsubscribe(self.shard, &name);
        }
    }

    /// Tells the channel's subscribers what they may have missed while they were subscribed; how many there are.
    fn tell_gap(&mut self, name: &str, gap: Gap) -> usize {
        let Some(key) = self.registry.find(name) else {
            return 0;
        };
        let Some(channel) = self.registry.get(key) else {
            return 0;
        };
        let name = channel.name.clone();
        let slots: Vec<u32> = channel.live.iter().copied().collect();
        for slot in &slots {
            let session = self.connections.get_mut(*slot as usize).and_then(|connection| connection.session.as_mut());
            let since = session.and_then(|session| session.subscription(key)).and_then(|found| found.since);
            // Never left out: clocks may have been set back since the subscription began.
            let from = gap.from.max(since.unwrap_or_default()).min(gap.to);
            let gap = Gap { from, ..gap };
            self.counters.gaps += 1;
            self.tell(*slot, &Outgoing::Push(name.as_str(), Push::Gap(gap)));
        }
        slots.len()
    }
}

impl Scratch {
    /// Puts the item with this index into its channel's segment; how many writes that adds to the batch.
    fn collect(&mut self, registry: &mut Registry, index: u32, routed: &Routed) -> usize {
        let Some(key) = registry.find(routed.channel.as_str()) else {
            return 0;
        };
        let Some(channel) = registry.get(key) else {
            return 0;
        };
        self.next.resize(index as usize + 1, None);
        if let (Some(open), None) = (channel.open_segment, routed.exclude) {
            let segment = &mut self.segments[open as usize];
            self.next[segment.last as usize] = Some(index);
            segment.last = index;
            segment.count += 1;
            return 0;
        }
        // Behind a publication that one session must not hear a new segment begins, so that the order holds.
        channel.open_segment = routed.exclude.is_none().then_some(self.segments.len() as u32);
        self.segments.push(Segment {
            channel: key,
            exclude: routed.exclude,
            first: index,
            last: index,
            count: 1,
            frames: Default::default(),
        });
        channel.live.len()
    }

    /// Works out whom to send what.
    fn plan(&mut self, registry: &mut Registry) {
        for (index, segment) in self.segments.iter().enumerate() {
            let Some(channel) = registry.get(segment.channel) else {
                continue;
            };
            channel.open_segment = None;
            self.order.extend(channel.live.iter().map(|slot| u64::from(*slot) << 32 | index as u64));
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
        let mut index = Some(self.first);
        while let Some(at) = index {
            if let Relayed::Publication(routed) = &items[at as usize] {
                let push = Outgoing::Push(routed.channel.as_str(), Push::Publication(&routed.publication));
                encode.message(wire, &push, &mut out);
            }
            index = next.get(at as usize).copied().flatten();
        }
        frame.insert(Bytes::from(out)).clone()
    }
}
