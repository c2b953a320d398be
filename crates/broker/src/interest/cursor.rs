//! Where a recoverable channel stands on this node: the last publication that its shards have heard. Before any shard
//! sees a publication it passes here: what was heard already is dropped; what is not the next one waits until what lies
//! between has been read from the history. Pure: what was read and the time are given.
//!
//! Redis may be set back to older data without its noticing. Then it issues positions a second time, and those who have
//! heard them the first time would take what is new for a repetition. It shows in one of two ways: the history ends before
//! what was heard; or something else comes under a position that was heard, and the history has that. Then the shards are
//! told a [reset](Relayed::Reset).

mod held;
mod kept;
mod mark;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ullim_protocol::channel::ChannelName;
use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::position::{Position, Step};

use self::held::{Held, Waiting};
pub(crate) use self::kept::{Kept, Read};
use self::mark::Mark;
use super::recent::Recent;
use crate::queue::{Relayed, Routed};

/// See the module.
#[derive(Debug)]
pub(super) struct Cursor {
    at: Option<Position>,
    /// Nothing behind `at` was published before this, in Unix milliseconds.
    last: u64,
    /// Nothing of this epoch up to `at` was published after this, in Unix milliseconds.
    newest: u64,
    /// What was published at `at`, if that was heard.
    mark: Option<Mark>,
    /// Something came that cannot be what was heard under its position: the history has gone back, or somebody else made
    /// that up.
    doubt: bool,
    /// The link has stood since `at` was compared with the history.
    unbroken: bool,
    state: State,
    pub(super) ask: Ask,
    /// Something was published, or compared, since the last round of verification.
    pub(super) is_fresh: bool,
    /// What waits on all channels, in bytes.
    all: Arc<AtomicUsize>,
    pub(super) recent: Option<Box<Recent>>,
}

#[derive(Debug)]
enum State {
    Steady,
    /// Something is to be read first. What comes meanwhile waits.
    Repairing(Held),
}

/// A read of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    No,
    Queued,
    /// Under way. With its number, and how many publications waited when it was asked for.
    Asked(u64, usize),
}

/// What becomes of a publication that was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is the next one.
    Pass,
    /// It is the next one, behind a gap.
    PassBehind(Gap),
    /// It was heard before.
    Repeated,
    /// It waits for what lies before it: the history is to be read, or that is to be asked for already.
    Held { ask: bool },
}

/// What a read has brought.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repaired {
    /// Publications that had not been heard.
    pub(crate) publications: u64,
    /// Those of them that cannot be decoded.
    pub(crate) undecodable: u64,
    /// The history was found to have gone back.
    pub(crate) was_reset: bool,
}

impl Cursor {
    pub(super) fn new(all: &Arc<AtomicUsize>) -> Self {
        let state = State::Repairing(Held::new(Arc::clone(all)));
        let all = Arc::clone(all);
        Self {
            at: None,
            last: 0,
            newest: 0,
            mark: None,
            doubt: false,
            unbroken: false,
            state,
            ask: Ask::No,
            is_fresh: true,
            all,
            recent: None,
        }
    }

    /// Where it stands, if it does.
    pub(super) fn standing(&self) -> Option<Position> {
        self.at.filter(|_| self.is_steady())
    }

    pub(super) fn is_steady(&self) -> bool {
        matches!(self.state, State::Steady)
    }

    /// What is heard next is behind this.
    pub(super) fn at(&self) -> Option<Position> {
        self.at
    }

    /// What is to be read is behind this. In doubt, what was heard last is to be read once more.
    pub(super) fn after(&self) -> Option<Position> {
        self.at.map(|at| if self.doubt { before(at) } else { at })
    }

    /// How many publications wait.
    pub(super) fn held(&self) -> usize {
        match &self.state {
            State::Steady => 0,
            State::Repairing(held) => held.publications.len(),
        }
    }

    /// The link is gone. What waits is in the history.
    pub(super) fn broken(&mut self) {
        self.unbroken = false;
        self.ask = Ask::No;
        if let State::Repairing(held) = &mut self.state {
            held.clear();
        }
    }

    /// Nothing passes until the history was read.
    pub(super) fn repair(&mut self) {
        if self.is_steady() {
            self.state = State::Repairing(Held::new(Arc::clone(&self.all)));
        }
        // A read that is under way may have been before what makes this one necessary.
        self.ask = Ask::Queued;
    }

    /// A publication came.
    pub(super) fn hear(&mut self, routed: &Arc<Routed>, position: Position, cut: Option<Position>) -> Heard {
        self.is_fresh = true;
        let Some(at) = self.standing() else {
            self.hold(routed, position, cut);
            return Heard::Held { ask: false };
        };
        let heard = self.judge(at, position, cut);
        self.doubt |= heard == Some(Heard::Repeated) && self.is_doubtful(routed, position);
        let Some(heard) = heard.filter(|_| !self.doubt) else {
            self.repair();
            self.hold(routed, position, cut);
            return Heard::Held { ask: true };
        };
        match &heard {
            Heard::Pass if position.epoch == at.epoch => self.passed(routed, position, cut),
            Heard::Pass | Heard::PassBehind(_) => {
                self.recent = None;
                self.passed(routed, position, cut);
            }
            Heard::Repeated | Heard::Held { .. } => {}
        }
        heard
    }

    /// What a publication is to one who stands at `at`; `None` if the history has to say.
    fn judge(&self, at: Position, position: Position, cut: Option<Position>) -> Option<Heard> {
        match at.step(position, cut) {
            Step::Next => Some(Heard::Pass),
            Step::Heard => Some(Heard::Repeated),
            // The history was gone. All of it had been heard.
            Step::Anew if self.unbroken => Some(Heard::Pass),
            Step::BehindCut => Some(Heard::PassBehind(self.history_gap(before(position), position.epoch.opened()))),
            Step::Anew | Step::Hole | Step::Older => None,
        }
    }

    /// Whether a publication is not what was heard under its position: it is later than all that was heard, or something
    /// else than what was heard last.
    fn is_doubtful(&self, routed: &Routed, position: Position) -> bool {
        let is_last = Some(position) == self.at;
        routed.publication.time > self.newest || is_last && self.mark.is_some_and(|mark| mark != Mark::of(routed))
    }

    /// Whether the history has gone back. `at`: where this stood when `read` was asked for, if it has not moved since.
    fn has_gone_back(&self, at: Position, read: &Read) -> bool {
        if read.position < at || !self.doubt {
            return read.position < at;
        }
        let kept = read.entries.iter().find(|kept| kept.position == at);
        match (kept, self.mark) {
            (Some(kept), Some(mark)) => kept.routed.as_deref().map(Mark::of) != Some(mark),
            // Nothing speaks against it.
            _ => true,
        }
    }

    /// Goes on at `position` as if nothing were missing.
    pub(super) fn believe(&mut self, position: Position) {
        self.state = State::Steady;
        self.ask = Ask::No;
        self.recent = None;
        (self.at, self.mark, self.doubt) = (Some(position), None, false);
    }

    /// A gap up to `position`.
    fn history_gap(&self, position: Position, to: u64) -> Gap {
        Gap { from: self.last.min(to), to, reason: GapReason::History, position: Some(position) }
    }

    fn passed(&mut self, routed: &Arc<Routed>, position: Position, cut: Option<Position>) {
        let time = routed.publication.time;
        if let Some(recent) = &mut self.recent {
            let kept = Kept { position, cut, time, routed: Some(Arc::clone(routed)) };
            if !recent.push(kept) {
                self.recent = None;
            }
        }
        self.reach(position, time);
        self.mark = Some(Mark::of(routed));
    }

    /// All up to `position` was heard, which was published at `time`.
    fn reach(&mut self, position: Position, time: u64) {
        // Another epoch may be another server's, with another clock.
        let is_same = self.at.is_some_and(|at| at.epoch == position.epoch);
        self.newest = if is_same { self.newest.max(time) } else { time };
        (self.at, self.last, self.mark) = (Some(position), time, None);
    }

    fn hold(&mut self, routed: &Arc<Routed>, position: Position, cut: Option<Position>) {
        let State::Repairing(held) = &mut self.state else { return };
        held.push(Waiting { routed: Arc::clone(routed), position, cut });
        if held.overflowed
            && let Ask::Asked(_, asked_with) = &mut self.ask
        {
            // What waits now came later than the read was asked for.
            *asked_with = 0;
        }
    }

    /// Takes what was read when this stood `asked_at`, and lays into `out` what the shards are to hear. If it is not
    /// [steady](Self::is_steady) then, more has to be read.
    pub(super) fn apply(
        &mut self,
        channel: &ChannelName,
        asked_at: Option<Position>,
        read: &Read,
        out: &mut Vec<Relayed>,
    ) -> Repaired {
        let asked_with = match self.ask {
            Ask::Asked(_, held) => held,
            Ask::No | Ask::Queued => 0,
        };
        self.ask = Ask::No;
        self.is_fresh = true;
        let mut repaired = Repaired::default();
        if self.at.is_some_and(|at| asked_at == Some(at) && self.has_gone_back(at, read)) {
            self.reset(channel, read, out);
            self.release(channel, asked_with, out);
            return Repaired { was_reset: true, ..repaired };
        }
        self.doubt = false;
        for kept in &read.entries {
            // One that asked without a position has nobody who heard anything: it wants none of them.
            if self.at.is_some_and(|at| kept.position > at) {
                self.step(channel, kept, out);
                repaired.publications += 1;
                repaired.undecodable += u64::from(kept.routed.is_none());
            }
        }
        if read.more && self.at.is_some() {
            self.ask = Ask::Queued;
            return repaired;
        }
        self.arrive(channel, read, out);
        self.unbroken = true;
        self.release(channel, asked_with, out);
        repaired
    }

    /// The next entry of the history.
    fn step(&mut self, channel: &ChannelName, kept: &Kept, out: &mut Vec<Relayed>) {
        let Some(at) = self.at else { return };
        let position = kept.position;
        let step = at.step(position, kept.cut);
        let is_next = step == Step::Next;
        // As above: what is gone was heard.
        let is_anew = step == Step::Anew && self.unbroken;
        if !is_next {
            self.recent = None;
        }
        if !is_next && !is_anew {
            let to = if position.offset == 1 { position.epoch.opened() } else { kept.time };
            out.push(Relayed::Gap(channel.clone(), self.history_gap(before(position), to)));
        }
        match &kept.routed {
            Some(routed) => {
                self.passed(routed, position, kept.cut);
                out.push(Relayed::Publication(Arc::clone(routed)));
            }
            None => {
                self.recent = None;
                self.reach(position, kept.time);
                let Kept { time, .. } = *kept;
                let gap = Gap { from: time, to: time, reason: GapReason::Undecodable, position: Some(position) };
                out.push(Relayed::Gap(channel.clone(), gap));
            }
        }
    }

    /// The history has gone back to where `read` says: what was heard before counts no more.
    fn reset(&mut self, channel: &ChannelName, read: &Read, out: &mut Vec<Relayed>) {
        (self.doubt, self.unbroken, self.recent) = (false, true, None);
        (self.at, self.mark) = (Some(read.position), None);
        (self.last, self.newest) = (read.time, read.time);
        out.push(Relayed::Reset(channel.clone(), read.position));
    }

    /// All that there is has been read: the channel stands where the history says.
    fn arrive(&mut self, channel: &ChannelName, read: &Read, out: &mut Vec<Relayed>) {
        let position = read.position;
        let Some(at) = self.at else { return self.reach(position, read.time) };
        if position == at {
            self.last = self.last.max(read.time);
            return;
        }
        // What has passed since was not read.
        if position < at {
            return;
        }
        // Unlike a publication, one that is only behind a cut tells no time at which it was published.
        let is_anew = position.epoch > at.epoch && position.offset == 0 && read.cut.is_none() && self.unbroken;
        if !is_anew {
            let to = if position.offset == 0 { position.epoch.opened() } else { read.time };
            out.push(Relayed::Gap(channel.clone(), self.history_gap(position, to)));
        }
        self.recent = None;
        self.reach(position, read.time);
    }

    /// Lets what has waited pass, as far as it is the next. The first `asked_with` were there when the history was
    /// asked for: what it did not have of them then, nobody vouches for, and it is dropped.
    fn release(&mut self, channel: &ChannelName, asked_with: usize, out: &mut Vec<Relayed>) {
        let State::Repairing(held) = &mut self.state else { return };
        let overflowed = held.overflowed;
        let waiting = std::mem::take(&mut held.publications);
        held.clear();
        self.state = State::Steady;
        for (nth, Waiting { routed, position, cut }) in waiting.into_iter().enumerate() {
            let Some(at) = self.standing() else {
                self.hold(&routed, position, cut);
                continue;
            };
            match self.judge(at, position, cut) {
                // One that came before was judged by the read.
                Some(Heard::Repeated) if nth >= asked_with && self.is_doubtful(&routed, position) => {
                    self.doubt = true;
                    self.repair();
                    self.hold(&routed, position, cut);
                }
                _ if position <= at => {}
                Some(Heard::Pass) => self.let_pass(&routed, position, cut, at, None, channel, out),
                Some(Heard::PassBehind(gap)) => self.let_pass(&routed, position, cut, at, Some(gap), channel, out),
                Some(Heard::Repeated | Heard::Held { .. }) => {}
                // Redis had it not when it was read, though it came before: it has lost it, which the read has told, or
                // somebody else made it up.
                None if nth < asked_with => {}
                None => {
                    self.repair();
                    self.hold(&routed, position, cut);
                }
            }
        }
        if overflowed && self.is_steady() {
            self.repair();
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one publication, and where it goes")]
    fn let_pass(
        &mut self,
        routed: &Arc<Routed>,
        position: Position,
        cut: Option<Position>,
        at: Position,
        gap: Option<Gap>,
        channel: &ChannelName,
        out: &mut Vec<Relayed>,
    ) {
        if position != at.next() {
            self.recent = None;
        }
        out.extend(gap.map(|gap| Relayed::Gap(channel.clone(), gap)));
        self.passed(routed, position, cut);
        out.push(Relayed::Publication(Arc::clone(routed)));
    }
}

fn before(position: Position) -> Position {
    Position { offset: position.offset.saturating_sub(1), ..position }
}

#[cfg(test)]
mod model;
