//! Timers that all run equally long: a queue, not a heap.

use std::collections::VecDeque;
use std::time::Duration;

/// Things that are due a fixed time after they were added.
#[derive(Debug)]
pub(crate) struct Deadlines<T> {
    after: Duration,
    queue: VecDeque<(Duration, T)>,
}

impl<T> Deadlines<T> {
    pub(crate) fn new(after: Duration) -> Self {
        Self { after, queue: VecDeque::new() }
    }

    pub(crate) fn add(&mut self, now: Duration, thing: T) {
        self.queue.push_back((now + self.after, thing));
    }

    /// The next thing whose time has come.
    pub(crate) fn next_due(&mut self, now: Duration) -> Option<T> {
        let due = self.queue.front().is_some_and(|(at, _)| *at <= now);
        due.then(|| self.queue.pop_front()).flatten().map(|(_, thing)| thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_due_in_order_and_not_before_their_time() {
        let mut deadlines = Deadlines::new(Duration::from_secs(5));
        deadlines.add(Duration::from_secs(0), 'a');
        deadlines.add(Duration::from_secs(1), 'b');
        assert_eq!(deadlines.next_due(Duration::from_secs(4)), None);
        assert_eq!(deadlines.next_due(Duration::from_secs(5)), Some('a'));
        assert_eq!(deadlines.next_due(Duration::from_secs(5)), None);
        assert_eq!(deadlines.next_due(Duration::from_secs(9)), Some('b'));
    }
}
