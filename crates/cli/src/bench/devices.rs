//! The two sides: a plain file and a sealed volume, in a directory that goes at the end.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use rustix::fs::Advice;
use sealvol::{
    BlockDevice, ByteLen, Clock as _, DeviceError, DeviceInfo, DeviceResult, Extent, ExtentKind,
    SystemClock, WriteFlags, ZeroFlags,
};

use super::measure::Cancelled;
use super::noise::noise;
use crate::exit::{self, Fail};
use crate::progress::size;

/// A new directory, removed with all it holds when dropped.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one in `dir`, where `need` bytes must be free.
    pub(crate) fn new(dir: &Path, need: u64) -> anyhow::Result<Self> {
        let stat = rustix::fs::statvfs(dir).map_err(std::io::Error::from).with_context(|| {
            format!("cannot use {}; name a directory with --dir", dir.display())
        })?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < need {
            return Err(Fail::error(
                exit::NO_SPACE,
                format!(
                    "{} has {} free and the benchmark needs {}; make room, choose another --dir or \
                     a smaller --size",
                    dir.display(),
                    size(ByteLen(free)),
                    size(ByteLen(need))
                ),
            ));
        }
        let name = format!("sealvol-bench-{}-{}", std::process::id(), SystemClock::new().now().0);
        let path = dir.join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "temporary files were left behind");
        }
    }
}

/// A file without any layer between: pread, pwrite in place, fdatasync.
#[derive(Debug)]
pub(crate) struct PlainFile {
    file: File,
    len: u64,
}

impl PlainFile {
    pub(crate) fn create(path: &Path, len: u64) -> anyhow::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = file.with_context(|| format!("cannot make {}", path.display()))?;
        file.set_len(len).with_context(|| format!("cannot size {}", path.display()))?;
        Ok(Self { file, len })
    }
}

fn failed(op: &'static str) -> impl FnOnce(std::io::Error) -> DeviceError {
    move |e| DeviceError::io(op, "plain file", e)
}

impl BlockDevice for PlainFile {
    fn info(&self) -> DeviceInfo {
        DeviceInfo { len: ByteLen(self.len), read_only: false, preferred_block_len: 4096 }
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> DeviceResult<()> {
        self.file.read_exact_at(buf, offset).map_err(failed("read"))
    }

    fn write(&self, offset: u64, data: &[u8], flags: WriteFlags) -> DeviceResult<()> {
        self.file.write_all_at(data, offset).map_err(failed("write"))?;
        if flags.fua { self.flush() } else { Ok(()) }
    }

    fn flush(&self) -> DeviceResult<()> {
        self.file.sync_data().map_err(failed("flush"))
    }

    fn discard(&self, _offset: u64, _len: u64) -> DeviceResult<()> {
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64, flags: ZeroFlags) -> DeviceResult<()> {
        let zeros = [0; 4096];
        for at in (offset..offset + len).step_by(zeros.len()) {
            let left = usize::try_from(offset + len - at).unwrap_or(zeros.len());
            let piece = zeros.get(..left.min(zeros.len())).unwrap_or_default();
            self.write(at, piece, WriteFlags::default())?;
        }
        if flags.fua { self.flush() } else { Ok(()) }
    }

    fn extents(&self, offset: u64, len: u64, _max_extents: usize) -> DeviceResult<Vec<Extent>> {
        Ok(vec![Extent { offset, len, kind: ExtentKind::Data }])
    }

    fn prefetch(&self, _offset: u64, _len: u64) -> DeviceResult<()> {
        Ok(())
    }
}

/// Writes the device once in full, and flushes: AWS's initialisation.
pub(crate) fn initialise(device: &dyn BlockDevice, cancelled: &AtomicBool) -> anyhow::Result<()> {
    const STEP: usize = 1 << 20;
    let len = device.info().len.0;
    let data = noise(2 * STEP, 42);
    let mut at = 0;
    while at < len {
        if cancelled.load(Ordering::Relaxed) {
            return Err(Cancelled.into());
        }
        let count = usize::try_from(len - at).unwrap_or(STEP).min(STEP);
        let from = usize::try_from((at >> 20) % 256).unwrap_or(0) * 4096;
        let piece = data.get(from..from + count).unwrap_or_default();
        device.write(at, piece, WriteFlags::default()).context("initialise")?;
        at += count as u64;
        if at.is_multiple_of(256 << 20) {
            device.flush().context("initialise")?;
        }
    }
    device.flush().context("initialise")
}

/// Takes a file's pages out of memory. Dirty ones stay: flush first.
pub(crate) fn drop_caches(path: &Path) -> anyhow::Result<()> {
    let fail = || format!("cannot drop the page cache of {}", path.display());
    let file = File::open(path).with_context(fail)?;
    rustix::fs::fdatasync(&file).map_err(std::io::Error::from).with_context(fail)?;
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)
        .map_err(std::io::Error::from)
        .with_context(fail)
}

/// Bytes of the device that hold data: holes read faster than any disk.
pub(crate) fn data_len(device: &dyn BlockDevice, len: u64) -> DeviceResult<u64> {
    let mut at = 0;
    let mut data = 0;
    while at < len {
        let runs = device.extents(at, len - at, 1024)?;
        let Some(last) = runs.last() else { break };
        at = last.offset + last.len;
        data += runs.iter().filter(|run| run.kind == ExtentKind::Data).map(|r| r.len).sum::<u64>();
    }
    Ok(data)
}
