//! The public header of a store: what must be known before the root key is.
//!
//! ```text
//!  offset  len
//!       0    8  magic "SVKMSST\0"
//!       8    4  version, 2 (1: before policies, rotation and accounts; read, and rewritten as 2)
//!      12    1  root key kind: 1 key file, 2 passphrase
//!      13    3  zero
//!      16    4  Argon2id memory, KiB (0 for a key file, as the next three)
//!      20    4  Argon2id passes
//!      24    4  Argon2id lanes
//!      28    4  zero
//!      32   16  Argon2id salt
//!      48    8  generation: 1 for the first snapshot, one more for each compaction
//!      56    8  length of the sealed snapshot, tag included
//!      64   32  salt of this snapshot's key, random
//!      96   32  the root key's commitment
//!     128   32  SHA-256(bytes 0 to 127)
//!     160       the sealed snapshot
//! ```
//! Integers are big-endian. The whole header is associated data of the snapshot, so that the digest
//! only serves to tell a damaged header from a wrong root key.

use sha2::{Digest, Sha256};

use super::error::Damage;
use super::root_key::RootKeyKind;
use crate::settings::Argon2Settings;

const MAGIC: &[u8; 8] = b"SVKMSST\0";
/// Version that is written.
pub(super) const VERSION: u32 = 2;

const VERSION_AT: usize = 8;
const KIND_AT: usize = VERSION_AT + 4;
const ARGON2_AT: usize = KIND_AT + 4;
const ARGON2_SALT_AT: usize = ARGON2_AT + 16;
const GENERATION_AT: usize = ARGON2_SALT_AT + 16;
const SNAPSHOT_LEN_AT: usize = GENERATION_AT + 8;
const SALT_AT: usize = SNAPSHOT_LEN_AT + 8;
const COMMITMENT_AT: usize = SALT_AT + 32;
const DIGEST_AT: usize = COMMITMENT_AT + 32;
/// Bytes of the header.
pub const HEADER_LEN: usize = DIGEST_AT + 32;

/// The public header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHeader {
    /// As it was read; what is written is always of the newest version.
    pub version: u32,
    /// Where the root key comes from.
    pub root_key_kind: RootKeyKind,
    /// How the passphrase is stretched; acceptable, see [`Argon2Settings::is_acceptable`].
    /// Meaningless for a key file.
    pub argon2: Argon2Settings,
    /// Its salt.
    pub argon2_salt: [u8; 16],
    /// Number of this snapshot.
    pub generation: u64,
    /// Length of the sealed snapshot, tag included.
    pub snapshot_len: u64,
    /// Salt of the snapshot's key; also names this snapshot.
    pub salt: [u8; 32],
    /// What the root key must commit to.
    pub commitment: [u8; 32],
}

impl StoreHeader {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let (kind, argon2) = match self.root_key_kind {
            RootKeyKind::KeyFile => (1, Argon2Settings { memory_kib: 0, passes: 0, lanes: 0 }),
            RootKeyKind::Passphrase => (2, self.argon2),
        };
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&[kind, 0, 0, 0]);
        for value in [argon2.memory_kib, argon2.passes, argon2.lanes, 0] {
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        bytes.extend_from_slice(&self.argon2_salt);
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.snapshot_len.to_be_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.commitment);
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        bytes.extend_from_slice(&digest);
        let mut header = [0; HEADER_LEN];
        header.copy_from_slice(&bytes);
        header
    }

    /// Reads a header at the start of `bytes`.
    ///
    /// # Errors
    /// [`Damage::NotAStore`], [`Damage::Unsupported`], [`Damage::Header`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        if !bytes.starts_with(MAGIC) {
            return Err(Damage::NotAStore);
        }
        let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(Damage::Header)?;
        let version = match u32::from_be_bytes(field(header, VERSION_AT)) {
            known @ 1..=VERSION => known,
            other => return Err(Damage::Unsupported(other)),
        };
        let (content, digest) = header.split_last_chunk::<32>().ok_or(Damage::Header)?;
        if Sha256::digest(content).as_slice() != digest {
            return Err(Damage::Header);
        }
        let number = |at| u32::from_be_bytes(field(header, at));
        let argon2 = Argon2Settings {
            memory_kib: number(ARGON2_AT),
            passes: number(ARGON2_AT + 4),
            lanes: number(ARGON2_AT + 8),
        };
        let (root_key_kind, argon2) = match field(header, KIND_AT) {
            [1, 0, 0, 0] => (RootKeyKind::KeyFile, Argon2Settings::default()),
            [2, 0, 0, 0] if argon2.is_acceptable() => (RootKeyKind::Passphrase, argon2),
            _ => return Err(Damage::Header),
        };
        Ok(Self {
            version,
            root_key_kind,
            argon2,
            argon2_salt: field(header, ARGON2_SALT_AT),
            generation: u64::from_be_bytes(field(header, GENERATION_AT)),
            snapshot_len: u64::from_be_bytes(field(header, SNAPSHOT_LEN_AT)),
            salt: field(header, SALT_AT),
            commitment: field(header, COMMITMENT_AT),
        })
    }
}

/// `N` bytes at a constant offset inside the header.
fn field<const N: usize>(header: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    header.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(root_key_kind: RootKeyKind) -> StoreHeader {
        StoreHeader {
            version: VERSION,
            root_key_kind,
            argon2: Argon2Settings::default(),
            argon2_salt: [1; 16],
            generation: 2,
            snapshot_len: 3,
            salt: [4; 32],
            commitment: [5; 32],
        }
    }

    #[test]
    fn round_trips_and_every_flip_is_seen() {
        for kind in [RootKeyKind::KeyFile, RootKeyKind::Passphrase] {
            let bytes = header(kind).encode();
            assert_eq!(StoreHeader::decode(&bytes).unwrap(), header(kind));
            for at in 0..HEADER_LEN {
                let mut damaged = bytes;
                damaged[at] ^= 4;
                assert!(StoreHeader::decode(&damaged).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn absurd_argon2_costs_are_refused_though_the_digest_is_right() {
        let mut absurd = header(RootKeyKind::Passphrase);
        absurd.argon2.memory_kib = u32::MAX;
        assert!(matches!(StoreHeader::decode(&absurd.encode()), Err(Damage::Header)));
    }
}
