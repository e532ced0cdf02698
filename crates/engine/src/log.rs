//! The log's state: one order of groups over three segment kinds, one writer at a time, and the
//! shared `fdatasync`.
//!
//! # The writer
//! `busy` is the right to write the next group. A user request reserves slots in the open group and
//! seals into buffers of its own while another group is being written; finding nobody busy and the
//! group complete, it takes the right and writes the group itself. There is no timer and no
//! hand-off to another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};
use sealvol_core::{Entropy, Error, ErrorKind, Result};
use sealvol_format::{
    MAX_PAYLOAD_SLOTS, MAX_RECORDS, Record, SegmentIndex, SegmentKind, Successor,
};

use crate::core::Core;
use crate::keyring::SegmentKey;
use crate::segments::LogPlace;

/// What became of a conditional record.
pub(crate) mod condition {
    pub(crate) const PENDING: u8 = 0;
    pub(crate) const APPLIED: u8 = 1;
    pub(crate) const SKIPPED: u8 = 2;
}

/// A conditional record's outcome, shared with the request that waits for it.
pub(crate) type Condition = Arc<AtomicU8>;

/// A group being filled or written.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) kind: SegmentKind,
    pub(crate) segment: SegmentIndex,
    pub(crate) key: Arc<SegmentKey>,
    /// The slot of its commit slot.
    pub(crate) base: u32,
    /// The random half of its nonces. Commit and payload slots differ in the slot index.
    pub(crate) nonce: u64,
    pub(crate) records: Vec<Record>,
    /// Sealed payload, by first payload slot.
    pub(crate) parts: Vec<(u32, Vec<u8>)>,
    pub(crate) payload_slots: u32,
    /// Records whose request wants to know whether they applied.
    pub(crate) conditions: Vec<(usize, Condition)>,
    /// Offset and length of what the disk should begin to write once the group is out.
    pub(crate) writeback: Option<(u64, u64)>,
}

impl Group {
    pub(crate) fn slots(&self) -> u32 {
        1 + self.payload_slots
    }
}

/// The user group that requests are joining.
#[derive(Debug)]
pub(crate) struct OpenGroup {
    pub(crate) id: u64,
    pub(crate) group: Group,
    /// Reservations that are not sealed yet.
    pub(crate) pending: u32,
    /// Payload slots that the segment has room for.
    pub(crate) room: u32,
}

impl OpenGroup {
    pub(crate) fn fits(&self, slots: u32, records: usize) -> bool {
        self.group.payload_slots + slots <= self.room
            && self.group.records.len() + records <= MAX_RECORDS
    }
}

/// State under the log's lock.
#[derive(Debug)]
pub(crate) struct LogState {
    /// The next group's number.
    pub(crate) next_seq: u64,
    /// The last group's commit tag.
    pub(crate) chain: [u8; 16],
    /// Somebody is writing a group, rolling a segment, or freezing the index.
    pub(crate) busy: bool,
    /// The user kind is being rolled: no group may be opened in the segment that it leaves.
    pub(crate) rolling: bool,
    pub(crate) places: [LogPlace; 3],
    pub(crate) open: Option<OpenGroup>,
    /// Number of the last user group that was opened, and of the last that was written.
    pub(crate) opened_id: u64,
    pub(crate) written_id: u64,
}

impl LogState {
    #[expect(clippy::indexing_slicing, reason = "three kinds, three places")]
    pub(crate) fn place(&mut self, kind: SegmentKind) -> &mut LogPlace {
        &mut self.places[kind as usize]
    }

    /// 64 fresh random bits, drawn when they are needed: a memory image that is resumed twice then
    /// repeats at most the nonces of its open groups.
    pub(crate) fn nonce(entropy: &dyn Entropy) -> Result<u64> {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Payload slots that the open segment of `kind` still has room for in one group; `None` when
    /// not even the commit slot fits.
    pub(crate) fn room(&mut self, kind: SegmentKind, slots_per_segment: u32) -> Option<u32> {
        let used = self.place(kind).open.as_ref()?.next_slot;
        let most = u32::try_from(MAX_PAYLOAD_SLOTS).unwrap_or(u32::MAX);
        Some(slots_per_segment.checked_sub(used + 1)?.min(most))
    }
}

#[derive(Debug, Default)]
struct SyncState {
    running: bool,
    failed: bool,
}

/// The log.
#[derive(Debug)]
pub(crate) struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
    sync: Mutex<SyncState>,
    synced: Condvar,
    /// The last group that was written and published.
    pub(crate) written: AtomicU64,
    /// The last group that an `fdatasync` covers.
    pub(crate) durable: AtomicU64,
    /// The last group that changes something for users; stamps do not count.
    pub(crate) last_change: AtomicU64,
    /// The newest `durable_upto` that is itself durable on disk.
    pub(crate) proved: AtomicU64,
    /// The newest `durable_upto` written, to become `proved` by the next sync.
    pub(crate) claimed: AtomicU64,
    /// Bytes written since the last sync started.
    pub(crate) unsynced: AtomicU64,
    /// All bytes written in this session.
    pub(crate) bytes: AtomicU64,
    buffers: Mutex<Vec<Vec<u8>>>,
}

/// Buffers kept for reuse, and the largest that is kept.
const KEPT_BUFFERS: usize = 16;
const KEPT_BUFFER_LEN: usize = 512 << 10;

impl Log {
    /// A log that nothing can be appended to until [`install`](Self::install).
    pub(crate) fn new() -> Self {
        let none = Successor { segment: SegmentIndex(0), seq: 0 };
        let places = SegmentKind::ALL.map(|_| LogPlace { open: None, reserved: none });
        Self {
            state: Mutex::new(LogState {
                next_seq: 1,
                chain: [0; 16],
                busy: false,
                rolling: false,
                places,
                open: None,
                opened_id: 0,
                written_id: 0,
            }),
            changed: Condvar::new(),
            sync: Mutex::default(),
            synced: Condvar::new(),
            written: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            last_change: AtomicU64::new(0),
            proved: AtomicU64::new(0),
            claimed: AtomicU64::new(0),
            unsynced: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            buffers: Mutex::default(),
        }
    }

    /// Sets where the log goes on.
    pub(crate) fn install(
        &self,
        last_seq: u64,
        chain: [u8; 16],
        durable: u64,
        places: [LogPlace; 3],
    ) {
        let mut state = self.lock();
        state.next_seq = last_seq + 1;
        state.chain = chain;
        state.places = places;
        self.written.store(last_seq, Ordering::Release);
        self.last_change.store(last_seq, Ordering::Release);
        for mark in [&self.durable, &self.proved, &self.claimed] {
            mark.store(durable, Ordering::Release);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock()
    }

    /// Waits until the log's state changes.
    pub(crate) fn wait(&self, state: &mut MutexGuard<'_, LogState>) {
        self.changed.wait(state);
    }

    /// Wakes whoever waits for the log.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Takes the right to write: waits until nobody is busy.
    pub(crate) fn acquire(&self) -> MutexGuard<'_, LogState> {
        let mut state = self.lock();
        while state.busy {
            self.wait(&mut state);
        }
        state.busy = true;
        state
    }

    /// Gives the right to write back.
    pub(crate) fn release(&self) {
        self.lock().busy = false;
        self.notify();
    }

    /// A buffer of `len` bytes with undefined (old, sealed) content.
    pub(crate) fn buffer(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.buffers.lock().pop().unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    /// Returns a buffer for reuse.
    pub(crate) fn recycle(&self, buffer: Vec<u8>) {
        let mut kept = self.buffers.lock();
        if kept.len() < KEPT_BUFFERS && buffer.capacity() <= KEPT_BUFFER_LEN {
            kept.push(buffer);
        }
    }
}

impl Core {
    /// Makes every group up to `target` durable, sharing one `fdatasync` between those who wait.
    ///
    /// A flush is served only by an `fdatasync` that *started* after its last group's write
    /// returned: `upto` is read before the call, never after.
    pub(crate) fn sync_to(&self, target: u64) -> Result<()> {
        self.sync_unless(|log| log.durable.load(Ordering::Acquire) >= target)
    }

    /// Makes everything that was written to the storage durable, groups or not, by an `fdatasync` of
    /// its own.
    pub(crate) fn sync_storage(&self) -> Result<()> {
        self.sync_unless(|_| false)
    }

    /// The only `fdatasync` of an open volume, one at a time: a failure is told once, to whoever called,
    /// and what it lost may be another one's. So nobody syncs beside it, and nobody after it.
    fn sync_unless(&self, is_done: impl Fn(&Log) -> bool) -> Result<()> {
        let log = &self.log;
        let mut state = log.sync.lock();
        loop {
            if state.failed {
                drop(state);
                self.check_alive("flush")?;
                return Err(Error::new(ErrorKind::Poisoned, "flush", "an earlier flush failed"));
            }
            if is_done(log) {
                return Ok(());
            }
            if !state.running {
                break;
            }
            log.synced.wait(&mut state);
        }
        state.running = true;
        drop(state);
        log.unsynced.store(0, Ordering::Relaxed);
        let claimed = log.claimed.load(Ordering::Acquire);
        let upto = log.written.load(Ordering::Acquire);
        let outcome = self.storage.sync();
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        let mut state = log.sync.lock();
        state.running = false;
        match &outcome {
            Ok(()) => {
                log.durable.fetch_max(upto, Ordering::AcqRel);
                log.proved.fetch_max(claimed, Ordering::AcqRel);
            }
            // Never retried: the page cache may have dropped what the disk refused.
            Err(_) => state.failed = true,
        }
        log.synced.notify_all();
        drop(state);
        outcome.inspect_err(|error| {
            self.poison(error);
            log.notify();
        })
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync_all(&self) -> Result<()> {
        self.sync_to(self.log.written.load(Ordering::Acquire))
    }
}
