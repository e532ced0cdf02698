//! The record of everything that happened to a simulated disk, and a cursor that walks it: one run of
//! a workload serves a crash at each of its operations.

use std::sync::Arc;

use rand::Rng;

use super::SimStorage;
use super::state::{Change, CrashMode, DiskState, SyncLoss};

/// What an operation was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// A write.
    Write {
        /// Byte offset.
        offset: u64,
        /// Length in bytes.
        len: u64,
    },
    /// An allocation.
    Allocate {
        /// Byte offset.
        offset: u64,
        /// Length in bytes.
        len: u64,
        /// Whether it wrote zeros.
        prewrite: bool,
    },
    /// A punch.
    Punch {
        /// Byte offset.
        offset: u64,
        /// Length in bytes.
        len: u64,
    },
    /// A sync was called: what it covers is settled, and nothing is durable yet.
    SyncStart,
    /// A sync succeeded.
    Sync,
    /// A sync failed.
    SyncFailed(SyncLoss),
    /// The test's own note, pushed by [`SimStorage::mark`].
    Mark(u64),
    /// A test damaged the disk, cache included.
    Damage {
        /// Byte offset.
        offset: u64,
        /// Length in bytes.
        len: u64,
    },
}

/// An operation and what it does to the disk.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) op: Op,
    pub(super) effect: Effect,
}

#[derive(Debug, Clone)]
pub(super) enum Effect {
    None,
    Change(Arc<Change>),
    Sync { upto: u64, except: Vec<u64> },
    Lose(SyncLoss),
    Damage { offset: u64, bytes: Arc<[u8]> },
}

impl Entry {
    pub(super) fn apply(&self, state: &mut DiskState) {
        match &self.effect {
            Effect::None => {}
            Effect::Change(change) => state.issue(change),
            Effect::Sync { upto, except } => state.sync(*upto, except),
            Effect::Lose(loss) => state.lose(*loss),
            Effect::Damage { offset, bytes } => {
                state.live.write(*offset, bytes);
                state.durable.write(*offset, bytes);
            }
        }
    }
}

/// The operations of a [`SimStorage`], in order, and the state that they started from. Taking and
/// cloning one copies no data.
#[derive(Debug, Clone)]
pub struct Journal {
    pub(super) start: DiskState,
    pub(super) last_mark: Option<u64>,
    pub(super) entries: Arc<[Entry]>,
}

impl Journal {
    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The operations.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = Op> {
        self.entries.iter().map(|entry| entry.op)
    }

    /// A cursor before the first operation.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor {
            entries: Arc::clone(&self.entries),
            index: 0,
            state: self.start.clone(),
            last_mark: self.last_mark,
        }
    }

    /// A cursor after the first `count` operations (or all, if there are fewer).
    #[must_use]
    pub fn replay_to(&self, count: usize) -> Cursor {
        let mut cursor = self.cursor();
        while cursor.index < count && cursor.advance().is_some() {}
        cursor
    }
}

/// A moment in a journal, between two operations. Advancing costs what the operation cost; a crash
/// image costs what is pending.
#[derive(Debug, Clone)]
pub struct Cursor {
    entries: Arc<[Entry]>,
    index: usize,
    state: DiskState,
    last_mark: Option<u64>,
}

impl Cursor {
    /// How many operations lie before.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The next operation.
    #[must_use]
    pub fn next_op(&self) -> Option<Op> {
        self.entries.get(self.index).map(|entry| entry.op)
    }

    /// The value of the last [`Op::Mark`] before this moment: what the workload had been told.
    #[must_use]
    pub fn last_mark(&self) -> Option<u64> {
        self.last_mark
    }

    /// How many changes are not surely durable.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state.pending.len()
    }

    /// Lets the next operation happen, and returns it.
    pub fn advance(&mut self) -> Option<Op> {
        let entry = self.entries.get(self.index)?;
        entry.apply(&mut self.state);
        self.index += 1;
        if let Op::Mark(value) = entry.op {
            self.last_mark = Some(value);
        }
        Some(entry.op)
    }

    /// Advances until the next operation is one at which crashing tells something new: not a mark
    /// and not the start of a sync. `false` at the end of the journal, which is the last such moment.
    pub fn advance_to_crash_point(&mut self) -> bool {
        while let Some(op) = self.next_op() {
            if !matches!(op, Op::Mark(_) | Op::SyncStart) {
                return true;
            }
            self.advance();
        }
        false
    }

    /// The disk as a crash before the next operation may leave it. Equal draws give equal images.
    #[must_use]
    pub fn crash(&self, rng: &mut (impl Rng + ?Sized), mode: CrashMode) -> SimStorage {
        let (image, len) = self.state.crash(rng, mode, None);
        SimStorage::with_state(DiskState::clean(image, len))
    }

    /// The disk as a crash in the middle of the next operation may leave it: a write, allocation or
    /// punch counts as pending too, or as half copied by the kernel for [`CrashMode::KeepAll`].
    #[must_use]
    pub fn crash_during_next(&self, rng: &mut (impl Rng + ?Sized), mode: CrashMode) -> SimStorage {
        let in_flight = match self.entries.get(self.index).map(|entry| &entry.effect) {
            Some(Effect::Change(change)) => Some(change),
            _ => None,
        };
        let (image, len) = self.state.crash(rng, mode, in_flight);
        SimStorage::with_state(DiskState::clean(image, len))
    }
}
