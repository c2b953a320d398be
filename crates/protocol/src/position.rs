//! Where a channel's history stands.

use std::fmt;
use std::num::NonZeroU64;

/// The largest epoch and offset: 2^53 − 1, which every client can hold in a double.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// One incarnation of a channel's history: when it was opened, in Unix microseconds. Later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(NonZeroU64);

impl Epoch {
    /// `None` for 0 and beyond [`MAX_NUMBER`].
    pub fn new(micros: u64) -> Option<Self> {
        NonZeroU64::new(micros).filter(|micros| micros.get() <= MAX_NUMBER).map(Self)
    }

    /// The text that [`Display`](fmt::Display) writes: decimal digits, without a sign or leading zeros.
    pub fn parse(text: &str) -> Option<Self> {
        let is_number = text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        is_number.then(|| text.parse().ok()).flatten().and_then(Self::new)
    }

    /// Unix microseconds.
    pub fn micros(self) -> u64 {
        self.0.get()
    }

    /// When it was opened, in Unix milliseconds.
    pub fn opened(self) -> u64 {
        self.micros() / 1000
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const _: () = assert!(size_of::<Option<Position>>() == 16, "every channel and every publication has one");

/// A publication's place in its channel's history. Their order is that of the history, over all epochs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which incarnation.
    pub epoch: Epoch,
    /// Dense from 1 within the epoch; 0: before the first. At most [`MAX_NUMBER`].
    pub offset: u64,
}

impl Position {
    /// The position before the first publication of `epoch`.
    pub fn start(epoch: Epoch) -> Self {
        Self { epoch, offset: 0 }
    }

    /// The one that follows in the same epoch.
    pub fn next(self) -> Self {
        Self { offset: self.offset + 1, ..self }
    }

    /// What a publication at `position` is to one who has heard everything up to here. `cut` is the last position before
    /// its epoch, if it is the first of one that followed another, and that is known.
    #[inline]
    pub fn step(self, position: Self, cut: Option<Self>) -> Step {
        if position.epoch == self.epoch {
            return match position.offset {
                offset if offset == self.offset + 1 => Step::Next,
                offset if offset <= self.offset => Step::Heard,
                _ => Step::Hole,
            };
        }
        if position.epoch < self.epoch {
            return Step::Older;
        }
        match cut {
            _ if position.offset != 1 => Step::Hole,
            None => Step::Anew,
            Some(cut) if self.is_cut(cut) => Step::BehindCut,
            Some(_) => Step::Hole,
        }
    }

    /// Whether one who has heard everything up to here has heard all that is known of before an epoch with this `cut`.
    /// An epoch that had no publication is not named as a cut: one who stands there, and has heard nothing of it, goes on
    /// from the cut before it.
    pub fn is_cut(self, cut: Self) -> bool {
        cut == self || self.offset == 0 && cut < self
    }

    /// The text that [`Display`](fmt::Display) writes: `<epoch>-<offset>`, as the ids of a stream in Redis.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, offset) = text.split_once('-')?;
        let is_number = offset.len() <= 16 && offset.bytes().all(|byte| byte.is_ascii_digit());
        let offset = is_number.then(|| offset.parse().ok()).flatten()?;
        (offset <= MAX_NUMBER).then_some(Self { epoch: Epoch::parse(epoch)?, offset })
    }
}

/// What a publication is to one who has heard everything up to a position. What follows from it is for those to say who
/// ask: they know how sure it is that nothing was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The next of the same epoch.
    Next,
    /// It lies before, in the same epoch.
    Heard,
    /// It is of an epoch before this one: heard long ago, or the history has gone back.
    Older,
    /// It begins a later epoch that names this place as the end of what is known before it: what was lost behind that
    /// nobody knows.
    BehindCut,
    /// It begins a later epoch that names nothing before it: the history was gone.
    Anew,
    /// Something lies between.
    Hole,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_go_there_and_back_and_nothing_else_is_one() {
        for text in ["1-0", "1763700000000000-41", "9007199254740991-9007199254740991"] {
            assert_eq!(Position::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "-", "1", "0-1", "01-1", "1-", "-1", "1-+1", " 1-1", "1-1-1", "9007199254740992-1", "x-1"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_later_epoch_is_later_whatever_the_offsets() {
        let at = |text| Position::parse(text).unwrap();
        assert!(at("1-100") < at("2-0") && at("2-0") < at("2-1"));
        assert_eq!(at("2-0").next(), at("2-1"));
        assert_eq!(at("1763700000000000-1").epoch.opened(), 1_763_700_000_000);
    }

    #[test]
    fn what_comes_is_next_or_was_heard_or_begins_an_epoch_or_leaves_a_hole() {
        let at = |text| Position::parse(text).unwrap();
        let cases = [
            ("5-3", "5-4", None, Step::Next),
            ("5-0", "5-1", None, Step::Next),
            ("5-3", "5-3", None, Step::Heard),
            ("5-3", "5-1", None, Step::Heard),
            ("5-3", "5-5", None, Step::Hole),
            ("5-3", "4-4", None, Step::Older),
            ("5-3", "4-1", Some("3-1"), Step::Older),
            ("5-3", "6-1", None, Step::Anew),
            ("5-3", "6-1", Some("5-3"), Step::BehindCut),
            ("5-3", "6-1", Some("5-2"), Step::Hole),
            ("5-3", "6-1", Some("5-4"), Step::Hole),
            ("5-3", "6-2", None, Step::Hole),
            ("5-3", "6-2", Some("5-3"), Step::Hole),
            // Of an epoch without publications nothing can have been missed.
            ("5-0", "6-1", Some("4-9"), Step::BehindCut),
        ];
        for (here, position, cut, step) in cases {
            assert_eq!(at(here).step(at(position), cut.map(at)), step, "{position} for {here}");
        }
    }
}
