//! What was published behind a position, and whether that is all. Pure.

use std::sync::Arc;

use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::position::{Position, Step};

use crate::interest::Kept;
use crate::{Outcome, Recovery};

/// What was read behind a position.
#[derive(Debug, Clone)]
pub(super) struct Range {
    /// It begins behind this.
    pub(super) since: Position,
    /// When that was published, in Unix milliseconds, if it is known.
    pub(super) since_time: Option<u64>,
    pub(super) entries: Vec<Kept>,
    /// Where the channel stands.
    pub(super) position: Position,
    /// See [`Read::cut`](crate::interest::Read::cut).
    pub(super) cut: Option<Position>,
    /// There is more than is given to one who recovers.
    pub(super) is_too_long: bool,
}

impl Range {
    /// What one is given who has heard `since` last, which is not before the range.
    pub(super) fn recovery(&self, since: Position, limit: usize) -> Recovery {
        match self.judge(since, limit) {
            Some((publications, gap)) => {
                let outcome = match gap {
                    None => Outcome::Whole,
                    Some(gap) => Outcome::Cut(Gap { position: Some(self.position), ..gap }),
                };
                Recovery { publications, position: self.position, outcome }
            }
            None => Recovery { publications: Vec::new(), position: self.position, outcome: Outcome::Lost },
        }
    }

    /// The publications, and what may be missing between them; `None` if they are not what follows.
    fn judge(&self, since: Position, limit: usize) -> Option<(Vec<Arc<crate::Routed>>, Option<Gap>)> {
        let first = self.entries.partition_point(|kept| kept.position <= since);
        let entries = &self.entries[first..];
        if self.is_too_long || entries.len() > limit {
            return None;
        }
        let mut at = since;
        let mut last = match first.checked_sub(1) {
            Some(before) => Some(self.entries[before].time),
            None => self.since_time.filter(|_| since == self.since),
        };
        let mut gap: Option<Gap> = None;
        let mut missing = |from: u64, to: u64, reason| {
            let from = gap.map_or(from.min(to), |gap| gap.from);
            let reason = gap.map_or(reason, |gap| gap.reason);
            gap = Some(Gap { from, to, reason, position: None });
        };
        let mut publications = Vec::with_capacity(entries.len());
        for kept in entries {
            let position = kept.position;
            match at.step(position, kept.cut) {
                Step::Next => {}
                Step::BehindCut => {
                    missing(last.unwrap_or(at.epoch.opened()), position.epoch.opened(), GapReason::History);
                }
                // Unlike the cursor this knows nobody who had heard all of a history that was gone: nor does it vouch.
                Step::Anew | Step::Hole | Step::Heard | Step::Older => return None,
            }
            match &kept.routed {
                Some(routed) => publications.push(Arc::clone(routed)),
                None => missing(kept.time, kept.time, GapReason::Undecodable),
            }
            (at, last) = (position, Some(kept.time));
        }
        // No publication yet, so no step: only the place is known.
        let is_empty = self.position.epoch > at.epoch && self.position.offset == 0;
        if is_empty && self.cut.is_some_and(|cut| at.is_cut(cut)) {
            missing(last.unwrap_or(at.epoch.opened()), self.position.epoch.opened(), GapReason::History);
        } else if at != self.position {
            return None;
        }
        Some((publications, gap))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ullim_protocol::channel::ChannelName;
    use ullim_protocol::publication::{Data, Publication};

    use super::*;
    use crate::queue::{Routed, Window};

    fn at(text: &str) -> Position {
        Position::parse(text).unwrap()
    }

    fn kept(position: &str, cut: Option<&str>, is_readable: bool) -> Kept {
        let position = at(position);
        let time = 10 * position.offset;
        let publication = Publication { data: Data::Text(Bytes::new()), time, headers: None, position: Some(position) };
        let channel = ChannelName::parse("orders:1").unwrap();
        let routed = Arc::new(Routed { channel, publication, exclude: None, published: Window::at(time) });
        Kept { position, cut: cut.map(at), time, routed: is_readable.then_some(routed) }
    }

    fn range(since: &str, entries: &[(&str, Option<&str>)], position: &str, cut: Option<&str>) -> Range {
        let entries = entries.iter().map(|(position, cut)| kept(position, *cut, true)).collect();
        let (since, position, cut) = (at(since), at(position), cut.map(at));
        Range { since, since_time: Some(7), entries, position, cut, is_too_long: false }
    }

    #[test]
    fn what_is_dense_is_whole_and_what_is_not_is_lost() {
        let dense = range("5000-1", &[("5000-2", None), ("5000-3", None)], "5000-3", None);
        let recovery = dense.recovery(at("5000-1"), 10);
        assert_eq!((recovery.outcome, recovery.publications.len()), (Outcome::Whole, 2));
        assert_eq!(dense.recovery(at("5000-2"), 1).publications.len(), 1);
        assert_eq!(dense.recovery(at("5000-3"), 0).outcome, Outcome::Whole);
        // Beyond what there is; more than the limit.
        assert_eq!(dense.recovery(at("5000-4"), 10).outcome, Outcome::Lost);
        let recovery = dense.recovery(at("5000-1"), 1);
        assert_eq!((recovery.outcome, recovery.publications.len()), (Outcome::Lost, 0));
        for entries in [&[("5000-3", None)][..], &[("5000-2", None)][..], &[]] {
            assert_eq!(range("5000-1", entries, "5000-3", None).recovery(at("5000-1"), 10).outcome, Outcome::Lost);
        }
    }

    #[test]
    fn an_epoch_that_follows_is_a_gap_and_another_is_a_loss() {
        let entries = [("5000-2", None), ("9000-1", Some("5000-2")), ("9000-2", None)];
        let two = range("5000-1", &entries, "9000-2", None);
        let gap = Gap { from: 20, to: 9, reason: GapReason::History, position: Some(at("9000-2")) };
        let recovery = two.recovery(at("5000-1"), 10);
        assert_eq!(recovery.publications.len(), 3);
        assert_eq!(recovery.outcome, Outcome::Cut(Gap { from: 9, ..gap }));
        assert_eq!(two.recovery(at("9000-1"), 10).outcome, Outcome::Whole);
        // It has heard what Redis has lost.
        assert_eq!(two.recovery(at("5000-3"), 10).outcome, Outcome::Lost);
        assert_eq!(two.recovery(at("7000-1"), 10).outcome, Outcome::Lost);
        // Of an epoch between the two it has heard nothing.
        let recovery = two.recovery(at("7000-0"), 10);
        assert_eq!(recovery.publications.len(), 2);
        assert_eq!(recovery.outcome, Outcome::Cut(Gap { from: 9, ..gap }));
        let deleted = range("5000-2", &[("9000-1", None)], "9000-1", None);
        assert_eq!(deleted.recovery(at("5000-2"), 10).outcome, Outcome::Lost);
    }

    #[test]
    fn an_epoch_without_a_publication_yet_is_a_gap_too() {
        let empty = range("5000-2", &[], "9000-0", Some("5000-2"));
        let gap = Gap { from: 7, to: 9, reason: GapReason::History, position: Some(at("9000-0")) };
        assert_eq!(empty.recovery(at("5000-2"), 10).outcome, Outcome::Cut(gap));
        assert_eq!(range("5000-2", &[], "9000-0", None).recovery(at("5000-2"), 10).outcome, Outcome::Lost);
        assert_eq!(range("5000-3", &[], "9000-0", Some("5000-2")).recovery(at("5000-3"), 10).outcome, Outcome::Lost);
    }

    #[test]
    fn what_cannot_be_decoded_is_a_gap() {
        let mut entries = range("5000-1", &[("5000-2", None), ("5000-3", None)], "5000-3", None);
        entries.entries[0].routed = None;
        let recovery = entries.recovery(at("5000-1"), 10);
        let gap = Gap { from: 20, to: 20, reason: GapReason::Undecodable, position: Some(at("5000-3")) };
        assert_eq!((recovery.publications.len(), recovery.outcome), (1, Outcome::Cut(gap)));
    }
}
