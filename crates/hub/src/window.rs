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

/// What has become of a message for a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// It is to be sent.
    Sent,
    /// It is not for this label.
    NotForIt,
    /// It waits for acknowledgements; so many others gave way.
    Waits { gave_way: u64 },
    /// More waits for acknowledgements than may: the connection is too slow.
    TooMuch,
}

/// How much may wait, and how much does.
pub(crate) struct Allowance<'s> {
    pub(crate) policy: SlowConsumer,
    pub(crate) limit: usize,
    /// The bytes that wait in all windows of the session.
    pub(crate) waiting: &'s mut usize,
}

impl Window {
    pub(crate) fn new(size: u32) -> Self {
        Self { size: size as usize, unacknowledged: VecDeque::new(), waiting: VecDeque::new(), lost: None }
    }

    /// A message comes; without a number it is none to be acknowledged, such as a gap, and waits for its place only.
    pub(crate) fn give(
        &mut self,
        number: Option<u64>,
        published: Period,
        allowance: &mut Allowance<'_>,
        bytes: impl FnOnce() -> Box<[u8]>,
    ) -> Given {
        if self.waiting.is_empty() && (number.is_none() || self.has_room()) {
            self.unacknowledged.extend(number);
            return Given::Sent;
        }
        let mut gave_way = 0;
        if allowance.policy == SlowConsumer::Latest && number.is_some() {
            self.waiting.retain(|older| {
                let goes = older.number.is_some();
                gave_way += u64::from(goes);
                *allowance.waiting -= if goes { older.bytes.len() } else { 0 };
                !goes
            });
        }
        let bytes = bytes();
        *allowance.waiting += bytes.len();
        self.waiting.push_back(Waiting { number, bytes, published });
        match allowance.policy {
            _ if self.behind(allowance) <= allowance.limit => Given::Waits { gave_way },
            SlowConsumer::DropOldest => Given::Waits { gave_way: self.drop_oldest(allowance) },
            SlowConsumer::Close | SlowConsumer::Latest => Given::TooMuch,
        }
    }

    fn has_room(&self) -> bool {
        self.unacknowledged.len() < self.size
    }

    /// How many bytes wait; as in an outbox, the first message does not count.
    fn behind(&self, allowance: &Allowance<'_>) -> usize {
        *allowance.waiting - self.waiting.front().map_or(0, |first| first.bytes.len())
    }

    /// Some more give way than must, so that it does not happen for every publication. The newest stays.
    fn drop_oldest(&mut self, allowance: &mut Allowance<'_>) -> u64 {
        let mut gave_way = 0;
        while self.waiting.len() > 1
            && self.behind(allowance) > allowance.limit - allowance.limit / 8
            && let Some(oldest) = self.waiting.pop_front()
        {
            gave_way += u64::from(oldest.number.is_some());
            *allowance.waiting -= oldest.bytes.len();
            self.lost = Some(self.lost.map_or(oldest.published, |lost| widest(lost, oldest.published)));
        }
        gave_way
    }

    /// A message was dealt with, and if `cumulative` all that were sent before it. One that is dealt with twice, or that
    /// need not be acknowledged, is no harm. Whether it does not wait to be sent yet.
    pub(crate) fn acknowledge(&mut self, number: u64, cumulative: bool) -> bool {
        if self.waiting.iter().any(|waiting| waiting.number == Some(number)) {
            return false;
        }
        let place = self.unacknowledged.binary_search(&number);
        match (cumulative, place) {
            (true, Ok(place)) => drop(self.unacknowledged.drain(..=place)),
            (true, Err(place)) => drop(self.unacknowledged.drain(..place)),
            (false, Ok(place)) => drop(self.unacknowledged.remove(place)),
            (false, Err(_)) => {}
        }
        true
    }

    /// What is to be told as lost before anything else is sent, once there is room.
    pub(crate) fn take_lost(&mut self) -> Option<Period> {
        self.lost.take_if(|_| self.unacknowledged.len() < self.size)
    }

    /// The next message that there is room for now. It counts as sent; `waiting` are the bytes in all windows of the
    /// session.
    pub(crate) fn next(&mut self, waiting: &mut usize) -> Option<Box<[u8]>> {
        let has_room = self.has_room();
        let next = self.waiting.pop_front_if(|next| has_room || next.number.is_none())?;
        *waiting -= next.bytes.len();
        self.unacknowledged.extend(next.number);
        Some(next.bytes)
    }

    /// How many bytes wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.bytes.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window, and how many bytes wait in it and elsewhere.
    struct Fixture {
        window: Window,
        waiting: usize,
        policy: SlowConsumer,
    }

    impl Fixture {
        /// Full: message 1 is on its way. 25 bytes may wait behind the first message.
        fn full(size: u32, policy: SlowConsumer) -> Self {
            let mut fixture = Self { window: Window::new(size), waiting: 0, policy };
            for number in 1..=u64::from(size) {
                assert_eq!(fixture.give(Some(number), 10), Given::Sent);
            }
            fixture
        }

        fn give(&mut self, number: Option<u64>, bytes: usize) -> Given {
            let mut allowance = Allowance { policy: self.policy, limit: 25, waiting: &mut self.waiting };
            let mark = number.unwrap_or(0) as u8;
            let published = Period::at(number.unwrap_or(0));
            self.window.give(number, published, &mut allowance, || vec![mark; bytes].into())
        }

        /// The marks of what can be sent now.
        fn sent(&mut self) -> Vec<u8> {
            std::iter::from_fn(|| self.window.next(&mut self.waiting)).map(|bytes| bytes[0]).collect()
        }
    }

    const KEPT: Given = Given::Waits { gave_way: 0 };

    #[test]
    fn what_exceeds_the_window_waits_for_acknowledgements_in_order() {
        let mut full = Fixture::full(2, SlowConsumer::Close);
        for number in [3, 4, 5] {
            assert_eq!(full.give(Some(number), 1), KEPT);
        }
        assert_eq!(full.sent(), Vec::<u8>::new());
        assert!(full.window.acknowledge(1, false));
        assert_eq!(full.sent(), [3]);
        assert_eq!(full.give(Some(6), 1), KEPT, "others wait before it");
        assert!(full.window.acknowledge(3, true), "2 is meant too");
        assert_eq!(full.sent(), [4, 5]);
        assert!(full.window.acknowledge(4, false) && full.window.acknowledge(5, false));
        assert_eq!(full.sent(), [6]);
        assert_eq!((full.waiting, full.window.waiting_bytes()), (0, 0));
    }

    #[test]
    fn what_is_not_acknowledged_keeps_its_place_and_gives_way_to_nothing() {
        for (policy, before, after) in
            [(SlowConsumer::Close, vec![2, 0], vec![3]), (SlowConsumer::Latest, vec![0, 3], vec![])]
        {
            let mut full = Fixture::full(1, policy);
            assert_eq!(full.give(None, 1), Given::Sent, "nothing waits before it");
            for number in [Some(2), None, Some(3)] {
                full.give(number, 1);
            }
            assert!(full.window.acknowledge(1, false));
            assert_eq!(full.sent(), before, "{policy:?}");
            assert!(full.window.acknowledge(2, true));
            assert_eq!(full.sent(), after, "{policy:?}");
            assert_eq!(full.waiting, 0);
        }
    }

    #[test]
    fn what_was_never_sent_cannot_be_acknowledged_and_twice_is_no_harm() {
        let mut full = Fixture::full(4, SlowConsumer::Close);
        assert_eq!(full.give(Some(5), 1), KEPT);
        assert!(!full.window.acknowledge(5, true), "it waits");
        assert!(full.window.acknowledge(2, false) && full.window.acknowledge(2, false));
        assert_eq!(full.sent(), [5]);
        assert!(full.window.acknowledge(3, true), "1 too");
        assert!(full.window.acknowledge(1, true));
        assert_eq!(full.give(Some(6), 1), Given::Sent, "4 and 5 are on their way");
        assert_eq!(full.give(Some(7), 1), Given::Sent);
        assert_eq!(full.give(Some(8), 1), KEPT);
    }

    #[test]
    fn overflow_follows_the_policy() {
        use SlowConsumer::{Close, DropOldest, Latest};
        let given = |full: &mut Fixture| -> Vec<Given> { (2..6).map(|number| full.give(Some(number), 10)).collect() };
        let mut full = Fixture::full(1, Close);
        assert_eq!(given(&mut full), [KEPT, KEPT, KEPT, Given::TooMuch], "the first does not count");

        let mut full = Fixture::full(1, DropOldest);
        assert_eq!(given(&mut full), [KEPT, KEPT, KEPT, Given::Waits { gave_way: 1 }]);
        assert_eq!(full.window.take_lost(), None, "there is no room to tell it");
        assert!(full.window.acknowledge(1, false));
        assert_eq!(full.window.take_lost(), Some(Period::at(2)));
        assert_eq!((full.sent(), full.waiting), (vec![3], 20));

        let mut full = Fixture::full(1, Latest);
        let replaced = Given::Waits { gave_way: 1 };
        assert_eq!(given(&mut full), [KEPT, replaced, replaced, replaced]);
        assert!(full.window.acknowledge(1, false));
        assert_eq!((full.sent(), full.waiting), (vec![5], 0), "the newest");
    }

    #[test]
    fn what_waits_in_other_windows_counts() {
        let mut full = Fixture::full(1, SlowConsumer::Close);
        full.waiting = 20;
        assert_eq!(full.give(Some(2), 10), KEPT);
        assert_eq!(full.give(Some(3), 10), Given::TooMuch);
    }
}
