//! The in-memory index: which entry each block has now. Three layers, newest first: the current
//! delta, the frozen delta of a running checkpoint, and the tree (of which leaves are cached here).
//!
//! # Why a reader never sees an older version
//! Each shard's lock covers its part of all three layers. Freezing moves the current ranges before
//! the current points. Settling publishes the new root and its version first; then each shard, in
//! one step under its lock, drops its frozen points and its stale leaves and takes that version.
//! The frozen ranges hold for the shards that have not reached the version, and for no other. So at
//! every moment, looking from the newest layer down finds the newest entry, and a tree page is used
//! only if its root is at least as new as the shard's frozen layer (`version`).

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;
use sealvol_format::{Birth, Entry, FANOUT, MAX_LOGICAL_BLOCKS};

use crate::cache::{Clock, Leaf};
use crate::delta::Delta;
use crate::ranges::RangeSet;

const SHARDS: usize = 64;

/// A root of the tree and the number of checkpoints that led to it in this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Root {
    pub(crate) entry: Entry,
    pub(crate) version: u64,
}

#[derive(Debug)]
struct Shard {
    current: Delta,
    frozen: Delta,
    leaves: Clock<u64, Leaf>,
    version: u64,
}

#[derive(Debug, Default)]
struct Ranges {
    current: RangeSet,
    current_birth: Birth,
    frozen: RangeSet,
    frozen_birth: Birth,
    /// The version that contains the frozen ranges, once there is one: shards that have reached it
    /// ignore them, the others still need them.
    settled_at: Option<u64>,
}

impl Ranges {
    /// The frozen ranges, as a shard of `version` sees them.
    fn frozen_for(&self, version: u64) -> Option<&RangeSet> {
        self.settled_at.is_none_or(|settled| version < settled).then_some(&self.frozen)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Vec<RwLock<Shard>>,
    ranges: RwLock<Ranges>,
    has_ranges: AtomicBool,
    root: RwLock<Root>,
    current_memory: AtomicUsize,
    current_leaves: AtomicUsize,
    current_ranges: AtomicUsize,
    frozen_leaves: AtomicUsize,
    frozen: AtomicBool,
    misses: AtomicU64,
}

/// Where the newest entries of a leaf's slots were found.
#[derive(Debug)]
pub(crate) enum LeafView {
    /// All slots are answered.
    Complete,
    /// The tree's leaf is needed, from a root of at least this version.
    NeedsLeaf {
        /// The shard's version.
        version: u64,
    },
}

/// What the delta layers alone know of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InDelta {
    /// Changed since the checkpoint, to this.
    Changed(Entry),
    /// As the tree has it.
    Unchanged,
}

fn shard_of(leaf: u64) -> usize {
    usize::try_from(leaf % SHARDS as u64).unwrap_or(0)
}

/// Bits `from..to` of a leaf.
fn mask(from: usize, to: usize) -> u128 {
    let upto = |bit: usize| if bit >= FANOUT { u128::MAX } else { (1_u128 << bit) - 1 };
    upto(to) & !upto(from)
}

impl Index {
    pub(crate) fn new(root: Entry, leaf_capacity: usize) -> Self {
        let per_shard = (leaf_capacity / SHARDS).max(2);
        let shard = || Shard {
            current: Delta::default(),
            frozen: Delta::default(),
            leaves: Clock::new(per_shard),
            version: 0,
        };
        Self {
            shards: (0..SHARDS).map(|_| RwLock::new(shard())).collect(),
            ranges: RwLock::default(),
            has_ranges: AtomicBool::new(false),
            root: RwLock::new(Root { entry: root, version: 0 }),
            current_memory: AtomicUsize::new(0),
            current_leaves: AtomicUsize::new(0),
            current_ranges: AtomicUsize::new(0),
            frozen_leaves: AtomicUsize::new(0),
            frozen: AtomicBool::new(false),
            misses: AtomicU64::new(0),
        }
    }

    #[expect(clippy::indexing_slicing, reason = "shard_of is below SHARDS, the vector's length")]
    fn shard(&self, leaf: u64) -> &RwLock<Shard> {
        &self.shards[shard_of(leaf)]
    }

    pub(crate) fn root(&self) -> Root {
        *self.root.read()
    }

    /// Memory of the current delta, about.
    pub(crate) fn current_memory(&self) -> usize {
        self.current_memory.load(Ordering::Relaxed)
            + self.current_ranges.load(Ordering::Relaxed) * 64
    }

    /// Leaves that the next checkpoint will rewrite, about.
    pub(crate) fn dirty_leaves(&self) -> usize {
        self.frozen_leaves.load(Ordering::Relaxed)
            + self.current_leaves.load(Ordering::Relaxed)
            + 2 * self.current_ranges.load(Ordering::Relaxed)
    }

    pub(crate) fn is_current_empty(&self) -> bool {
        self.current_leaves.load(Ordering::Relaxed) == 0
            && self.current_ranges.load(Ordering::Relaxed) == 0
    }

    /// Whether a checkpoint's delta is still frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    /// Lookups that had to walk the tree.
    pub(crate) fn cache_misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// Looks up slots `first..first + out.len()` of `leaf`. `tree` is the leaf from a root of the
    /// given version, if the caller has it.
    pub(crate) fn view(
        &self,
        leaf: u64,
        first: usize,
        out: &mut [Entry],
        tree: Option<(&Leaf, u64)>,
    ) -> LeafView {
        let shard = self.shard(leaf).read();
        let has_ranges = self.has_ranges.load(Ordering::Acquire);
        let current = shard.current.leaf(leaf);
        let frozen = shard.frozen.leaf(leaf);
        let mut settled: Option<&Leaf> = None;
        for (slot, place) in (first..).zip(out.iter_mut()) {
            if let Some(entry) = current.and_then(|delta| delta.get(slot)) {
                *place = entry;
                continue;
            }
            let (in_current, in_frozen) = if has_ranges {
                self.in_ranges(leaf * FANOUT as u64 + slot as u64, shard.version)
            } else {
                (None, None)
            };
            if let Some(entry) = in_current {
                *place = entry;
                continue;
            }
            if let Some(entry) = frozen.and_then(|delta| delta.get(slot)).or(in_frozen) {
                *place = entry;
                continue;
            }
            let from_tree = match settled {
                Some(known) => known,
                None => {
                    let found = match tree {
                        Some((page, version)) if version >= shard.version => Some(page),
                        _ => shard.leaves.get(leaf),
                    };
                    let Some(found) = found else {
                        self.misses.fetch_add(1, Ordering::Relaxed);
                        return LeafView::NeedsLeaf { version: shard.version };
                    };
                    settled = Some(found);
                    found
                }
            };
            *place = from_tree.get(slot);
        }
        LeafView::Complete
    }

    fn in_ranges(&self, lba: u64, version: u64) -> (Option<Entry>, Option<Entry>) {
        let ranges = self.ranges.read();
        let frozen = ranges.frozen_for(version).is_some_and(|frozen| frozen.contains(lba));
        (
            ranges.current.contains(lba).then(|| Entry::zero(ranges.current_birth)),
            frozen.then(|| Entry::zero(ranges.frozen_birth)),
        )
    }

    /// What the delta layers know of one block, without any I/O.
    pub(crate) fn in_delta(&self, lba: u64) -> InDelta {
        let (leaf, slot) = split(lba);
        let shard = self.shard(leaf).read();
        if let Some(entry) = shard.current.leaf(leaf).and_then(|delta| delta.get(slot)) {
            return InDelta::Changed(entry);
        }
        let (in_current, in_frozen) = if self.has_ranges.load(Ordering::Acquire) {
            self.in_ranges(lba, shard.version)
        } else {
            (None, None)
        };
        if let Some(entry) = in_current {
            return InDelta::Changed(entry);
        }
        let frozen = shard.frozen.leaf(leaf).and_then(|delta| delta.get(slot));
        frozen.or(in_frozen).map_or(InDelta::Unchanged, InDelta::Changed)
    }

    /// Keeps a leaf that was read from a root of `version`, unless the shard has moved on.
    pub(crate) fn cache_leaf(&self, leaf: u64, page: Leaf, version: u64) {
        let mut shard = self.shard(leaf).write();
        if shard.version == version {
            shard.leaves.insert(leaf, page);
        }
    }

    /// Publishes a block's new entry. Only the log's one writer calls this.
    pub(crate) fn set(&self, lba: u64, entry: Entry) {
        let (leaf, slot) = split(lba);
        let mut shard = self.shard(leaf).write();
        let (memory, leaves) = (shard.current.memory(), shard.current.leaf_count());
        shard.current.set(leaf, slot, entry);
        let (memory_now, leaves_now) = (shard.current.memory(), shard.current.leaf_count());
        drop(shard);
        self.current_memory.fetch_add(memory_now - memory, Ordering::Relaxed);
        self.current_leaves.fetch_add(leaves_now - leaves, Ordering::Relaxed);
    }

    /// Publishes that `[start, end)` reads as zeros. Only the log's one writer calls this. The range
    /// goes in first: a reader in between finds the older point or the zeros, nothing else.
    pub(crate) fn set_range(&self, start: u64, end: u64, birth: Birth) {
        {
            let mut ranges = self.ranges.write();
            ranges.current.insert(start, end);
            ranges.current_birth = birth;
            self.current_ranges.store(ranges.current.len(), Ordering::Relaxed);
            self.has_ranges.store(true, Ordering::Release);
        }
        let fan = FANOUT as u64;
        let (first, last) = (start / fan, end.saturating_sub(1) / fan);
        let whole = last - first < SHARDS as u64;
        for (at, lock) in self.shards.iter().enumerate() {
            let indices: Vec<u64> = if whole {
                (first..=last).filter(|leaf| shard_of(*leaf) == at).collect()
            } else {
                let shard = lock.read();
                shard.current.leaf_indices().filter(|leaf| (first..=last).contains(leaf)).collect()
            };
            if indices.is_empty() {
                continue;
            }
            let mut shard = lock.write();
            let (memory, leaves) = (shard.current.memory(), shard.current.leaf_count());
            for leaf in indices {
                let base = leaf * fan;
                let bit =
                    |lba: u64| usize::try_from(lba.clamp(base, base + fan) - base).unwrap_or(0);
                shard.current.remove(leaf, mask(bit(start), bit(end)));
            }
            self.current_memory.fetch_sub(memory - shard.current.memory(), Ordering::Relaxed);
            self.current_leaves.fetch_sub(leaves - shard.current.leaf_count(), Ordering::Relaxed);
        }
    }

    /// Freezes the current delta for a checkpoint. The caller holds the log, so nothing is being
    /// published, and no delta is frozen already.
    pub(crate) fn freeze(&self) -> FrozenDelta {
        debug_assert!(!self.is_frozen(), "one checkpoint at a time");
        let (ranges, birth) = {
            let mut ranges = self.ranges.write();
            ranges.frozen = std::mem::take(&mut ranges.current);
            ranges.frozen_birth = ranges.current_birth;
            self.current_ranges.store(0, Ordering::Relaxed);
            (ranges.frozen.clone(), ranges.frozen_birth)
        };
        let mut leaves = Vec::new();
        for lock in &self.shards {
            let mut shard = lock.write();
            shard.frozen = std::mem::take(&mut shard.current);
            leaves.extend(shard.frozen.leaf_indices());
        }
        leaves.sort_unstable();
        self.frozen_leaves.store(self.current_leaves.load(Ordering::Relaxed), Ordering::Relaxed);
        self.current_memory.store(0, Ordering::Relaxed);
        self.current_leaves.store(0, Ordering::Relaxed);
        self.frozen.store(true, Ordering::Release);
        FrozenDelta { leaves, ranges, birth }
    }

    /// The frozen points of a leaf.
    pub(crate) fn frozen_leaf(&self, leaf: u64) -> Vec<(usize, Entry)> {
        let shard = self.shard(leaf).read();
        shard.frozen.leaf(leaf).map(|delta| delta.iter().collect()).unwrap_or_default()
    }

    /// Whether a leaf is in the cache: only then is its new version worth keeping.
    pub(crate) fn is_cached(&self, leaf: u64) -> bool {
        self.shard(leaf).read().leaves.contains(leaf)
    }

    /// Publishes a checkpoint's root and lets go of the frozen delta. `changed` lists the rewritten
    /// leaves that were cached, with their new content (`None`: forget the old one).
    pub(crate) fn settle(&self, root: Entry, changed: Vec<(u64, Option<Leaf>)>) {
        let version = {
            let mut current = self.root.write();
            *current = Root { entry: root, version: current.version + 1 };
            current.version
        };
        let zeroed = {
            let mut ranges = self.ranges.write();
            ranges.settled_at = Some(version);
            ranges.frozen.clone()
        };
        let mut by_shard: Vec<Vec<(u64, Option<Leaf>)>> = vec![Vec::new(); SHARDS];
        for (leaf, page) in changed {
            if let Some(list) = by_shard.get_mut(shard_of(leaf)) {
                list.push((leaf, page));
            }
        }
        for (lock, list) in self.shards.iter().zip(by_shard) {
            let mut shard = lock.write();
            if !zeroed.is_empty() {
                // Whatever was cached below a zeroed range, whenever it was cached.
                let fan = FANOUT as u64;
                let stale: Vec<u64> = shard
                    .leaves
                    .keys()
                    .filter(|leaf| zeroed.intersects(leaf * fan, (leaf + 1) * fan))
                    .collect();
                for leaf in stale {
                    shard.leaves.remove(leaf);
                }
            }
            for (leaf, page) in list {
                match page {
                    Some(page) => shard.leaves.insert(leaf, page),
                    None => shard.leaves.remove(leaf),
                }
            }
            shard.frozen = Delta::default();
            shard.version = version;
        }
        {
            let mut ranges = self.ranges.write();
            ranges.frozen = RangeSet::default();
            ranges.settled_at = None;
            if ranges.current.is_empty() {
                self.has_ranges.store(false, Ordering::Release);
            }
        }
        self.frozen_leaves.store(0, Ordering::Relaxed);
        self.frozen.store(false, Ordering::Release);
    }

    /// Leaves in `[first, last]` that the delta layers change, in order.
    pub(crate) fn delta_leaves_in(&self, first: u64, last: u64) -> Vec<u64> {
        let mut found = Vec::new();
        for lock in &self.shards {
            let shard = lock.read();
            let both = shard.current.leaf_indices().chain(shard.frozen.leaf_indices());
            found.extend(both.filter(|leaf| (first..=last).contains(leaf)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The first zeroed range of either delta layer at or after `lba`.
    pub(crate) fn range_at_or_after(&self, lba: u64) -> Option<std::ops::Range<u64>> {
        if !self.has_ranges.load(Ordering::Acquire) {
            return None;
        }
        let ranges = self.ranges.read();
        let a = ranges.current.first_at_or_after(lba);
        // Once the tree has them, the tree is asked: a point may have followed a range.
        let b = ranges.frozen_for(u64::MAX).and_then(|frozen| frozen.first_at_or_after(lba));
        match (a, b) {
            (Some(a), Some(b)) => Some(if a.start <= b.start { a } else { b }),
            (a, b) => a.or(b),
        }
    }
}

/// What a checkpoint merges.
#[derive(Debug, Clone)]
pub(crate) struct FrozenDelta {
    /// Indices of the leaves with points, in order.
    pub(crate) leaves: Vec<u64>,
    /// Zeroed ranges.
    pub(crate) ranges: RangeSet,
    /// The generation in which they were zeroed.
    pub(crate) birth: Birth,
}

/// The leaf of an LBA and the slot in it.
pub(crate) fn split(lba: u64) -> (u64, usize) {
    debug_assert!(lba < MAX_LOGICAL_BLOCKS);
    let fan = FANOUT as u64;
    (lba / fan, usize::try_from(lba % fan).unwrap_or(0))
}
