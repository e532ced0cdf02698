//! What a block may hold while several threads change it: each block's history of changes, with the
//! ticks between which each took effect.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// A change that was begun. `u64::MAX`: not yet.
#[derive(Debug, Clone, Copy)]
struct Change {
    version: u64,
    begun: u64,
    acknowledged: u64,
    /// The end of the first read that saw it.
    seen: u64,
}

impl Change {
    /// Since when it surely is in effect.
    fn visible(&self) -> u64 {
        self.acknowledged.min(self.seen)
    }
}

/// The histories of a device's blocks. Version 0 is zeros, as every block begins.
#[derive(Debug)]
pub struct History {
    now: AtomicU64,
    blocks: Vec<Mutex<Vec<Change>>>,
    next_version: AtomicU64,
}

/// A change under way.
#[derive(Debug, Clone, Copy)]
#[must_use = "a change that returned is recorded by `acknowledge`"]
pub struct Begun {
    lba: u64,
    count: u64,
    /// What it sets the blocks to.
    pub version: u64,
    at: u64,
}

impl History {
    /// A device of `blocks` zeroed blocks.
    #[must_use]
    pub fn new(blocks: u64) -> Self {
        let initial = Change { version: 0, begun: 0, acknowledged: 0, seen: 0 };
        Self {
            now: AtomicU64::new(0),
            blocks: (0..blocks).map(|_| Mutex::new(vec![initial])).collect(),
            next_version: AtomicU64::new(1),
        }
    }

    /// A tick later than all before.
    pub fn tick(&self) -> u64 {
        self.now.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// How many changes were begun, each block counted.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.blocks.iter().map(|block| block.lock().len() - 1).sum()
    }

    fn block(&self, lba: u64) -> &Mutex<Vec<Change>> {
        let index = usize::try_from(lba).expect("a small device");
        self.blocks.get(index).expect("the block lies inside the device")
    }

    /// Records that a request is about to set the blocks to a new version, or to zeros.
    ///
    /// # Panics
    /// When a block lies outside the device.
    pub fn begin(&self, lba: u64, count: u64, zero: bool) -> Begun {
        let version = if zero { 0 } else { self.next_version.fetch_add(1, Ordering::Relaxed) };
        let at = self.tick();
        for lba in lba..lba + count {
            let change = Change { version, begun: at, acknowledged: u64::MAX, seen: u64::MAX };
            self.block(lba).lock().push(change);
        }
        Begun { lba, count, version, at }
    }

    /// Records that it succeeded.
    ///
    /// # Panics
    /// When it was never begun.
    pub fn acknowledge(&self, begun: Begun) {
        let now = self.tick();
        for lba in begun.lba..begun.lba + begun.count {
            let mut changes = self.block(lba).lock();
            let own = changes.iter_mut().rev().find(|change| change.begun == begun.at);
            own.expect("the change was begun").acknowledged = now;
        }
    }

    /// Forgets all but one version of a block: after a crash, what is not there never happened.
    ///
    /// # Panics
    /// When the block lies outside the device.
    pub fn settle(&self, lba: u64, version: u64) {
        let now = self.tick();
        *self.block(lba).lock() =
            vec![Change { version, begun: now, acknowledged: now, seen: now }];
    }

    /// Judges a read that began at tick `started` and has just returned `version`.
    ///
    /// # Errors
    /// A description of what is wrong.
    pub fn judge(&self, lba: u64, version: u64, started: u64) -> Result<(), String> {
        let ended = self.tick();
        let mut changes = self.block(lba).lock();
        // What was surely in effect when the read began: nothing acknowledged before the beginning
        // of one of these may be returned.
        let newest = changes.iter().filter(|change| change.visible() < started);
        let limit = newest.map(|change| change.begun).max().unwrap_or(0);
        let mut candidates: Vec<&mut Change> =
            changes.iter_mut().filter(|change| change.version == version).collect();
        if candidates.is_empty() {
            return Err(format!("block {lba} holds version {version}, which nobody wrote there"));
        }
        candidates.retain(|change| change.begun < ended && change.acknowledged >= limit);
        match candidates.as_mut_slice() {
            [] => Err(format!(
                "block {lba} holds version {version}, older than what was acknowledged at tick \
                 {limit}, before the read began at {started}"
            )),
            // With several, which one was seen is not known.
            [only] => {
                only.seen = only.seen.min(ended);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_changes_may_be_ordered_either_way() {
        let history = History::new(1);
        let (a, b) = (history.begin(0, 1, false), history.begin(0, 1, false));
        history.acknowledge(a);
        history.acknowledge(b);
        let started = history.tick();
        history.judge(0, a.version, started).unwrap();
        let started = history.tick();
        history.judge(0, b.version, started).unwrap();
        assert!(history.judge(0, 0, started).unwrap_err().contains("older"));
        assert!(history.judge(0, 99, started).unwrap_err().contains("nobody"));
    }

    #[test]
    fn what_a_crash_took_stays_away() {
        let history = History::new(1);
        let lost = history.begin(0, 1, false);
        history.settle(0, 0);
        let started = history.tick();
        history.judge(0, 0, started).unwrap();
        assert!(history.judge(0, lost.version, started).is_err());
    }

    #[test]
    fn what_was_seen_does_not_go_away() {
        let history = History::new(1);
        let early = history.tick();
        let a = history.begin(0, 1, false);
        let during = history.tick();
        history.judge(0, 0, during).unwrap();
        history.judge(0, a.version, during).unwrap();
        // A read that had begun before may still return the old content.
        history.judge(0, 0, early).unwrap();
        let later = history.tick();
        assert!(history.judge(0, 0, later).unwrap_err().contains("older"));
    }
}
