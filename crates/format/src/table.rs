//! The segment table: one 64-byte entry a segment, 64 entries a page.

use crate::SLOT_LEN;
use crate::bytes::u64_at;

const ENTRY_LEN: usize = 64;
/// Segments that one table page describes.
pub const TABLE_PAGE_SEGMENTS: usize = SLOT_LEN / ENTRY_LEN;
/// Levels of the table's tree: level 0 holds table entries, levels 1 to 3 are map-style pages.
/// 128^3 * 64 segments of 4 MiB reach 512 TiB of log.
pub const TABLE_LEVELS: u8 = 4;
/// Most segments that the table describes.
pub const MAX_TABLE_SEGMENTS: u64 = 128 * 128 * 128 * TABLE_PAGE_SEGMENTS as u64;

const SEQ_AT: usize = 0;
const SALT_AT: usize = 8;
const SMALL_AT: usize = 40;
const COUNTS_AT: usize = 48;

/// What the table knows of one segment. All zeros: never used, or free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableEntry {
    /// The segment's sequence number; 0 when it is free.
    pub seq: u64,
    /// The salt of its key: a second copy of the one in its header.
    pub salt: [u8; 32],
    /// Which of the volume's data keys.
    pub key_id: u16,
    /// Kind, as [`crate::SegmentKind`].
    pub kind: u8,
    /// Snapshot generation at opening.
    pub generation: u32,
    /// Blocks and map pages that the map refers to, as of the checkpoint.
    pub live: u16,
    /// Slots in use, the header included; 0 while the segment is open.
    pub used: u16,
}

impl TableEntry {
    fn encode(&self, out: &mut [u8; ENTRY_LEN]) {
        let small = u64::from(self.key_id)
            | (u64::from(self.kind) << 16)
            | (u64::from(self.generation) << 32);
        let counts = u64::from(self.live) | (u64::from(self.used) << 16);
        let fields: [(usize, &[u8]); 4] = [
            (SEQ_AT, &self.seq.to_le_bytes()),
            (SALT_AT, &self.salt),
            (SMALL_AT, &small.to_le_bytes()),
            (COUNTS_AT, &counts.to_le_bytes()),
        ];
        out.fill(0);
        for (at, bytes) in fields {
            if let Some(place) = out.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
    }

    fn decode(bytes: &[u8; ENTRY_LEN]) -> Self {
        let small = u64_at(bytes, SMALL_AT);
        let counts = u64_at(bytes, COUNTS_AT);
        let mut salt = [0; 32];
        if let Some(stored) = bytes.get(SALT_AT..SALT_AT + 32) {
            salt.copy_from_slice(stored);
        }
        Self {
            seq: u64_at(bytes, SEQ_AT),
            salt,
            key_id: (small & 0xffff) as u16,
            kind: ((small >> 16) & 0xff) as u8,
            generation: (small >> 32) as u32,
            live: (counts & 0xffff) as u16,
            used: ((counts >> 16) & 0xffff) as u16,
        }
    }
}

/// One page of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePage {
    /// The entries of [`TABLE_PAGE_SEGMENTS`] adjacent segments.
    pub entries: [TableEntry; TABLE_PAGE_SEGMENTS],
}

impl TablePage {
    /// A page of unused segments.
    #[must_use]
    pub fn empty() -> Self {
        Self { entries: [TableEntry::default(); TABLE_PAGE_SEGMENTS] }
    }

    /// The page's plaintext.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT_LEN] {
        let mut out = [0; SLOT_LEN];
        let (places, _) = out.as_chunks_mut::<ENTRY_LEN>();
        for (place, entry) in places.iter_mut().zip(&self.entries) {
            entry.encode(place);
        }
        out
    }

    /// Reads a plaintext. Every bit pattern is a page; its parent's tag says whether it is true.
    #[must_use]
    pub fn decode(bytes: &[u8; SLOT_LEN]) -> Self {
        let mut page = Self::empty();
        let (places, _) = bytes.as_chunks::<ENTRY_LEN>();
        for (entry, place) in page.entries.iter_mut().zip(places) {
            *entry = TableEntry::decode(place);
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_round_trip() {
        let mut page = TablePage::empty();
        page.entries[63] = TableEntry {
            seq: u64::MAX - 1,
            salt: [5; 32],
            key_id: 9,
            kind: 2,
            generation: 77,
            live: 1023,
            used: 1024,
        };
        assert_eq!(TablePage::decode(&page.encode()), page);
        assert_eq!(TablePage::decode(&[0; SLOT_LEN]), TablePage::empty());
    }
}
