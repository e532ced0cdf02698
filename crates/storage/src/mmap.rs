//! A file that is read through a memory map (memmap2) and written through the file descriptor.

#![expect(unsafe_code, reason = "copying out of a shared map has no safe form")]

use std::io::IoSlice;

use memmap2::{MmapOptions, MmapRaw};
use parking_lot::RwLock;
use sealvol_core::{Error, ErrorKind, Result};

use crate::{FileStorage, Storage};

/// A [`FileStorage`] whose reads copy from a read-only shared map, which saves a system call.
///
/// # Hazards
/// - A media error, or another process truncating the file, is a `SIGBUS`, which kills the process;
///   with [`FileStorage`] it is an [`ErrorKind::Io`].
/// - The bytes may change while they are copied, if another process writes the file. The copy that
///   is returned does not change afterwards, so verification always sees what the caller gets.
///
/// Use it only for files that nothing else can touch.
#[derive(Debug)]
pub struct MmapStorage {
    file: FileStorage,
    /// The map of the file's first bytes, renewed when a read finds that the file has grown. The
    /// lock keeps a map alive while a reader copies from it.
    map: RwLock<Option<MmapRaw>>,
}

impl MmapStorage {
    /// Wraps `file`, and maps what it holds now.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the file cannot be mapped.
    pub fn new(file: FileStorage) -> Result<Self> {
        let storage = Self { file, map: RwLock::new(None) };
        storage.remap(0)?;
        Ok(storage)
    }

    /// The file below.
    #[must_use]
    pub fn file(&self) -> &FileStorage {
        &self.file
    }

    /// Maps the file's present length, unless a map of at least `len_needed` bytes is there already.
    fn remap(&self, len_needed: u64) -> Result<()> {
        let mut map = self.map.write();
        if map.as_ref().is_some_and(|map| map.len() as u64 >= len_needed) {
            return Ok(());
        }
        let len = self.file.len()?;
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(
                ErrorKind::Io,
                "map file",
                format!("{}: {len} bytes", self.file.path().display()),
            )
            .with_source(source)
        };
        let size = usize::try_from(len).map_err(|e| fail(e.into()))?;
        *map = if size == 0 {
            None
        } else {
            let raw = MmapOptions::new().len(size).map_raw_read_only(self.file.file());
            Some(raw.map_err(|e| fail(e.into()))?)
        };
        Ok(())
    }

    /// Copies from the present map. `false` when it is too short.
    fn copy_out(&self, offset: u64, buf: &mut [u8]) -> bool {
        let map = self.map.read();
        let Some(map) = map.as_ref() else { return false };
        let Ok(start) = usize::try_from(offset) else { return false };
        if start.checked_add(buf.len()).is_none_or(|end| end > map.len()) {
            return false;
        }
        // SAFETY: `start + buf.len() <= map.len()` was checked above, so the pointer stays inside
        // the map.
        let source = unsafe { map.as_ptr().add(start) };
        // SAFETY: `source` is valid for `buf.len()` bytes as checked above, and the read guard keeps
        // the map alive; `buf` is exclusively ours, hence does not overlap. No reference to the
        // shared bytes is formed, because a write to the file may change them during the copy; any
        // bytes are valid u8.
        unsafe { std::ptr::copy_nonoverlapping(source, buf.as_mut_ptr(), buf.len()) };
        true
    }
}

impl Storage for MmapStorage {
    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if self.copy_out(offset, buf) {
            return Ok(());
        }
        let end = offset.saturating_add(buf.len() as u64);
        if end <= self.file.len()? {
            self.remap(end)?;
            if self.copy_out(offset, buf) {
                return Ok(());
            }
        }
        // Past the end, or an empty read: the file has the right answer and the right error.
        self.file.read_at(offset, buf)
    }

    /// A map cannot tell whether touching it would wait for the disk: the file can.
    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        self.file.read_at_nowait(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[IoSlice<'_>]) -> Result<()> {
        self.file.write_at(offset, data)
    }

    fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    fn allocate(&self, offset: u64, len: u64, prewrite: bool) -> Result<()> {
        self.file.allocate(offset, len, prewrite)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.file.punch(offset, len)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.file.start_writeback(offset, len);
    }

    fn prefetch(&self, offset: u64, len: u64) {
        self.file.prefetch(offset, len);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn conforms() {
        let dir = tempfile::tempdir().unwrap();
        let count = Cell::new(0);
        crate::conformance::run(|| {
            count.set(count.get() + 1);
            let file = FileStorage::create_new(dir.path().join(count.get().to_string())).unwrap();
            Box::new(MmapStorage::new(file).unwrap())
        });
    }

    #[test]
    fn reads_follow_growth_and_see_rewrites() {
        let dir = tempfile::tempdir().unwrap();
        let file = FileStorage::create_new(dir.path().join("v")).unwrap();
        let storage = MmapStorage::new(file).unwrap();
        for round in 0_u8..20 {
            storage.write_at(u64::from(round) * 5000, &[IoSlice::new(&[round + 1; 5000])]).unwrap();
            storage.write_at(0, &[IoSlice::new(&[round + 1])]).unwrap();
            let mut buf = vec![0; 5000];
            storage.read_at(u64::from(round) * 5000, &mut buf).unwrap();
            assert!(buf.iter().all(|b| *b == round + 1));
            storage.read_at(0, &mut buf[..1]).unwrap();
            assert_eq!(buf[0], round + 1);
        }
    }
}
