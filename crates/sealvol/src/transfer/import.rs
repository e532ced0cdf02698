//! Plain images into a volume.

use std::fs::{File, TryLockError};
use std::io::Read;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use rustix::fs::{Advice, SeekFrom, seek};
use rustix::io::Errno;
use sealvol_core::{
    BLOCK_LEN_U64, BlockDevice, ByteLen, ErrorKind, ExtentKind, WriteFlags, WriteRequest,
};
use sealvol_envelope::KeyService;
use sealvol_storage::sync_parent_dir;

use super::pipe::{self, Chunk, Drain, Feeder, Gone, Piece};
use crate::error::{Error, Result};
use crate::info::VolumeInfo;
use crate::job::{CHUNK, CHUNK_LEN, Job};
use crate::options::{OpenOptions, VolumeSpec};
use crate::volume::{Litter, Volume, temporary_beside};

const OP: &str = "import";

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// Bytes of the source.
    pub source_len: u64,
    /// Bytes written.
    pub data_len: u64,
    /// Bytes that are zeros or holes and were not written.
    pub zero_len: u64,
    /// Zero bytes added to the source's end to fill its last block.
    pub padding_len: u64,
}

/// A source that was opened and examined.
struct Source {
    file: File,
    /// `None` for a pipe.
    len: Option<u64>,
}

fn open(source: &Path) -> Result<Source> {
    let at = |what: &str| format!("{OP} {}: {what}", source.display());
    let fail = |e: std::io::Error| {
        let advice = match e.kind() {
            std::io::ErrorKind::NotFound => "there is no such file; check the path",
            std::io::ErrorKind::PermissionDenied => "it is not readable; check its permissions",
            _ => "it cannot be read",
        };
        Error::io(at(advice), e)
    };
    let file = File::open(source).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(Error::new(
            ErrorKind::Invalid,
            at("it is a directory; give a raw image file or a block device"),
        ));
    }
    if kind.is_file() {
        // An open volume is locked; so its ciphertext is not imported into itself by mistake.
        if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
            return Err(Error::new(
                ErrorKind::Conflict,
                at("another process has it locked; is it a volume that is open?"),
            ));
        }
        return Ok(Source { len: Some(metadata.len()), file });
    }
    if kind.is_block_device() {
        let len = seek(&file, SeekFrom::End(0)).map_err(|e| fail(e.into()))?;
        return Ok(Source { len: Some(len), file });
    }
    Ok(Source { len: None, file })
}

/// Length of a raw image or block device; `None` for a pipe.
///
/// # Errors
/// `NotFound`, `Denied`, `Invalid` (a directory), `Io`.
pub fn raw_len(source: impl AsRef<Path>) -> Result<Option<ByteLen>> {
    Ok(open(source.as_ref())?.len.map(ByteLen))
}

/// Copies a raw image or block device to the start of `device`, which may be larger: what lies
/// behind the image is not touched.
///
/// Holes and blocks of zeros are not written; where the device holds data at their place, it is
/// discarded. The last block is filled up with zeros if the image ends within it.
///
/// # Durability
/// On success everything is flushed. After an error the device holds a part of the image.
///
/// # Errors
/// `Invalid` when the image is larger than the device; `Retry` when it was cancelled; as
/// [`BlockDevice::write`].
pub fn import_raw(
    source: impl AsRef<Path>,
    device: &dyn BlockDevice,
    job: Job<'_>,
) -> Result<ImportReport> {
    let path = source.as_ref();
    import_source(path, open(path)?, device, job)
}

fn import_source(
    path: &Path,
    source: Source,
    device: &dyn BlockDevice,
    job: Job<'_>,
) -> Result<ImportReport> {
    let Source { mut file, len } = source;
    let Some(len) = len else {
        return import_reader(&mut file, None, device, job);
    };
    check_fits(len, device)?;
    let fail =
        |e: std::io::Error| Error::io(format!("{OP} {}: it cannot be read", path.display()), e);
    let mut report = ImportReport { source_len: len, ..ImportReport::default() };
    // A hint.
    let _outcome = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
    pipe::run(
        |feeder| read_file(&file, len, feeder).map_err(fail),
        |drain| write_device(drain, device, Some(len), job, &mut report),
    )?;
    finish(device, &mut report)
}

/// As [`import_raw`], from a stream. `len` is for progress, if it is known.
///
/// # Errors
/// As [`import_raw`]; a stream that is too long is noticed only when the device is full.
pub fn import_reader(
    reader: &mut (dyn Read + Send),
    len: Option<u64>,
    device: &dyn BlockDevice,
    job: Job<'_>,
) -> Result<ImportReport> {
    if let Some(len) = len {
        check_fits(len, device)?;
    }
    let mut report = ImportReport::default();
    let mut source_len = 0;
    pipe::run(
        |feeder| read_stream(reader, device.info().len.0, feeder, &mut source_len),
        |drain| write_device(drain, device, len, job, &mut report),
    )?;
    report.source_len = source_len;
    finish(device, &mut report)
}

fn finish(device: &dyn BlockDevice, report: &mut ImportReport) -> Result<ImportReport> {
    device.flush()?;
    report.padding_len = report.source_len.next_multiple_of(BLOCK_LEN_U64) - report.source_len;
    Ok(*report)
}

fn check_fits(len: u64, device: &dyn BlockDevice) -> Result<()> {
    let room = device.info().len.0;
    if len.next_multiple_of(BLOCK_LEN_U64) > room {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "{OP}: the image has {len} bytes and the volume {room}; import it into a new \
                 volume, or into one of that size or more"
            ),
        ));
    }
    Ok(())
}

/// Makes a volume at `path` and fills it from a raw image or block device. The volume gets its name
/// only when it is complete.
///
/// A `spec.size` of 0 stands for the size of the source, rounded up to whole blocks. The volume is
/// closed on return.
///
/// # Errors
/// As [`Volume::create`], [`Volume::open`] and [`import_raw`]. Nothing is left behind.
pub async fn import_new(
    source: impl AsRef<Path>,
    path: impl AsRef<Path>,
    mut spec: VolumeSpec,
    options: OpenOptions,
    keys: &dyn KeyService,
    job: Job<'_>,
) -> Result<(VolumeInfo, ImportReport)> {
    let (source, path) = (source.as_ref(), path.as_ref());
    let opened = open(source)?;
    if spec.size == ByteLen(0) {
        let Some(len) = opened.len else {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{OP} {}: a pipe does not tell its size; give one", source.display()),
            ));
        };
        if len == 0 {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{OP} {}: it is empty, and a volume is not; give a size", source.display()),
            ));
        }
        spec.size = ByteLen(len.next_multiple_of(BLOCK_LEN_U64));
    }
    let taken = |e: sealvol_core::Error| Error::at_volume("create volume", path, e);
    if path.symlink_metadata().is_ok() {
        let context = format!("{}: it exists already", path.display());
        return Err(taken(sealvol_core::Error::new(ErrorKind::Conflict, "create file", context)));
    }
    let entropy = std::sync::Arc::clone(&spec.entropy);
    let temporary = temporary_beside(path, &*entropy).map_err(taken)?;
    Volume::create_as(path, &temporary, spec, keys).await?;
    let mut litter = Litter::new(&temporary)?;
    let volume = Volume::open_as(path, &temporary, options, keys).await?;
    let report = import_source(source, opened, &volume, job)?;
    volume.close()?;
    job.check(OP)?;
    publish(&temporary, path).map_err(taken)?;
    litter.keep();
    Ok((VolumeInfo::read(path)?, report))
}

/// Gives a complete file its name, which nothing has.
fn publish(from: &Path, to: &Path) -> sealvol_core::Result<()> {
    let cwd = rustix::fs::CWD;
    let renamed =
        match rustix::fs::renameat_with(cwd, from, cwd, to, rustix::fs::RenameFlags::NOREPLACE) {
            // A file system without the flag: a hard link refuses an existing name, too.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                std::fs::hard_link(from, to).and_then(|()| std::fs::remove_file(from))
            }
            other => other.map_err(std::io::Error::from),
        };
    renamed.map_err(|e| {
        let context = format!("{} to {}", from.display(), to.display());
        if e.kind() == std::io::ErrorKind::AlreadyExists {
            sealvol_core::Error::new(ErrorKind::Conflict, "rename file", context).with_source(e)
        } else {
            sealvol_core::Error::io("rename file", context, e)
        }
    })?;
    sync_parent_dir(to)
}

/// The next run of data at or after `at`, in whole blocks: start and end.
fn next_data(file: &File, at: u64, len: u64) -> std::io::Result<(u64, u64)> {
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        // Nothing but a hole up to the end.
        Err(Errno::NXIO) => return Ok((len, len)),
        // Neither block devices nor every file system can tell.
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::SPIPE | Errno::NOSYS) => return Ok((at, len)),
        Err(e) => return Err(e.into()),
    };
    let end = match seek(file, SeekFrom::Hole(start)) {
        Ok(end) => end,
        Err(_) => len,
    };
    let start = start - start % BLOCK_LEN_U64;
    Ok((start.clamp(at, len), end.next_multiple_of(BLOCK_LEN_U64).clamp(at, len)))
}

fn read_file(file: &File, len: u64, feeder: &Feeder) -> std::io::Result<Result<(), Gone>> {
    let mut at = 0;
    while at < len {
        let (start, end) = next_data(file, at, len)?;
        if start > at {
            let len = start.next_multiple_of(BLOCK_LEN_U64) - at;
            if feeder.send(Piece::Zeros { offset: at, len }).is_err() {
                return Ok(Err(Gone));
            }
        }
        at = start;
        while at < end {
            let count = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let mut bytes = feeder.buffer(count);
            file.read_exact_at(&mut bytes, at)?;
            let read = bytes.len();
            pad(&mut bytes);
            if feeder.send(Piece::Data(Chunk::new(at, bytes))).is_err() {
                return Ok(Err(Gone));
            }
            at += read as u64;
        }
    }
    Ok(Ok(()))
}

/// Fills the last block with zeros.
fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(sealvol_core::BLOCK_LEN), 0);
}

fn read_stream(
    reader: &mut (dyn Read + Send),
    room: u64,
    feeder: &Feeder,
    source_len: &mut u64,
) -> Result<Result<(), Gone>> {
    loop {
        let mut bytes = feeder.buffer(CHUNK);
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match reader.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(format!("{OP}: the source cannot be read"), e)),
            }
        }
        bytes.truncate(filled);
        if filled == 0 {
            return Ok(Ok(()));
        }
        let offset = *source_len;
        *source_len += filled as u64;
        if source_len.next_multiple_of(BLOCK_LEN_U64) > room {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "{OP}: the source has more than the volume's {room} bytes; import it into a \
                     larger volume (what was read so far is in this one)"
                ),
            ));
        }
        pad(&mut bytes);
        if feeder.send(Piece::Data(Chunk::new(offset, bytes))).is_err() {
            return Ok(Err(Gone));
        }
        if filled < CHUNK {
            return Ok(Ok(()));
        }
    }
}

fn write_device(
    drain: &Drain,
    device: &dyn BlockDevice,
    total: Option<u64>,
    job: Job<'_>,
    report: &mut ImportReport,
) -> Result<()> {
    job.report(0, total);
    while let Some(piece) = drain.next() {
        job.check(OP)?;
        let end = match piece {
            Piece::Zeros { offset, len } => {
                report.zero_len += len;
                make_zero(device, offset, len, job)?;
                offset + len
            }
            Piece::Data(chunk) => {
                let batch: Vec<WriteRequest<'_>> = chunk
                    .data()
                    .map(|(offset, data)| WriteRequest {
                        offset,
                        data,
                        flags: WriteFlags::default(),
                    })
                    .collect();
                report.data_len += batch.iter().map(|write| write.data.len() as u64).sum::<u64>();
                for outcome in device.write_batch(&batch) {
                    outcome?;
                }
                for (offset, len) in chunk.zeros() {
                    report.zero_len += len;
                    make_zero(device, offset, len, job)?;
                }
                let end = chunk.offset + chunk.bytes.len() as u64;
                drain.recycle(chunk.bytes);
                end
            }
        };
        job.report(total.map_or(end, |total| end.min(total)), total);
    }
    // A signal that ended the producer of a stream made it look complete.
    job.check(OP)
}

/// Discards what the device holds in a range that shall be zeros.
fn make_zero(device: &dyn BlockDevice, offset: u64, len: u64, job: Job<'_>) -> Result<()> {
    let end = offset + len;
    let mut at = offset;
    while at < end {
        job.check(OP)?;
        let found = device.extents(at, (end - at).min(CHUNK_LEN << 10), 1024)?;
        let Some(last) = found.last() else { break };
        let next = last.offset + last.len;
        for run in found.iter().filter(|run| run.kind == ExtentKind::Data) {
            device.discard(run.offset, run.len)?;
        }
        at = next;
    }
    Ok(())
}
