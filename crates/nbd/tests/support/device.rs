//! A memory device with the behaviours that tests need: cold, slow, failing, read-only, growing,
//! and a record of what was asked of it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use sealvol_core::{
    BlockDevice, ByteLen, DeviceInfo, Error, ErrorKind, Extent, Hot, MemoryDevice, Result,
    WriteFlags, WriteRequest, ZeroFlags,
};

/// Holds callers back while closed.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
    pub(crate) waiting: AtomicUsize,
}

impl Gate {
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let closed = self.closed.lock().unwrap();
        if *closed {
            self.waiting.fetch_add(1, SeqCst);
            let limit = Duration::from_secs(60);
            drop(self.changed.wait_timeout_while(closed, limit, |closed| *closed).unwrap());
            self.waiting.fetch_sub(1, SeqCst);
        }
    }
}

pub(crate) struct TestDevice {
    inner: MemoryDevice,
    /// The size shown; at most the inner one.
    pub(crate) len: AtomicU64,
    pub(crate) read_only: AtomicBool,
    /// Offsets below this are not in memory: `read_hot` would block.
    pub(crate) cold_below: AtomicU64,
    /// Reads that cover this offset fail.
    pub(crate) bad_offset: AtomicU64,
    pub(crate) read_gate: Gate,
    pub(crate) flush_gate: Gate,
    pub(crate) flushes: AtomicUsize,
    pub(crate) fua: AtomicUsize,
    pub(crate) keep_allocated: AtomicUsize,
    pub(crate) discards: AtomicUsize,
    pub(crate) prefetches: AtomicUsize,
    pub(crate) largest_batch: AtomicUsize,
    pub(crate) no_space: AtomicBool,
}

impl TestDevice {
    pub(crate) fn new(len: ByteLen) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryDevice::new(len).unwrap(),
            len: AtomicU64::new(len.0),
            read_only: AtomicBool::new(false),
            cold_below: AtomicU64::new(0),
            bad_offset: AtomicU64::new(u64::MAX),
            read_gate: Gate::default(),
            flush_gate: Gate::default(),
            flushes: AtomicUsize::new(0),
            fua: AtomicUsize::new(0),
            keep_allocated: AtomicUsize::new(0),
            discards: AtomicUsize::new(0),
            prefetches: AtomicUsize::new(0),
            largest_batch: AtomicUsize::new(0),
            no_space: AtomicBool::new(false),
        })
    }

    pub(crate) fn contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len.load(SeqCst)).unwrap()];
        self.inner.read(0, &mut bytes).unwrap();
        bytes
    }

    fn check_write(&self, fua: bool) -> Result<()> {
        if self.read_only.load(SeqCst) {
            return Err(Error::new(ErrorKind::Denied, "write", "read-only"));
        }
        if self.no_space.load(SeqCst) {
            return Err(Error::new(ErrorKind::NoSpace, "write", "full"));
        }
        self.fua.fetch_add(usize::from(fua), SeqCst);
        Ok(())
    }
}

impl BlockDevice for TestDevice {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            len: ByteLen(self.len.load(SeqCst)),
            read_only: self.read_only.load(SeqCst),
            preferred_block_len: 4096,
        }
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.read_gate.pass();
        let bad = self.bad_offset.load(SeqCst);
        if (offset..offset + buf.len() as u64).contains(&bad) {
            buf.fill(0);
            let context = "the block at /secret/path does not authenticate";
            return Err(Error::new(ErrorKind::Corrupt, "read", context));
        }
        self.inner.read(offset, buf)
    }

    fn read_hot(&self, offset: u64, buf: &mut [u8]) -> Result<Hot> {
        if offset < self.cold_below.load(SeqCst) {
            return Ok(Hot::WouldBlock);
        }
        if (offset..offset + buf.len() as u64).contains(&self.bad_offset.load(SeqCst)) {
            return self.read(offset, buf).map(|()| Hot::Done);
        }
        self.inner.read(offset, buf).map(|()| Hot::Done)
    }

    fn write(&self, offset: u64, data: &[u8], flags: WriteFlags) -> Result<()> {
        self.check_write(flags.fua)?;
        self.inner.write(offset, data, flags)
    }

    fn write_batch(&self, batch: &[WriteRequest<'_>]) -> Vec<Result<()>> {
        self.largest_batch.fetch_max(batch.len(), SeqCst);
        batch.iter().map(|w| self.write(w.offset, w.data, w.flags)).collect()
    }

    fn flush(&self) -> Result<()> {
        self.flush_gate.pass();
        self.flushes.fetch_add(1, SeqCst);
        self.inner.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.check_write(false)?;
        self.discards.fetch_add(1, SeqCst);
        self.inner.discard(offset, len)
    }

    fn write_zeroes(&self, offset: u64, len: u64, flags: ZeroFlags) -> Result<()> {
        self.check_write(flags.fua)?;
        self.keep_allocated.fetch_add(usize::from(flags.keep_allocated), SeqCst);
        self.inner.write_zeroes(offset, len, flags)
    }

    fn extents(&self, offset: u64, len: u64, max_extents: usize) -> Result<Vec<Extent>> {
        self.inner.extents(offset, len, max_extents)
    }

    fn prefetch(&self, offset: u64, len: u64) -> Result<()> {
        self.prefetches.fetch_add(1, SeqCst);
        self.inner.prefetch(offset, len)
    }
}
