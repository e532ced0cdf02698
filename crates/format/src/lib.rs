//! On-disk codecs: bytes in, values out. No I/O, no keys, no policy. `FORMAT.md` beside this crate
//! draws every structure and argues the commit protocol; the offsets here are derived constants.
//!
//! Decoders accept any bytes: they return [`FormatError`] and never panic or allocate without
//! bound. What they return is *well-formed*, not *authentic*: the engine checks tags and MACs.

#![forbid(unsafe_code)]
#![deny(clippy::big_endian_bytes)]

mod aad;
mod bytes;
mod commit;
mod entry;
mod geometry;
mod header;
mod record;
mod superblock;
mod table;

pub use aad::{AAD_LEN, SlotClass, SlotIdentity, nonce};
pub use commit::{
    COMMIT_SEALED_MAX, CommitBody, CommitTrailer, MAX_PAYLOAD_SLOTS, MAX_RECORDS, encode_trailer,
    split_commit_slot,
};
pub use entry::{
    BIRTH_MAX, Birth, Entry, EntryState, FANOUT, MAP_LEVELS, PAGE_LEN, Page, TOP_LEVEL, page_index,
    slot_in_page,
};
pub use geometry::{DATA_OFFSET, Geometry, MAX_LOGICAL_BLOCKS, Phys, SLOT_LEN, SegmentIndex};
pub use header::{HEADER_MAC_OFFSET, HEADER_SIGNED_LEN, SegmentHeader, SegmentKind, Successor};
pub use record::{Record, RecordKind};
pub use superblock::{
    Cursor, MAX_KEYS, SUPER_LEN, SUPER_OFFSETS, StoredKey, Superblock, SuperblockState,
    VolumeState, signed_part,
};
pub use table::{MAX_TABLE_SEGMENTS, TABLE_LEVELS, TABLE_PAGE_SEGMENTS, TableEntry, TablePage};

/// The format version that this build writes, and the newest it reads.
pub const FORMAT_VERSION: u16 = 1;

/// How blocks are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum Suite {
    /// AES-256-GCM, 96-bit nonce, 128-bit tag.
    Aes256Gcm = 1,
}

impl Suite {
    /// Reads a suite id.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for an id this build does not know.
    pub const fn from_id(id: u16) -> Result<Self, FormatError> {
        match id {
            1 => Ok(Self::Aes256Gcm),
            _ => Err(FormatError::Unsupported { what: "cipher suite", found: id as u64 }),
        }
    }

    /// The id stored on disk.
    #[must_use]
    pub const fn id(self) -> u16 {
        self as u16
    }
}

/// Why bytes are not a structure of this format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Not this kind of structure at all.
    #[error("{what}: the magic number is wrong")]
    Magic {
        /// The structure.
        what: &'static str,
    },
    /// Too few bytes, or a length field that points outside.
    #[error("{what}: truncated")]
    Truncated {
        /// The structure.
        what: &'static str,
    },
    /// A field holds a value that the format does not allow.
    #[error("{what}: {field} has the impossible value {found}")]
    Field {
        /// The structure.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// What it holds.
        found: u64,
    },
    /// Made by a newer version, or with a feature this build lacks.
    #[error("{what} {found} is newer than this build supports; use a newer sealvol")]
    Unsupported {
        /// What is unknown.
        what: &'static str,
        /// Its value.
        found: u64,
    },
}
