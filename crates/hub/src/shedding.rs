//! What gives way when a client reads too slowly, in namespaces that prefer that to its end: the oldest publications, told
//! as a gap, or all but the newest of each channel. What has begun to be written never does.

use std::collections::HashMap;

use bytes::Bytes;
use ullim_broker::Window;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::outgoing::{Gap, GapReason, Outgoing, Push};

use crate::catching_up::widest;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outbox::{Frame, Outbox, Waiting};
use crate::outlet::{Encode, Outlet};
use crate::registry::ChannelKey;

/// From how many frames on that have given way their places are given up, if those are the most.
const MANY_EMPTY: usize = 64;

/// A frame that may give way, or tells of others that did.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) channel: ChannelName,
    /// When it was published, or what the gap covers.
    pub(crate) window: Window,
    /// It is a gap, for publications that have given way.
    pub(crate) is_gap: bool,
}

/// Of which channels only the newest publication waits, and where.
#[derive(Debug, Default)]
pub(crate) struct Latest {
    /// The number of the frame: its place, and the frames that have left before.
    /// Of several labels of a channel each has its own newest; without labels the second number is 0.
    numbers: HashMap<(ChannelKey, u32), usize, ahash::RandomState>,
    /// How many frames have left.
    pub(crate) gone: usize,
    empty: usize,
}

impl Waiting {
    pub(crate) fn push_latest(&mut self, bytes: Bytes, channel: ChannelKey, label: u32) -> bool {
        let number = self.latest.gone + self.frames.len();
        let older = self.latest.numbers.insert((channel, label), number);
        let older = older.and_then(|older| older.checked_sub(self.latest.gone));
        let older = older.filter(|place| *place > 0 || !self.begun).and_then(|place| self.frames.get_mut(place));
        let gave_way = older.map(|frame| std::mem::take(&mut frame.bytes)).filter(|bytes| !bytes.is_empty());
        if let Some(gave_way) = &gave_way {
            self.bytes -= gave_way.len();
            self.latest.empty += 1;
        }
        self.bytes += bytes.len();
        self.frames.push_back(Frame { bytes, tag: None });
        if self.latest.empty >= MANY_EMPTY && self.latest.empty > self.frames.len() / 2 {
            self.keep(|frame| !frame.bytes.is_empty());
        }
        gave_way.is_some()
    }

    /// Keeps only some of the frames, of those that have not begun.
    fn keep(&mut self, mut keep: impl FnMut(&Frame) -> bool) {
        let begun = usize::from(self.begun);
        let places =
            self.latest.numbers.iter().map(|(channel, number)| (number.wrapping_sub(self.latest.gone), *channel));
        let channels: HashMap<usize, (ChannelKey, u32)> = places.collect();
        let mut numbers = HashMap::default();
        let (mut place, mut kept) = (0, 0);
        self.frames.retain(|frame| {
            let stays = place < begun || keep(frame);
            if stays && let Some(channel) = channels.get(&place) {
                numbers.insert(*channel, kept);
            }
            place += 1;
            kept += usize::from(stays);
            stays
        });
        self.latest = Latest { numbers, gone: 0, empty: 0 };
    }

    /// The oldest that may give way do, until no more than `limit` bytes are left; what of each channel did, is told by
    /// a frame that `gap` writes, where the last of it was. How many did.
    fn shed(&mut self, limit: usize, mut gap: impl FnMut(&ChannelName, Window) -> Bytes) -> u64 {
        let begun = usize::from(self.begun);
        let mut gave_way: HashMap<ChannelName, (Window, usize)> = HashMap::new();
        let mut count = 0;
        // The first of those that are left does not count: [`Outbox::bytes_behind`].
        let mut first = self.frames.front().filter(|_| self.begun).map(|frame| frame.bytes.len());
        for (place, frame) in self.frames.iter_mut().enumerate().skip(begun) {
            if self.bytes <= limit + first.unwrap_or(frame.bytes.len()) {
                break;
            }
            let Some(tag) = frame.tag.as_ref().filter(|_| !frame.bytes.is_empty()) else {
                first = first.or((!frame.bytes.is_empty()).then_some(frame.bytes.len()));
                continue;
            };
            let window = gave_way.get(&tag.channel).map_or(tag.window, |(window, _)| widest(*window, tag.window));
            gave_way.insert(tag.channel.clone(), (window, place));
            self.bytes -= std::mem::take(&mut frame.bytes).len();
            count += u64::from(!tag.is_gap);
        }
        for (channel, (window, place)) in gave_way {
            let bytes = gap(&channel, window);
            self.bytes += bytes.len();
            self.frames[place] = Frame { bytes, tag: Some(Box::new(Tag { channel, window, is_gap: true })) };
        }
        self.keep(|frame| !frame.bytes.is_empty());
        count
    }
}

impl Outbox {
    fn shed(&mut self, limit: usize, gap: impl FnMut(&ChannelName, Window) -> Bytes) -> u64 {
        self.waiting().map_or(0, |waiting| waiting.shed(limit, gap))
    }
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// Lets what may give way do so; whether no more than `limit` bytes wait then. Some more give way than must, so that
    /// it does not happen for every publication.
    pub(crate) fn make_room(&mut self, id: ConnectionId, limit: usize) -> bool {
        let encode = &self.encode;
        let connection = self.connections.get_mut(id.slot as usize);
        let Some(connection) = connection.filter(|connection| connection.generation == id.generation) else {
            return false;
        };
        let (wire, registry, session) = (connection.wire, &self.registry, &mut connection.session);
        let dropped = connection.outbox.shed(limit - limit / 8, |channel, Window { from, to }| {
            let push = Push::Gap(Gap { from, to, reason: GapReason::SlowConsumer, position: None });
            let (mut tail, mut bytes) = (Vec::new(), Vec::new());
            encode.shared(wire, &Outgoing::Push(channel.as_str(), push), &mut tail);
            if !encode.has_labels(wire) {
                return tail.into();
            }
            let key = registry.find(channel.as_str());
            let subscription = key.zip(session.as_mut()).and_then(|(key, session)| session.subscription(key));
            for labelled in subscription.into_iter().flat_map(|subscription| subscription.labels_mut()) {
                labelled.give_gap(encode, wire, push, &tail, &mut bytes);
            }
            bytes.into()
        });
        self.counters.dropped_oldest += dropped;
        connection.outbox.bytes_behind() <= limit
    }
}

#[cfg(test)]
mod tests;
