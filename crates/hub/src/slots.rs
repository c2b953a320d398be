//! Which connections hear a channel: their slots, in slot order.
//!
//! A few are a sorted list. Many are blocks of 64 neighbouring slots, a bit for each: slots are handed out densely, so
//! that 15,000 subscribers are 4 KiB, one comes or goes in no time, and fan-out reads them in a row.

use smallvec::SmallVec;

/// From how many on the slots are kept as blocks.
const MANY: usize = 32;

/// From how few on they are a list again. Well below [`MANY`], so that one who comes and goes does not change it each
/// time.
const FEW: usize = 16;

/// Slots without repetition, in their order. Up to four need no memory of their own.
#[derive(Debug)]
pub(crate) enum Slots {
    Few(SmallVec<[u32; 4]>),
    Many { blocks: Vec<Block>, len: u32 },
}

/// Some of the slots `64 * number .. 64 * number + 64`: those whose bits are set. Never none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    number: u32,
    bits: u64,
}

const _: () = assert!(size_of::<Slots>() <= 32, "every channel has one");

impl Default for Slots {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl Slots {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many { len, .. } => *len as usize,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn contains(&self, slot: u32) -> bool {
        match self {
            Self::Few(list) => list.binary_search(&slot).is_ok(),
            Self::Many { blocks, .. } => find(blocks, slot).is_ok_and(|place| blocks[place].bits & bit(slot) != 0),
        }
    }

    pub(crate) fn insert(&mut self, slot: u32) {
        match self {
            Self::Few(list) => {
                let Err(place) = list.binary_search(&slot) else { return };
                if list.len() < MANY {
                    return list.insert(place, slot);
                }
                let mut many = Self::Many { blocks: Vec::new(), len: 0 };
                for other in list.iter() {
                    many.insert(*other);
                }
                many.insert(slot);
                *self = many;
            }
            Self::Many { blocks, len } => match find(blocks, slot) {
                Ok(place) => {
                    *len += u32::from(blocks[place].bits & bit(slot) == 0);
                    blocks[place].bits |= bit(slot);
                }
                Err(place) => {
                    *len += 1;
                    blocks.insert(place, Block { number: slot / 64, bits: bit(slot) });
                }
            },
        }
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        match self {
            Self::Few(list) => {
                if let Ok(place) = list.binary_search(&slot) {
                    list.remove(place);
                    if list.len() <= 2 {
                        list.shrink_to_fit();
                    }
                }
            }
            Self::Many { blocks, len } => {
                let Ok(place) = find(blocks, slot) else { return };
                *len -= u32::from(blocks[place].bits & bit(slot) != 0);
                blocks[place].bits &= !bit(slot);
                if blocks[place].bits == 0 {
                    blocks.remove(place);
                    if blocks.len() < blocks.capacity() / 4 {
                        blocks.shrink_to(blocks.len() * 2);
                    }
                }
                if *len as usize <= FEW {
                    *self = Self::Few(self.iter().collect());
                }
            }
        }
    }

    /// Calls `each` with every slot in order.
    pub(crate) fn for_each(&self, mut each: impl FnMut(u32)) {
        match self {
            Self::Few(list) => list.iter().copied().for_each(each),
            Self::Many { blocks, .. } => {
                for block in blocks {
                    let mut rest = block.bits;
                    while rest != 0 {
                        each(block.number * 64 + rest.trailing_zeros());
                        rest &= rest - 1;
                    }
                }
            }
        }
    }

    /// Every slot in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        let (list, blocks): (&[u32], &[Block]) = match self {
            Self::Few(list) => (list, &[]),
            Self::Many { blocks, .. } => (&[], blocks),
        };
        let in_block = |block: &Block| {
            let first = block.number * 64;
            std::iter::successors(Some(block.bits), |rest| Some(rest & rest.wrapping_sub(1)))
                .take_while(|rest| *rest != 0)
                .map(move |rest| first + rest.trailing_zeros())
        };
        list.iter().copied().chain(blocks.iter().flat_map(in_block))
    }
}

/// Where the slot's block is, or would be.
fn find(blocks: &[Block], slot: u32) -> Result<usize, usize> {
    // Those who come are mostly the highest so far.
    match blocks.last() {
        Some(last) if last.number < slot / 64 => Err(blocks.len()),
        _ => blocks.binary_search_by_key(&(slot / 64), |block| block.number),
    }
}

fn bit(slot: u32) -> u64 {
    1 << (slot % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn agree(slots: &Slots, model: &BTreeSet<u32>) {
        let expected: Vec<u32> = model.iter().copied().collect();
        assert_eq!(slots.iter().collect::<Vec<_>>(), expected);
        let mut walked = Vec::new();
        slots.for_each(|slot| walked.push(slot));
        assert_eq!(walked, expected);
        assert_eq!((slots.len(), slots.is_empty()), (model.len(), model.is_empty()));
    }

    /// Slots that lie together, as they do, and some that do not.
    fn slot() -> impl Strategy<Value = u32> {
        prop_oneof![4 => 0u32..200, 1 => 0u32..100_000, 1 => (u32::MAX - 100)..]
    }

    proptest! {
        #[test]
        fn they_are_a_sorted_set(steps in prop::collection::vec((any::<bool>(), slot()), 0..600), then in 0usize..200) {
            let (mut slots, mut model) = (Slots::default(), BTreeSet::new());
            for (comes, slot) in steps {
                if comes {
                    slots.insert(slot);
                    model.insert(slot);
                } else {
                    slots.remove(slot);
                    model.remove(&slot);
                }
                prop_assert_eq!(slots.contains(slot), model.contains(&slot));
                prop_assert_eq!(slots.len(), model.len());
            }
            agree(&slots, &model);
            // Down to a few, and none.
            for slot in model.iter().copied().collect::<Vec<_>>().into_iter().skip(then) {
                slots.remove(slot);
                model.remove(&slot);
            }
            agree(&slots, &model);
        }
    }

    #[test]
    fn many_are_small_and_few_again_smaller() {
        let mut slots = Slots::default();
        (0..15_000).for_each(|slot| slots.insert(slot));
        let Slots::Many { blocks, .. } = &slots else { panic!("{} are many", slots.len()) };
        assert!(blocks.len() * size_of::<Block>() < 4096);
        (2..15_000).rev().for_each(|slot| slots.remove(slot));
        assert!(matches!(&slots, Slots::Few(list) if list.len() == 2 && !list.spilled()), "{slots:?}");
    }
}
