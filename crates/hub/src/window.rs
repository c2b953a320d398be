//! What is on its way to a label and not acknowledged yet, and what waits for that. A topic cannot be held up for one
//! subscriber, so what waits is bounded, and overflow follows the namespace's policy.

use std::collections::VecDeque;

use ullim_broker::Window as Period;

use crate::catching_up::widest;
use crate::config::SlowConsumer;

/// The window of one label.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    /// The numbers of what was sent and not acknowledged, in order.
    unacknowledged: VecDeque<u64>,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// When that was published which gave way and has not been told of.
    lost: Option<Period>,
}

/// A message that waits for room, or behind those that do.
#[derive(Debug)]
struct Waiting {
    /// `None`: it is not to be acknowledged.
    number: Option<u64>,
    bytes: Box<[u8]>,
    published: Period,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// It waits; so many others gave way.
    Kept { gave_way: u64 },
    /// More waits than may.
    TooMuch,
}

impl Window {
    pub(crate) fn new(size: u32) -> Self {
        let (unacknowledged, waiting) = (VecDeque::new(), VecDeque::new());
        Self { size: size as usize, unacknowledged, waiting, bytes: 0, lost: None }
    }

    /// Whether a message may be sent now, as far as the order of those before it and the window go.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.unacknowledged.len() < self.size
    }

    /// A message is sent.
    pub(crate) fn send(&mut self, number: u64) {
        self.unacknowledged.push_back(number);
    }

    /// Whether others wait.
    pub(crate) fn holds_back(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A message has to wait; without a number it is none to be acknowledged, such as a gap, and waits for its place
    /// only. As in an outbox, the first does not count against `limit` bytes.
    pub(crate) fn wait(
        &mut self,
        number: Option<u64>,
        bytes: &[u8],
        published: Period,
        policy: SlowConsumer,
        limit: usize,
    ) -> Waits {
        let mut gave_way = 0;
        if policy == SlowConsumer::Latest && number.is_some() {
            let (before, bytes) = (self.waiting.len(), &mut self.bytes);
            self.waiting.retain(|older| {
                *bytes -= if older.number.is_some() { older.bytes.len() } else { 0 };
                older.number.is_none()
            });
            gave_way = (before - self.waiting.len()) as u64;
        }
        self.bytes += bytes.len();
        self.waiting.push_back(Waiting { number, bytes: bytes.into(), published });
        let behind = |window: &Self| window.bytes - window.waiting.front().map_or(0, |first| first.bytes.len());
        if behind(self) <= limit {
            return Waits::Kept { gave_way };
        }
        if policy != SlowConsumer::DropOldest {
            return Waits::TooMuch;
        }
        // Some more than must, so that it does not happen for every publication.
        while behind(self) > limit - limit / 8
            && let Some(oldest) = self.waiting.pop_front()
        {
            gave_way += u64::from(oldest.number.is_some());
            self.bytes -= oldest.bytes.len();
            self.lost = Some(self.lost.map_or(oldest.published, |lost| widest(lost, oldest.published)));
        }
        Waits::Kept { gave_way }
    }

    /// A message was dealt with, and if `cumulative` all that were sent before it; whether it was one to be dealt with.
    pub(crate) fn acknowledge(&mut self, number: u64, cumulative: bool) -> bool {
        let Ok(place) = self.unacknowledged.binary_search(&number) else { return false };
        match cumulative {
            true => drop(self.unacknowledged.drain(..=place)),
            false => drop(self.unacknowledged.remove(place)),
        }
        true
    }

    /// What is to be told as lost before anything else is sent, once there is room.
    pub(crate) fn take_lost(&mut self) -> Option<Period> {
        self.lost.take_if(|_| self.unacknowledged.len() < self.size)
    }

    /// The next message that there is room for now. It counts as sent.
    pub(crate) fn next(&mut self) -> Option<Box<[u8]>> {
        let has_room = self.unacknowledged.len() < self.size;
        let Waiting { number, bytes, .. } = self.waiting.pop_front_if(|next| has_room || next.number.is_none())?;
        self.bytes -= bytes.len();
        self.unacknowledged.extend(number);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Period = Period { from: 5, to: 6 };

    fn wait(window: &mut Window, number: u64, policy: SlowConsumer) -> Waits {
        window.wait(Some(number), &[0; 10], Period { from: number, to: number }, policy, 25)
    }

    #[test]
    fn what_exceeds_the_window_waits_for_acknowledgements_in_order() {
        let mut window = Window::new(2);
        for number in [1, 2] {
            assert!(window.has_room());
            window.send(number);
        }
        assert!(!window.has_room());
        for number in [3, 4, 5] {
            window.wait(Some(number), &[number as u8], TIME, SlowConsumer::Close, 100);
        }
        assert_eq!(window.next(), None);
        assert!(window.acknowledge(1, false));
        assert_eq!(window.next().as_deref(), Some(&[3][..]));
        assert_eq!(window.next(), None);
        assert!(!window.has_room(), "others wait before it");
        assert!(window.acknowledge(3, true), "2 is meant too");
        assert_eq!(window.next().as_deref(), Some(&[4][..]));
        assert_eq!(window.next().as_deref(), Some(&[5][..]));
        assert_eq!(window.next(), None);
    }

    #[test]
    fn what_is_not_acknowledged_keeps_its_place_and_gives_way_to_nothing() {
        let mut window = Window::new(1);
        window.send(1);
        assert!(!window.holds_back());
        for (number, byte) in [(Some(2), 2), (None, 9), (Some(3), 3)] {
            window.wait(number, &[byte], TIME, SlowConsumer::Close, 100);
        }
        assert!(window.acknowledge(1, false));
        assert_eq!(window.next().as_deref(), Some(&[2][..]));
        assert_eq!(window.next().as_deref(), Some(&[9][..]), "it needs no room");
        assert_eq!(window.next(), None);
        assert!(window.acknowledge(2, false));
        assert_eq!(window.next().as_deref(), Some(&[3][..]));

        let mut window = Window::new(1);
        window.send(1);
        for (number, byte) in [(Some(2), 2), (None, 9), (Some(3), 3)] {
            window.wait(number, &[byte], TIME, SlowConsumer::Latest, 100);
        }
        assert_eq!(window.next().as_deref(), Some(&[9][..]), "a gap is not replaced");
    }

    #[test]
    fn only_what_is_outstanding_can_be_acknowledged() {
        let mut window = Window::new(5);
        (1..=4).for_each(|number| window.send(number));
        assert!(window.acknowledge(2, false) && !window.acknowledge(2, false), "twice");
        assert!(!window.acknowledge(5, true) && !window.acknowledge(0, false), "never sent");
        assert!(window.acknowledge(3, true) && !window.acknowledge(1, false), "meant by the cumulative one");
        assert!(window.acknowledge(4, false));
    }

    #[test]
    fn overflow_follows_the_policy() {
        use SlowConsumer::{Close, DropOldest, Latest};
        let full = || {
            let mut window = Window::new(1);
            window.send(1);
            window
        };
        let mut window = full();
        let outcomes: Vec<_> = (2..6).map(|number| wait(&mut window, number, Close)).collect();
        let kept = Waits::Kept { gave_way: 0 };
        assert_eq!(outcomes, [kept, kept, kept, Waits::TooMuch], "the first does not count");

        let mut window = full();
        let dropped: Vec<_> = (2..6).map(|number| wait(&mut window, number, DropOldest)).collect();
        assert_eq!(dropped, [kept, kept, kept, Waits::Kept { gave_way: 1 }]);
        assert_eq!(window.take_lost(), None, "there is no room to tell it");
        assert!(window.acknowledge(1, false));
        assert_eq!(window.take_lost(), Some(Period { from: 2, to: 2 }));

        let mut window = full();
        let dropped: Vec<_> = (2..5).map(|number| wait(&mut window, number, Latest)).collect();
        let replaced = Waits::Kept { gave_way: 1 };
        assert_eq!(dropped, [kept, replaced, replaced]);
        assert!(window.acknowledge(1, false) && window.next().is_some());
        assert!(window.acknowledge(4, false), "the newest was sent");
    }
}
