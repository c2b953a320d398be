//! What a connection's client has not taken yet.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

use crate::outlet::Outlet;
use crate::registry::ChannelKey;
use crate::shedding::{Latest, Tag};

/// The most frames that one write gathers. Far below what the system takes (1,024), as it would write no more of them.
pub(crate) const GATHERED: usize = 64;

/// Frames in order, the first perhaps half written. Empty, it is one null pointer.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Option<Box<Waiting>>);

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) frames: VecDeque<Frame>,
    pub(crate) bytes: usize,
    /// Whether the first frame's beginning has been written.
    pub(crate) begun: bool,
    /// Where the newest publication waits of each channel of which no other does.
    pub(crate) latest: Latest,
}

/// What waits in one piece. Without bytes, it has given way.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// What may give way.
    pub(crate) tag: Option<Box<Tag>>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many bytes wait.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// How many bytes wait behind the first frame. That one does not count, so that a message larger than any limit
    /// still reaches a client that reads.
    pub(crate) fn bytes_behind(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes - waiting.frames.front().map_or(0, |frame| frame.bytes.len()))
    }

    /// Adds a frame at the end. If it has `begun`, it is what is left of a frame whose beginning has been written: only
    /// where nothing waits.
    pub(crate) fn push(&mut self, bytes: Bytes, begun: bool) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes += bytes.len();
        waiting.begun |= begun;
        waiting.frames.push_back(Frame { bytes, tag: None });
    }

    /// Adds a publication that may give way.
    pub(crate) fn push_tagged(&mut self, bytes: Bytes, tag: Tag) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes += bytes.len();
        waiting.frames.push_back(Frame { bytes, tag: Some(Box::new(tag)) });
    }

    /// Adds a publication of which only the newest is to wait; whether an older one gave way.
    /// `label`: for whom on that channel, or 0.
    pub(crate) fn push_latest(&mut self, bytes: Bytes, channel: ChannelKey, label: u32) -> bool {
        self.0.get_or_insert_default().push_latest(bytes, channel, label)
    }

    /// What waits, if there is anything.
    pub(crate) fn waiting(&mut self) -> Option<&mut Waiting> {
        self.0.as_deref_mut()
    }

    /// Drops every frame of which nothing has been written.
    pub(crate) fn drop_unbegun(&mut self) {
        if let Some(waiting) = &mut self.0 {
            waiting.frames.truncate(usize::from(waiting.begun));
            waiting.bytes = waiting.frames.iter().map(|frame| frame.bytes.len()).sum();
            waiting.latest = Latest::default();
            if waiting.frames.is_empty() {
                self.0 = None;
            }
        }
    }

    /// Writes until nothing waits or the outlet takes no more.
    pub(crate) fn write_to(&mut self, outlet: &mut impl Outlet) -> io::Result<()> {
        while let Some(waiting) = &mut self.0 {
            let mut slices = [IoSlice::new(&[]); GATHERED];
            let mut offered = 0;
            let mut count = 0;
            for (slice, frame) in slices.iter_mut().zip(&waiting.frames) {
                *slice = IoSlice::new(&frame.bytes);
                offered += frame.bytes.len();
                count += 1;
            }
            let written = outlet.write(&slices[..count])?;
            waiting.advance(written);
            if waiting.frames.is_empty() {
                self.0 = None;
            } else if written < offered {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Waiting {
    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(frame) = self.frames.front_mut() {
            if written < frame.bytes.len() {
                self.begun |= written > 0;
                frame.bytes.advance(written);
                return;
            }
            written -= frame.bytes.len();
            self.begun = false;
            self.frames.pop_front();
            self.latest.gone += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at each write.
    struct Narrow {
        takes: VecDeque<usize>,
        written: Vec<u8>,
    }

    impl Outlet for Narrow {
        fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
            let offered: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
            let taken = self.takes.pop_front().unwrap_or(0).min(offered.len());
            self.written.extend_from_slice(&offered[..taken]);
            Ok(taken)
        }

        fn finish(&mut self) {}
    }

    fn filled() -> Outbox {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from_static(b"first"), false);
        outbox.push(Bytes::from_static(b"second"), false);
        outbox
    }

    #[test]
    fn what_is_not_taken_waits_in_order() {
        let mut outbox = filled();
        let mut outlet = Narrow { takes: [2, 5].into(), written: Vec::new() };
        outbox.write_to(&mut outlet).unwrap();
        assert_eq!(outbox.bytes(), 9);
        outbox.write_to(&mut outlet).unwrap();
        assert_eq!((outlet.written.as_slice(), outbox.bytes()), (b"firstse".as_slice(), 4));
        outlet.takes.push_back(100);
        outbox.write_to(&mut outlet).unwrap();
        assert!(outbox.is_empty());
        assert_eq!(outlet.written, b"firstsecond");
    }

    #[test]
    fn only_a_frame_that_has_begun_is_kept() {
        let mut outbox = filled();
        outbox.drop_unbegun();
        assert!(outbox.is_empty());

        let mut outbox = filled();
        let mut outlet = Narrow { takes: [2].into(), written: Vec::new() };
        outbox.write_to(&mut outlet).unwrap();
        outbox.drop_unbegun();
        assert_eq!(outbox.bytes(), 3);

        let mut outbox = filled();
        let mut outlet = Narrow { takes: [5].into(), written: Vec::new() };
        outbox.write_to(&mut outlet).unwrap();
        outbox.drop_unbegun();
        assert!(outbox.is_empty(), "the first was written whole");
    }
}
