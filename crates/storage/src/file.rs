//! The default backend: a regular file, read and written at positions, locked against other
//! openers. Beside it, what a crash-safe caller needs of a directory: atomic replacement and
//! syncing of names.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Advice, FallocateFlags};
use rustix::io::{Errno, ReadWriteFlags};
use sealvol_core::{Error, ErrorKind, Result};

use crate::Storage;

/// Linux takes at most this many slices in one `pwritev` (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// Zeros are written in pieces of this size. They leave page cache folios as long as themselves
/// behind. ext4 looks at every block of a folio when it changes one, and a look-up takes longer
/// among many short ones: 8 KiB appends and 4 KiB random reads take 4.7 and 1.3 us with 1 MiB, 2.8
/// and 1.4 us with 256 KiB, 2.8 and 1.8 us with 64 KiB.
const ZEROS_LEN: usize = 256 << 10;
static ZEROS: [u8; ZEROS_LEN] = [0; ZEROS_LEN];

/// How a file is opened, hence locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenMode {
    /// Under a shared lock: many readers, no writer.
    ReadOnly,
    /// Under an exclusive lock: no other opener.
    ReadWrite,
}

/// A regular file, locked (`flock`) for as long as it is open.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    path: PathBuf,
}

impl FileStorage {
    /// Opens an existing file and locks it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`]; [`ErrorKind::Invalid`] when it is not a
    /// regular file; [`ErrorKind::Conflict`] when another process has it open.
    pub fn open(path: impl Into<PathBuf>, mode: OpenMode) -> Result<Self> {
        let path = path.into();
        // Before opening: opening a pipe or a device can wait, or do something.
        let found = std::fs::metadata(&path).map_err(|e| open_error(&path, e))?;
        check_regular(&path, &found)?;
        let file = OpenOptions::new()
            .read(true)
            .write(mode == OpenMode::ReadWrite)
            .open(&path)
            .map_err(|e| open_error(&path, e))?;
        // After opening: the name may mean another file by now.
        check_regular(&path, &file.metadata().map_err(|e| open_error(&path, e))?)?;
        lock(&file, &path, mode)?;
        Ok(Self { file, path })
    }

    /// Creates a file that only its owner may read and write, and locks it for writing. Its name is
    /// durable only after [`sync_parent_dir`] or [`rename_new`](Self::rename_new).
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the name exists; [`ErrorKind::NotFound`] when the directory does
    /// not; [`ErrorKind::Denied`], [`ErrorKind::NoSpace`], [`ErrorKind::Io`].
    pub fn create_new(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let file = create_private(&path).map_err(|e| {
            if e.kind() == io::ErrorKind::AlreadyExists {
                let context = format!("{}: it exists already", path.display());
                Error::new(ErrorKind::Conflict, "create file", context).with_source(e)
            } else {
                Error::io("create file", path.display().to_string(), e)
            }
        })?;
        lock(&file, &path, OpenMode::ReadWrite)?;
        Ok(Self { file, path })
    }

    /// Syncs the file and gives it its final name, which must not exist yet: the last step of a
    /// crash-safe creation. The lock stays.
    ///
    /// # Durability
    /// On success content and name survive power loss.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the name exists; [`ErrorKind::Io`] on failure.
    pub fn rename_new(self, to: impl Into<PathBuf>) -> Result<Self> {
        let to = to.into();
        let fail = |e: io::Error| {
            let context = format!("{} to {}", self.path.display(), to.display());
            if e.kind() == io::ErrorKind::AlreadyExists {
                let context = format!("{context}: it exists already");
                return Error::new(ErrorKind::Conflict, "rename file", context).with_source(e);
            }
            Error::io("rename file", context, e)
        };
        self.file.sync_all().map_err(fail)?;
        rename_without_replacing(&self.path, &to).map_err(fail)?;
        sync_parent_dir(&to)?;
        Ok(Self { file: self.file, path: to })
    }

    /// The path that the file was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    fn error(&self, op: &'static str, offset: u64, len: u64, source: io::Error) -> Error {
        let context = format!("{}: offset {offset}, {len} bytes", self.path.display());
        // Within an open file only space has a meaning of its own: the rest is the disk failing.
        let error = Error::io(op, context, source);
        match error.kind() {
            ErrorKind::NoSpace | ErrorKind::Io => error,
            _ => Error::new(ErrorKind::Io, op, error.context().to_owned()).with_source(error),
        }
    }

    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut at = offset;
        let mut left = len;
        while left > 0 {
            let piece = usize::try_from(left).map_or(ZEROS_LEN, |left| left.min(ZEROS_LEN));
            self.file.write_all_at(ZEROS.get(..piece).unwrap_or(&ZEROS), at)?;
            at += piece as u64;
            left -= piece as u64;
        }
        Ok(())
    }
}

impl Storage for FileStorage {
    fn len(&self) -> Result<u64> {
        let found = self.file.metadata();
        Ok(found.map_err(|e| self.error("examine file", 0, 0, e))?.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(buf, offset)
            .map_err(|e| self.error("read file", offset, buf.len() as u64, e))
    }

    fn read_vectored_at(&self, offset: u64, slices: &mut [IoSliceMut<'_>]) -> Result<()> {
        let len = slices.iter().map(|slice| slice.len()).sum::<usize>();
        match rustix::io::preadv(&self.file, &mut *slices, offset) {
            Ok(count) if count == len => Ok(()),
            // Cut short or interrupted, which is rare: slice by slice.
            Ok(_) | Err(Errno::INTR) => {
                let mut at = offset;
                for slice in slices {
                    self.read_at(at, slice)?;
                    at += slice.len() as u64;
                }
                Ok(())
            }
            Err(e) => Err(self.error("read file", offset, len as u64, e.into())),
        }
    }

    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        let len = buf.len();
        let target = &mut [IoSliceMut::new(buf)];
        match rustix::io::preadv2(&self.file, target, offset, ReadWriteFlags::NOWAIT) {
            // Short: the rest is not in memory, or past the end, which the blocking read reports.
            Ok(count) => Ok(count == len),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            // The file system cannot tell.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
            Err(e) => Err(self.error("read file", offset, len as u64, e.into())),
        }
    }

    fn write_at(&self, offset: u64, data: &[IoSlice<'_>]) -> Result<()> {
        write_all_vectored_at(offset, data, |at, slices| {
            rustix::io::pwritev(&self.file, slices, at).map_err(io::Error::from)
        })
        .map_err(|e| {
            let len = data.iter().map(|slice| slice.len() as u64).sum();
            self.error("write file", offset, len, e)
        })
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| {
            // Whatever the cause, what is durable is unknown now: this is no "free some space".
            let context = format!("{}: fdatasync", self.path.display());
            Error::new(ErrorKind::Io, "sync file", context).with_source(e)
        })
    }

    fn allocate(&self, offset: u64, len: u64, prewrite: bool) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let len_before = self.len()?;
        let outcome = loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, len) {
                Ok(()) if prewrite => break self.write_zeros(offset, len),
                Ok(()) => break Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => break self.write_zeros(offset, len),
                Err(e) => break Err(e.into()),
            }
        };
        outcome.map_err(|e| {
            // A host that ran out half-way keeps what it had reserved. Give back what lies past the
            // old end, so that a refused request does not fill the host.
            let kept = offset.max(len_before);
            let given_back = self.punch(kept, offset.saturating_add(len).saturating_sub(kept));
            let error = self.error("allocate file", offset, len, e);
            match given_back {
                Ok(()) => error,
                Err(punch) => Error::new(
                    error.kind(),
                    error.op(),
                    format!("{} (and space was kept: {punch})", error.context()),
                )
                .with_source(error),
            }
        })
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        loop {
            match rustix::fs::fallocate(&self.file, flags, offset, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
                Err(e) => return Err(self.error("punch file", offset, len, e.into())),
            }
        }
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        if len > 0 {
            crate::writeback::start(&self.file, offset, len);
        }
    }

    fn prefetch(&self, offset: u64, len: u64) {
        if let Some(len) = std::num::NonZeroU64::new(len) {
            // A hint: a failure means that nothing is read ahead.
            let _outcome = rustix::fs::fadvise(&self.file, offset, Some(len), Advice::WillNeed);
        }
    }
}

/// Writes every slice, by as many calls of `write` (a `pwritev`) as it takes.
fn write_all_vectored_at(
    offset: u64,
    data: &[IoSlice<'_>],
    mut write: impl FnMut(u64, &[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<()> {
    let mut at = offset;
    let mut rest = data;
    // Bytes of the first slice of `rest` that are written already.
    let mut done = 0;
    loop {
        while let Some((first, tail)) = rest.split_first() {
            if first.len() > done {
                break;
            }
            done -= first.len();
            rest = tail;
        }
        let Some(first) = rest.first() else { return Ok(()) };
        let outcome = match first.get(done..) {
            Some(remainder) if done > 0 => write(at, &[IoSlice::new(remainder)]),
            _ => write(at, rest.get(..SLICES_MAX).unwrap_or(rest)),
        };
        match outcome {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                done += count;
                at += count as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn open_error(path: &Path, source: io::Error) -> Error {
    Error::io("open file", path.display().to_string(), source)
}

fn check_regular(path: &Path, found: &std::fs::Metadata) -> Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let what = if found.is_dir() { "a directory" } else { "a device, pipe or socket" };
    let context = format!("{}: it is {what}; give the path of a regular file", path.display());
    Err(Error::new(ErrorKind::Invalid, "open file", context))
}

fn lock(file: &File, path: &Path, mode: OpenMode) -> Result<()> {
    let outcome = match mode {
        OpenMode::ReadOnly => file.try_lock_shared(),
        OpenMode::ReadWrite => file.try_lock(),
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Conflict,
            "lock file",
            format!("{}: another process has the volume open", path.display()),
        )),
        Err(TryLockError::Error(e)) => Err(Error::io("lock file", path.display().to_string(), e)),
    }
}

/// Creates a file with permissions 0600. Fails if it exists.
fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags) {
        Ok(()) => Ok(()),
        // A file system without the flag: a hard link refuses an existing name, too.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        Err(e) => Err(e.into()),
    }
}

/// Replaces the content of `path`, or creates it (permissions 0600), so that after a crash it holds
/// either the old or the new bytes in full.
///
/// # Durability
/// On success the new content survives power loss.
///
/// # Errors
/// [`ErrorKind::NotFound`] when the directory does not exist; [`ErrorKind::Denied`],
/// [`ErrorKind::NoSpace`], [`ErrorKind::Io`]. `path` then holds its old content, unless the error
/// came from syncing the directory: then it holds the new, which a power loss may undo.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |e: io::Error| Error::io("replace file", path.display().to_string(), e);
    let name = path.file_name().ok_or_else(|| {
        let context = format!("{}: it does not end in a file name", path.display());
        Error::new(ErrorKind::Invalid, "replace file", context)
    })?;
    let (mut file, temporary) = loop {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        hidden.push(format!(".{}-{number}.tmp", std::process::id()));
        let temporary = path.with_file_name(hidden);
        match create_private(&temporary) {
            Ok(file) => break (file, temporary),
            // Left behind by a crashed process that had our number.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(fail(e)),
        }
    };
    let outcome = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path));
    if let Err(e) = outcome {
        // Best effort: the error that matters is the first one.
        let _removed = std::fs::remove_file(&temporary);
        return Err(fail(e));
    }
    sync_parent_dir(path)
}

/// Makes the names in `path`'s directory durable: to call after creating, renaming or removing
/// `path`.
///
/// # Errors
/// [`ErrorKind::Io`] on failure.
pub fn sync_parent_dir(path: &Path) -> Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| Error::io("sync directory", dir.display().to_string(), e))
}

/// The kernel's boot id, which changes with every start of the machine. `None` where there is none.
#[must_use]
pub fn boot_id() -> Option<[u8; 16]> {
    parse_boot_id(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?)
}

fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u32> =
        text.trim().chars().filter(|c| *c != '-').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Vec<u8> = pairs
        .iter()
        .map(|[high, low]| u8::try_from(high << 4 | low).ok())
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn conforms() {
        let dir = tempfile::tempdir().unwrap();
        let count = Cell::new(0);
        crate::conformance::run(|| {
            count.set(count.get() + 1);
            Box::new(FileStorage::create_new(dir.path().join(count.get().to_string())).unwrap())
        });
    }

    #[test]
    fn a_shared_handle_conforms() {
        let dir = tempfile::tempdir().unwrap();
        let count = Cell::new(0);
        crate::conformance::run(|| {
            count.set(count.get() + 1);
            let path = dir.path().join(count.get().to_string());
            Box::new(std::sync::Arc::new(FileStorage::create_new(path).unwrap()))
        });
    }

    #[test]
    fn a_second_opener_is_refused_until_the_first_closes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volume");
        let first = FileStorage::create_new(&path).unwrap();
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            let error = FileStorage::open(&path, mode).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
            assert!(error.to_string().contains("another process has the volume open"), "{error}");
        }
        drop(first);
        let reader = FileStorage::open(&path, OpenMode::ReadOnly).unwrap();
        let second_reader = FileStorage::open(&path, OpenMode::ReadOnly).unwrap();
        let error = FileStorage::open(&path, OpenMode::ReadWrite).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        drop((reader, second_reader));
        FileStorage::open(&path, OpenMode::ReadWrite).unwrap();
    }

    #[test]
    fn a_read_only_file_refuses_writes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volume");
        FileStorage::create_new(&path).unwrap().write_at(0, &[IoSlice::new(b"data")]).unwrap();
        let file = FileStorage::open(&path, OpenMode::ReadOnly).unwrap();
        assert_eq!(file.write_at(0, &[IoSlice::new(b"lost")]).unwrap_err().kind(), ErrorKind::Io);
        let mut buf = [0; 4];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(&buf, b"data");
    }

    #[test]
    fn only_regular_files_are_opened_and_only_new_ones_created() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            let error = FileStorage::open(dir.path(), mode).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("a directory"), "{error}");
            let error = FileStorage::open("/dev/null", mode).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let error = FileStorage::open(dir.path().join("none"), mode).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        let path = dir.path().join("volume");
        let file = FileStorage::create_new(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert_eq!(FileStorage::create_new(&path).unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[test]
    fn renaming_keeps_the_lock_and_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let (temporary, path) = (dir.path().join("tmp"), dir.path().join("volume"));
        let file = FileStorage::create_new(&temporary).unwrap().rename_new(&path).unwrap();
        assert_eq!(file.path(), path);
        assert!(!temporary.exists());
        let error = FileStorage::open(&path, OpenMode::ReadWrite).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let error = FileStorage::create_new(&temporary).unwrap().rename_new(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }

    /// `/dev/full` answers every write with ENOSPC; opening it is refused, so it is built here.
    #[test]
    fn a_full_disk_is_no_space() {
        let file = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let full = FileStorage { file, path: "/dev/full".into() };
        let error = full.write_at(4096, &[IoSlice::new(&[1; 512])]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.to_string().contains("/dev/full: offset 4096, 512 bytes"), "{error}");
    }

    /// A size-limited tmpfs refuses an allocation beyond its size at once, without filling memory.
    #[test]
    fn an_allocation_beyond_the_host_is_no_space() {
        let Ok(found) = rustix::fs::statfs("/dev/shm") else { return };
        let limit = found.f_blocks.saturating_mul(u64::try_from(found.f_bsize).unwrap_or(0));
        const TMPFS_MAGIC: u64 = 0x0102_1994;
        if u64::try_from(found.f_type) != Ok(TMPFS_MAGIC) || limit == 0 || limit > 1 << 45 {
            return; // Not a limited tmpfs: nowhere to run out without filling a real disk.
        }
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = FileStorage::create_new(dir.path().join("volume")).unwrap();
        file.write_at(0, &[IoSlice::new(&[7; 4096])]).unwrap();
        let error = file.allocate(0, limit + (1 << 30), true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        let mut buf = [0; 4096];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(buf, [7; 4096]);
    }

    #[test]
    fn short_writes_are_continued() {
        let data: Vec<u8> =
            (0..5000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        for step in [1, 7, 512, 1000, 4999, 5000] {
            let mut slices: Vec<IoSlice<'_>> = data.chunks(3).map(IoSlice::new).collect();
            slices.insert(5, IoSlice::new(&[]));
            let mut written = Vec::new();
            let mut calls = 0;
            write_all_vectored_at(100, &slices, |at, slices| {
                calls += 1;
                if calls % 3 == 0 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                assert_eq!(at, 100 + written.len() as u64);
                assert!(slices.len() <= SLICES_MAX);
                let all = slices.iter().flat_map(|slice| slice.iter().copied());
                let before = written.len();
                written.extend(all.take(step));
                Ok(written.len() - before)
            })
            .unwrap();
            assert!(written == data, "{step} bytes a call");
        }
        let stuck = write_all_vectored_at(0, &[IoSlice::new(b"x")], |_, _| Ok(0)).unwrap_err();
        assert_eq!(stuck.kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn pages_not_in_memory_would_wait() {
        let dir = tempfile::tempdir().unwrap();
        let file = FileStorage::create_new(dir.path().join("volume")).unwrap();
        let mut buf = [0; 4096];
        assert!(!file.read_at_nowait(0, &mut buf).unwrap_or(false));
        file.write_at(0, &[IoSlice::new(&[3; 4096])]).unwrap();
        // Just written, hence cached; a file system without RWF_NOWAIT may still say no.
        if file.read_at_nowait(0, &mut buf).unwrap() {
            assert_eq!(buf, [3; 4096]);
        }
    }

    #[test]
    fn replacing_is_all_or_nothing_and_leaves_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings");
        replace_file(&path, b"one").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        replace_file(&path, b"a longer second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a longer second");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

        // It cannot replace a directory: the old stays and the temporary file goes.
        let blocked = dir.path().join("blocked");
        std::fs::create_dir(&blocked).unwrap();
        replace_file(&blocked, b"x").unwrap_err();
        assert!(blocked.is_dir());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);

        let error = replace_file(&dir.path().join("none/file"), b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(replace_file(Path::new("/"), b"x").unwrap_err().kind(), ErrorKind::Invalid);
    }

    /// A reader beside many replacements sees one whole version at every moment.
    #[test]
    fn readers_never_see_a_half_replaced_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings");
        replace_file(&path, &[0; 10_000]).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 1..30_u8 {
                    replace_file(&path, &vec![round; 10_000 + usize::from(round)]).unwrap();
                }
            });
            while !writer.is_finished() {
                let seen = std::fs::read(&path).unwrap();
                assert!(seen.iter().all(|b| *b == seen[0]));
                assert_eq!(seen.len(), 10_000 + usize::from(seen[0]));
            }
        });
    }

    #[test]
    fn boot_ids_parse() {
        let text = "00112233-4455-6677-8899-aabbccddeeff\n";
        let bytes = parse_boot_id(text).unwrap();
        assert_eq!(bytes[..4], [0x00, 0x11, 0x22, 0x33]);
        assert_eq!(bytes[15], 0xff);
        assert_eq!(parse_boot_id("0011"), None);
        assert_eq!(parse_boot_id("not a boot id"), None);
        assert_eq!(boot_id(), boot_id());
    }
}
