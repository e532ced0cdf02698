//! The lock that orders the changes of all processes: `flock(2)` on the file `lock`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{fstat, stat};

use super::files::open_private;

/// The lock file.
#[derive(Debug)]
pub(super) struct StoreLock {
    path: PathBuf,
    file: Arc<File>,
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    file: Arc<File>,
}

impl StoreLock {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: Arc::new(open_private(path)?) })
    }

    /// Waits for the lock. Holders keep it for one change or one reload, so there is no time limit.
    pub(super) fn acquire(&mut self) -> io::Result<Held> {
        loop {
            match self.file.lock() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                locked => locked?,
            }
            let held = Held { file: Arc::clone(&self.file) };
            // Someone may have deleted the file, believing it stale. A lock on a file that others
            // no longer open excludes nobody.
            let (ours, current) = (fstat(&*self.file)?, stat(&self.path));
            match current {
                Ok(current) if (current.st_dev, current.st_ino) == (ours.st_dev, ours.st_ino) => {
                    return Ok(held);
                }
                Ok(_) | Err(rustix::io::Errno::NOENT) => {
                    self.file = Arc::new(open_private(&self.path)?);
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            // Closing the file, when the process ends, unlocks as well.
            tracing::error!(%error, "cannot unlock the KMS store");
        }
    }
}
