//! Where a volume's bytes live. [`Storage`] is positional, synchronous and says exactly what the
//! engine assumes of a disk; the backends are a file, a file read through a memory map, and memory.
//! This crate knows nothing of formats: it moves bytes.

#![deny(unsafe_code)]

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod file;
mod memory;
mod mmap;
mod writeback;

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

pub use file::{FileStorage, OpenMode, boot_id, replace_file, sync_parent_dir};
pub use memory::MemoryStorage;
pub use mmap::MmapStorage;
use sealvol_core::Result;

/// A growable array of bytes with explicit durability.
///
/// # Media assumptions
/// - 512-byte sectors are written whole or not at all; a write leaves its neighbours alone.
/// - Between two successful [`sync`](Self::sync) calls, writes reach the medium in any order, in
///   part, or not at all.
/// - A `sync` that returned success made every write that returned *before it was called* durable.
/// - After a failed `sync` nothing is known about the writes before it: never retry, reopen.
///
/// All methods may be called from many threads at once.
#[expect(clippy::len_without_is_empty, reason = "an empty storage is not a case of its own")]
pub trait Storage: Send + Sync {
    /// Current length in bytes.
    ///
    /// # Errors
    /// [`sealvol_core::ErrorKind::Io`] when the file cannot be examined.
    fn len(&self) -> Result<u64>;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// [`sealvol_core::ErrorKind::Io`] on failure or when the range ends past the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// Fills the slices, one after the other, from `offset`.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    fn read_vectored_at(&self, offset: u64, slices: &mut [IoSliceMut<'_>]) -> Result<()> {
        let mut at = offset;
        for slice in slices {
            self.read_at(at, slice)?;
            at += slice.len() as u64;
        }
        Ok(())
    }

    /// As [`read_at`](Self::read_at), but returns `Ok(false)`, with `buf` undefined, when the bytes
    /// are not in memory and the call would wait for the disk.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        self.read_at(offset, buf).map(|()| true)
    }

    /// Writes the slices, one after the other, at `offset`, growing the storage if needed.
    ///
    /// # Errors
    /// [`sealvol_core::ErrorKind::NoSpace`] or [`sealvol_core::ErrorKind::Io`]; the range then
    /// holds any mix of old and new sectors.
    fn write_at(&self, offset: u64, data: &[IoSlice<'_>]) -> Result<()>;

    /// Makes every write that returned before this call durable (`fdatasync`).
    ///
    /// # Errors
    /// [`sealvol_core::ErrorKind::Io`]: what of the earlier writes is durable is then unknown.
    fn sync(&self) -> Result<()>;

    /// Reserves space for the range, so that writing it does not fail for lack of space. With
    /// `prewrite`, writes zeros, so that later writes do not change file metadata (and sync faster).
    /// The content of the range is undefined afterwards.
    ///
    /// # Errors
    /// [`sealvol_core::ErrorKind::NoSpace`] when the host has no space; nothing is lost.
    fn allocate(&self, offset: u64, len: u64, prewrite: bool) -> Result<()>;

    /// Gives the range's space back to the host; it reads as zeros. Best effort where the host
    /// cannot punch holes.
    ///
    /// # Errors
    /// [`sealvol_core::ErrorKind::Io`] on failure.
    fn punch(&self, offset: u64, len: u64) -> Result<()>;

    /// Starts writing the range back to the medium without waiting. A hint.
    fn start_writeback(&self, offset: u64, len: u64) {
        let _unused = (offset, len);
    }

    /// Asks for the range to be read ahead. A hint.
    fn prefetch(&self, offset: u64, len: u64) {
        let _unused = (offset, len);
    }
}

/// A shared handle is the storage itself, so that a test can keep one and lend the other.
impl<S: Storage + ?Sized> Storage for Arc<S> {
    fn len(&self) -> Result<u64> {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        (**self).read_at(offset, buf)
    }

    fn read_vectored_at(&self, offset: u64, slices: &mut [IoSliceMut<'_>]) -> Result<()> {
        (**self).read_vectored_at(offset, slices)
    }

    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        (**self).read_at_nowait(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[IoSlice<'_>]) -> Result<()> {
        (**self).write_at(offset, data)
    }

    fn sync(&self) -> Result<()> {
        (**self).sync()
    }

    fn allocate(&self, offset: u64, len: u64, prewrite: bool) -> Result<()> {
        (**self).allocate(offset, len, prewrite)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        (**self).punch(offset, len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        (**self).start_writeback(offset, len);
    }

    fn prefetch(&self, offset: u64, len: u64) {
        (**self).prefetch(offset, len);
    }
}
