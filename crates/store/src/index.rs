//! From a hash to slots: the index of a shard.
//!
//! It owns one flat table with linear probing. A general map would do but for two things: the limit of octets has to hold,
//! so growth is told before it happens and comes in steps of a quarter, not of twice; and at that limit entries come and go
//! for ever, so a removal leaves no tombstones that make a table grow. Nothing is known of keys: who looks compares.

use crate::shard::allocated;

/// Bits of a cell that hold a slot's number, plus one; 0 is an empty cell.
const SLOT_BITS: u32 = 28;
/// The other four: a piece of the hash, which spares 15 of 16 looks at slots of others.
const TAG_BITS: u32 = 32 - SLOT_BITS;
/// Slots are below this.
pub(crate) const MAX_SLOTS: u32 = (1 << SLOT_BITS) - 1;
/// Fewest cells of a table that has any.
const FIRST_CELLS: usize = 16;

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Index {
    cells: Vec<u32>,
    len: usize,
}

impl Index {
    /// Octets of heap it holds.
    pub(crate) fn heap(&self) -> usize {
        self.cells.capacity() * size_of::<u32>()
    }

    /// Octets by which it will grow for one more entry, as the allocator counts.
    pub(crate) fn growth(&self) -> usize {
        allocated(self.wanted() * size_of::<u32>()).saturating_sub(allocated(self.heap()))
    }

    /// Cells for one more entry: three quarters are used at most.
    fn wanted(&self) -> usize {
        let cells = self.cells.len();
        if (self.len + 1) * 4 <= cells * 3 { cells } else { (cells + cells / 4).max(FIRST_CELLS) }
    }

    /// The slot under this hash that is the `same`.
    pub(crate) fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        self.probe(hash)
            .map_while(|at| self.cells.get(at).copied().filter(|cell| *cell != 0))
            .filter(|cell| cell >> SLOT_BITS == tag)
            .map(slot)
            .find(|slot| same(*slot))
    }

    /// Puts a slot in that is not in yet. `hash_of` tells the hash of the slots that are.
    pub(crate) fn insert(&mut self, hash: u32, new: u32, hash_of: impl Fn(u32) -> u32) {
        let wanted = self.wanted();
        if wanted > self.cells.len() {
            let old = std::mem::replace(&mut self.cells, vec![0; wanted]);
            old.into_iter().filter(|cell| *cell != 0).map(slot).for_each(|slot| self.place(hash_of(slot), slot));
        }
        self.place(hash, new);
        self.len += 1;
    }

    fn place(&mut self, hash: u32, slot: u32) {
        let free = self.probe(hash).find(|at| self.cells.get(*at) == Some(&0));
        if let Some(cell) = free.and_then(|at| self.cells.get_mut(at)) {
            *cell = tag(hash) << SLOT_BITS | (slot + 1);
        }
    }

    /// Takes a slot out. Entries behind it move up, so that a search never stops too early.
    pub(crate) fn remove(&mut self, hash: u32, gone: u32, hash_of: impl Fn(u32) -> u32) {
        let is = |at: &usize| self.cells.get(*at).is_some_and(|cell| *cell != 0 && slot(*cell) == gone);
        let Some(mut hole) = self.probe(hash).find(is) else {
            return;
        };
        let cells = self.cells.len();
        let mut at = hole;
        loop {
            at = if at + 1 < cells { at + 1 } else { 0 };
            let Some(cell) = self.cells.get(at).copied().filter(|cell| *cell != 0 && at != hole) else {
                break;
            };
            // It may move to the hole if the search for it passes there: its first place is not between the two.
            let first = self.first(hash_of(slot(cell)));
            let between = if hole < at { hole < first && first <= at } else { hole < first || first <= at };
            if !between {
                if let Some(free) = self.cells.get_mut(hole) {
                    *free = cell;
                }
                hole = at;
            }
        }
        if let Some(cell) = self.cells.get_mut(hole) {
            *cell = 0;
        }
        self.len = self.len.saturating_sub(1);
    }

    /// Where the search for a hash begins: its share of the table, so that any number of cells will do.
    fn first(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.cells.len() as u64) >> 32) as usize
    }

    /// All cells, in the order in which a hash is searched for.
    fn probe(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let first = self.first(hash);
        (first..self.cells.len()).chain(0..first)
    }
}

fn tag(hash: u32) -> u32 {
    hash & ((1 << TAG_BITS) - 1)
}

fn slot(cell: u32) -> u32 {
    (cell & MAX_SLOTS).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn it_finds_what_is_in_and_nothing_else(
            // Few hashes and many slots: clusters, and slots with equal hashes.
            ops in prop::collection::vec((any::<bool>(), 0u32..200, 0u32..40), 1..300),
        ) {
            let mut index = Index::default();
            let mut hashes: HashMap<u32, u32> = HashMap::new();
            for (put, slot, hash) in ops {
                let hash = hash.wrapping_mul(0x0810_2041) ^ (hash << 27);
                match (put, hashes.get(&slot).copied()) {
                    (true, None) => {
                        let (before, told) = (allocated(index.heap()), index.growth());
                        index.insert(hash, slot, |slot| hashes[&slot]);
                        hashes.insert(slot, hash);
                        prop_assert_eq!(allocated(index.heap()), before + told);
                    }
                    (false, Some(hash)) => {
                        index.remove(hash, slot, |slot| hashes[&slot]);
                        hashes.remove(&slot);
                    }
                    _ => {}
                }
                prop_assert_eq!(index.len, hashes.len());
                for (slot, hash) in &hashes {
                    prop_assert_eq!(index.find(*hash, |found| found == *slot), Some(*slot));
                }
                prop_assert_eq!(index.cells.iter().filter(|cell| **cell != 0).count(), hashes.len());
            }
        }
    }
}
