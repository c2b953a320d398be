//! Holes that the shard's own queue has made in recoverable channels: what it could not carry is read from the history,
//! so that nobody hears of it. What is published on the channel meanwhile is dropped, as it is in the history too; the
//! history is read until it has reached the last of that. Only what the history does not have is told as a gap.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use ullim_broker::{HistoryError, Outcome, RecoverRequest, Recovery, Relayed, Window};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::position::{Position, Step};

use crate::catching_up::widest;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::registry::ChannelKey;
use crate::work::Ended;

/// How many channels of a shard are read at once: an overload strikes many, and must not become another one.
const MAX_READING: usize = 32;

/// When to read again what could not be read.
pub(crate) const READ_AGAIN: Duration = Duration::from_secs(1);

/// How many reads may bring nothing before the hole is told.
const MAX_FAILURES: u32 = 30;

/// A channel of which something is missing behind its position.
#[derive(Debug)]
struct Repair {
    number: u64,
    /// When what is missing was published.
    window: Window,
    /// The last position that is known to be published.
    wanted: Option<Position>,
    /// A gap that was told by the broker meanwhile.
    owed: Option<Gap>,
    /// Nobody knows up to where it is missing: one read may have begun before the last of that was published, by others
    /// that asked for the same, but not two in a row.
    unsure: u32,
    failures: u32,
}

/// The channels of which something is missing.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    open: HashMap<ChannelKey, Repair, ahash::RandomState>,
    /// Those that are to be read next.
    waiting: VecDeque<ChannelKey>,
    reading: usize,
    next: u64,
}

impl Repairs {
    /// Something of a channel is missing that was published in `window`: up to `position`, if that is known.
    pub(crate) fn miss(&mut self, key: ChannelKey, window: Window, position: Option<Position>) {
        let repair = self.open.entry(key).or_insert_with(|| {
            self.next += 1;
            self.waiting.push_back(key);
            Repair { number: self.next, window, wanted: None, owed: None, unsure: 0, failures: 0 }
        });
        repair.window = widest(repair.window, window);
        match position {
            // All that was lost before it is before it.
            Some(_) => (repair.wanted, repair.unsure) = (repair.wanted.max(position), 0),
            None => repair.unsure = 2,
        }
    }

    /// The broker has told a gap behind what is missing.
    fn owe(&mut self, key: ChannelKey, gap: Gap) {
        let window = Window { from: gap.from, to: gap.to };
        self.miss(key, window, gap.position);
        if let Some(repair) = self.open.get_mut(&key) {
            let Window { from, to } = repair.owed.map_or(window, |owed| widest(owed_window(owed), window));
            repair.owed = Some(Gap { from, to, ..gap });
        }
    }

    /// Whether no channel is to be read.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nobody hears the channel any longer.
    pub(crate) fn forget(&mut self, key: ChannelKey) {
        self.open.remove(&key);
    }

    /// The channel is to be read, again.
    pub(crate) fn wait(&mut self, key: ChannelKey) {
        if self.open.contains_key(&key) {
            self.waiting.push_back(key);
        }
    }
}

fn owed_window(gap: Gap) -> Window {
    Window { from: gap.from, to: gap.to }
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// A gap that the broker, or the shard's queue, has told; how many connections were told.
    pub(crate) fn relay_gap(&mut self, name: &ChannelName, mut gap: Gap) -> usize {
        let Some(key) = self.registry.find(name.as_str()) else { return 0 };
        let Some(channel) = self.registry.get(key) else { return 0 };
        let Some(at) = channel.position else { return self.tell_gap(key, gap) };
        let window = owed_window(gap);
        match (gap.reason, gap.position) {
            (GapReason::Presence, _) => {}
            (GapReason::Overload | GapReason::BrokerLink, position) => {
                self.registry.miss_some(key, window, position);
                self.counters.repairs += 1;
                // Joins and leaves are in no history.
                gap = Gap { reason: GapReason::Presence, position: None, ..gap };
            }
            (_, Some(_)) if channel.repairing => {
                self.registry.repairs.owe(key, gap);
                return 0;
            }
            (_, position) => {
                gap.position = position.max(Some(at));
                channel.position = gap.position;
            }
        }
        self.tell_gap(key, gap)
    }

    /// Reads what is missing, so many channels at once.
    pub(crate) fn repair(&mut self) {
        while self.registry.repairs.reading < MAX_READING
            && let Some(key) = self.registry.repairs.waiting.pop_front()
        {
            let Some(repair) = self.registry.repairs.open.get(&key) else { continue };
            let (number, wanted) = (repair.number, repair.wanted);
            let Some(channel) = self.registry.get(key) else { continue };
            let Some(since) = channel.position else { continue };
            let channel = channel.name.clone();
            let limit = self.namespace(&channel).map(|namespace| namespace.recover_limit).unwrap_or_default();
            let reached = wanted.map_or(since, |wanted| wanted.max(since));
            self.registry.repairs.reading += 1;
            let answer = self.history.recover(RecoverRequest { channel, since, reached, limit, bytes: usize::MAX });
            self.wait_for(answer, move |result| Ended::Repaired(key, number, result));
        }
    }

    /// What is missing was read, or not.
    pub(crate) fn repaired(&mut self, key: ChannelKey, number: u64, result: Result<Recovery, HistoryError>) {
        self.registry.repairs.reading -= 1;
        if let Some(mut repair) = self.registry.repairs.open.remove(&key) {
            if repair.number == number {
                let gives_up = matches!(result, Err(HistoryError::NotKept)) || repair.failures >= MAX_FAILURES;
                match result {
                    Ok(recovery) => self.fill(key, repair, recovery),
                    Err(_) if gives_up => self.skip(key, repair),
                    Err(error) => {
                        tracing::debug!(%error, "what a shard has missed cannot be read");
                        repair.failures += 1;
                        self.registry.repairs.open.insert(key, repair);
                        self.repair_deadlines.add(self.now, key);
                    }
                }
            } else {
                self.registry.repairs.open.insert(key, repair);
            }
        }
        self.repair();
        self.go_on_where_reached();
    }

    /// Delivers what was missing. What came meanwhile may be missing yet.
    fn fill(&mut self, key: ChannelKey, mut repair: Repair, recovery: Recovery) {
        let Some(channel) = self.registry.get(key) else { return };
        let Some(begun) = channel.position else { return };
        channel.repairing = false;
        let Recovery { publications, position, outcome } = recovery;
        let mut at = begun;
        let mut told = outcome == Outcome::Lost;
        let mut items = Vec::with_capacity(publications.len());
        for routed in publications {
            let Some(next) = routed.publication.position.filter(|next| *next > at) else { continue };
            // Unlike in `Channel::takes` an epoch that begins anew is a hole: who reads does not know why the one before is gone.
            if at.step(next, None) != Step::Next && outcome != Outcome::Lost {
                self.relay_read(&std::mem::take(&mut items));
                let before = Position { offset: next.offset.saturating_sub(1), ..next };
                self.tell_hole(key, &repair, before);
                told = true;
            }
            at = next;
            items.push(Relayed::Publication(routed));
        }
        self.counters.repaired_publications += items.len() as u64;
        self.relay_read(&items);
        if at < position || outcome == Outcome::Lost {
            at = at.max(position);
            self.tell_hole(key, &repair, at);
            told = true;
        }
        if at == begun {
            repair.failures += 1;
        }
        repair.unsure = repair.unsure.saturating_sub(1);
        let is_behind = repair.wanted.is_some_and(|wanted| wanted > at);
        if is_behind && repair.failures >= MAX_FAILURES {
            return self.skip(key, repair);
        }
        if told {
            repair.owed = repair.owed.filter(|owed| owed.position > Some(at));
        }
        if is_behind || repair.unsure > 0 {
            return self.read_on(key, repair, at > begun);
        }
        if let Some(gap) = repair.owed {
            self.tell_gap(key, Gap { position: Some(at), ..gap });
        }
    }

    /// Reads again, at once if the last read has brought something.
    fn read_on(&mut self, key: ChannelKey, repair: Repair, at_once: bool) {
        // What was delivered may have cost the channel its last subscriber: its key is another's next.
        let Some(channel) = self.registry.get(key) else { return };
        channel.repairing = true;
        let unsure = repair.unsure > 0;
        self.registry.repairs.open.insert(key, repair);
        match at_once || unsure {
            true => self.registry.repairs.wait(key),
            false => self.repair_deadlines.add(self.now, key),
        }
    }

    /// The history cannot be read: it goes on with what is published next.
    fn skip(&mut self, key: ChannelKey, repair: Repair) {
        let Some(channel) = self.registry.get(key) else { return };
        channel.repairing = false;
        let position = channel.position.max(repair.wanted);
        if let Some(position) = position {
            self.tell_hole(key, &repair, position);
        }
    }

    /// What is missing up to `position` is nowhere.
    fn tell_hole(&mut self, key: ChannelKey, repair: &Repair, position: Position) {
        let Some(channel) = self.registry.get(key) else { return };
        channel.position = Some(position);
        self.counters.repair_gaps += 1;
        let Window { from, to } = repair.window;
        self.tell_gap(key, Gap { from, to, reason: GapReason::History, position: Some(position) });
    }
}
