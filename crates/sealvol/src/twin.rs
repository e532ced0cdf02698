//! The two superblock copies as the KMS needs them.
//!
//! What a data key is unwrapped with (key ARN, context, blob) can be authenticated only with that
//! key. If the copy that would be taken is damaged there, its twin is tried: the damaged copy is
//! hidden from the engine while it opens, which then repairs it like any other damaged copy.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sealvol_core::Result;
use sealvol_format::{SUPER_LEN, SUPER_OFFSETS, Superblock};
use sealvol_storage::Storage;

/// A superblock copy to open by.
pub(crate) struct Candidate {
    pub(crate) public: Superblock,
    /// The index of the copy to hide, if it is not the engine's own choice.
    pub(crate) hide: Option<usize>,
}

/// What to open by: the engine's own choice first, then its twin if that names other keys.
pub(crate) fn candidates(storage: &dyn Storage) -> Result<Vec<Candidate>> {
    let first = sealvol_engine::read_public(storage)?;
    let len = storage.len()?;
    let mut copies = Vec::new();
    for offset in SUPER_OFFSETS {
        let available = len.saturating_sub(offset).min(SUPER_LEN as u64);
        let mut raw = vec![0; usize::try_from(available).unwrap_or(0)];
        storage.read_at(offset, &mut raw)?;
        copies.push(Superblock::decode(&raw).ok());
    }
    let hide = copies.iter().position(|copy| copy.as_ref() == Some(&first));
    let twin = copies.into_iter().flatten().find(|copy| {
        (copy.volume, &copy.keys, copy.volume_state)
            != (first.volume, &first.keys, first.volume_state)
    });
    let mut candidates = vec![Candidate { public: first, hide: None }];
    if let (Some(public), Some(_)) = (twin, hide) {
        candidates.push(Candidate { public, hide });
    }
    Ok(candidates)
}

/// Storage in which one superblock copy reads as zeros until it is shown.
pub(crate) struct Hiding {
    inner: Arc<dyn Storage>,
    start: u64,
    hidden: AtomicBool,
}

impl Hiding {
    pub(crate) fn new(inner: Arc<dyn Storage>, copy: usize) -> Self {
        let start = SUPER_OFFSETS.get(copy).copied().unwrap_or(0);
        Self { inner, start, hidden: AtomicBool::new(true) }
    }

    pub(crate) fn show(&self) {
        self.hidden.store(false, Ordering::Relaxed);
    }

    fn mask(&self, offset: u64, buf: &mut [u8]) {
        if !self.hidden.load(Ordering::Relaxed) {
            return;
        }
        let end = self.start + SUPER_LEN as u64;
        for (byte, at) in buf.iter_mut().zip(offset..end) {
            if at >= self.start {
                *byte = 0;
            }
        }
    }
}

impl Storage for Hiding {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.inner.read_at(offset, buf)?;
        self.mask(offset, buf);
        Ok(())
    }

    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        let done = self.inner.read_at_nowait(offset, buf)?;
        self.mask(offset, buf);
        Ok(done)
    }

    fn write_at(&self, offset: u64, data: &[IoSlice<'_>]) -> Result<()> {
        self.inner.write_at(offset, data)
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn allocate(&self, offset: u64, len: u64, prewrite: bool) -> Result<()> {
        self.inner.allocate(offset, len, prewrite)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.inner.punch(offset, len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }

    fn prefetch(&self, offset: u64, len: u64) {
        self.inner.prefetch(offset, len);
    }
}

#[cfg(test)]
mod tests {
    use sealvol_storage::MemoryStorage;

    use super::*;

    #[test]
    fn only_the_hidden_copy_is_masked() {
        let inner = Arc::new(MemoryStorage::new());
        inner.write_at(0, &[IoSlice::new(&vec![1; 3 << 20])]).unwrap();
        let hiding = Hiding::new(inner, 1);
        let read = |offset, len| {
            let mut buf = vec![9; len];
            hiding.read_at(offset, &mut buf).unwrap();
            buf
        };
        assert!(read(0, 1 << 20).iter().all(|b| *b == 1));
        let around = read((1 << 20) - 100, SUPER_LEN + 200);
        let zeros = around.iter().filter(|b| **b == 0).count();
        assert_eq!(zeros, SUPER_LEN);
        assert!(around[..100].iter().chain(&around[100 + SUPER_LEN..]).all(|b| *b == 1));
        hiding.show();
        assert!(read(1 << 20, 100).iter().all(|b| *b == 1));
    }
}
