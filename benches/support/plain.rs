//! The plain file that everything is measured against: pread, pwrite in place, fdatasync.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use sealvol_core::{
    BlockDevice, ByteLen, DeviceInfo, Error, Extent, ExtentKind, Result, WriteFlags, ZeroFlags,
};

/// A file as a block device without any layer between.
#[derive(Debug)]
pub struct PlainFile {
    file: File,
    len: u64,
}

impl PlainFile {
    /// Makes a sparse file of `len` bytes. Initialise it with [`crate::fill`].
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, len: ByteLen) -> crate::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.set_len(len.0)?;
        Ok(Self { file, len: len.0 })
    }
}

fn failed(op: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |e| Error::io(op, "plain file", e)
}

impl BlockDevice for PlainFile {
    fn info(&self) -> DeviceInfo {
        DeviceInfo { len: ByteLen(self.len), read_only: false, preferred_block_len: 4096 }
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, offset).map_err(failed("read"))
    }

    fn write(&self, offset: u64, data: &[u8], flags: WriteFlags) -> Result<()> {
        self.file.write_all_at(data, offset).map_err(failed("write"))?;
        if flags.fua { self.flush() } else { Ok(()) }
    }

    fn flush(&self) -> Result<()> {
        self.file.sync_data().map_err(failed("flush"))
    }

    fn discard(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64, flags: ZeroFlags) -> Result<()> {
        let zeros = vec![0; 1 << 20];
        let mut at = offset;
        while at < offset + len {
            let piece = usize::try_from(offset + len - at).unwrap_or(zeros.len()).min(zeros.len());
            self.write(at, zeros.get(..piece).unwrap_or_default(), WriteFlags::default())?;
            at += piece as u64;
        }
        if flags.fua { self.flush() } else { Ok(()) }
    }

    fn extents(&self, offset: u64, len: u64, _max_extents: usize) -> Result<Vec<Extent>> {
        Ok(vec![Extent { offset, len, kind: ExtentKind::Data }])
    }

    fn prefetch(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }
}
