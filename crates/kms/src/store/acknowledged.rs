//! The note of how far the store was acknowledged. It lets the next opener tell a record that was
//! never acknowledged (and may be dropped) from one that was (and whose loss must be told).
//!
//! ```text
//!  offset  len
//!       0    8  magic "SVKMSACK"
//!       8    8  generation of the store
//!      16   32  salt of the store's snapshot
//!      48    8  length of the store at the last acknowledged change
//!      56    8  the first 8 bytes of SHA-256(bytes 0 to 55)
//! ```

use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"SVKMSACK";
pub(super) const ACKNOWLEDGED_LEN: usize = 64;

/// What is known to have been acknowledged. One sector, written in one piece; what does not match
/// its check counts as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Generation of the store.
    pub generation: u64,
    /// Salt of its snapshot.
    pub salt: [u8; 32],
    /// Its length at the last acknowledged change.
    pub len: u64,
}

impl Acknowledged {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ACKNOWLEDGED_LEN] {
        let mut bytes = Vec::with_capacity(ACKNOWLEDGED_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.len.to_be_bytes());
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        bytes.extend_from_slice(&digest);
        bytes.first_chunk().copied().unwrap_or([0; ACKNOWLEDGED_LEN])
    }

    /// Reads the note; `None` when there is none to rely on.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ACKNOWLEDGED_LEN] = bytes.try_into().ok()?;
        let rest = bytes.strip_prefix(MAGIC.as_slice())?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (len, _check) = rest.split_first_chunk()?;
        let note = Self {
            generation: u64::from_be_bytes(*generation),
            salt: *salt,
            len: u64::from_be_bytes(*len),
        };
        (note.encode() == *bytes).then_some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_damage_is_absence() {
        let note = Acknowledged { generation: 3, salt: [7; 32], len: 12345 };
        let bytes = note.encode();
        assert_eq!(Acknowledged::decode(&bytes), Some(note));
        for at in 0..bytes.len() {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            assert_eq!(Acknowledged::decode(&damaged), None, "byte {at}");
            assert_eq!(Acknowledged::decode(&bytes[..at]), None);
        }
    }
}
