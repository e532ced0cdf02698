//! Why a store is not opened: what is wrong, where, and what to do about it.

use std::path::PathBuf;

use sealvol_core::ErrorKind;

use super::root_key::RootKeyKind;
use crate::state::BodyError;

/// What is wrong with a store's bytes, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The magic is missing.
    #[error("it is not a store of the embedded KMS")]
    NotAStore,
    /// A format of a later build.
    #[error("its format version is {0}; this build reads versions 1 and 2")]
    Unsupported(u32),
    /// The public header does not match its digest, or holds values that no build writes.
    #[error("its public header (bytes 0 to 159) is damaged")]
    Header,
    /// Another root key sealed it.
    #[error("another root key sealed it")]
    WrongKey,
    /// The snapshot is cut short or does not authenticate.
    #[error("its snapshot (bytes {start} to {end}) is damaged")]
    Snapshot {
        /// First byte.
        start: u64,
        /// Byte after the last.
        end: u64,
    },
    /// A journal record that cannot be an unfinished write does not authenticate.
    #[error("the journal record at byte {offset} (number {sequence}) is damaged")]
    Record {
        /// Where it starts.
        offset: u64,
        /// Its number since the snapshot, from 1.
        sequence: u64,
    },
    /// Acknowledged changes are missing at the end.
    #[error(
        "it ends at byte {end}, but changes up to byte {acknowledged} were acknowledged; if you \
         restored an older copy on purpose, delete the file 'acknowledged' beside it"
    )]
    Truncated {
        /// Where the last intact record ends.
        end: u64,
        /// The length at the last acknowledged change.
        acknowledged: u64,
    },
    /// The file is older than the last acknowledged snapshot, or another one altogether.
    #[error(
        "generation {found} was put in the place of generation {acknowledged}; if you restored an \
         older copy on purpose, delete the file 'acknowledged' beside it"
    )]
    Replaced {
        /// The store's generation.
        found: u64,
        /// The generation of the last acknowledged change.
        acknowledged: u64,
    },
    /// Sealed content that authenticates but that this build does not understand.
    #[error("the sealed content at byte {offset} is not understood")]
    Body {
        /// Where the snapshot or the record starts.
        offset: u64,
        /// Why.
        #[source]
        source: BodyError,
    },
}

/// Why the KMS in a directory was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The key file holds another root key.
    #[error(
        "the root key in {} is not the one that sealed {}: put the right key file back",
        key_file.display(), store.display()
    )]
    WrongRootKey {
        /// The key file.
        key_file: PathBuf,
        /// The store.
        store: PathBuf,
    },
    /// The passphrase is wrong.
    #[error("the passphrase is not the one that sealed {}: try again", store.display())]
    WrongPassphrase {
        /// The store.
        store: PathBuf,
    },
    /// A passphrase of no characters.
    #[error("the passphrase is empty: give one")]
    EmptyPassphrase,
    /// The store is sealed the other way.
    #[error("{} is sealed with a {stored}: give that instead", store.display())]
    OtherRootKeyKind {
        /// The store.
        store: PathBuf,
        /// How it is sealed.
        stored: RootKeyKind,
    },
    /// The store is there, its root key is not.
    #[error("{} is missing: restore it, for without it the keys in the store are lost", path.display())]
    RootKeyMissing {
        /// The key file.
        path: PathBuf,
    },
    /// Others may read the root key.
    #[error(
        "{} is accessible to others than its owner (mode {mode:04o}): run chmod 600 on it, and \
         consider whether the key is still secret",
        path.display()
    )]
    RootKeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file is not one.
    #[error("{} is not a root key file, or it is damaged: restore it", path.display())]
    RootKeyMalformed {
        /// The key file.
        path: PathBuf,
    },
    /// The root key or the acknowledgement is there, the store is not.
    #[error(
        "{} is missing: restore it; to start anew without the old keys, remove the files in its \
         directory",
        path.display()
    )]
    StoreMissing {
        /// The store.
        path: PathBuf,
    },
    /// The store is damaged, or a later build wrote it.
    #[error("{} is not usable", path.display())]
    Store {
        /// The store.
        path: PathBuf,
        /// What and where.
        #[source]
        damage: Damage,
    },
    /// A setting that no store can be made with.
    #[error("{0}")]
    Setting(String),
    /// The operating system refused.
    #[error("cannot {op} {}", path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// On which path.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// No randomness.
    #[error("no randomness for the store")]
    Entropy(#[source] sealvol_core::Error),
    /// A store that is open already no longer works.
    #[error("the open KMS store failed")]
    Fault(#[source] Box<sealvol_envelope::KmsError>),
}

impl OpenError {
    /// What to do, in the terms of the other crates.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongRootKey { .. }
            | Self::WrongPassphrase { .. }
            | Self::RootKeyExposed { .. } => ErrorKind::Denied,
            Self::EmptyPassphrase | Self::OtherRootKeyKind { .. } | Self::Setting(_) => {
                ErrorKind::Invalid
            }
            Self::RootKeyMissing { .. } | Self::StoreMissing { .. } => ErrorKind::NotFound,
            Self::RootKeyMalformed { .. } => ErrorKind::Corrupt,
            Self::Store { damage: Damage::Unsupported(_), .. } => ErrorKind::Unsupported,
            Self::Store { .. } => ErrorKind::Corrupt,
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    ErrorKind::NoSpace
                }
                std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::Io,
            },
            Self::Entropy(_) | Self::Fault(_) => ErrorKind::Io,
        }
    }
}

impl From<OpenError> for sealvol_core::Error {
    fn from(error: OpenError) -> Self {
        Self::new(error.kind(), "open the KMS store", error.to_string()).with_source(error)
    }
}
