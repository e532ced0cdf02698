//! Bounded caches of map pages with second-chance eviction: leaves by index inside an index shard,
//! inner pages by physical address.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;
use sealvol_format::{Entry, Page};

/// A leaf as the tree holds it: a page, or one entry that stands for the whole subtree.
#[derive(Debug, Clone)]
pub(crate) enum Leaf {
    Page(Arc<Page>),
    Uniform(Entry),
}

impl Leaf {
    pub(crate) fn get(&self, slot: usize) -> Entry {
        match self {
            Self::Page(page) => page.get(slot),
            Self::Uniform(entry) => *entry,
        }
    }
}

/// A map with second-chance (clock) eviction.
#[derive(Debug)]
pub(crate) struct Clock<K, V> {
    at: HashMap<K, usize>,
    ring: Vec<Cached<K, V>>,
    hand: usize,
    capacity: usize,
}

#[derive(Debug)]
struct Cached<K, V> {
    key: K,
    value: V,
    used: AtomicBool,
}

impl<K: Copy + Eq + Hash, V> Clock<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { at: HashMap::new(), ring: Vec::new(), hand: 0, capacity: capacity.max(1) }
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        let cached = self.ring.get(*self.at.get(&key)?)?;
        if !cached.used.load(Ordering::Relaxed) {
            cached.used.store(true, Ordering::Relaxed);
        }
        Some(&cached.value)
    }

    pub(crate) fn contains(&self, key: K) -> bool {
        self.at.contains_key(&key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = K> + '_ {
        self.ring.iter().map(|cached| cached.key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if let Some(cached) = self.at.get(&key).and_then(|at| self.ring.get_mut(*at)) {
            cached.value = value;
            return;
        }
        let fresh = Cached { key, value, used: AtomicBool::new(false) };
        if self.ring.len() < self.capacity {
            self.at.insert(key, self.ring.len());
            self.ring.push(fresh);
            return;
        }
        // At most two rounds: the first clears every mark.
        for _ in 0..2 * self.ring.len() {
            let hand = self.hand;
            self.hand = (hand + 1) % self.ring.len();
            let Some(cached) = self.ring.get_mut(hand) else { return };
            if !cached.used.swap(false, Ordering::Relaxed) {
                self.at.remove(&cached.key);
                self.at.insert(key, hand);
                *cached = fresh;
                return;
            }
        }
    }

    pub(crate) fn remove(&mut self, key: K) {
        let Some(at) = self.at.remove(&key) else { return };
        self.ring.swap_remove(at);
        if let Some(moved) = self.ring.get(at) {
            self.at.insert(moved.key, at);
        }
        if self.hand >= self.ring.len() {
            self.hand = 0;
        }
    }
}

const SHARDS: usize = 8;

/// Address and nonce: an address can be reused, the pair cannot.
type PageKey = (u64, u64);
type PageShard = RwLock<Clock<PageKey, Arc<Page>>>;

/// Inner pages.
#[derive(Debug)]
pub(crate) struct PageCache {
    shards: [PageShard; SHARDS],
}

impl PageCache {
    pub(crate) fn new(pages: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::new(Clock::new(pages.div_ceil(SHARDS).max(2)))),
        }
    }

    fn shard(&self, entry: &Entry) -> &PageShard {
        let at = usize::try_from(entry.phys().0 % SHARDS as u64).unwrap_or(0);
        self.shards.get(at).unwrap_or(&self.shards[0])
    }

    pub(crate) fn get(&self, entry: &Entry) -> Option<Arc<Page>> {
        self.shard(entry).read().get((entry.phys().0, entry.nonce())).cloned()
    }

    pub(crate) fn insert(&self, entry: &Entry, page: Arc<Page>) {
        self.shard(entry).write().insert((entry.phys().0, entry.nonce()), page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eviction_spares_what_was_used() {
        let mut clock = Clock::new(3);
        for key in 0..3 {
            clock.insert(key, key * 10);
        }
        assert_eq!(clock.get(0), Some(&0));
        clock.insert(3, 30);
        assert!(clock.contains(0) && clock.contains(3) && !clock.contains(1));
        clock.remove(0);
        assert!(!clock.contains(0));
        clock.insert(4, 40);
        assert_eq!((clock.get(3), clock.get(4), clock.get(2)), (Some(&30), Some(&40), Some(&20)));
    }

    #[test]
    fn never_grows_past_its_capacity() {
        let mut clock = Clock::new(4);
        for key in 0..1000 {
            clock.insert(key, ());
            if key % 7 == 0 {
                clock.remove(key / 2);
            }
            assert!(clock.ring.len() <= 4 && clock.at.len() == clock.ring.len());
        }
    }
}
