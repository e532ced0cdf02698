//! A volume's content into a plain image or block device.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags, SeekFrom, seek};
use rustix::io::Errno;
use sealvol_core::{BlockDevice, ErrorKind, ExtentKind};
use sealvol_storage::sync_parent_dir;

use super::pipe::{self, Chunk, Drain, Feeder, Gone, Piece};
use crate::error::{Error, Result};
use crate::job::{CHUNK, Damage, Found, Job, WINDOW_LEN, list, read_around, unknown};
use crate::volume::Litter;

const OP: &str = "export";

/// How an export treats its target and damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Overwrite a regular file that is not empty.
    pub overwrite: bool,
    /// Go on past unreadable blocks: they become zeros and are listed in the report.
    pub rescue: bool,
}

impl ExportOptions {
    /// Neither overwrites nor passes over damage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether a regular file that is not empty is overwritten.
    #[must_use]
    pub const fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Sets whether unreadable blocks are passed over.
    #[must_use]
    pub const fn rescue(mut self, rescue: bool) -> Self {
        self.rescue = rescue;
        self
    }
}

/// What an export did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
#[non_exhaustive]
pub struct ExportReport {
    /// Bytes of the device.
    pub len: u64,
    /// Bytes written.
    pub data_len: u64,
    /// Bytes that are zeros and became holes.
    pub zero_len: u64,
    /// What was unreadable and became zeros.
    pub damage: Vec<Damage>,
}

/// Copies all of `device` to a file, which is made (mode 0600) or overwritten, or to a block device
/// at least as large. Holes and blocks of zeros become holes; on a block device they are zeroed.
///
/// # Durability
/// On success the copy is synced. After an error a file that was made here is removed.
///
/// # Errors
/// `Conflict` for a file that is not empty, unless it may be overwritten, or that is in use;
/// `Invalid` for a block device that is too small; `Corrupt` for an unreadable block, unless they
/// are passed over; `NoSpace`, `Io`; `Retry` when it was cancelled.
pub fn export_raw(
    device: &dyn BlockDevice,
    target: impl AsRef<Path>,
    options: ExportOptions,
    job: Job<'_>,
) -> Result<ExportReport> {
    let len = device.info().len.0;
    let mut target = Target::open(target.as_ref(), len, options)?;
    let mut report = ExportReport { len, ..ExportReport::default() };
    let mut damage = Vec::new();
    pipe::run(
        |feeder| read_device(device, len, options, feeder, &mut damage),
        |drain| write_target(drain, &target, len, job, &mut report),
    )?;
    target.finish()?;
    report.damage = damage;
    Ok(report)
}

struct Target {
    file: File,
    path: PathBuf,
    /// Whether what is not written reads as zeros.
    blank: bool,
    /// Whether the file was made here; removed unless finished.
    made: Option<Litter>,
}

impl Target {
    fn open(path: &Path, len: u64, options: ExportOptions) -> Result<Self> {
        let at = |what: &str| format!("{OP} to {}: {what}", path.display());
        let fail = |e: std::io::Error| {
            let what = match e.kind() {
                std::io::ErrorKind::NotFound => "the directory does not exist; make it first",
                std::io::ErrorKind::PermissionDenied => "it is not writable; check permissions",
                std::io::ErrorKind::ResourceBusy => "it is mounted or in use; free it first",
                _ => "it cannot be written",
            };
            Error::io(at(what), e)
        };
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(fail)?;
                let made = Some(Litter::new(path)?);
                let target = Self { file, path: path.to_owned(), blank: true, made };
                target.file.set_len(len).map_err(|e| target.failed(e))?;
                return Ok(target);
            }
            Err(e) => return Err(fail(e)),
        };
        let kind = metadata.file_type();
        if kind.is_file() {
            if metadata.len() > 0 && !options.overwrite {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    at("it exists and is not empty; give another path, or --force to overwrite it"),
                ));
            }
            let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
            // An open volume is locked; so it is not overwritten with its own content.
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                let text = at("another process has it locked; is it a volume that is open?");
                return Err(Error::new(ErrorKind::Conflict, text));
            }
            let target = Self { file, path: path.to_owned(), blank: true, made: None };
            target.file.set_len(0).map_err(|e| target.failed(e))?;
            target.file.set_len(len).map_err(|e| target.failed(e))?;
            return Ok(target);
        }
        if !kind.is_block_device() {
            return Err(Error::new(
                ErrorKind::Invalid,
                at("it is neither a regular file nor a block device"),
            ));
        }
        // O_EXCL on a block device: refused while it is mounted.
        let flags = i32::try_from(OFlags::EXCL.bits()).unwrap_or(0);
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path).map_err(fail)?;
        let room = seek(&file, SeekFrom::End(0)).map_err(|e| fail(e.into()))?;
        if room < len {
            return Err(Error::new(
                ErrorKind::Invalid,
                at(&format!("the device has {room} bytes and the volume {len}; use a larger one")),
            ));
        }
        Ok(Self { file, path: path.to_owned(), blank: false, made: None })
    }

    fn failed(&self, e: std::io::Error) -> Error {
        let text = match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                "there is no space left; free some, or choose another place"
            }
            std::io::ErrorKind::FileTooLarge => {
                "the file would be larger than the file system or `ulimit -f` allows; choose \
                 another place"
            }
            _ => "writing failed",
        };
        Error::io(format!("{OP} to {}: {text}", self.path.display()), e)
    }

    fn zero(&self, offset: u64, len: u64) -> Result<()> {
        if self.blank || len == 0 {
            return Ok(());
        }
        for flags in [FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE] {
            let flags = flags | FallocateFlags::KEEP_SIZE;
            match rustix::fs::fallocate(&self.file, flags, offset, len) {
                Ok(()) => return Ok(()),
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NODEV) => {}
                Err(e) => return Err(self.failed(e.into())),
            }
        }
        let zeros = vec![0; CHUNK];
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let count = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let part = zeros.get(..count).unwrap_or(&zeros);
            self.file.write_all_at(part, at).map_err(|e| self.failed(e))?;
            at += count as u64;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.file.sync_all().map_err(|e| self.failed(e))?;
        if let Some(made) = &mut self.made {
            sync_parent_dir(&self.path)?;
            made.keep();
        }
        Ok(())
    }
}

fn read_device(
    device: &dyn BlockDevice,
    len: u64,
    options: ExportOptions,
    feeder: &Feeder,
    damage: &mut Vec<Damage>,
) -> Result<Result<(), Gone>> {
    let unreadable = |source: sealvol_core::Error| {
        Error::around(
            format!(
                "{OP}: a part of the volume cannot be read; `sealvol volume verify` lists all of \
                 them, and --rescue exports the rest"
            ),
            source,
        )
    };
    let mut window = 0;
    while window < len {
        let mut found = Vec::new();
        list(device, window, WINDOW_LEN.min(len - window), &mut found);
        window += WINDOW_LEN;
        for part in found {
            let run = match part {
                Found::Run(run) => run,
                Found::Unknown { error, .. } if !options.rescue => return Err(unreadable(error)),
                Found::Unknown { offset, len, error } => {
                    damage.push(unknown(offset, len, &error));
                    if feeder.send(Piece::Zeros { offset, len }).is_err() {
                        return Ok(Err(Gone));
                    }
                    continue;
                }
            };
            if run.kind != ExtentKind::Data {
                if feeder.send(Piece::Zeros { offset: run.offset, len: run.len }).is_err() {
                    return Ok(Err(Gone));
                }
                continue;
            }
            let mut at = run.offset;
            let end = run.offset + run.len;
            while at < end {
                let count = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
                let mut bytes = feeder.buffer(count);
                if options.rescue {
                    read_around(device, at, &mut bytes, |found| damage.push(found));
                } else {
                    device.read(at, &mut bytes).map_err(unreadable)?;
                }
                if feeder.send(Piece::Data(Chunk::new(at, bytes))).is_err() {
                    return Ok(Err(Gone));
                }
                at += count as u64;
            }
        }
    }
    Ok(Ok(()))
}

fn write_target(
    drain: &Drain,
    target: &Target,
    total: u64,
    job: Job<'_>,
    report: &mut ExportReport,
) -> Result<()> {
    job.report(0, Some(total));
    while let Some(piece) = drain.next() {
        job.check(OP)?;
        let end = match piece {
            Piece::Zeros { offset, len } => {
                report.zero_len += len;
                target.zero(offset, len)?;
                offset + len
            }
            Piece::Data(chunk) => {
                for (offset, data) in chunk.data() {
                    report.data_len += data.len() as u64;
                    target.file.write_all_at(data, offset).map_err(|e| target.failed(e))?;
                }
                for (offset, len) in chunk.zeros() {
                    report.zero_len += len;
                    target.zero(offset, len)?;
                }
                let end = chunk.offset + chunk.bytes.len() as u64;
                drain.recycle(chunk.bytes);
                end
            }
        };
        job.report(end, Some(total));
    }
    Ok(())
}
