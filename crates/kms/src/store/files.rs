//! The few file operations of a store: private files, atomic replacement, bounded reads.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

/// Longest file that is read: far above any store (50,000 grants take about 20 MiB).
const READ_LEN_MAX: u64 = 4 << 30;

/// Makes a directory that only its owner may enter, with its parents.
pub(super) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens for reading and writing; makes the file, with mode 0600, if it is not there.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Writes `bytes` to a new file with mode 0600 and syncs it. What was there under the name is gone.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// Reads a file from `from` to its end.
pub(super) fn read_from(file: &File, from: u64) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len().saturating_sub(from);
    if len > READ_LEN_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 4 GiB"));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

/// Reads at most `N + 1` bytes from the start of a small file: one more than it should have shows
/// that it is too long. The buffer never grows, so that zeroising it zeroises every copy.
pub(super) fn read_small<const N: usize>(file: &File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; N + 1]);
    let mut len = 0;
    while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, u64::try_from(len).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}
