//! A storage that counts its work: so that a test can compare work, not clocks.

use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};

use sealvol_core::Result;
use sealvol_storage::Storage;

/// What a storage was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Reads.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Allocations.
    pub allocations: u64,
    /// Punches.
    pub punches: u64,
}

impl std::ops::Sub for Work {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            reads: self.reads - earlier.reads,
            read_bytes: self.read_bytes - earlier.read_bytes,
            writes: self.writes - earlier.writes,
            written_bytes: self.written_bytes - earlier.written_bytes,
            syncs: self.syncs - earlier.syncs,
            allocations: self.allocations - earlier.allocations,
            punches: self.punches - earlier.punches,
        }
    }
}

/// Counts what passes through to another storage.
#[derive(Debug)]
pub struct CountingStorage<S> {
    inner: S,
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    syncs: AtomicU64,
    allocations: AtomicU64,
    punches: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl<S: Storage> CountingStorage<S> {
    /// Counts from zero.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            reads: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            allocations: AtomicU64::new(0),
            punches: AtomicU64::new(0),
        }
    }

    /// The counts so far.
    pub fn work(&self) -> Work {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Work {
            reads: get(&self.reads),
            read_bytes: get(&self.read_bytes),
            writes: get(&self.writes),
            written_bytes: get(&self.written_bytes),
            syncs: get(&self.syncs),
            allocations: get(&self.allocations),
            punches: get(&self.punches),
        }
    }
}

impl<S: Storage> Storage for CountingStorage<S> {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        add(&self.reads, 1);
        add(&self.read_bytes, buf.len() as u64);
        self.inner.read_at(offset, buf)
    }

    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        add(&self.reads, 1);
        add(&self.read_bytes, buf.len() as u64);
        self.inner.read_at_nowait(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[IoSlice<'_>]) -> Result<()> {
        add(&self.writes, 1);
        add(&self.written_bytes, data.iter().map(|slice| slice.len() as u64).sum());
        self.inner.write_at(offset, data)
    }

    fn sync(&self) -> Result<()> {
        add(&self.syncs, 1);
        self.inner.sync()
    }

    fn allocate(&self, offset: u64, len: u64, prewrite: bool) -> Result<()> {
        add(&self.allocations, 1);
        self.inner.allocate(offset, len, prewrite)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        add(&self.punches, 1);
        self.inner.punch(offset, len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }

    fn prefetch(&self, offset: u64, len: u64) {
        self.inner.prefetch(offset, len);
    }
}
