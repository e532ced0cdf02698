//! An open store in a directory: following other processes' changes, appending our own.
//!
//! # Several processes
//! Every change and every reload happens under the exclusive lock. Between them a process works
//! from memory, and before each operation compares the [`Stamp`] of the file (one `fstatat`) with
//! that of what it has in memory. A stamp cannot come back with other content: the file grows only
//! by whole records, a torn tail is cut off before anything is read past it, and a replaced file
//! has another inode, because the old one stays open here.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, fstat, statat};
use sealvol_core::Entropy;

use super::acknowledged::{ACKNOWLEDGED_LEN, Acknowledged};
use super::error::{Damage, OpenError};
use super::files::{make_private_dir, open_private, read_from, read_small, write_synced};
use super::header::{StoreHeader, VERSION};
use super::image::{StoreImage, acknowledged_len, decode_store, seal_store};
use super::journal::Chain;
use super::lock::{Held, StoreLock};
use super::place::{NewRoot, Place, ROOT_KEY, ROOT_KEY_NEXT, committed_root_key, io_error};
use super::root_key::{RootKey, RootKeyKind, RootKeySource};
use crate::settings::{Argon2Settings, KmsSettings};
use crate::state::{Change, State, encode_change};

pub(super) const STORE: &str = "store";
pub(super) const STORE_NEW: &str = "store.new";
const LOCK: &str = "lock";
pub(super) const ACKNOWLEDGED: &str = "acknowledged";

/// Which file the store is and how long: what tells whether it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
}

impl From<rustix::fs::Stat> for Stamp {
    fn from(stat: rustix::fs::Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            len: u64::try_from(stat.st_size).unwrap_or_default(),
        }
    }
}

/// Reads the store's current stamp, without a lock.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    dir: Arc<File>,
}

impl Prober {
    pub(crate) fn stamp(&self) -> io::Result<Stamp> {
        Ok(statat(&*self.dir, STORE, AtFlags::empty())?.into())
    }
}

/// A store that was opened and now fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFault {
    #[error("the KMS store is damaged")]
    Damage(#[from] Damage),
    #[error("the KMS store cannot be read or written")]
    Io(#[from] io::Error),
    #[error("another process changed the KMS's root key: open it again, with the new one")]
    Rotated,
    #[error("the change could not be sealed")]
    Seal(#[from] sealvol_core::Error),
    #[error(
        "an earlier write to the KMS store failed, so that no more changes are taken: open it again"
    )]
    FailStop,
}

/// The store, locked or not.
#[derive(Debug)]
pub(crate) struct DirStore {
    path: PathBuf,
    dir: Arc<File>,
    lock: StoreLock,
    note: File,
    root: RootKey,
    journal_len_min: u64,
    file: File,
    header: StoreHeader,
    chain: Chain,
    stamp: Stamp,
    /// A write failed: what is on disk is not known, so nothing more is promised.
    fail_stop: bool,
    /// Journal length at which the next compaction is tried.
    compact_at: u64,
    #[cfg(test)]
    pub(crate) fail_next: Option<TestFault>,
}

/// What fails next, for tests of the fail-stop rule.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestFault {
    Write,
    Sync,
    Compaction,
}

impl DirStore {
    /// Opens the store in `path`, or makes one if nothing of one is there.
    pub(crate) fn open(
        path: &Path,
        source: &RootKeySource,
        settings: &KmsSettings,
        entropy: &dyn Entropy,
    ) -> Result<(Self, State), OpenError> {
        if let RootKeySource::Passphrase(passphrase) = source
            && passphrase.is_empty()
        {
            return Err(OpenError::EmptyPassphrase);
        }
        make_private_dir(path).map_err(io_error("make", path))?;
        // Absolute: the paths are used again when the process may have another working directory.
        let path = &path.canonicalize().map_err(io_error("find", path))?;
        let dir = File::open(path).map_err(io_error("open", path))?;
        let lock_path = path.join(LOCK);
        let mut lock = StoreLock::open(&lock_path).map_err(io_error("open", &lock_path))?;
        let held = lock.acquire().map_err(io_error("lock", &lock_path))?;

        let place = Place { path, dir: &dir, source, settings, entropy };
        let (file, root, image) =
            match File::options().read(true).write(true).open(path.join(STORE)) {
                Ok(file) => place.read(file)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => place.make()?,
                Err(e) => return Err(io_error("open", &path.join(STORE))(e)),
            };
        let note_path = path.join(ACKNOWLEDGED);
        let note = open_private(&note_path).map_err(io_error("open", &note_path))?;
        let StoreImage { header, state, chain, torn, .. } = image;
        let stamp = fstat(&file).map_err(io::Error::from).map_err(io_error("stat", path))?.into();
        let mut store = Self {
            path: path.to_owned(),
            dir: Arc::new(dir),
            lock,
            note,
            root,
            journal_len_min: settings.journal_len_min,
            file,
            header,
            chain,
            stamp,
            fail_stop: false,
            compact_at: 0,
            #[cfg(test)]
            fail_next: None,
        };
        store.schedule_compaction();
        read_note(&store.note)
            .and_then(|note| store.settle(torn, note.as_ref(), true))
            .map_err(io_error("repair", &path.join(STORE)))?;
        if store.header.version < VERSION {
            // Before the first record that an older build would not understand.
            store.compact(entropy, &state).map_err(|fault| match fault {
                StoreFault::Io(error) => io_error("rewrite", &path.join(STORE))(error),
                StoreFault::Seal(error) => OpenError::Entropy(error),
                StoreFault::Damage(damage) => OpenError::Store { path: path.join(STORE), damage },
                other => io_error("rewrite", path)(io::Error::other(other)),
            })?;
        }
        drop(held);
        Ok((store, state))
    }

    pub(crate) fn prober(&self) -> Prober {
        Prober { dir: Arc::clone(&self.dir) }
    }

    /// The stamp of what is in memory.
    pub(crate) const fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub(crate) fn lock(&mut self) -> Result<Held, StoreFault> {
        Ok(self.lock.acquire()?)
    }

    /// Whether changes are still taken.
    pub(crate) const fn takes_changes(&self) -> Result<(), StoreFault> {
        if self.fail_stop { Err(StoreFault::FailStop) } else { Ok(()) }
    }

    /// Brings `state` up to what other processes have written. `_held` proves the lock.
    pub(crate) fn refresh(&mut self, _held: &Held, state: &mut State) -> Result<(), StoreFault> {
        let current = self.prober().stamp()?;
        if current == self.stamp {
            return Ok(());
        }
        let note = read_note(&self.note)?;
        let same_file = (current.device, current.inode) == (self.stamp.device, self.stamp.inode);
        let torn = if same_file && current.len >= self.chain.end {
            let bytes = read_from(&self.file, self.chain.end)?;
            let acknowledged = acknowledged_len(&self.header, note.as_ref())?;
            self.chain.replay(&self.root, &bytes, acknowledged, state, |_| {})?
        } else {
            let file = File::options().read(true).write(true).open(self.path.join(STORE))?;
            let bytes = read_from(&file, 0)?;
            let header = StoreHeader::decode(&bytes)?;
            if header.commitment != self.header.commitment {
                self.follow_rotation(&header)?;
            }
            let image = decode_store(&bytes, &self.root, note.as_ref())?;
            *state = image.state;
            self.file = file;
            self.header = image.header;
            self.chain = image.chain;
            self.schedule_compaction();
            image.torn
        };
        self.stamp = fstat(&self.file).map_err(io::Error::from)?.into();
        self.settle(torn, note.as_ref(), !same_file)?;
        Ok(())
    }

    /// Makes what was read safe to build on. A record that is whole but not acknowledged may be
    /// that of a process that died before its sync: answers that rely on it must not be lost.
    fn settle(&mut self, torn: u64, note: Option<&Acknowledged>, replaced: bool) -> io::Result<()> {
        if replaced {
            self.dir.sync_all()?;
        }
        self.drop_torn_tail(torn)?;
        let noted = note.is_some_and(|note| {
            (note.generation, note.salt) == (self.header.generation, self.header.salt)
                && note.len == self.chain.end
        });
        if !noted {
            self.file.sync_data()?;
            self.acknowledge();
        }
        Ok(())
    }

    /// Makes `change` durable. The caller holds the lock and has refreshed.
    ///
    /// # Durability
    /// On return the change is on disk. On an error it is not acknowledged: it may or may not be
    /// found by the next opener, and this handle takes no more changes.
    pub(crate) fn append(
        &mut self,
        _held: &Held,
        entropy: &dyn Entropy,
        change: &Change,
    ) -> Result<(), StoreFault> {
        self.takes_changes()?;
        let body = encode_change(change)?;
        let (record, chain) = self.chain.seal(&self.root, entropy, body.as_slice())?;
        debug_assert_eq!(self.stamp.len, self.chain.end, "the journal ends where the file does");
        if let Err(error) = self.write_record(&record) {
            self.fail_stop = true;
            tracing::error!(path = %self.path.display(), %error, "a write to the KMS store failed");
            // Best effort, so that the unacknowledged record does not linger. It is harmless if it
            // does: whole, it counts as a change whose answer was lost; torn, it is dropped.
            if let Err(error) =
                self.file.set_len(self.chain.end).and_then(|()| self.file.sync_data())
            {
                tracing::warn!(%error, "the failed record could not be cut off");
            }
            return Err(error.into());
        }
        self.chain = chain;
        self.stamp.len = self.chain.end;
        self.acknowledge();
        Ok(())
    }

    fn write_record(&mut self, record: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if self.fail_next == Some(TestFault::Write) {
            let half = record.len() / 2;
            self.file.write_all_at(&record[..half], self.chain.end)?;
            return Err(io::Error::other("injected"));
        }
        self.file.write_all_at(record, self.chain.end)?;
        #[cfg(test)]
        if self.fail_next == Some(TestFault::Sync) {
            return Err(io::Error::other("injected"));
        }
        self.file.sync_data()
    }

    /// Folds the journal into a new snapshot if it has grown large. The caller holds the lock.
    /// Failing to is no loss: the old store is complete.
    /// `now`: whatever its length.
    pub(crate) fn compact_if_large(
        &mut self,
        _held: &Held,
        entropy: &dyn Entropy,
        state: &State,
        now: bool,
    ) {
        if self.fail_stop || (!now && self.chain.end < self.compact_at) {
            return;
        }
        if let Err(error) = self.compact(entropy, state) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(path = %self.path.display(), error, "the KMS store was not compacted");
            // Not at each change again.
            self.compact_at = self.compact_at.saturating_mul(2);
        }
    }

    fn compact(&mut self, entropy: &dyn Entropy, state: &State) -> Result<(), StoreFault> {
        #[cfg(test)]
        if self.fail_next == Some(TestFault::Compaction) {
            return Err(io::Error::other("injected").into());
        }
        let header = StoreHeader { generation: self.header.generation + 1, ..self.header.clone() };
        let sealed = seal_store(header, &self.root, entropy, state)?;
        self.replace(sealed)
    }

    /// Puts a new store in the place of the old one.
    fn replace(
        &mut self,
        (bytes, header, chain): (Vec<u8>, StoreHeader, Chain),
    ) -> Result<(), StoreFault> {
        let new_path = self.path.join(STORE_NEW);
        let file = write_synced(&new_path, &bytes)?;
        let stamp = fstat(&file).map_err(io::Error::from)?.into();
        std::fs::rename(&new_path, self.path.join(STORE))?;
        (self.file, self.header, self.chain, self.stamp) = (file, header, chain, stamp);
        self.schedule_compaction();
        // Until the directory is synced, a crash may bring the old file back. Both hold the same
        // changes now, but what is appended to the new one would be lost.
        if let Err(error) = self.dir.sync_all() {
            self.fail_stop = true;
            return Err(error.into());
        }
        self.acknowledge();
        Ok(())
    }

    /// Seals everything anew under another root key. The caller holds the lock and has refreshed.
    ///
    /// # Durability
    /// The new key file waits under a name of its own until the store under it is durable, so that
    /// every moment has a store with the key that opens it; the next opener finishes or forgets
    /// what a crash cut short. Old copies of the directory keep opening with their old key.
    pub(crate) fn rotate_root(
        &mut self,
        _held: &Held,
        entropy: &dyn Entropy,
        state: &State,
        source: &RootKeySource,
        argon2: Argon2Settings,
    ) -> Result<(), OpenError> {
        let (current, next) = (self.path.join(ROOT_KEY), self.path.join(ROOT_KEY_NEXT));
        let NewRoot { root, argon2, argon2_salt } = NewRoot::make(source, argon2, entropy)?;
        let kind = source.kind();
        if kind == RootKeyKind::KeyFile {
            write_synced(&next, &root.encode_key_file())
                .and_then(|_| self.dir.sync_all())
                .map_err(io_error("write", &next))?;
        }
        let header = StoreHeader {
            root_key_kind: kind,
            argon2,
            argon2_salt,
            generation: self.header.generation + 1,
            ..self.header.clone()
        };
        let sealed = seal_store(header, &root, entropy, state).map_err(OpenError::Entropy)?;
        self.replace(sealed).map_err(|fault| match fault {
            StoreFault::Io(error) => io_error("replace", &self.path.join(STORE))(error),
            other => io_error("replace", &self.path.join(STORE))(io::Error::other(other)),
        })?;
        self.root = root;
        let tidied = match kind {
            RootKeyKind::KeyFile => std::fs::rename(&next, &current),
            RootKeyKind::Passphrase => match std::fs::remove_file(&current) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        tidied.and_then(|()| self.dir.sync_all()).map_err(io_error("replace", &current))
    }

    /// Another process changed the root key: takes over the new one from its key file.
    fn follow_rotation(&mut self, header: &StoreHeader) -> Result<(), StoreFault> {
        if header.root_key_kind != RootKeyKind::KeyFile {
            return Err(StoreFault::Rotated);
        }
        match committed_root_key(&self.path, &self.dir, header) {
            Ok(Some(root)) => {
                self.root = root;
                Ok(())
            }
            Ok(None) | Err(_) => Err(StoreFault::Rotated),
        }
    }

    fn schedule_compaction(&mut self) {
        let journal_start = self.header.snapshot_len;
        self.compact_at =
            journal_start.saturating_add(self.journal_len_min.max(self.header.snapshot_len));
    }

    fn drop_torn_tail(&mut self, torn: u64) -> io::Result<()> {
        if torn == 0 {
            return Ok(());
        }
        tracing::warn!(
            path = %self.path.display(),
            offset = self.chain.end,
            bytes = torn,
            "dropped an unfinished, unacknowledged change from the KMS store"
        );
        self.file.set_len(self.chain.end)?;
        self.file.sync_data()?;
        self.stamp.len = self.chain.end;
        Ok(())
    }

    /// Notes the store's length. Not synced: the note is evidence for the next opener, and where it
    /// is missing or old, the journal alone decides.
    fn acknowledge(&self) {
        let note = Acknowledged {
            generation: self.header.generation,
            salt: self.header.salt,
            len: self.chain.end,
        };
        if let Err(error) = self.note.write_all_at(&note.encode(), 0) {
            tracing::warn!(%error, "the KMS store's acknowledgement could not be noted");
        }
    }
}

pub(super) fn read_note(file: &File) -> io::Result<Option<Acknowledged>> {
    Ok(Acknowledged::decode(&read_small::<ACKNOWLEDGED_LEN>(file)?))
}
