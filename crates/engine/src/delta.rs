//! The delta map: what changed since a checkpoint, by leaf.

use hashbrown::HashMap;
use sealvol_format::{Entry, FANOUT};

/// The changed entries of one leaf: a bitmap and the entries of its set bits, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeltaLeaf {
    present: u128,
    entries: Vec<Entry>,
}

impl DeltaLeaf {
    fn rank(&self, slot: usize) -> usize {
        (self.present & ((1_u128 << slot) - 1)).count_ones() as usize
    }

    pub(crate) fn get(&self, slot: usize) -> Option<Entry> {
        if self.present & (1 << slot) == 0 {
            return None;
        }
        self.entries.get(self.rank(slot)).copied()
    }

    /// Sets an entry; tells whether the slot was new.
    fn set(&mut self, slot: usize, entry: Entry) -> bool {
        let rank = self.rank(slot);
        if self.present & (1 << slot) == 0 {
            self.present |= 1 << slot;
            if self.entries.len() == self.entries.capacity() {
                // Grow by a half: most leaves of a random workload hold one or two entries.
                self.entries.reserve_exact(self.entries.len() / 2 + 1);
            }
            self.entries.insert(rank, entry);
            true
        } else {
            if let Some(place) = self.entries.get_mut(rank) {
                *place = entry;
            }
            false
        }
    }

    /// Removes the slots of `mask`; tells how many there were.
    fn remove(&mut self, mask: u128) -> usize {
        let gone = self.present & mask;
        if gone == 0 {
            return 0;
        }
        let mut slot = 0;
        let present = self.present;
        self.entries.retain(|_| {
            while present & (1_u128 << slot) == 0 {
                slot += 1;
            }
            let keep = gone & (1_u128 << slot) == 0;
            slot += 1;
            keep
        });
        self.present &= !mask;
        gone.count_ones() as usize
    }

    /// The changed slots and their entries, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, Entry)> + '_ {
        (0..FANOUT)
            .filter(|slot| self.present & (1_u128 << slot) != 0)
            .zip(self.entries.iter().copied())
    }

    fn memory(&self) -> usize {
        LEAF_OVERHEAD + self.entries.capacity() * size_of::<Entry>()
    }
}

/// Map slot and allocation of a leaf, about.
const LEAF_OVERHEAD: usize = 88;

/// Changed leaves by leaf index, with a running estimate of their memory.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    leaves: HashMap<u64, DeltaLeaf>,
    memory: usize,
}

impl Delta {
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    pub(crate) fn leaf_count(&self) -> usize {
        self.leaves.len()
    }

    pub(crate) fn leaf(&self, leaf: u64) -> Option<&DeltaLeaf> {
        self.leaves.get(&leaf)
    }

    pub(crate) fn leaf_indices(&self) -> impl Iterator<Item = u64> + '_ {
        self.leaves.keys().copied()
    }

    pub(crate) fn set(&mut self, leaf: u64, slot: usize, entry: Entry) {
        let changed = self.leaves.entry(leaf).or_default();
        let before = if changed.present == 0 { 0 } else { changed.memory() };
        changed.set(slot, entry);
        self.memory = self.memory + changed.memory() - before;
    }

    /// Forgets the slots of `mask` in `leaf`.
    pub(crate) fn remove(&mut self, leaf: u64, mask: u128) {
        let Some(changed) = self.leaves.get_mut(&leaf) else { return };
        let before = changed.memory();
        changed.remove(mask);
        if changed.present == 0 {
            self.leaves.remove(&leaf);
            self.memory -= before;
        } else {
            self.memory = self.memory + changed.memory() - before;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sealvol_format::{Birth, Phys};

    use super::*;

    fn entry(n: u64) -> Entry {
        Entry::data(Phys(n), Birth(0), n, [0; 16])
    }

    proptest! {
        #[test]
        fn a_leaf_behaves_as_an_array(ops in proptest::collection::vec((0_usize..128, any::<bool>(), 1_u64..1000), 0..200)) {
            let mut delta = Delta::default();
            let mut oracle = [None; 128];
            for (slot, remove, n) in ops {
                if remove {
                    let mask = (1_u128 << slot) | (1 << (slot / 2));
                    delta.remove(3, mask);
                    oracle[slot] = None;
                    oracle[slot / 2] = None;
                } else {
                    delta.set(3, slot, entry(n));
                    oracle[slot] = Some(entry(n));
                }
                for (slot, expected) in oracle.iter().enumerate() {
                    prop_assert_eq!(delta.leaf(3).and_then(|leaf| leaf.get(slot)), *expected);
                }
                let listed: Vec<_> = delta.leaf(3).map(|l| l.iter().collect()).unwrap_or_default();
                let expected: Vec<_> = oracle.iter().enumerate().filter_map(|(i, e)| e.map(|e| (i, e))).collect();
                prop_assert_eq!(listed, expected);
            }
            for slot in 0..128 {
                delta.remove(3, 1 << slot);
            }
            prop_assert_eq!(delta.memory(), 0);
        }
    }
}
