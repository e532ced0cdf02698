//! What a volume's file tells without its key.

use std::io::IoSlice;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use sealvol_core::{ByteLen, VolumeId};
use sealvol_envelope::{ContextError, EncryptionContext};
use sealvol_format::{
    FORMAT_VERSION, SUPER_LEN, SUPER_OFFSETS, StoredKey, Suite, Superblock, VolumeState,
};
use sealvol_storage::{MemoryStorage, Storage as _};
use serde::ser::{SerializeMap as _, Serializer};

use crate::error::{Error, Result};

/// The public part of a volume, read without its key. Nothing in it is authenticated: whoever can
/// write the file can change it, and opening the volume then fails.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct VolumeInfo {
    /// The identity.
    #[serde(serialize_with = "text")]
    pub id: VolumeId,
    /// The value of `aws:ebs:id` in the current key's encryption context, or one made from the
    /// identity.
    pub name: String,
    /// Logical size.
    pub size: ByteLen,
    /// Version of the on-disk format.
    pub format_version: u16,
    /// How blocks are sealed.
    pub suite: &'static str,
    /// Bytes in a segment.
    pub segment_len: ByteLen,
    /// Whether it was ever opened.
    pub state: InfoState,
    /// Counts superblock writes.
    pub generation: u64,
    /// Wrapped data keys, oldest first; the last one seals new segments.
    pub keys: Vec<KeyInfo>,
    /// Length of the file.
    pub file_len: ByteLen,
    /// Bytes of the host's disk that the file holds.
    pub file_allocated: ByteLen,
    /// How long the file may grow.
    pub file_limit: ByteLen,
}

/// Whether a volume was ever opened, and how it was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum InfoState {
    /// Made, never opened for writing.
    Blank,
    /// Closed in order.
    Clean,
    /// Open now, or left by a crash: the next open replays the log.
    Open,
}

impl InfoState {
    /// A lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Clean => "clean",
            Self::Open => "open",
        }
    }
}

/// A wrapped data key of a volume.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct KeyInfo {
    /// The number that segments refer to.
    pub id: u16,
    /// ARN of the KMS key that wrapped it.
    pub key_arn: String,
    /// The context it is bound to.
    #[serde(serialize_with = "pairs")]
    pub context: EncryptionContext,
}

fn text<S: Serializer>(id: &VolumeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn pairs<S: Serializer>(context: &EncryptionContext, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(context.len()))?;
    for (name, value) in context.iter() {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// The name of a volume that was not given one.
pub(crate) fn default_name(id: VolumeId) -> String {
    let mut digits = id.to_string();
    digits.truncate(17);
    format!("vol-{digits}")
}

/// The context that a stored key is bound to.
pub(crate) fn context_of(key: &StoredKey) -> Result<EncryptionContext, ContextError> {
    EncryptionContext::from_canonical(&key.context)
}

impl VolumeInfo {
    /// Reads a volume's file, without locking it: also while another process has it open.
    ///
    /// # Errors
    /// `NotFound`, `Denied`; `Corrupt` when it is no volume or both superblocks are damaged;
    /// `Unsupported` when a newer version made it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        const OP: &str = "read volume";
        let path = path.as_ref();
        let system = |e| {
            let source = sealvol_core::Error::io("open file", path.display().to_string(), e);
            Error::at_volume(OP, path, source)
        };
        let metadata = std::fs::metadata(path).map_err(system)?;
        if !metadata.is_file() {
            return Err(Error::new(
                sealvol_core::ErrorKind::Invalid,
                format!("{OP} {}: it is not a regular file; give a volume file", path.display()),
            ));
        }
        let file = std::fs::File::open(path).map_err(system)?;
        // The superblock code reads storage: give it a copy of that part of the file.
        let copy = MemoryStorage::new();
        for offset in SUPER_OFFSETS {
            let end = metadata.len().min(offset + SUPER_LEN as u64);
            let Ok(len) = usize::try_from(end.saturating_sub(offset)) else { continue };
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, offset).map_err(system)?;
            if len > 0 {
                copy.write_at(offset, &[IoSlice::new(&bytes)])?;
            } else if offset > 0 {
                // It ends where this copy would begin.
                copy.write_at(offset - 1, &[IoSlice::new(&[0])])?;
            }
        }
        let public = sealvol_engine::read_public(&copy)
            .map_err(|source| Error::at_volume(OP, path, source))?;
        Self::new(path, &public, &metadata)
    }

    pub(crate) fn new(
        path: &Path,
        public: &Superblock,
        metadata: &std::fs::Metadata,
    ) -> Result<Self> {
        let mut keys = Vec::with_capacity(public.keys.len());
        for key in &public.keys {
            let context = context_of(key).map_err(|e| malformed_context(path, e))?;
            keys.push(KeyInfo { id: key.id, key_arn: key.key_arn.clone(), context });
        }
        let name = keys.last().and_then(|key| key.context.get("aws:ebs:id")).map(str::to_owned);
        let segments_len = public.geometry.segment_len().saturating_mul(public.state.segment_limit);
        Ok(Self {
            id: public.volume,
            name: name.unwrap_or_else(|| default_name(public.volume)),
            size: sealvol_core::BlockCount(public.logical_blocks).byte_len(),
            format_version: FORMAT_VERSION,
            suite: match public.suite {
                Suite::Aes256Gcm => "AES-256-GCM",
                _ => "unknown",
            },
            segment_len: ByteLen(public.geometry.segment_len()),
            state: match public.volume_state {
                VolumeState::Blank => InfoState::Blank,
                VolumeState::Keyed if public.state.clean => InfoState::Clean,
                VolumeState::Keyed => InfoState::Open,
            },
            generation: public.state.generation,
            keys,
            file_len: ByteLen(metadata.len()),
            file_allocated: ByteLen(metadata.blocks().saturating_mul(512)),
            file_limit: ByteLen(sealvol_format::DATA_OFFSET.saturating_add(segments_len)),
        })
    }

    /// The key that seals new segments.
    #[must_use]
    pub fn current_key(&self) -> Option<&KeyInfo> {
        self.keys.last()
    }
}

pub(crate) fn malformed_context(path: &Path, source: ContextError) -> Error {
    let below = sealvol_core::Error::new(
        sealvol_core::ErrorKind::Corrupt,
        "read superblock",
        "the encryption context is malformed; restore the file from a copy",
    );
    Error::at_volume("open volume", path, below.with_source(source))
}
