//! The shards of this node: their queues, by number, and sets of them.

use crate::queue::{Delivered, Relayed, ShardQueue};
use crate::{MAX_SHARDS, ShardId};

/// Some of the shards, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ShardSet(u64);

impl ShardSet {
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, shard: ShardId) -> bool {
        self.0 & bit(shard) != 0
    }

    pub(crate) fn insert(&mut self, shard: ShardId) {
        self.0 |= bit(shard);
    }

    pub(crate) fn remove(&mut self, shard: ShardId) {
        self.0 &= !bit(shard);
    }

    /// Moves all that are in `other` here.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        self.0 |= std::mem::take(&mut other.0);
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let lowest = rest.trailing_zeros() as usize;
            rest &= rest.wrapping_sub(1);
            (lowest < MAX_SHARDS).then_some(lowest)
        })
    }
}

fn bit(ShardId(number): ShardId) -> u64 {
    // A number that no broker gave is in no set.
    1u64.checked_shl(u32::from(number)).unwrap_or(0)
}

/// The attached shards.
#[derive(Debug, Default)]
pub(crate) struct Shards(Vec<Attached>);

#[derive(Debug)]
struct Attached {
    queue: ShardQueue,
    /// What is to be queued at once. Empty but for the time of a batch.
    ready: Vec<Relayed>,
}

impl Shards {
    /// # Panics
    /// At the 65th shard.
    pub(crate) fn attach(&mut self, queue: ShardQueue) -> ShardId {
        assert!(self.0.len() < MAX_SHARDS, "a broker serves at most {MAX_SHARDS} shards");
        self.0.push(Attached { queue, ready: Vec::new() });
        ShardId(self.0.len() as u8 - 1)
    }

    /// Every one of them.
    pub(crate) fn all(&self) -> ShardSet {
        let mut all = ShardSet::default();
        (0..self.0.len()).for_each(|number| all.insert(ShardId(number as u8)));
        all
    }

    /// Queues `item` for one shard.
    pub(crate) fn tell(&self, shard: ShardId, item: Relayed) {
        if let Some(attached) = self.0.get(usize::from(shard.0)) {
            attached.queue.push(item);
        }
    }

    /// Queues `item` for each shard of `set`, and says for how many it did not fit.
    pub(crate) fn tell_all(&self, set: ShardSet, item: &Relayed) -> Told {
        let mut told = Told::default();
        for attached in set.iter().filter_map(|number| self.0.get(number)) {
            match attached.queue.push(item.clone()) {
                true => told.queued += 1,
                false => told.dropped += 1,
            }
        }
        told
    }

    /// Lays `item` ready for each shard of `set`.
    pub(crate) fn lay_ready(&mut self, set: ShardSet, item: Relayed) {
        let mut numbers = set.iter();
        let Some(first) = numbers.next() else { return };
        for number in numbers {
            if let Some(attached) = self.0.get_mut(number) {
                attached.ready.push(item.clone());
            }
        }
        // Moved, not counted once more: most channels are heard in one shard.
        if let Some(attached) = self.0.get_mut(first) {
            attached.ready.push(item);
        }
    }

    /// Queues what lies ready: one lock and one wake for each shard.
    pub(crate) fn deliver(&mut self) -> Delivered {
        let mut delivered = Delivered::default();
        for attached in self.0.iter_mut().filter(|attached| !attached.ready.is_empty()) {
            delivered += attached.queue.push_all(&mut attached.ready);
        }
        delivered
    }

    /// Gaps that the queues themselves have told of.
    pub(crate) fn overload_gaps(&self) -> u64 {
        self.0.iter().map(|attached| attached.queue.overload_gaps()).sum()
    }
}

/// How many shards an item reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// It is in their queues.
    pub(crate) queued: u64,
    /// Their queues were full: they will be told of a gap.
    pub(crate) dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_inserted_and_no_number_beyond_63() {
        let mut set = ShardSet::default();
        for number in [0, 7, 63, 64, 255] {
            set.insert(ShardId(number));
        }
        set.remove(ShardId(7));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63]);
        assert!(set.contains(ShardId(63)) && !set.contains(ShardId(64)));
    }
}
