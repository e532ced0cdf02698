//! The records of a commit slot: what each group changes.

use crate::bytes::u64_at;
use crate::{Birth, FormatError, Phys};

/// Bytes of a record.
pub(crate) const RECORD_LEN: usize = 32;
const WHAT: &str = "commit record";
const U40: u64 = (1 << 40) - 1;

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// A block written by a user; its payload slot and tag are in the record.
    Data = 1,
    /// One block that reads as zeros from now on.
    Zero = 2,
    /// A run of blocks that read as zeros from now on.
    Range = 3,
    /// A block moved by garbage collection: applies only where the entry still has `old` phys.
    Move = 4,
    /// A block filled in by hydration: applies only where the entry is INHERIT.
    Fill = 5,
    /// A map page written by a checkpoint. Never applied in replay.
    Map = 6,
    /// A segment-table page written by a checkpoint. Never applied in replay.
    Table = 7,
    /// A snapshot was taken.
    Snap = 8,
    /// A slot that was reserved and not used.
    Void = 9,
    /// Proves durability: the group exists for its `durable_upto`.
    Stamp = 10,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// What it does.
    pub kind: RecordKind,
    /// LBA of a block, first LBA of a range, index of a page.
    pub lba: u64,
    /// Level of a page.
    pub level: u8,
    /// 1 + the index of its payload slot in the group; 0 without payload.
    pub payload: u8,
    /// The block's former address, for MOVE; the page's former address, for MAP and TABLE.
    pub old: Phys,
    /// The generation of the block's last change.
    pub birth: Birth,
    /// The payload's tag; for RANGE the number of blocks, as its first 8 bytes.
    pub tag: [u8; 16],
}

impl Record {
    /// The record of a run of zeroed blocks.
    #[must_use]
    pub fn range(lba: u64, blocks: u64, birth: Birth) -> Self {
        let mut tag = [0; 16];
        if let Some(len) = tag.first_chunk_mut::<8>() {
            *len = blocks.to_le_bytes();
        }
        Self { kind: RecordKind::Range, lba, level: 0, payload: 0, old: Phys::NONE, birth, tag }
    }

    /// A record without payload, place or tag.
    #[must_use]
    pub const fn bare(kind: RecordKind) -> Self {
        Self { kind, lba: 0, level: 0, payload: 0, old: Phys::NONE, birth: Birth(0), tag: [0; 16] }
    }

    /// The number of blocks of a RANGE record.
    #[must_use]
    pub fn range_blocks(&self) -> u64 {
        u64_at(&self.tag, 0)
    }

    /// The 32 bytes on disk: `lba u40, kind u8, level u8, payload u8 | old u40, birth u24 | tag`.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_LEN] {
        let first = (self.lba & U40)
            | (u64::from(self.kind as u8) << 40)
            | (u64::from(self.level) << 48)
            | (u64::from(self.payload) << 56);
        let second = (self.old.0 & U40) | (u64::from(self.birth.0) << 40);
        let mut out = [0; RECORD_LEN];
        let (a, rest) = out.split_at_mut(8);
        let (b, tag) = rest.split_at_mut(8);
        a.copy_from_slice(&first.to_le_bytes());
        b.copy_from_slice(&second.to_le_bytes());
        tag.copy_from_slice(&self.tag);
        out
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`FormatError::Field`] for an unknown kind.
    pub fn decode(bytes: &[u8; RECORD_LEN]) -> Result<Self, FormatError> {
        let (first, second) = (u64_at(bytes, 0), u64_at(bytes, 8));
        let (code, level, payload, birth) = (
            ((first >> 40) & 0xff) as u8,
            ((first >> 48) & 0xff) as u8,
            ((first >> 56) & 0xff) as u8,
            (second >> 40) as u32,
        );
        let kind = match code {
            1 => RecordKind::Data,
            2 => RecordKind::Zero,
            3 => RecordKind::Range,
            4 => RecordKind::Move,
            5 => RecordKind::Fill,
            6 => RecordKind::Map,
            7 => RecordKind::Table,
            8 => RecordKind::Snap,
            9 => RecordKind::Void,
            10 => RecordKind::Stamp,
            _ => {
                return Err(FormatError::Field {
                    what: WHAT,
                    field: "kind",
                    found: u64::from(code),
                });
            }
        };
        let mut tag = [0; 16];
        tag.copy_from_slice(bytes.last_chunk::<16>().unwrap_or(&[0; 16]));
        Ok(Self {
            kind,
            lba: first & U40,
            level,
            payload,
            old: Phys(second & U40),
            birth: Birth(birth),
            tag,
        })
    }
}
