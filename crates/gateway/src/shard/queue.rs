//! Whose turn it is with the workers. A handshake in full passes them twice: what was begun goes first, so that no work
//! is done for nothing, and newcomers are taken only while there is hope that their turn comes in time.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Handshakes that wait for room with the workers.
pub(super) struct Queue<K> {
    /// They have been answered once, and need little more.
    begun: VecDeque<K>,
    new: VecDeque<Newcomer<K>>,
    /// How long a newcomer may wait: what is left to it is for the rest of its handshake and for its request.
    patience: Duration,
    /// How long newcomers have waited lately for each that was before them.
    pace: Duration,
}

struct Newcomer<K> {
    key: K,
    since: Instant,
    before: u32,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn<K> {
    Of(K),
    /// It has waited for too long: what would be done for it now would be wasted.
    TooLate(K),
}

impl<K> Queue<K> {
    pub(super) fn new(patience: Duration) -> Self {
        Self { begun: VecDeque::new(), new: VecDeque::new(), patience, pace: Duration::ZERO }
    }

    /// Takes a handshake that was begun.
    pub(super) fn push_begun(&mut self, key: K) {
        self.begun.push_back(key);
    }

    /// Takes a newcomer; whether there is hope for it.
    pub(super) fn push_new(&mut self, key: K, now: Instant) -> bool {
        let before = u32::try_from(self.new.len()).unwrap_or(u32::MAX);
        let is_hopeful = self.pace.saturating_mul(before) <= self.patience;
        if is_hopeful {
            self.new.push_back(Newcomer { key, since: now, before });
        }
        is_hopeful
    }

    /// The next whose turn it is.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Turn<K>> {
        if let Some(key) = self.begun.pop_front() {
            return Some(Turn::Of(key));
        }
        let Newcomer { key, since, before } = self.new.pop_front()?;
        let waited = now - since;
        self.pace = waited / before.max(1);
        Some(if waited > self.patience { Turn::TooLate(key) } else { Turn::Of(key) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(2500);

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn what_was_begun_goes_before_what_is_new() {
        let (mut queue, now) = (Queue::new(PATIENCE), Instant::now());
        assert!(queue.push_new(1, now) && queue.push_new(2, now));
        queue.push_begun(3);
        queue.push_begun(4);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(now)).collect();
        assert_eq!(order, [3, 4, 1, 2].map(Turn::Of));
    }

    #[test]
    fn who_has_waited_for_too_long_is_not_worked_for() {
        let (mut queue, now) = (Queue::new(PATIENCE), Instant::now());
        assert!(queue.push_new(1, now) && queue.push_new(2, now + ms(1)));
        assert_eq!(queue.pop(now + PATIENCE + ms(1)), Some(Turn::TooLate(1)));
        assert_eq!(queue.pop(now + PATIENCE + ms(1)), Some(Turn::Of(2)));
        assert_eq!(queue.pop(now), None);
    }

    #[test]
    fn newcomers_are_turned_away_when_their_turn_would_come_too_late() {
        let (mut queue, mut now) = (Queue::new(PATIENCE), Instant::now());
        // Ten come in the time in which one is served.
        let (mut taken, mut turned_away, mut served, mut too_late) = (0, 0, 0, 0);
        for number in 0..100_000 {
            now += ms(1);
            match queue.push_new(number, now) {
                true => taken += 1,
                false => turned_away += 1,
            }
            if number % 10 == 0 {
                match queue.pop(now) {
                    Some(Turn::Of(_)) => served += 1,
                    Some(Turn::TooLate(_)) => too_late += 1,
                    None => {}
                }
            }
        }
        assert!(queue.new.len() <= 260, "two and a half seconds' worth: {}", queue.new.len());
        assert!(turned_away > 89_000 && too_late < 100, "{turned_away} {too_late}");
        assert_eq!(taken, served + too_late + queue.new.len());
        // Once the storm is over there is hope for everybody.
        while queue.pop(now).is_some() {}
        assert!(queue.push_new(0, now));
    }
}
