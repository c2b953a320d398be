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
use crate::labels::{Given, Told};
use crate::outbox::GATHERED;
use crate::outlet::{Encode, Outlet};
use crate::shedding::Tag;

/// What goes to one connection.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    parts: Vec<Part>,
    heads: Vec<u8>,
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
}

impl Part {
    fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

impl<O: Outlet, E: Encode<O>> Pass<'_, O, E> {
    /// Sends a connection what `segments` hold for its labels, in one write.
    #[inline(never)]
    pub(super) fn send_labelled(&mut self, slot: u32, segments: impl Iterator<Item = u32>, excluded: &[u64]) {
        self.labelled.parts.clear();
        self.labelled.heads.clear();
        for segment in segments {
            self.collect_labelled(slot, segment, excluded);
        }
        self.send_parts(slot);
    }

    fn collect_labelled(&mut self, slot: u32, segment: u32, excluded: &[u64]) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let (wire, generation) = (connection.wire, connection.generation);
        let whole = self.content.whole(segment, wire, self.encode, self.items);
        self.labelled.items.clear();
        self.content.items(segment, &whole, excluded, &mut self.labelled.items);
        let (key, policy) = {
            let segment = &self.content.segments[segment as usize];
            (segment.channel, segment.slow_consumer)
        };
        let session = connection.session.as_deref_mut();
        let labels = session.and_then(|session| session.labels(key, self.queue_bytes));
        let Some((labels, limit)) = labels else { return };
        for (item, tail) in self.labelled.items.drain(..) {
            let relayed = &self.items[item as usize];
            let (Some((_, push)), true) = (push_of(relayed), tail.len() > 0) else { continue };
            let told = Told {
                wire,
                push,
                tail: self.content.encoded.bytes(&tail),
                published: published(relayed),
                policy,
                limit,
            };
            for labelled in labels.iter_mut() {
                let begin = self.labelled.heads.len();
                match labelled.give(self.encode, &told, &mut self.labelled.heads) {
                    Given::Sent => {
                        let head = begin..self.labelled.heads.len();
                        self.labelled.parts.push(Part {
                            head,
                            tail: tail.clone(),
                            item,
                            segment,
                            label: labelled.number(),
                        });
                    }
                    Given::NotForIt => {}
                    Given::Waits { gave_way } => match policy {
                        SlowConsumer::DropOldest => self.dropped_oldest += gave_way,
                        _ => self.gave_way += gave_way,
                    },
                    Given::TooMuch => self.unacknowledged.push(ConnectionId { slot, generation }),
                }
            }
        }
    }

    /// Writes what was collected behind what waits already, and keeps what is not taken.
    fn send_parts(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let Parts { parts, heads, .. } = &mut *self.labelled;
        let bytes: usize = parts.iter().map(Part::len).sum();
        self.bytes += bytes;
        let encoded = &self.content.encoded;
        let sent = match parts.as_slice() {
            [] => return,
            [part] => {
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
                (Relayed::Publication(_), SlowConsumer::Latest) if done == 0 => {
                    self.gave_way += u64::from(connection.outbox.push_latest(bytes, segment.channel, part.label));
                }
                (Relayed::Publication(routed), SlowConsumer::DropOldest) if done == 0 => {
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
