//! Fan-out to connections whose subscriptions have labels: each message is a head, which is the label's own, and a tail,
//! which lies in the batch for all.

use std::io::IoSlice;
use std::ops::Range;

use bytes::Bytes;
use ullim_broker::Relayed;

use super::{COPIED_BYTES, Pass};
use crate::batch::{Piece, push_of};
use crate::config::SlowConsumer;
use crate::connection::{ConnectionId, Lost};
use crate::labels::Told;
use crate::outbox::GATHERED;
use crate::outlet::{Encode, Outlet};
use crate::shedding::Tag;
use crate::window::Given;

/// How many bytes of heads and tails are collected for one connection before they are written.
const COLLECTED_BYTES: usize = 256 << 10;

/// Up to how many bytes one message is copied behind its head: that costs less than gathering the two.
const SHORT: usize = 1 << 10;

/// How much memory for heads is kept from batch to batch.
const KEPT_BYTES: usize = 64 << 10;

/// What goes to one connection.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    parts: Vec<Part>,
    heads: Vec<u8>,
    /// The bytes of all parts.
    bytes: usize,
    /// The items of one segment.
    items: Vec<(u32, Piece)>,
}

/// One message for one label.
#[derive(Debug)]
struct Part {
    head: Range<usize>,
    tail: Piece,
    item: u32,
    segment: u32,
    label: u32,
    /// It may give way where the client reads too slowly. One that has to be acknowledged may not: the label's window
    /// would wait for it.
    gives_way: bool,
}

impl Part {
    fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

impl Parts {
    fn clear(&mut self) {
        self.parts.clear();
        self.heads.clear();
        self.bytes = 0;
    }

    /// Forgets most of the memory that an unusual batch has taken.
    pub(crate) fn shrink(&mut self) {
        self.clear();
        self.heads.shrink_to(KEPT_BYTES);
        self.parts.shrink_to(KEPT_BYTES / size_of::<Part>());
        self.items.shrink_to(KEPT_BYTES / size_of::<(u32, Piece)>());
    }
}

impl<O: Outlet, E: Encode<O>> Pass<'_, O, E> {
    /// Sends a connection what `segments` hold for its labels, in one write if it is not very much.
    #[inline(never)]
    pub(super) fn send_labelled(&mut self, slot: u32, segments: impl Iterator<Item = u32>, excluded: &[u64]) {
        self.labelled.clear();
        for segment in segments {
            let Some(wire) = self.connections.get(slot as usize).map(|connection| connection.wire) else { return };
            let whole = self.content.whole(segment, wire, self.encode, self.items);
            let mut items = std::mem::take(&mut self.labelled.items);
            self.content.items(segment, &whole, excluded, &mut items);
            for (item, tail) in items.drain(..) {
                self.collect_labelled(slot, segment, item, &tail);
                if self.labelled.bytes > COLLECTED_BYTES {
                    self.send_parts(slot);
                    self.labelled.clear();
                }
            }
            self.labelled.items = items;
        }
        self.send_parts(slot);
    }

    /// Collects an item for each of the labels that hear it.
    fn collect_labelled(&mut self, slot: u32, segment: u32, item: u32, tail: &Piece) {
        let relayed = &self.items[item as usize];
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let (wire, generation) = (connection.wire, connection.generation);
        let (key, policy) = {
            let segment = &self.content.segments[segment as usize];
            (segment.channel, segment.slow_consumer)
        };
        let labels = connection.session.as_deref_mut().and_then(|session| session.labels_mut(key));
        let (Some((labels, waiting)), Some((_, push))) = (labels, push_of(relayed)) else { return };
        if tail.len() == 0 {
            return;
        }
        let told = Told {
            wire,
            push,
            tail: self.content.encoded.bytes(tail),
            published: published(relayed),
            policy,
            limit: self.queue_bytes,
        };
        for labelled in labels {
            let begin = self.labelled.heads.len();
            match labelled.give(self.encode, &told, waiting, &mut self.labelled.heads) {
                Given::Sent => {
                    let head = begin..self.labelled.heads.len();
                    self.labelled.bytes += head.len() + tail.len();
                    let (label, gives_way) = (labelled.number(), !labelled.has_window());
                    self.labelled.parts.push(Part { head, tail: tail.clone(), item, segment, label, gives_way });
                }
                Given::NotForIt => {}
                Given::Waits { gave_way } if policy == SlowConsumer::Latest => self.gave_way += gave_way,
                Given::Waits { gave_way } => self.dropped_oldest += gave_way,
                Given::TooMuch => self.unacknowledged.push(ConnectionId { slot, generation }),
            }
        }
    }

    /// Writes what was collected behind what waits already, and keeps what is not taken.
    fn send_parts(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let Parts { parts, heads, bytes, .. } = &*self.labelled;
        let bytes = *bytes;
        self.bytes += bytes;
        let encoded = &self.content.encoded;
        let sent = match parts.as_slice() {
            [] => return,
            [part] if bytes > SHORT => {
                let head = IoSlice::new(&heads[part.head.clone()]);
                connection.offer(&[head, IoSlice::new(encoded.bytes(&part.tail))])
            }
            parts if bytes <= COPIED_BYTES => {
                self.copied.clear();
                for part in parts {
                    self.copied.extend_from_slice(&heads[part.head.clone()]);
                    self.copied.extend_from_slice(encoded.bytes(&part.tail));
                }
                connection.offer(&[IoSlice::new(self.copied)])
            }
            _ => return self.gather_parts(slot),
        };
        if !matches!(sent, Ok(taken) if taken == bytes) {
            self.keep_parts(slot, 0..self.labelled.parts.len(), sent);
        }
    }

    /// Writes parts that are too much to be copied.
    fn gather_parts(&mut self, slot: u32) {
        let count = self.labelled.parts.len();
        for begin in (0..count).step_by(GATHERED / 2) {
            let Some(connection) = self.connections.get_mut(slot as usize) else { return };
            let some = begin..count.min(begin + GATHERED / 2);
            let mut slices = [IoSlice::new(&[]); GATHERED];
            for (pair, part) in slices.chunks_exact_mut(2).zip(&self.labelled.parts[some.clone()]) {
                pair[0] = IoSlice::new(&self.labelled.heads[part.head.clone()]);
                pair[1] = IoSlice::new(self.content.encoded.bytes(&part.tail));
            }
            let sent = connection.offer(&slices[..some.len() * 2]);
            self.keep_parts(slot, some, sent);
        }
    }

    /// Keeps what a connection did not take: each message in one piece, so that it can give way.
    #[cold]
    fn keep_parts(&mut self, slot: u32, parts: Range<usize>, sent: Result<usize, Lost>) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let id = ConnectionId { slot, generation: connection.generation };
        let Ok(mut taken) = sent else {
            return self.troubled.push((id, false));
        };
        for part in &self.labelled.parts[parts] {
            let done = taken.min(part.len());
            taken -= done;
            if done == part.len() {
                continue;
            }
            let head = &self.labelled.heads[part.head.clone()];
            let message = [head, self.content.encoded.bytes(&part.tail)].concat();
            let bytes = Bytes::from(message).slice(done..);
            let segment = &self.content.segments[part.segment as usize];
            match (&self.items[part.item as usize], segment.slow_consumer) {
                (Relayed::Publication(_), SlowConsumer::Latest) if done == 0 && part.gives_way => {
                    self.gave_way += u64::from(connection.outbox.push_latest(bytes, segment.channel, part.label));
                }
                (Relayed::Publication(routed), SlowConsumer::DropOldest) if done == 0 && part.gives_way => {
                    let (channel, window) = (routed.channel.clone(), routed.published);
                    connection.outbox.push_tagged(bytes, Tag { channel, window, is_gap: false });
                }
                _ => connection.outbox.push(bytes, done > 0),
            }
        }
        if connection.outbox.bytes_behind() > self.queue_bytes {
            self.troubled.push((id, true));
        }
    }
}

/// When an item happened, at most.
fn published(item: &Relayed) -> ullim_broker::Window {
    match item {
        Relayed::Publication(routed) => routed.published,
        _ => ullim_broker::Window { from: 0, to: 0 },
    }
}
