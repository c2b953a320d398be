//! From the broker's queue to the connections: publications, comings and goings, gaps.
//!
//! What is queued is taken in batches. Within a batch the publications of a channel form a *segment*, which is encoded
//! once per wire into one contiguous frame sequence; then the connections are walked in slot order, and each is sent
//! all its segments in one write. Joins and leaves are segments too, for those who want them.
//!
//! Of the batch `a1 b1 a2`, for instance, the segments are `a1 a2` and `b1`. A connection that hears both channels is
//! written `a1 a2 b1`: the order holds within each channel, and is not promised across them.

mod labelled;

use std::io::IoSlice;

use slab::Slab;
use ullim_broker::{Relayed, Routed};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::outgoing::{Gap, GapReason, Push};

use crate::batch::{Batch, Content, Piece};
use crate::catching_up::event_size;
use crate::connection::{Connection, ConnectionId, Lost};
use crate::hub::Hub;
use crate::labels::To;
use crate::outbox::GATHERED;
use crate::outlet::{Encode, Outlet};
use crate::registry::ChannelKey;
use crate::slots::Slots;

/// How many bytes of data one batch takes, so that the sockets are looked at in between.
const BATCH_BYTES: usize = 256 << 10;

/// How many writes one batch may cause before it takes no further channel. An order counts as one for each connection
/// that is looked at.
const BATCH_WRITES: usize = 16 << 10;

/// Up to how many bytes for one connection are copied into a row: the system is much slower at gathering many small
/// buffers.
const COPIED_BYTES: usize = 16 << 10;

/// What fan-out needs while it runs; kept for its memory.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    batch: Batch,
    pieces: Vec<Piece>,
    /// What goes to one connection, in a row.
    copied: Vec<u8>,
    /// What goes to one connection on a wire with labels.
    labelled: labelled::Parts,
    /// Connections that refused, or whose outbox has grown.
    troubled: Vec<(ConnectionId, bool)>,
    /// Connections for whose acknowledgement too much waits.
    unacknowledged: Vec<ConnectionId>,
}

/// One walk over the connections.
struct Pass<'p, O, E> {
    connections: &'p mut Slab<Connection<O>>,
    encode: &'p E,
    items: &'p [Relayed],
    queue_bytes: usize,
    content: Content<'p>,
    pieces: &'p mut Vec<Piece>,
    copied: &'p mut Vec<u8>,
    labelled: &'p mut labelled::Parts,
    troubled: &'p mut Vec<(ConnectionId, bool)>,
    unacknowledged: &'p mut Vec<ConnectionId>,
    /// How many bytes were written or queued.
    bytes: usize,
    /// How many publications gave way to newer ones.
    gave_way: u64,
    /// How many gave way, the oldest first, while acknowledgements were awaited.
    dropped_oldest: u64,
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// Takes what the broker has relayed, in order, up to a batch; how many items that was.
    pub fn relay(&mut self, items: &[Relayed]) -> usize {
        self.uncork();
        let (mut taken, mut bytes, mut writes) = (0, 0, 0);
        while taken < items.len() && bytes < BATCH_BYTES && writes < BATCH_WRITES {
            match &items[taken] {
                item @ Relayed::Publication(routed) => {
                    bytes += routed.size();
                    let excluded = routed.exclude.and_then(|session| self.sessions.get(&session)).copied();
                    writes += self.scratch.batch.collect(&mut self.registry, taken as u32, item, excluded);
                    if let Some(slot) = excluded {
                        self.tell_epoch(items, slot, routed);
                    }
                }
                item @ Relayed::Presence(routed) => {
                    bytes += event_size(routed.event.info.as_ref());
                    writes += self.scratch.batch.collect(&mut self.registry, taken as u32, item, None);
                }
                Relayed::Joined(name, position) => {
                    self.fan_out(items);
                    self.joined(name, *position);
                }
                Relayed::Gap(name, gap) => {
                    self.fan_out(items);
                    writes += self.relay_gap(name, *gap);
                }
                Relayed::Reset(name, position) => {
                    self.fan_out(items);
                    writes += self.reset(name, *position);
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
        if !self.registry.repairs.is_idle() {
            self.repair();
        }
        if !self.registry.reached.is_empty() {
            self.go_on_where_reached();
        }
        self.uncork();
        taken
    }

    /// Fans publications out that were read from the history, in as many batches as they need.
    pub(crate) fn relay_read(&mut self, items: &[Relayed]) {
        let (mut begun, mut bytes) = (0, 0);
        for at in 0..items.len() {
            if let Relayed::Publication(routed) = &items[at] {
                let excluded = routed.exclude.and_then(|session| self.sessions.get(&session)).copied();
                self.scratch.batch.collect(&mut self.registry, (at - begun) as u32, &items[at], excluded);
                bytes += routed.size();
                if let Some(slot) = excluded
                    && self.tell_epoch(&items[begun..=at], slot, routed)
                {
                    (begun, bytes) = (at + 1, 0);
                    continue;
                }
            }
            if bytes >= BATCH_BYTES || at + 1 == items.len() {
                self.fan_out(&items[begun..=at]);
                (begun, bytes) = (at + 1, 0);
            }
        }
    }

    /// Who does not hear the first publication of an epoch, because it is its own, has to know of the epoch before it hears
    /// the next. Whether it was told; then all that was collected is fanned out.
    #[cold]
    fn tell_epoch(&mut self, items: &[Relayed], slot: u32, routed: &Routed) -> bool {
        let Some(position) = routed.publication.position.filter(|position| position.offset == 1) else { return false };
        let Some(key) = self.registry.find(routed.channel.as_str()) else { return false };
        let channel = self.registry.get(key);
        // It was not taken, or is held back.
        if !channel.is_some_and(|channel| channel.position == Some(position) && channel.live.contains(slot)) {
            return false;
        }
        self.fan_out(items);
        self.tell_push(slot, key, &routed.channel, Push::Position(position), To::All);
        true
    }

    fn fan_out(&mut self, items: &[Relayed]) {
        self.uncork();
        if self.scratch.batch.segments.is_empty() {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.batch.plan(&mut self.registry);
        let (order, content) = scratch.batch.parts();
        let mut pass = Pass {
            connections: &mut self.connections,
            encode: &self.encode,
            items,
            queue_bytes: self.config.queue_bytes,
            content,
            pieces: &mut scratch.pieces,
            copied: &mut scratch.copied,
            labelled: &mut scratch.labelled,
            troubled: &mut scratch.troubled,
            unacknowledged: &mut scratch.unacknowledged,
            bytes: 0,
            gave_way: 0,
            dropped_oldest: 0,
        };
        match pass.content.segments {
            [only] => {
                let receivers = only.receivers;
                if let Some(slots) = self.registry.get(only.channel).and_then(|channel| receivers.of(channel)) {
                    pass.send_one(slots);
                }
            }
            _ => pass.send_several(order),
        }
        self.counters.message_bytes_out += pass.bytes as u64;
        self.counters.dropped_latest += pass.gave_way;
        self.counters.dropped_oldest += pass.dropped_oldest;
        let now = self.broker.now();
        for (at, times) in scratch.batch.reached() {
            match &items[at] {
                Relayed::Publication(routed) => self.counters.delivered(now, routed.publication.time, times),
                _ => self.counters.presence_events += times,
            }
        }
        scratch.batch.clear();
        for (id, sent) in scratch.troubled.drain(..) {
            self.after_sending(id, sent);
        }
        for id in scratch.unacknowledged.drain(..) {
            self.close_unacknowledged(id);
        }
        scratch.labelled.shrink();
        self.scratch = scratch;
    }

    /// Tells the channel's subscribers what they may have missed while they were subscribed; how many there are.
    pub(crate) fn tell_gap(&mut self, key: ChannelKey, gap: Gap) -> usize {
        let Some(channel) = self.registry.get(key) else { return 0 };
        let name = channel.name.clone();
        let slots: Vec<u32> = match gap.reason {
            GapReason::Presence => channel.watching().map(|slots| slots.iter().collect()).unwrap_or_default(),
            _ => channel.live.iter().collect(),
        };
        self.registry.hold(key, &Relayed::Gap(name.clone(), gap));
        for slot in &slots {
            self.tell_gap_to(*slot, key, &name, gap);
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
        self.tell_push(slot, key, name, Push::Gap(gap), To::All);
    }
}

impl<O: Outlet, E: Encode<O>> Pass<'_, O, E> {
    /// Sends the only segment to each of its receivers.
    fn send_one(&mut self, slots: &Slots) {
        // Mostly all connections have the same wire.
        let mut last = None;
        let mut reached = 0;
        slots.for_each(|slot| {
            let Some(connection) = self.connections.get_mut(slot as usize) else { return };
            reached += 1;
            let wire = connection.wire;
            let whole = match &last {
                Some((last, whole)) if *last == wire => whole,
                _ if self.encode.has_labels(wire) => {
                    let excluded = self.content.excluded(slot);
                    return self.send_labelled(slot, std::iter::once(0), excluded);
                }
                _ => &last.insert((wire, self.content.whole(0, wire, self.encode, self.items))).1,
            };
            let excluded = self.content.excluded(slot);
            if !excluded.is_empty() {
                return self.send_cut(slot, whole, excluded);
            }
            self.bytes += whole.len();
            match connection.offer(&[IoSlice::new(self.content.encoded.bytes(whole))]) {
                Ok(taken) if taken == whole.len() => {}
                sent => self.keep(slot, std::slice::from_ref(whole), sent),
            }
        });
        self.content.segments[0].reached = reached;
    }

    /// Sends what of the only segment a connection may hear.
    #[cold]
    fn send_cut(&mut self, slot: u32, whole: &Piece, excluded: &[u64]) {
        let mut pieces = Vec::new();
        self.content.cut(0, whole, excluded, &mut pieces);
        self.send(slot, &pieces);
    }

    /// Sends each connection in `order` all its segments.
    fn send_several(&mut self, mut order: &[u64]) {
        let mut pieces = std::mem::take(self.pieces);
        while let Some(first) = order.first() {
            let slot = (first >> 32) as u32;
            let own = order.iter().take_while(|pair| (**pair >> 32) as u32 == slot).count();
            let (own, rest) = order.split_at(own);
            order = rest;
            let Some(wire) = self.connections.get(slot as usize).map(|connection| connection.wire) else { continue };
            let excluded = self.content.excluded(slot);
            if self.encode.has_labels(wire) {
                own.iter().for_each(|pair| self.content.segments[*pair as u32 as usize].reached += 1);
                self.send_labelled(slot, own.iter().map(|pair| *pair as u32), excluded);
                continue;
            }
            pieces.clear();
            for pair in own {
                let segment = *pair as u32;
                self.content.segments[segment as usize].reached += 1;
                let whole = self.content.whole(segment, wire, self.encode, self.items);
                match excluded.is_empty() {
                    true => pieces.push(whole),
                    false => self.content.cut(segment, &whole, excluded, &mut pieces),
                }
            }
            self.send(slot, &pieces);
        }
        *self.pieces = pieces;
    }

    /// Writes pieces in order behind what waits already, and keeps what is not taken.
    fn send(&mut self, slot: u32, pieces: &[Piece]) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let encoded = &self.content.encoded;
        let bytes: usize = pieces.iter().map(Piece::len).sum();
        self.bytes += bytes;
        let sent = match pieces {
            [] => return,
            [piece] => connection.offer(&[IoSlice::new(encoded.bytes(piece))]),
            _ if bytes <= COPIED_BYTES => {
                self.copied.clear();
                pieces.iter().for_each(|piece| self.copied.extend_from_slice(encoded.bytes(piece)));
                connection.offer(&[IoSlice::new(self.copied)])
            }
            _ => return pieces.chunks(GATHERED).for_each(|pieces| self.gather(slot, pieces)),
        };
        match sent {
            Ok(taken) if taken == bytes => {}
            sent => self.keep(slot, pieces, sent),
        }
    }

    /// Writes pieces that are too much to be copied.
    fn gather(&mut self, slot: u32, pieces: &[Piece]) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let mut slices = [IoSlice::new(&[]); GATHERED];
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(self.content.encoded.bytes(piece));
        }
        let sent = connection.offer(&slices[..pieces.len()]);
        self.keep(slot, pieces, sent);
    }

    /// Keeps what a connection did not take.
    #[cold]
    fn keep(&mut self, slot: u32, pieces: &[Piece], sent: Result<usize, Lost>) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let id = ConnectionId { slot, generation: connection.generation };
        let Ok(mut taken) = sent else {
            return self.troubled.push((id, false));
        };
        for piece in pieces {
            let done = taken.min(piece.len());
            taken -= done;
            if done < piece.len() {
                self.gave_way += self.content.keep(piece, done, &mut connection.outbox, self.items);
            }
        }
        if connection.outbox.bytes_behind() > self.queue_bytes {
            self.troubled.push((id, true));
        }
    }
}
