//! What long operations report to and listen to, and walking a device by its map.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use sealvol_core::{BLOCK_LEN_U64, BlockDevice, Error as DeviceError, ErrorKind, Extent};

use crate::error::{Error, Result};

/// How far a long operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of the device that are dealt with, holes included.
    pub done: u64,
    /// Bytes in all, where that is known.
    pub total: Option<u64>,
}

/// What a long operation reports to and listens to. The default reports to nobody and cannot be
/// cancelled.
#[derive(Clone, Copy, Default)]
pub struct Job<'a> {
    progress: Option<&'a (dyn Fn(Progress) + Sync)>,
    cancel: Option<&'a AtomicBool>,
}

impl<'a> Job<'a> {
    /// Reports to nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `report` every so often, from any thread.
    #[must_use]
    pub fn on_progress(mut self, report: &'a (dyn Fn(Progress) + Sync)) -> Self {
        self.progress = Some(report);
        self
    }

    /// Ends the operation soon after `flag` is set, with an error of kind `Retry`.
    #[must_use]
    pub fn cancelled_by(mut self, flag: &'a AtomicBool) -> Self {
        self.cancel = Some(flag);
        self
    }

    /// Whether the operation was told to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    pub(crate) fn report(&self, done: u64, total: Option<u64>) {
        if let Some(report) = self.progress {
            report(Progress { done, total });
        }
    }

    pub(crate) fn check(&self, op: &str) -> Result<()> {
        if self.is_cancelled() {
            let text = format!("{op}: cancelled before it was complete; run it again");
            return Err(Error::new(ErrorKind::Retry, text));
        }
        Ok(())
    }
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// Bytes read or written at a time.
pub(crate) const CHUNK_LEN: u64 = 1 << 20;
/// [`CHUNK_LEN`] as a length in memory.
pub(crate) const CHUNK: usize = 1 << 20;
/// Bytes whose map is asked for at a time.
pub(crate) const WINDOW_LEN: u64 = 256 << 20;
/// Extents asked for at a time.
const MAX_EXTENTS: usize = 4096;
/// Bytes that one page of a volume's map describes: a damaged map is gone round in such steps.
const MAP_STEP: u64 = 128 * BLOCK_LEN_U64;

/// Blocks that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// The first of them: its logical block address.
    pub lba: u64,
    /// How many.
    pub blocks: u64,
    /// What is wrong, with the place in the file where that is known.
    pub what: String,
}

impl Damage {
    fn new(offset: u64, len: u64, error: &DeviceError) -> Self {
        let mut what = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            what.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self { lba: offset / BLOCK_LEN_U64, blocks: len.div_ceil(BLOCK_LEN_U64), what }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.blocks {
            1 => write!(f, "LBA {}: {}", self.lba, self.what),
            n => write!(f, "LBA {} to {}: {}", self.lba, self.lba + n - 1, self.what),
        }
    }
}

/// A part of a device's map.
#[derive(Debug)]
pub(crate) enum Found {
    /// A run of one kind.
    Run(Extent),
    /// What is here cannot be told.
    Unknown { offset: u64, len: u64, error: DeviceError },
}

/// Lists what `[offset, offset + len)` holds, going round what of the map is damaged.
pub(crate) fn list(device: &dyn BlockDevice, offset: u64, len: u64, out: &mut Vec<Found>) {
    let end = offset + len;
    let mut at = offset;
    while at < end {
        let error = match device.extents(at, end - at, MAX_EXTENTS) {
            Ok(found) if !found.is_empty() => {
                at = found.last().map_or(end, |last| last.offset + last.len);
                out.extend(found.into_iter().map(Found::Run));
                continue;
            }
            Ok(_) => DeviceError::new(ErrorKind::Internal, "list extents", "the map is empty"),
            Err(error) => error,
        };
        if end - at <= MAP_STEP {
            out.push(Found::Unknown { offset: at, len: end - at, error });
            return;
        }
        let middle = (at + (end - at) / 2).next_multiple_of(MAP_STEP);
        let middle = if middle < end { middle } else { end - MAP_STEP };
        list(device, at, middle - at, out);
        list(device, middle, end - middle, out);
        return;
    }
}

/// Reads `buf` from `offset`; block by block where that fails, with zeros for what is unreadable.
/// Calls `damaged` for each such block.
pub(crate) fn read_around(
    device: &dyn BlockDevice,
    offset: u64,
    buf: &mut [u8],
    mut damaged: impl FnMut(Damage),
) {
    if device.read(offset, buf).is_ok() {
        return;
    }
    let mut at = offset;
    for block in buf.chunks_mut(sealvol_core::BLOCK_LEN) {
        if let Err(error) = device.read(at, block) {
            block.fill(0);
            damaged(Damage::new(at, block.len() as u64, &error));
        }
        at += block.len() as u64;
    }
}

/// [`Damage`] of a part of the map.
pub(crate) fn unknown(offset: u64, len: u64, error: &DeviceError) -> Damage {
    Damage::new(offset, len, error)
}

#[cfg(test)]
mod tests {
    use sealvol_core::{ByteLen, MemoryDevice, WriteFlags};

    use super::*;

    #[test]
    fn lists_cover_the_range_without_gaps() {
        let device = MemoryDevice::new(ByteLen::mib(64)).unwrap();
        for block in (0..8192).step_by(2) {
            device.write(block * 4096, &[1; 4096], WriteFlags::default()).unwrap();
        }
        let mut out = Vec::new();
        list(&device, 0, 64 << 20, &mut out);
        let mut at = 0;
        for found in &out {
            let Found::Run(run) = found else { panic!("{found:?}") };
            assert_eq!(run.offset, at);
            at += run.len;
        }
        assert_eq!(at, 64 << 20);
        // The last hole reaches to the end.
        assert_eq!(out.len(), 8192);
    }

    /// A device whose map cannot be read where it describes one byte.
    struct Torn(MemoryDevice, u64);

    impl BlockDevice for Torn {
        fn info(&self) -> sealvol_core::DeviceInfo {
            self.0.info()
        }
        fn read(&self, offset: u64, buf: &mut [u8]) -> sealvol_core::Result<()> {
            self.0.read(offset, buf)
        }
        fn write(&self, at: u64, data: &[u8], flags: WriteFlags) -> sealvol_core::Result<()> {
            self.0.write(at, data, flags)
        }
        fn flush(&self) -> sealvol_core::Result<()> {
            Ok(())
        }
        fn discard(&self, offset: u64, len: u64) -> sealvol_core::Result<()> {
            self.0.discard(offset, len)
        }
        fn write_zeroes(
            &self,
            offset: u64,
            len: u64,
            flags: sealvol_core::ZeroFlags,
        ) -> sealvol_core::Result<()> {
            self.0.write_zeroes(offset, len, flags)
        }
        fn extents(&self, offset: u64, len: u64, max: usize) -> sealvol_core::Result<Vec<Extent>> {
            if (offset..offset + len).contains(&self.1) {
                return Err(DeviceError::new(ErrorKind::Corrupt, "list extents", "torn"));
            }
            self.0.extents(offset, len, max)
        }
        fn prefetch(&self, _: u64, _: u64) -> sealvol_core::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_damaged_page_of_the_map_costs_only_what_it_describes() {
        for torn in [0, 5 << 20, (16 << 20) - 1, (9 << 20) + 4095] {
            let device = Torn(MemoryDevice::new(ByteLen::mib(16)).unwrap(), torn);
            let mut out = Vec::new();
            list(&device, 0, 16 << 20, &mut out);
            let (mut at, mut lost) = (0, 0);
            for found in &out {
                let (offset, len) = match found {
                    Found::Run(run) => (run.offset, run.len),
                    Found::Unknown { offset, len, .. } => {
                        assert!((*offset..offset + len).contains(&torn));
                        lost += len;
                        (*offset, *len)
                    }
                };
                assert_eq!(offset, at);
                at += len;
            }
            assert_eq!((at, lost), (16 << 20, MAP_STEP), "{torn}");
        }
    }

    #[test]
    fn damage_is_told_by_block_address() {
        let error = DeviceError::new(ErrorKind::Corrupt, "read", "offset 8192");
        assert_eq!(Damage::new(8192, 4096, &error).to_string(), "LBA 2: read: offset 8192");
        assert_eq!(Damage::new(8192, 8192, &error).to_string(), "LBA 2 to 3: read: offset 8192");
    }
}
