//! The block device every export serves and every engine implements, and a plain in-memory one.

use std::sync::RwLock;

use crate::error::{Error, ErrorKind, Result};
use crate::units::{BLOCK_LEN, ByteLen};

/// Bytes in the smallest addressable unit. Requests are multiples of it, in offset and in length.
pub const SECTOR_LEN: u64 = 512;

/// What a device is: fixed while it is open, except that `len` may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Size of the device.
    pub len: ByteLen,
    /// Whether writes, discards and zeroes are refused with [`ErrorKind::Denied`].
    pub read_only: bool,
    /// The request size that is served without read-modify-write.
    pub preferred_block_len: u32,
}

/// How a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteFlags {
    /// Force unit access: success means the data survives power loss.
    pub fua: bool,
}

/// How zeroes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZeroFlags {
    /// Force unit access: success means the zeroes survive power loss.
    pub fua: bool,
    /// The range must stay allocated (NBD `NO_HOLE`): it must not fail later for lack of space.
    pub keep_allocated: bool,
}

/// One write of a batch.
#[derive(Debug, Clone, Copy)]
pub struct WriteRequest<'a> {
    /// Byte offset, a multiple of [`SECTOR_LEN`].
    pub offset: u64,
    /// The bytes, a multiple of [`SECTOR_LEN`] long.
    pub data: &'a [u8],
    /// How it is acknowledged.
    pub flags: WriteFlags,
}

/// Whether a request was served without waiting for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hot {
    /// Served.
    Done,
    /// Not touched: the data is not in memory; call the blocking form from a thread that may wait.
    WouldBlock,
}

/// What a range of the device holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    /// Stored data.
    Data,
    /// Reads as zeros and holds no space.
    Hole,
    /// Reads as zeros and holds space.
    Zero,
}

/// A run of bytes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Byte offset of the run.
    pub offset: u64,
    /// Length in bytes, never zero.
    pub len: u64,
    /// What the run holds.
    pub kind: ExtentKind,
}

/// A random-access block device.
///
/// Offsets and lengths are bytes and multiples of [`SECTOR_LEN`]. Every method may be called from
/// many threads at once. Concurrent overlapping writes leave each 512-byte sector as one of them.
///
/// # Durability
/// A write that returned survives the death of this process. A [`flush`](Self::flush) that
/// returned makes every write that returned before it was called survive power loss.
pub trait BlockDevice: Send + Sync {
    /// The device's size and properties.
    fn info(&self) -> DeviceInfo;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] outside the device or misaligned; [`ErrorKind::Corrupt`] when stored
    /// data does not authenticate, with `buf` zeroed; [`ErrorKind::Io`] when the disk fails.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// As [`read`](Self::read), but returns [`Hot::WouldBlock`] rather than wait for the disk.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_hot(&self, offset: u64, buf: &mut [u8]) -> Result<Hot> {
        self.read(offset, buf).map(|()| Hot::Done)
    }

    /// Writes `data` at `offset`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], [`ErrorKind::Denied`] (read-only), [`ErrorKind::NoSpace`],
    /// [`ErrorKind::Poisoned`], [`ErrorKind::Io`]. After an error each touched sector holds the old
    /// or the new bytes.
    fn write(&self, offset: u64, data: &[u8], flags: WriteFlags) -> Result<()>;

    /// Writes several requests, in order, acknowledged together: cheaper than one by one.
    /// One result per request, in the same order.
    fn write_batch(&self, batch: &[WriteRequest<'_>]) -> Vec<Result<()>> {
        batch.iter().map(|w| self.write(w.offset, w.data, w.flags)).collect()
    }

    /// Makes every write that returned before this call durable.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] once, then [`ErrorKind::Poisoned`]: a failed flush is never retried.
    fn flush(&self) -> Result<()>;

    /// Says that the range is no longer needed; it reads as zeros afterwards.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn discard(&self, offset: u64, len: u64) -> Result<()>;

    /// Makes the range read as zeros.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn write_zeroes(&self, offset: u64, len: u64, flags: ZeroFlags) -> Result<()>;

    /// Lists what `[offset, offset + len)` holds as adjacent runs in ascending order, at most
    /// `max_extents` of them; the caller continues after the last one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] outside the device, or as [`read`](Self::read) for metadata.
    fn extents(&self, offset: u64, len: u64, max_extents: usize) -> Result<Vec<Extent>>;

    /// Asks for the range to be read ahead into memory. Best effort.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] outside the device.
    fn prefetch(&self, offset: u64, len: u64) -> Result<()>;
}

/// Checks a request's range and alignment against the device's size.
///
/// # Errors
/// [`ErrorKind::Invalid`], naming the offset, the length and the limit.
pub(crate) fn check_range(op: &'static str, offset: u64, len: u64, device_len: u64) -> Result<()> {
    if !offset.is_multiple_of(SECTOR_LEN) || !len.is_multiple_of(SECTOR_LEN) {
        return Err(Error::new(
            ErrorKind::Invalid,
            op,
            format!("offset {offset} and length {len} must be multiples of {SECTOR_LEN} bytes"),
        ));
    }
    match offset.checked_add(len) {
        Some(end) if end <= device_len => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            op,
            format!("offset {offset} and length {len} reach past the device's {device_len} bytes"),
        )),
    }
}

impl DeviceInfo {
    /// Checks that a request lies inside the device and is a multiple of [`SECTOR_LEN`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming the offset, the length and the limit.
    pub fn check_range(&self, op: &'static str, offset: u64, len: u64) -> Result<()> {
        check_range(op, offset, len, self.len.0)
    }
}

/// A plaintext device in memory, for tests and for measuring an export by itself.
#[derive(Debug)]
pub struct MemoryDevice {
    bytes: RwLock<Vec<u8>>,
    len: u64,
}

impl MemoryDevice {
    /// A zeroed device of `len` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when `len` is not a multiple of 4096 or does not fit in memory.
    pub fn new(len: ByteLen) -> Result<Self> {
        if len.blocks().is_none() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "create memory device",
                format!("the size {} is not a multiple of 4096", len.0),
            ));
        }
        let size = usize::try_from(len.0).map_err(|e| {
            Error::new(ErrorKind::Invalid, "create memory device", "too large").with_source(e)
        })?;
        Ok(Self { bytes: RwLock::new(vec![0; size]), len: len.0 })
    }

    fn range(&self, op: &'static str, offset: u64, len: u64) -> Result<std::ops::Range<usize>> {
        check_range(op, offset, len, self.len)?;
        let index = |n: u64| {
            usize::try_from(n)
                .map_err(|e| Error::new(ErrorKind::Invalid, op, "too large").with_source(e))
        };
        Ok(index(offset)?..index(offset + len)?)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        f(&mut self.bytes.write().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl BlockDevice for MemoryDevice {
    fn info(&self) -> DeviceInfo {
        DeviceInfo { len: ByteLen(self.len), read_only: false, preferred_block_len: 4096 }
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = self.range("read", offset, buf.len() as u64)?;
        let bytes = self.bytes.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(source) = bytes.get(range) {
            buf.copy_from_slice(source);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8], _flags: WriteFlags) -> Result<()> {
        let range = self.range("write", offset, data.len() as u64)?;
        self.with(|bytes| {
            if let Some(target) = bytes.get_mut(range) {
                target.copy_from_slice(data);
            }
        });
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.write_zeroes(offset, len, ZeroFlags::default())
    }

    fn write_zeroes(&self, offset: u64, len: u64, _flags: ZeroFlags) -> Result<()> {
        let range = self.range("write zeroes", offset, len)?;
        self.with(|bytes| {
            if let Some(target) = bytes.get_mut(range) {
                target.fill(0);
            }
        });
        Ok(())
    }

    fn extents(&self, offset: u64, len: u64, max_extents: usize) -> Result<Vec<Extent>> {
        let range = self.range("list extents", offset, len)?;
        let bytes = self.bytes.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut runs: Vec<Extent> = Vec::new();
        let mut at = offset;
        for block in bytes.get(range).unwrap_or_default().chunks(BLOCK_LEN) {
            let kind =
                if block.iter().all(|b| *b == 0) { ExtentKind::Hole } else { ExtentKind::Data };
            let len = block.len() as u64;
            let full = runs.len() == max_extents;
            match runs.last_mut() {
                Some(last) if last.kind == kind => last.len += len,
                _ if full => break,
                _ => runs.push(Extent { offset: at, len, kind }),
            }
            at += len;
        }
        Ok(runs)
    }

    fn prefetch(&self, offset: u64, len: u64) -> Result<()> {
        check_range("prefetch", offset, len, self.len)
    }
}
