//! A storage in memory: for tests, for measuring what lies above, and for throw-away volumes. It
//! does not outlive the process, so `sync` has nothing to do.

use std::io::IoSlice;

use parking_lot::RwLock;
use sealvol_core::{Error, ErrorKind, Result};

use crate::Storage;

/// A growable vector of bytes.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    bytes: RwLock<Vec<u8>>,
}

impl MemoryStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Converts a byte range to indices.
fn indices(op: &'static str, offset: u64, len: u64) -> Result<std::ops::Range<usize>> {
    let past = || {
        Error::new(
            ErrorKind::NoSpace,
            op,
            format!("offset {offset} and length {len} do not fit into memory"),
        )
    };
    let end = offset.checked_add(len).ok_or_else(past)?;
    let start = usize::try_from(offset).map_err(|e| past().with_source(e))?;
    let end = usize::try_from(end).map_err(|e| past().with_source(e))?;
    Ok(start..end)
}

/// Grows `bytes` to at least `len`, with zeros.
fn grow(op: &'static str, bytes: &mut Vec<u8>, len: usize) -> Result<()> {
    let more = len.saturating_sub(bytes.len());
    bytes.try_reserve(more).map_err(|e| {
        Error::new(ErrorKind::NoSpace, op, format!("no memory for {len} bytes")).with_source(e)
    })?;
    if more > 0 {
        bytes.resize(len, 0);
    }
    Ok(())
}

impl Storage for MemoryStorage {
    fn len(&self) -> Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = indices("read memory", offset, buf.len() as u64)?;
        let bytes = self.bytes.read();
        let source = bytes.get(range).ok_or_else(|| {
            Error::new(
                ErrorKind::Io,
                "read memory",
                format!(
                    "offset {offset} and length {} reach past the end at {}",
                    buf.len(),
                    bytes.len()
                ),
            )
        })?;
        buf.copy_from_slice(source);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[IoSlice<'_>]) -> Result<()> {
        let total: u64 = data.iter().map(|slice| slice.len() as u64).sum();
        if total == 0 {
            return Ok(());
        }
        let range = indices("write memory", offset, total)?;
        let mut bytes = self.bytes.write();
        grow("write memory", &mut bytes, range.end)?;
        let mut rest = bytes.get_mut(range).unwrap_or_default();
        for slice in data {
            let Some((target, tail)) = rest.split_at_mut_checked(slice.len()) else { break };
            target.copy_from_slice(slice);
            rest = tail;
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64, _prewrite: bool) -> Result<()> {
        let range = indices("allocate memory", offset, len)?;
        grow("allocate memory", &mut self.bytes.write(), range.end)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        let mut bytes = self.bytes.write();
        let range = indices("punch memory", offset, len)?;
        let end = range.end.min(bytes.len());
        if let Some(target) = bytes.get_mut(range.start..end) {
            target.fill(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        crate::conformance::run(|| Box::new(MemoryStorage::new()));
    }

    #[test]
    fn absurd_ranges_are_refused() {
        let memory = MemoryStorage::new();
        let error = memory.allocate(u64::MAX - 1, 100, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        let error = memory.write_at(1 << 60, &[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert_eq!(memory.len().unwrap(), 0);
    }
}
