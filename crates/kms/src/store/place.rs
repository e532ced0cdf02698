//! Opening what is in a directory, and making the first store there. The caller holds the lock.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::fstat;
use sealvol_core::Entropy;
use zeroize::Zeroizing;

use super::acknowledged::Acknowledged;
use super::dir::{ACKNOWLEDGED, STORE, STORE_NEW, read_note};
use super::error::{Damage, OpenError};
use super::files::{read_from, read_small, write_synced};
use super::header::{StoreHeader, VERSION};
use super::image::{StoreImage, decode_store, seal_store};
use super::root_key::{KEY_FILE_LEN, RootKey, RootKeyKind, RootKeySource, decode_root_key_file};
use crate::ids::random;
use crate::secret::Secret;
use crate::settings::{Argon2Settings, KmsSettings};
use crate::state::State;

pub(super) const ROOT_KEY: &str = "root.key";
const ROOT_KEY_NEW: &str = "root.key.new";
/// The root key that a rotation is about to change to.
pub(super) const ROOT_KEY_NEXT: &str = "root.key.next";

/// A root key that nothing is sealed under yet.
pub(super) struct NewRoot {
    pub(super) root: RootKey,
    pub(super) argon2: Argon2Settings,
    pub(super) argon2_salt: [u8; 16],
}

impl NewRoot {
    pub(super) fn make(
        source: &RootKeySource,
        argon2: Argon2Settings,
        entropy: &dyn Entropy,
    ) -> Result<Self, OpenError> {
        let mut argon2_salt = [0; 16];
        let root = match source {
            RootKeySource::KeyFile => RootKey::generate(entropy).map_err(OpenError::Entropy)?,
            RootKeySource::Passphrase(passphrase) => {
                if passphrase.is_empty() {
                    return Err(OpenError::EmptyPassphrase);
                }
                argon2_salt = random(entropy).map_err(OpenError::Entropy)?;
                if !argon2.is_acceptable() {
                    let text = format!("the Argon2id cost {argon2:?} is outside the limits");
                    return Err(OpenError::Setting(text));
                }
                stretch(passphrase, &argon2_salt, argon2)?
            }
        };
        Ok(Self { root, argon2, argon2_salt })
    }
}

/// The key of the file `name` in `dir`, if there is one.
pub(super) fn read_root_key(dir: &Path, name: &str) -> Result<Option<RootKey>, OpenError> {
    let path = dir.join(name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("open", &path)(e)),
    };
    // Asked of the open file, so that what is checked is what is read.
    let stat = fstat(&file).map_err(io::Error::from).map_err(io_error("stat", &path))?;
    let mode = stat.st_mode & 0o7777;
    if mode & 0o077 != 0 {
        return Err(OpenError::RootKeyExposed { path, mode });
    }
    let bytes = read_small::<KEY_FILE_LEN>(&file).map_err(io_error("read", &path))?;
    match decode_root_key_file(&bytes) {
        Some(key) => Ok(Some(key)),
        None => Err(OpenError::RootKeyMalformed { path }),
    }
}

/// The root key that `header` commits to, of a store under a key file. A rotation that was cut short
/// is finished if the store is under its new key already, and forgotten if it is not.
pub(super) fn committed_root_key(
    path: &Path,
    dir: &File,
    header: &StoreHeader,
) -> Result<Option<RootKey>, OpenError> {
    let (current, next) = (path.join(ROOT_KEY), path.join(ROOT_KEY_NEXT));
    let found = read_root_key(path, ROOT_KEY)?;
    if found.as_ref().is_some_and(|root| root.commitment() == header.commitment) {
        match std::fs::remove_file(&next) {
            Ok(()) => tracing::warn!(path = %next.display(), "a rotation was cut short: undone"),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io_error("remove", &next)(e)),
        }
        return Ok(found);
    }
    match read_root_key(path, ROOT_KEY_NEXT)? {
        Some(root) if root.commitment() == header.commitment => {
            tracing::warn!(path = %current.display(), "a rotation was cut short: finished");
            std::fs::rename(&next, &current)
                .and_then(|()| dir.sync_all())
                .map_err(io_error("rename", &next))?;
            Ok(Some(root))
        }
        // The caller says which key is wrong.
        _ => Ok(found),
    }
}

/// Where and how a store is opened.
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    pub(super) dir: &'a File,
    pub(super) source: &'a RootKeySource,
    pub(super) settings: &'a KmsSettings,
    pub(super) entropy: &'a dyn Entropy,
}

impl Place<'_> {
    /// Reads the store that is there.
    pub(super) fn read(&self, file: File) -> Result<(File, RootKey, StoreImage), OpenError> {
        let path = self.path.join(STORE);
        let bytes = read_from(&file, 0).map_err(io_error("read", &path))?;
        let (root, image) = self.decode(&bytes)?;
        Ok((file, root, image))
    }

    fn decode(&self, bytes: &[u8]) -> Result<(RootKey, StoreImage), OpenError> {
        let store = self.path.join(STORE);
        let damaged = |damage| OpenError::Store { path: store.clone(), damage };
        let header = StoreHeader::decode(bytes).map_err(damaged)?;
        if header.root_key_kind != self.source.kind() {
            return Err(OpenError::OtherRootKeyKind {
                store: store.clone(),
                stored: header.root_key_kind,
            });
        }
        let root = match self.source {
            RootKeySource::KeyFile => committed_root_key(self.path, self.dir, &header)?
                .ok_or_else(|| OpenError::RootKeyMissing { path: self.path.join(ROOT_KEY) })?,
            RootKeySource::Passphrase(passphrase) => {
                stretch(passphrase, &header.argon2_salt, header.argon2)?
            }
        };
        let image = decode_store(bytes, &root, self.note()?.as_ref()).map_err(|damage| {
            match (damage, self.source) {
                (Damage::WrongKey, RootKeySource::KeyFile) => OpenError::WrongRootKey {
                    key_file: self.path.join(ROOT_KEY),
                    store: store.clone(),
                },
                (Damage::WrongKey, RootKeySource::Passphrase(_)) => {
                    OpenError::WrongPassphrase { store: store.clone() }
                }
                (damage, _) => damaged(damage),
            }
        })?;
        Ok((root, image))
    }

    /// Makes the first store. The order keeps a crash from leaving a root key whose store seems to
    /// be lost: the complete store waits under its temporary name until the root key is durable.
    pub(super) fn make(&self) -> Result<(File, RootKey, StoreImage), OpenError> {
        let (store, new) = (self.path.join(STORE), self.path.join(STORE_NEW));
        let missing = || OpenError::StoreMissing { path: store.clone() };
        if self.note()?.is_some() {
            return Err(missing());
        }
        let root_key = self.path.join(ROOT_KEY);
        if root_key.exists() {
            // Either the first creation was cut short, or the store was lost.
            let bytes = match File::open(&new).and_then(|file| read_from(&file, 0)) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing()),
                Err(e) => return Err(io_error("read", &new)(e)),
            };
            let (root, image) = self.decode(&bytes)?;
            let file = self.publish()?;
            return Ok((file, root, image));
        }

        let NewRoot { root, argon2, argon2_salt } =
            NewRoot::make(self.source, self.settings.argon2, self.entropy)?;
        let mut token_secret = Zeroizing::new([0; 32]);
        self.entropy.fill(token_secret.as_mut_slice()).map_err(OpenError::Entropy)?;
        let state = State::new(Secret::take(&mut token_secret));
        let header = StoreHeader {
            version: VERSION,
            root_key_kind: self.source.kind(),
            argon2,
            argon2_salt,
            generation: 1,
            snapshot_len: 0,
            salt: [0; 32],
            commitment: [0; 32],
        };
        let (bytes, _, _) =
            seal_store(header, &root, self.entropy, &state).map_err(OpenError::Entropy)?;
        write_synced(&new, &bytes).map_err(io_error("write", &new))?;
        if self.source.kind() == RootKeyKind::KeyFile {
            let half_made = self.path.join(ROOT_KEY_NEW);
            write_synced(&half_made, &root.encode_key_file())
                .and_then(|_| std::fs::rename(&half_made, &root_key))
                .and_then(|()| self.dir.sync_all())
                .map_err(io_error("write", &root_key))?;
        }
        let file = self.publish()?;
        // Read back what was written: the first thing that relies on the store is its maker.
        self.read(file)
    }

    fn publish(&self) -> Result<File, OpenError> {
        let store = self.path.join(STORE);
        std::fs::rename(self.path.join(STORE_NEW), &store)
            .and_then(|()| self.dir.sync_all())
            .and_then(|()| File::options().read(true).write(true).open(&store))
            .map_err(io_error("write", &store))
    }

    fn note(&self) -> Result<Option<Acknowledged>, OpenError> {
        let path = self.path.join(ACKNOWLEDGED);
        match File::open(&path) {
            Ok(file) => read_note(&file).map_err(io_error("read", &path)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error("open", &path)(e)),
        }
    }
}

fn stretch(passphrase: &str, salt: &[u8; 16], cost: Argon2Settings) -> Result<RootKey, OpenError> {
    RootKey::stretch(passphrase, salt, cost)
        .map_err(|e| OpenError::Setting(format!("Argon2id refused the passphrase: {e}")))
}

pub(super) fn io_error(op: &'static str, path: &Path) -> impl Fn(io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io { op, path: path.clone(), source }
}
