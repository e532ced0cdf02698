//! What each sealed slot is bound to: its associated data and its nonce.

use sealvol_core::VolumeId;

use crate::{FORMAT_VERSION, Suite};

/// Bytes of associated data.
pub const AAD_LEN: usize = 48;

/// What a slot holds. Part of the associated data, so that a map page never opens as a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum SlotClass {
    /// A logical block.
    Block = 1,
    /// A map page.
    Map = 2,
    /// A page of the segment table.
    Table = 3,
    /// A commit slot.
    Commit = 4,
}

/// The identity of one slot's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotIdentity {
    /// The cipher suite.
    pub suite: Suite,
    /// The volume.
    pub volume: VolumeId,
    /// The segment's sequence number, unique for all time in one volume.
    pub segment_seq: u64,
    /// The slot's index in its segment.
    pub slot: u32,
    /// What it holds.
    pub class: SlotClass,
    /// The level of a page; 0 for blocks and commit slots.
    pub level: u8,
    /// LBA of a block, index of a page, 0 for a commit slot.
    pub index: u64,
}

impl SlotIdentity {
    /// The associated data: every field at a fixed place.
    #[must_use]
    pub fn aad(&self) -> [u8; AAD_LEN] {
        let mut out = [0; AAD_LEN];
        let mut rest = out.as_mut_slice();
        // Fixed lengths throughout: this compiles to a few moves, on the path of every block.
        let mut put = |bytes: &[u8]| {
            if let Some((to, tail)) = std::mem::take(&mut rest).split_at_mut_checked(bytes.len()) {
                to.copy_from_slice(bytes);
                rest = tail;
            }
        };
        put(b"SVb1");
        put(&FORMAT_VERSION.to_le_bytes());
        put(&self.suite.id().to_le_bytes());
        put(&self.volume.0);
        put(&self.segment_seq.to_le_bytes());
        put(&self.slot.to_le_bytes());
        put(&[self.class as u8, self.level, 0, 0]);
        put(&self.index.to_le_bytes());
        out
    }
}

/// The 96-bit nonce: the slot's index, then 64 fresh random bits of its group.
#[must_use]
pub fn nonce(slot: u32, group_nonce: u64) -> [u8; 12] {
    let mut out = [0; 12];
    let (a, b) = out.split_at_mut(4);
    a.copy_from_slice(&slot.to_le_bytes());
    b.copy_from_slice(&group_nonce.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_changes_the_associated_data() {
        let base = SlotIdentity {
            suite: Suite::Aes256Gcm,
            volume: VolumeId([1; 16]),
            segment_seq: 2,
            slot: 3,
            class: SlotClass::Block,
            level: 0,
            index: 4,
        };
        let variants = [
            SlotIdentity { volume: VolumeId([2; 16]), ..base },
            SlotIdentity { segment_seq: 3, ..base },
            SlotIdentity { slot: 4, ..base },
            SlotIdentity { class: SlotClass::Map, ..base },
            SlotIdentity { level: 1, ..base },
            SlotIdentity { index: 5, ..base },
        ];
        for variant in variants {
            assert_ne!(variant.aad(), base.aad(), "{variant:?}");
        }
        assert_ne!(nonce(1, 2), nonce(2, 1));
    }
}
