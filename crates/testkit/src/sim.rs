//! A simulated disk under the [`Storage`] trait, with a page cache that a power loss empties.

mod image;
mod journal;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use sealvol_core::{BLOCK_LEN_U64, Error, ErrorKind, Result};
use sealvol_storage::Storage;

use self::image::{Image, SECTOR_LEN};
pub use self::journal::{Cursor, Journal, Op};
use self::journal::{Effect, Entry};
use self::state::{Change, DiskState};
pub use self::state::{CrashMode, SyncLoss};

/// A moment inside an operation at which a hook runs, on the calling thread, without any lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookPoint {
    /// A write, allocation or punch is about to start.
    ChangeStarting,
    /// It is in the page cache, and its call has not returned: a sync that starts now need not
    /// cover it.
    ChangeApplied,
    /// A sync was called and what it covers is settled; nothing is durable yet.
    SyncStarted,
}

type Hook = Box<dyn Fn(HookPoint) + Send + Sync>;

/// A disk in memory that can lose power.
///
/// Reads see every write. A [`sync`](Storage::sync) makes durable what returned before it was
/// called. [`crash_image`](Self::crash_image) gives a new disk with what a crash may have left, and
/// [`journal`](Self::journal) the record from which [`Cursor`] makes such images for every moment of
/// the past.
pub struct SimStorage {
    inner: Mutex<Inner>,
    hook: Option<Hook>,
}

#[derive(Debug, Default)]
struct Inner {
    state: DiskState,
    /// Where the journal starts.
    start: DiskState,
    start_mark: Option<u64>,
    entries: Vec<Entry>,
    /// Operations before the journal's start.
    forgotten: u64,
    /// Changes whose calls have not returned.
    in_flight: BTreeSet<u64>,
    next_sync_fails: Option<SyncLoss>,
    len_limit: Option<u64>,
}

impl Inner {
    fn next_id(&self) -> u64 {
        self.forgotten + self.entries.len() as u64
    }

    fn record(&mut self, op: Op, effect: Effect) {
        let entry = Entry { op, effect };
        entry.apply(&mut self.state);
        self.entries.push(entry);
    }
}

impl fmt::Debug for SimStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.lock();
        f.debug_struct("SimStorage")
            .field("len", &inner.state.live_len)
            .field("ops", &inner.next_id())
            .field("pending", &inner.state.pending.len())
            .finish_non_exhaustive()
    }
}

impl Default for SimStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl SimStorage {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::with_state(DiskState::default())
    }

    /// A disk that durably holds `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut image = Image::default();
        image.write(0, bytes);
        Self::with_state(DiskState::clean(image, bytes.len() as u64))
    }

    fn with_state(state: DiskState) -> Self {
        let inner = Inner { start: state.clone(), state, ..Inner::default() };
        Self { inner: Mutex::new(inner), hook: None }
    }

    /// Runs `hook` inside operations, so that a test can bring about a certain interleaving.
    #[must_use]
    pub fn with_hook(mut self, hook: impl Fn(HookPoint) + Send + Sync + 'static) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    fn hook(&self, point: HookPoint) {
        if let Some(hook) = &self.hook {
            hook(point);
        }
    }

    /// An independent disk in the same state (cache, pending writes and all), with an empty journal.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::with_state(self.inner.lock().state.clone())
    }

    /// The disk as a crash now may leave it. Equal draws give equal images.
    #[must_use]
    pub fn crash_image(&self, rng: &mut (impl Rng + ?Sized), mode: CrashMode) -> Self {
        let (image, len) = self.inner.lock().state.crash(rng, mode, None);
        Self::with_state(DiskState::clean(image, len))
    }

    /// How many operations there were, marks included.
    #[must_use]
    pub fn op_count(&self) -> u64 {
        self.inner.lock().next_id()
    }

    /// How many changes are not surely durable.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.inner.lock().state.pending.len()
    }

    /// Notes `value` in the journal: what the workload knows at this moment.
    pub fn mark(&self, value: u64) {
        self.inner.lock().record(Op::Mark(value), Effect::None);
    }

    /// The record of all operations since the disk was made or [`forget`](Self::forget) was called.
    #[must_use]
    pub fn journal(&self) -> Journal {
        let inner = self.inner.lock();
        Journal {
            start: inner.start.clone(),
            last_mark: inner.start_mark,
            entries: inner.entries.clone().into(),
        }
    }

    /// Starts the journal anew from the present state, to bound memory in a long run.
    pub fn forget(&self) {
        let mut inner = self.inner.lock();
        inner.forgotten = inner.next_id();
        let marks = inner.entries.iter().rev();
        let mark = marks.clone().find_map(|entry| match entry.op {
            Op::Mark(value) => Some(value),
            _ => None,
        });
        inner.start_mark = mark.or(inner.start_mark);
        inner.start = inner.state.clone();
        inner.entries.clear();
    }

    /// Makes the next sync fail as on Linux: what it should have made durable stays readable, and no
    /// later sync makes it durable.
    pub fn fail_next_sync_and_lose_pending(&self, loss: SyncLoss) {
        self.inner.lock().next_sync_fails = Some(loss);
    }

    /// What a failed sync does, for a wrapper that invents the failure itself.
    pub fn lose_pending(&self, loss: SyncLoss) {
        self.inner.lock().record(Op::SyncFailed(loss), Effect::Lose(loss));
    }

    /// Refuses to grow beyond `limit` bytes, with [`ErrorKind::NoSpace`].
    pub fn set_len_limit(&self, limit: Option<u64>) {
        self.inner.lock().len_limit = limit;
    }

    /// The 512-byte sectors that were ever written (pre-written zeros and punched sectors do not
    /// count) or hold a byte that is not zero, ascending, by number.
    #[must_use]
    pub fn written_sectors(&self) -> Vec<u64> {
        self.inner.lock().state.live.written_sectors()
    }

    /// Flips one bit (0 to 7) of a byte, on the disk and in the cache.
    pub fn flip_bit(&self, offset: u64, bit: u8) {
        self.damage(offset, 1, |bytes| {
            for byte in bytes {
                *byte ^= 1 << (bit % 8);
            }
        });
    }

    /// Replaces the 512-byte sector of this number by random bytes, surely different.
    pub fn damage_sector(&self, sector: u64, rng: &mut (impl Rng + ?Sized)) {
        self.damage(sector * SECTOR_LEN as u64, SECTOR_LEN, |bytes| {
            let before = bytes.to_vec();
            while bytes == before {
                rng.fill_bytes(bytes);
            }
        });
    }

    /// Exchanges two ranges of equal length that do not overlap.
    ///
    /// # Panics
    /// When the ranges overlap.
    pub fn swap_ranges(&self, a: u64, b: u64, len: usize) {
        assert!(a.abs_diff(b) >= len as u64, "the ranges overlap");
        let read = |offset| {
            let mut bytes = vec![0; len];
            self.inner.lock().state.live.read(offset, &mut bytes);
            bytes
        };
        let (at_a, at_b) = (read(a), read(b));
        self.damage(a, len, |bytes| bytes.copy_from_slice(&at_b));
        self.damage(b, len, |bytes| bytes.copy_from_slice(&at_a));
    }

    /// Changes bytes on the disk and in the cache. Versions that wait to be synced stay as they are.
    fn damage(&self, offset: u64, len: usize, change: impl FnOnce(&mut [u8])) {
        let mut bytes = vec![0; len];
        let mut inner = self.inner.lock();
        inner.state.live.read(offset, &mut bytes);
        change(&mut bytes);
        let op = Op::Damage { offset, len: len as u64 };
        inner.record(op, Effect::Damage { offset, bytes: bytes.into() });
    }

    /// Puts a change into the cache and the journal.
    fn change(
        &self,
        op: Op,
        range: Range<u64>,
        compose: impl FnOnce(&DiskState, u64) -> Change,
    ) -> Result<()> {
        self.hook(HookPoint::ChangeStarting);
        let id = {
            let mut inner = self.inner.lock();
            if let Some(limit) = inner.len_limit
                && range.end > limit.max(inner.state.live_len)
            {
                let context = format!("{range:?} reaches past the limit of {limit} bytes");
                return Err(Error::new(ErrorKind::NoSpace, "write simulated disk", context));
            }
            let id = inner.next_id();
            let change = compose(&inner.state, id);
            inner.record(op, Effect::Change(Arc::new(change)));
            inner.in_flight.insert(id);
            id
        };
        self.hook(HookPoint::ChangeApplied);
        self.inner.lock().in_flight.remove(&id);
        Ok(())
    }
}

/// Checks that a range is one a file can have.
fn range(op: &'static str, offset: u64, len: u64) -> Result<Range<u64>> {
    match offset.checked_add(len) {
        Some(end) if i64::try_from(end).is_ok() => Ok(offset..end),
        _ => Err(Error::new(ErrorKind::Io, op, format!("offset {offset} and length {len}"))),
    }
}

/// The change that zeros a byte range: whole pages by number, the edges as pieces.
fn compose_zeros(state: &DiskState, id: u64, range: &Range<u64>, len: u64) -> Change {
    let first = range.start.next_multiple_of(BLOCK_LEN_U64);
    let last = range.end - range.end % BLOCK_LEN_U64;
    let zeros = |range: Range<u64>| {
        let len = usize::try_from(range.end - range.start).unwrap_or_default();
        state.live.compose(range.start, &vec![0; len])
    };
    if first >= last {
        return Change { id, pieces: zeros(range.clone()), zero_pages: 0..0, len };
    }
    let mut pieces = zeros(range.start..first);
    pieces.extend(zeros(last..range.end));
    Change { id, pieces, zero_pages: first / BLOCK_LEN_U64..last / BLOCK_LEN_U64, len }
}

impl Storage for SimStorage {
    fn len(&self) -> Result<u64> {
        Ok(self.inner.lock().state.live_len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = range("read simulated disk", offset, buf.len() as u64)?;
        let inner = self.inner.lock();
        if !buf.is_empty() && range.end > inner.state.live_len {
            let context = format!("{range:?} ends past the end at {}", inner.state.live_len);
            return Err(Error::new(ErrorKind::Io, "read simulated disk", context));
        }
        inner.state.live.read(offset, buf);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[IoSlice<'_>]) -> Result<()> {
        let gathered: Vec<u8>;
        let bytes: &[u8] = match data {
            [one] => one,
            many => {
                gathered = many.iter().flat_map(|slice| slice.iter().copied()).collect();
                &gathered
            }
        };
        if bytes.is_empty() {
            return Ok(());
        }
        let len = bytes.len() as u64;
        let range = range("write simulated disk", offset, len)?;
        self.change(Op::Write { offset, len }, range.clone(), |state, id| Change {
            id,
            pieces: state.live.compose(offset, bytes),
            zero_pages: 0..0,
            len: range.end,
        })
    }

    fn sync(&self) -> Result<()> {
        let (upto, except) = {
            let mut inner = self.inner.lock();
            let upto = inner.next_id();
            inner.record(Op::SyncStart, Effect::None);
            (upto, inner.in_flight.iter().copied().collect())
        };
        self.hook(HookPoint::SyncStarted);
        let mut inner = self.inner.lock();
        match inner.next_sync_fails.take() {
            None => {
                inner.record(Op::Sync, Effect::Sync { upto, except });
                Ok(())
            }
            Some(loss) => {
                inner.record(Op::SyncFailed(loss), Effect::Lose(loss));
                let context = "the simulated disk failed; unsynced writes are lost";
                Err(Error::new(ErrorKind::Io, "sync simulated disk", context))
            }
        }
    }

    fn allocate(&self, offset: u64, len: u64, prewrite: bool) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let range = range("allocate simulated disk", offset, len)?;
        self.change(Op::Allocate { offset, len, prewrite }, range.clone(), |state, id| {
            if prewrite {
                compose_zeros(state, id, &range, range.end)
            } else {
                Change { id, pieces: Vec::new(), zero_pages: 0..0, len: range.end }
            }
        })
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        let mut range = range("punch simulated disk", offset, len)?;
        range.end = range.end.min(self.len()?);
        if range.is_empty() {
            return Ok(());
        }
        self.change(Op::Punch { offset, len }, range.clone(), |state, id| {
            compose_zeros(state, id, &range, 0)
        })
    }
}
