//! Files of the daemon's directory: the lock, and secrets that are made once and kept.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sealvol_core::Entropy;
use zeroize::Zeroizing;

use crate::exit::{self, Fail};

/// The data directory, held by one daemon.
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is not there, and holds it until it is dropped.
    pub(crate) fn lock(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
        let file = path.join("daemon.lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .with_context(|| format!("cannot open {}", file.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Fail::error(
                exit::CONFLICT,
                format!(
                    "another `sealvol up` runs on {}; end it, or choose another directory with --data",
                    path.display()
                ),
            )),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", file.display()))
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a file that only its owner can read: all of it or none, on disk on return. The caller is the
/// only one who does so in its directory.
pub(crate) fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

/// The 32 random bytes of a file, which is made if it is not there.
pub(crate) fn secret_of(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut secret = Zeroizing::new([0; 32]);
    match std::fs::read(path).map(Zeroizing::new) {
        Ok(bytes) => {
            let fits = <&[u8; 32]>::try_from(bytes.as_slice());
            *secret = *fits.map_err(|_| {
                let text = format!("{} is not a key of 32 bytes; remove it", path.display());
                Fail::error(exit::DAMAGE, text)
            })?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            entropy.fill(&mut *secret).context("no randomness")?;
            write_private(path, &*secret)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    }
    Ok(secret)
}
