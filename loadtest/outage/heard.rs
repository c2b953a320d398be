//! The books of one subscription: its channel's messages are numbered from 1, and each is to come once, in order. Pure.

/// What one subscription has heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// How often each number came; the first is that of number 1.
    counts: Vec<u8>,
    /// The greatest number so far.
    last: usize,
    reordered: u64,
}

/// What is wrong with what was heard.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Never came.
    pub(crate) lost: u64,
    /// Came again.
    pub(crate) duplicated: u64,
    /// Came for the first time, behind a greater number.
    pub(crate) reordered: u64,
}

/// The greatest number that is believed.
const MOST: usize = 1 << 24;

impl Heard {
    /// The message with this number came. False if there can be no such number.
    pub(crate) fn enter(&mut self, number: u64) -> bool {
        let Some(number) = usize::try_from(number).ok().filter(|number| (1..=MOST).contains(number)) else {
            return false;
        };
        if self.counts.len() < number {
            self.counts.resize(number, 0);
        }
        let count = &mut self.counts[number - 1];
        if *count == 0 && number < self.last {
            self.reordered += 1;
        }
        *count = count.saturating_add(1);
        self.last = self.last.max(number);
        true
    }

    /// The greatest number that came.
    pub(crate) fn last(&self) -> u64 {
        self.last as u64
    }

    /// What is wrong, if so many were published.
    pub(crate) fn wrong(&self, published: u64) -> Wrong {
        let distinct = self.counts.iter().filter(|count| **count > 0).count() as u64;
        let duplicated = self.counts.iter().map(|count| u64::from(count.saturating_sub(1))).sum();
        Wrong { lost: published.saturating_sub(distinct), duplicated, reordered: self.reordered }
    }
}

impl std::ops::AddAssign for Wrong {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_repeated_or_overtaken_is_told_apart() {
        let mut heard = Heard::default();
        for number in [1, 2, 5, 4, 4, 5, 6] {
            assert!(heard.enter(number));
        }
        assert_eq!(heard.wrong(8), Wrong { lost: 3, duplicated: 2, reordered: 1 }, "3, 7 and 8; 4 and 5; 4");
        assert_eq!(heard.last(), 6);
    }

    #[test]
    fn a_number_that_cannot_be_is_refused() {
        let mut heard = Heard::default();
        assert!(!heard.enter(0) && !heard.enter(u64::MAX));
        assert_eq!(heard.wrong(0), Wrong::default());
    }
}
