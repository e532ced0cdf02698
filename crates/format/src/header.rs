//! Segment headers: slot 0 of each segment, written once, before the segment's first group.

use crate::bytes::{Reader, Writer};
use crate::{FORMAT_VERSION, FormatError, SLOT_LEN, SegmentIndex, Suite};

const WHAT: &str = "segment header";
const MAGIC: [u8; 8] = *b"SVSEGMNT";
/// Bytes that the MAC covers (preceded by the volume id).
pub const HEADER_SIGNED_LEN: usize = 96;
/// Where the 32-byte MAC is. It ends inside the first 512-byte sector: a header is atomic.
pub const HEADER_MAC_OFFSET: usize = HEADER_SIGNED_LEN;

/// What a segment's groups hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SegmentKind {
    /// Blocks as users write them.
    User = 0,
    /// Blocks moved by garbage collection.
    Gc = 1,
    /// Map and table pages.
    Meta = 2,
}

impl SegmentKind {
    /// Every kind, in the order of the superblock's cursors.
    pub const ALL: [Self; 3] = [Self::User, Self::Gc, Self::Meta];

    /// Reads a kind.
    ///
    /// # Errors
    /// [`FormatError::Field`] for an unknown value.
    pub const fn from_id(id: u8) -> Result<Self, FormatError> {
        match id {
            0 => Ok(Self::User),
            1 => Ok(Self::Gc),
            2 => Ok(Self::Meta),
            _ => Err(FormatError::Field { what: WHAT, field: "kind", found: id as u64 }),
        }
    }
}

/// The segment that will follow, reserved when this one opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Successor {
    /// Where.
    pub segment: SegmentIndex,
    /// The sequence number its header will carry.
    pub seq: u64,
}

/// A segment's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The cipher suite of the segment's slots.
    pub suite: Suite,
    /// What its groups hold.
    pub kind: SegmentKind,
    /// Where it believes to be.
    pub segment: SegmentIndex,
    /// Unique for all time in this volume: open epoch << 32 | counter.
    pub seq: u64,
    /// Fresh random salt of the segment's key.
    pub salt: [u8; 32],
    /// Which of the volume's data keys.
    pub key_id: u16,
    /// The snapshot generation at opening.
    pub generation: u32,
    /// Which segment follows in this kind.
    pub successor: Successor,
}

impl SegmentHeader {
    /// Writes everything but the MAC.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT_LEN] {
        let mut w = Writer::default();
        w.put(&MAGIC)
            .u16(FORMAT_VERSION)
            .u16(self.suite.id())
            .u8(self.kind as u8)
            .put(&[0; 3])
            .u64(self.segment.0)
            .u64(self.seq)
            .put(&self.salt)
            .u16(self.key_id)
            .u16(0)
            .u32(self.generation)
            .u64(self.successor.segment.0)
            .u64(self.successor.seq)
            .u64(0);
        debug_assert_eq!(w.len(), HEADER_SIGNED_LEN);
        let mut out = [0; SLOT_LEN];
        for (to, from) in out.iter_mut().zip(w.finish()) {
            *to = from;
        }
        out
    }

    /// Reads a header and its MAC, which the caller must verify over the volume id and
    /// `slot[..HEADER_SIGNED_LEN]` before believing anything.
    ///
    /// # Errors
    /// [`FormatError`] for another structure, a newer version, or impossible fields.
    pub fn decode(slot: &[u8; SLOT_LEN]) -> Result<(Self, [u8; 32]), FormatError> {
        let mut r = Reader::new(WHAT, slot);
        if r.array::<8>()? != MAGIC {
            return Err(FormatError::Magic { what: WHAT });
        }
        let version = r.u16()?;
        if version != FORMAT_VERSION {
            return Err(FormatError::Unsupported {
                what: "segment format version",
                found: u64::from(version),
            });
        }
        let suite = Suite::from_id(r.u16()?)?;
        let kind = SegmentKind::from_id(r.u8()?)?;
        r.bytes(3)?;
        let segment = SegmentIndex(r.u64()?);
        let seq = r.u64()?;
        let salt = r.array()?;
        let key_id = r.u16()?;
        r.u16()?;
        let generation = r.u32()?;
        let successor = Successor { segment: SegmentIndex(r.u64()?), seq: r.u64()? };
        r.u64()?;
        let mac = r.array()?;
        Ok((Self { suite, kind, segment, seq, salt, key_id, generation, successor }, mac))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_round_trip(segment: u64, seq: u64, salt: [u8; 32], key_id: u16, generation: u32, mac: [u8; 32]) {
            let header = SegmentHeader {
                suite: Suite::Aes256Gcm,
                kind: SegmentKind::Meta,
                segment: SegmentIndex(segment),
                seq,
                salt,
                key_id,
                generation,
                successor: Successor { segment: SegmentIndex(!segment), seq: !seq },
            };
            let mut slot = header.encode();
            slot[HEADER_MAC_OFFSET..HEADER_MAC_OFFSET + 32].copy_from_slice(&mac);
            prop_assert_eq!(SegmentHeader::decode(&slot), Ok((header, mac)));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in proptest::collection::vec(any::<u8>(), SLOT_LEN), magic: bool) {
            let mut slot: [u8; SLOT_LEN] = bytes.try_into().unwrap();
            if magic {
                slot[..8].copy_from_slice(&MAGIC);
            }
            let _outcome = SegmentHeader::decode(&slot);
        }
    }
}
