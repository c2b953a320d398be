//! A batch of what the broker has relayed: which publications go to whom, and their bytes.
//!
//! What follows each other on a channel and has the same receivers is a *segment*. It is encoded once per wire, behind
//! the others in one buffer, when the first connection needs it. A connection is sent *pieces* of that buffer; nothing
//! is copied or counted for it unless it has to wait.

use std::ops::Range;

use bytes::Bytes;
use ullim_broker::Relayed;
use ullim_protocol::outgoing::{Outgoing, Push};

use crate::config::SlowConsumer;
use crate::outbox::Outbox;
use crate::outlet::{Encode, Wire};
use crate::registry::{Channel, ChannelKey, Registry, Takes};
use crate::shedding::Tag;
use crate::slots::Slots;

/// How much memory for encoded bytes is kept from batch to batch.
const KEPT_BYTES: usize = 1 << 20;

/// No item, or not encoded.
const NONE: u32 = u32::MAX;

/// Kept from batch to batch for its memory.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) segments: Vec<Segment>,
    /// One for each item of the batch.
    links: Vec<Link>,
    /// Whom to send which segment, if there are several: the slot in the upper half, the segment in the lower. Sorted,
    /// it is the order of the writes.
    order: Vec<u64>,
    /// The slots that must not hear an item: the slot in the upper half, the item in the lower. Sorted once planned.
    excluded: Vec<u64>,
    encoded: Encoded,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    /// The next item of the segment.
    next: u32,
    /// How many of the segment's receivers were spared it.
    spared: u32,
}

/// Publications, or joins and leaves, of one channel that follow each other there.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) channel: ChannelKey,
    pub(crate) receivers: Receivers,
    /// What becomes of it where a client reads too slowly.
    pub(crate) slow_consumer: SlowConsumer,
    first: u32,
    last: u32,
    /// How many connections it was written or queued to.
    pub(crate) reached: u64,
    /// For each wire the place among the encodings.
    encodings: [u32; Wire::COUNT],
}

/// Who of a channel's subscribers hears a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receivers {
    Live,
    Watching,
}

/// The bytes of a batch.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    encodings: Vec<Encoding>,
    /// Where each item of each encoding ends.
    ends: Vec<usize>,
}

/// A segment in the bytes of a wire.
#[derive(Debug)]
struct Encoding {
    segment: u32,
    range: Range<usize>,
    /// Where its items' ends begin.
    ends: usize,
    /// A copy for those who have to wait.
    shared: Option<Bytes>,
    /// Copies of single items, where some may give way to others: one that stays must not keep the rest in memory.
    copies: Vec<Option<Bytes>>,
}

/// Some of the bytes of one encoding.
#[derive(Debug, Clone, Default)]
pub(crate) struct Piece {
    encoding: u32,
    range: Range<usize>,
}

impl Receivers {
    /// Those of a channel.
    pub(crate) fn of(self, channel: &Channel) -> Option<&Slots> {
        match self {
            Self::Live => Some(&channel.live),
            Self::Watching => channel.watching(),
        }
    }
}

impl Batch {
    /// Puts the item with this index into its channel's segment; how many writes that adds to the batch. `excluded` is
    /// the slot that must not hear it.
    pub(crate) fn collect(
        &mut self,
        registry: &mut Registry,
        index: u32,
        item: &Relayed,
        excluded: Option<u32>,
    ) -> usize {
        let (name, receivers) = match item {
            Relayed::Publication(routed) => (&routed.channel, Receivers::Live),
            Relayed::Presence(routed) => (&routed.channel, Receivers::Watching),
            _ => return 0,
        };
        let Some(key) = registry.find(name.as_str()) else { return 0 };
        #[cfg(feature = "sabotage")]
        let careless = registry.break_repair;
        let Some(channel) = registry.get(key) else { return 0 };
        if let Relayed::Publication(routed) = item
            && let Some(position) = routed.publication.position
        {
            match channel.takes(position) {
                Takes::Yes => {}
                #[cfg(feature = "sabotage")]
                Takes::Missing if careless => channel.position = Some(position),
                Takes::Known => return 0,
                Takes::Missing => {
                    registry.miss(key, routed);
                    return 0;
                }
            }
        }
        if channel.is_held() {
            registry.hold(key, item);
        }
        let Some(channel) = registry.get(key) else { return 0 };
        self.links.resize(index as usize + 1, Link { next: NONE, spared: 0 });
        if let Some(slot) = excluded {
            self.excluded.push(pair(slot, index));
        }
        if let Some(open) = channel.open_segment
            && let segment = &mut self.segments[open as usize]
            && segment.receivers == receivers
        {
            self.links[segment.last as usize].next = index;
            segment.last = index;
            return 0;
        }
        // Between publications and joins or leaves a new segment begins, so that the order holds.
        channel.open_segment = Some(self.segments.len() as u32);
        self.segments.push(Segment {
            channel: key,
            receivers,
            slow_consumer: match receivers {
                Receivers::Live => channel.slow_consumer,
                Receivers::Watching => SlowConsumer::Close,
            },
            first: index,
            last: index,
            reached: 0,
            encodings: [NONE; Wire::COUNT],
        });
        receivers.of(channel).map_or(0, Slots::len)
    }

    /// Works out whom to send what.
    pub(crate) fn plan(&mut self, registry: &mut Registry) {
        let several = self.segments.len() > 1;
        for (index, segment) in self.segments.iter().enumerate() {
            let Some(channel) = registry.get(segment.channel) else { continue };
            channel.open_segment = None;
            if several && let Some(slots) = segment.receivers.of(channel) {
                slots.for_each(|slot| self.order.push(pair(slot, index as u32)));
            }
        }
        // Few long runs are merged, many short ones are sorted.
        match self.order.len() > self.segments.len() * 16 {
            true => self.order.sort(),
            false => self.order.sort_unstable(),
        }
        self.excluded.sort_unstable();
    }

    /// Whom to send what, if there are several segments; the segments and the bytes.
    pub(crate) fn parts(&mut self) -> (&[u64], Content<'_>) {
        let content = Content {
            segments: &mut self.segments,
            links: &mut self.links,
            excluded: &self.excluded,
            encoded: &mut self.encoded,
        };
        (&self.order, content)
    }

    /// The items that have reached somebody, and how many.
    pub(crate) fn reached(&self) -> impl Iterator<Item = (usize, u64)> {
        self.segments.iter().filter(|segment| segment.reached > 0).flat_map(|segment| {
            let items = items_from(segment.first, &self.links);
            items.map(|at| (at, segment.reached - u64::from(self.links[at].spared)))
        })
    }

    /// Forgets the batch, but not all of its memory.
    pub(crate) fn clear(&mut self) {
        self.segments.clear();
        self.links.clear();
        self.order.clear();
        self.excluded.clear();
        self.encoded.encodings.clear();
        self.encoded.ends.clear();
        self.encoded.bytes.clear();
        self.encoded.bytes.shrink_to(KEPT_BYTES);
    }
}

/// What connections are sent.
pub(crate) struct Content<'b> {
    pub(crate) segments: &'b mut [Segment],
    links: &'b mut [Link],
    /// Slots and the items that they must not hear, from the slot on that was asked for last.
    excluded: &'b [u64],
    pub(crate) encoded: &'b mut Encoded,
}

impl<'b> Content<'b> {
    /// All of a segment for a wire.
    #[inline(always)]
    pub(crate) fn whole<O>(&mut self, segment: u32, wire: Wire, encode: &impl Encode<O>, items: &[Relayed]) -> Piece {
        let mut encoding = self.segments[segment as usize].encodings[usize::from(wire.0)];
        if encoding == NONE {
            encoding = self.encode(segment, wire, encode, items);
        }
        Piece { encoding, range: self.encoded.encodings[encoding as usize].range.clone() }
    }

    #[cold]
    #[inline(never)]
    fn encode<O>(&mut self, segment: u32, wire: Wire, encode: &impl Encode<O>, items: &[Relayed]) -> u32 {
        let number = self.encoded.encodings.len() as u32;
        let Segment { first, encodings, .. } = &mut self.segments[segment as usize];
        encodings[usize::from(wire.0)] = number;
        self.encoded.encode(segment, items_from(*first, self.links), wire, encode, items);
        number
    }

    /// What the slot must not hear: to be asked for slots in their order.
    #[inline]
    pub(crate) fn excluded(&mut self, slot: u32) -> &'b [u64] {
        match self.excluded.first() {
            Some(pair) if pair >> 32 <= u64::from(slot) => self.excluded_up_to(slot),
            _ => &[],
        }
    }

    #[cold]
    fn excluded_up_to(&mut self, slot: u32) -> &'b [u64] {
        let before = self.excluded.iter().take_while(|pair| (**pair >> 32) < u64::from(slot)).count();
        let own = self.excluded[before..].iter().take_while(|pair| **pair >> 32 == u64::from(slot)).count();
        let (own, rest) = self.excluded[before..].split_at(own);
        self.excluded = rest;
        own
    }

    /// The items of a segment that a slot may hear, and where each lies in the bytes of `whole`.
    pub(crate) fn items(&mut self, segment: u32, whole: &Piece, excluded: &[u64], into: &mut Vec<(u32, Piece)>) {
        let ends = &self.encoded.ends[self.encoded.encodings[whole.encoding as usize].ends..];
        let (mut at, mut begin) = (self.segments[segment as usize].first, whole.range.start);
        for end in ends {
            let range = std::mem::replace(&mut begin, *end)..*end;
            let link = &mut self.links[at as usize];
            match excluded.iter().any(|pair| *pair as u32 == at) {
                true => link.spared += 1,
                false => into.push((at, Piece { encoding: whole.encoding, range })),
            }
            at = link.next;
            if at == NONE {
                break;
            }
        }
    }

    /// Adds what of a segment is for a slot that must not hear the items that `excluded` names.
    pub(crate) fn cut(&mut self, segment: u32, whole: &Piece, excluded: &[u64], pieces: &mut Vec<Piece>) {
        let ends = &self.encoded.ends[self.encoded.encodings[whole.encoding as usize].ends..];
        let (mut begin, mut end) = (whole.range.start, whole.range.start);
        let mut at = self.segments[segment as usize].first;
        for next in ends {
            let link = &mut self.links[at as usize];
            if excluded.iter().any(|pair| *pair as u32 == at) {
                link.spared += 1;
                pieces.push(Piece { encoding: whole.encoding, range: begin..end });
                begin = *next;
            }
            end = *next;
            at = link.next;
            if at == NONE {
                break;
            }
        }
        pieces.push(Piece { encoding: whole.encoding, range: begin..end });
        pieces.retain(|piece| piece.len() > 0);
    }
}

impl Content<'_> {
    /// Keeps what of a piece is behind its first `done` bytes; how many publications gave way.
    #[cold]
    #[inline(never)]
    pub(crate) fn keep(&mut self, piece: &Piece, done: usize, outbox: &mut Outbox, items: &[Relayed]) -> u64 {
        let encoding = &mut self.encoded.encodings[piece.encoding as usize];
        let segment = &self.segments[encoding.segment as usize];
        if segment.slow_consumer == SlowConsumer::Close {
            outbox.push(self.encoded.share(piece, done), done > 0);
            return 0;
        }
        let begin = piece.range.start + done;
        let own = items_from(segment.first, self.links);
        let (mut start, mut gave_way) = (encoding.range.start, 0);
        for (place, (at, end)) in own.zip(&self.encoded.ends[encoding.ends..]).enumerate() {
            let item = std::mem::replace(&mut start, *end)..*end;
            if item.end <= begin || item.start >= piece.range.end {
                continue;
            }
            if item.start < begin {
                outbox.push(Bytes::copy_from_slice(&self.encoded.bytes[begin..item.end]), done > 0);
                continue;
            }
            let is_latest = segment.slow_consumer == SlowConsumer::Latest;
            if is_latest && item.end < piece.range.end {
                gave_way += 1;
                continue;
            }
            encoding.copies.resize((place + 1).max(encoding.copies.len()), None);
            let copy = encoding.copies[place].get_or_insert_with(|| Bytes::copy_from_slice(&self.encoded.bytes[item]));
            let bytes = copy.clone();
            match &items[at] {
                Relayed::Publication(_) if is_latest => {
                    gave_way += u64::from(outbox.push_latest(bytes, segment.channel, 0));
                }
                Relayed::Publication(routed) => {
                    let (channel, window) = (routed.channel.clone(), routed.published);
                    outbox.push_tagged(bytes, Tag { channel, window, is_gap: false });
                }
                _ => outbox.push(bytes, false),
            }
        }
        gave_way
    }
}

impl Encoded {
    pub(crate) fn bytes(&self, piece: &Piece) -> &[u8] {
        &self.bytes[piece.range.clone()]
    }

    /// What of a piece is behind its first `done` bytes, to be kept.
    pub(crate) fn share(&mut self, piece: &Piece, done: usize) -> Bytes {
        let encoding = &mut self.encodings[piece.encoding as usize];
        let whole = encoding.range.clone();
        let shared = encoding.shared.get_or_insert_with(|| Bytes::copy_from_slice(&self.bytes[whole.clone()]));
        shared.slice(piece.range.start + done - whole.start..piece.range.end - whole.start)
    }

    #[cold]
    fn encode<O>(
        &mut self,
        segment: u32,
        own: impl Iterator<Item = usize>,
        wire: Wire,
        encode: &impl Encode<O>,
        items: &[Relayed],
    ) {
        let (start, ends) = (self.bytes.len(), self.ends.len());
        for at in own {
            // A segment has no others.
            let Some((channel, push)) = push_of(&items[at]) else { continue };
            encode.shared(wire, &Outgoing::Push(channel, push), &mut self.bytes);
            self.ends.push(self.bytes.len());
        }
        let range = start..self.bytes.len();
        self.encodings.push(Encoding { segment, range, ends, shared: None, copies: Vec::new() });
    }
}

impl Piece {
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }
}

/// What is told of an item, if it can be part of a segment, and of which channel.
pub(crate) fn push_of(item: &Relayed) -> Option<(&str, Push<'_>)> {
    match item {
        Relayed::Publication(routed) => Some((routed.channel.as_str(), Push::Publication(&routed.publication))),
        Relayed::Presence(routed) => Some((routed.channel.as_str(), Push::Presence(&routed.event))),
        _ => None,
    }
}

/// A slot and something that belongs to it, to be sorted by slot.
fn pair(slot: u32, index: u32) -> u64 {
    u64::from(slot) << 32 | u64::from(index)
}

/// The places of a segment's items in the batch, from its first on.
fn items_from(first: u32, links: &[Link]) -> impl Iterator<Item = usize> {
    let next = |at: &u32| links.get(*at as usize).map(|link| link.next).filter(|next| *next != NONE);
    std::iter::successors(Some(first), next).map(|at| at as usize)
}
