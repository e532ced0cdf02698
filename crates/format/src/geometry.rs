//! Where things are in a volume file: slots, segments and the addresses between them.

use crate::{FormatError, MAX_TABLE_SEGMENTS};

/// Bytes in a slot, the unit of the log: one sealed block, map page, or commit slot.
pub const SLOT_LEN: usize = 4096;
const SLOT_LEN_U64: u64 = 4096;
/// Byte offset of the first segment: two superblocks lie before it.
pub const DATA_OFFSET: u64 = 2 << 20;
const DATA_SLOTS: u64 = DATA_OFFSET / SLOT_LEN_U64;
/// Most blocks a volume can have: five levels of 128 entries, 128 TiB.
pub const MAX_LOGICAL_BLOCKS: u64 = 1 << 35;
/// Physical slot addresses have 40 bits: 4 PiB of file.
const MAX_PHYS: u64 = (1 << 40) - 1;

/// The number of a segment: 0 is the one at [`DATA_OFFSET`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SegmentIndex(pub u64);

/// A physical slot address: file offset divided by the slot length. 0 means "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Phys(pub u64);

impl Phys {
    /// No slot.
    pub const NONE: Self = Self(0);

    /// Byte offset in the file.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.0 * SLOT_LEN_U64
    }
}

/// The shape of one volume file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    slots_per_segment: u32,
}

impl Geometry {
    /// 4 MiB segments.
    pub const DEFAULT: Self = Self { slots_per_segment: 1024 };

    /// Segments of `slots` slots.
    ///
    /// # Errors
    /// [`FormatError::Field`] unless `slots` is a power of two from 16 to 1024: the nonce argument
    /// rests on at most 1023 messages under one segment key.
    pub const fn new(slots: u32) -> Result<Self, FormatError> {
        if slots.is_power_of_two() && slots >= 16 && slots <= 1024 {
            Ok(Self { slots_per_segment: slots })
        } else {
            Err(FormatError::Field {
                what: "superblock",
                field: "slots per segment",
                found: slots as u64,
            })
        }
    }

    /// Slots in a segment, the header included.
    #[must_use]
    pub const fn slots_per_segment(self) -> u32 {
        self.slots_per_segment
    }

    /// Bytes in a segment.
    #[must_use]
    pub const fn segment_len(self) -> u64 {
        self.slots_per_segment as u64 * SLOT_LEN_U64
    }

    /// Byte offset of a segment.
    #[must_use]
    pub const fn segment_offset(self, segment: SegmentIndex) -> u64 {
        DATA_OFFSET + segment.0 * self.segment_len()
    }

    /// The address of a slot of a segment.
    #[must_use]
    pub const fn phys(self, segment: SegmentIndex, slot: u32) -> Phys {
        Phys(DATA_SLOTS + segment.0 * self.slots_per_segment as u64 + slot as u64)
    }

    /// The segment and slot of an address; `None` below [`DATA_OFFSET`] or past 40 bits.
    #[must_use]
    pub const fn locate(self, phys: Phys) -> Option<(SegmentIndex, u32)> {
        if phys.0 < DATA_SLOTS || phys.0 > MAX_PHYS {
            return None;
        }
        let slot = phys.0 - DATA_SLOTS;
        let per = self.slots_per_segment as u64;
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is below 1024")]
        let within = (slot % per) as u32;
        Some((SegmentIndex(slot / per), within))
    }

    /// Most segments that 40-bit addresses reach and the segment table describes.
    #[must_use]
    pub const fn max_segments(self) -> u64 {
        let addressed = (MAX_PHYS - DATA_SLOTS) / self.slots_per_segment as u64;
        if addressed < MAX_TABLE_SEGMENTS { addressed } else { MAX_TABLE_SEGMENTS }
    }

    /// Length of a file that holds `segments` segments.
    #[must_use]
    pub const fn file_len(self, segments: u64) -> u64 {
        DATA_OFFSET + segments * self.segment_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for slots in [16, 64, 1024] {
            let geometry = Geometry::new(slots).unwrap();
            for (segment, slot) in [(0, 0), (0, 1), (7, slots - 1), (123_456, 3)] {
                let phys = geometry.phys(SegmentIndex(segment), slot);
                assert_eq!(geometry.locate(phys), Some((SegmentIndex(segment), slot)));
                assert_eq!(
                    phys.offset(),
                    geometry.segment_offset(SegmentIndex(segment)) + u64::from(slot) * 4096
                );
            }
        }
        assert_eq!(Geometry::DEFAULT.locate(Phys::NONE), None);
        assert_eq!(Geometry::DEFAULT.locate(Phys(1 << 41)), None);
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for slots in [0, 1, 8, 100, 2048, u32::MAX] {
            assert!(Geometry::new(slots).is_err());
        }
    }
}
