//! The root key: 32 bytes from a key file, or a passphrase stretched with Argon2id.
//!
//! The key file:
//! ```text
//!  offset  len
//!       0    8  magic "SVKMSROT"
//!       8    4  version, 1
//!      12    4  zero
//!      16   32  the key
//!      48   16  the first 16 bytes of SHA-256(bytes 0 to 47), to tell damage from a wrong key
//! ```

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use sealvol_core::Entropy;
use sealvol_envelope::{Prk, Purpose};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::{SECRET_LEN, Secret};
use crate::settings::Argon2Settings;

const MAGIC: &[u8; 8] = b"SVKMSROT";
const VERSION: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 0];
const CHECK_LEN: usize = 16;
pub(super) const KEY_FILE_LEN: usize = 8 + 8 + SECRET_LEN + CHECK_LEN;

/// Where a root key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootKeyKind {
    /// The file `root.key` beside the store.
    KeyFile,
    /// A passphrase.
    Passphrase,
}

impl fmt::Display for RootKeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyFile => "key file",
            Self::Passphrase => "passphrase",
        })
    }
}

/// How the embedder gives the root key.
#[non_exhaustive]
pub enum RootKeySource {
    /// The file `root.key` beside the store, made on first use with mode 0600.
    KeyFile,
    /// A passphrase, in UTF-8 as it is (no normalisation).
    Passphrase(Zeroizing<String>),
}

impl RootKeySource {
    pub(super) const fn kind(&self) -> RootKeyKind {
        match self {
            Self::KeyFile => RootKeyKind::KeyFile,
            Self::Passphrase(_) => RootKeyKind::Passphrase,
        }
    }
}

impl fmt::Debug for RootKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKeySource({})", self.kind())
    }
}

/// The key that seals a store. Each snapshot and each record is sealed under a subkey of its own,
/// made with a fresh 32-byte salt, so that no nonce can repeat under one key.
pub struct RootKey {
    secret: Secret,
}

impl RootKey {
    /// Takes the bytes and zeroises `source`.
    #[must_use]
    pub fn take(source: &mut [u8; SECRET_LEN]) -> Self {
        Self { secret: Secret::take(source) }
    }

    pub(super) fn generate(entropy: &dyn Entropy) -> Result<Self, sealvol_core::Error> {
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        entropy.fill(bytes.as_mut_slice())?;
        Ok(Self::take(&mut bytes))
    }

    /// Stretches a passphrase. `cost` is acceptable: the caller checked it.
    pub(super) fn stretch(
        passphrase: &str,
        salt: &[u8; 16],
        cost: Argon2Settings,
    ) -> Result<Self, argon2::Error> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(SECRET_LEN))?;
        let mut blocks = vec![Block::default(); params.block_count()];
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        let stretched = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                passphrase.as_bytes(),
                salt,
                bytes.as_mut_slice(),
                &mut blocks,
            );
        blocks.iter_mut().for_each(Zeroize::zeroize);
        stretched.map(|()| Self::take(&mut bytes))
    }

    pub(super) fn commitment(&self) -> [u8; 32] {
        self.prk().commitment()
    }

    /// The key of one sealed piece; `what` separates kinds of pieces, `salt` is the piece's own.
    pub(super) fn piece_key(&self, what: &[u8; 8], salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        let mut label = [0; 40];
        let (a, b) = label.split_at_mut(what.len());
        a.copy_from_slice(what);
        b.copy_from_slice(salt);
        self.prk().subkey(Purpose::KeyStore, &label)
    }

    pub(super) fn encode_key_file(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_LEN));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION);
        bytes.extend_from_slice(self.secret.expose_secret());
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    const fn prk(&self) -> &Prk {
        self.secret.prk()
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(..)")
    }
}

/// Reads a key file; `None` if it is not one or is damaged. The caller zeroises `bytes`.
#[must_use]
pub fn decode_root_key_file(bytes: &[u8]) -> Option<RootKey> {
    let bytes: &[u8; KEY_FILE_LEN] = bytes.try_into().ok()?;
    let (content, found) = bytes.split_last_chunk::<CHECK_LEN>()?;
    if check(content) != *found {
        return None;
    }
    let rest = content.strip_prefix(MAGIC.as_slice())?.strip_prefix(VERSION.as_slice())?;
    let mut key = Zeroizing::new(*rest.first_chunk::<SECRET_LEN>()?);
    Some(RootKey::take(&mut key))
}

fn check(content: &[u8]) -> [u8; CHECK_LEN] {
    let digest: [u8; 32] = Sha256::digest(content).into();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_file_round_trips_and_damage_is_seen() {
        let key = RootKey::take(&mut [3; 32]);
        let file = key.encode_key_file();
        assert_eq!(decode_root_key_file(&file).unwrap().commitment(), key.commitment());
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(decode_root_key_file(&damaged).is_none(), "byte {at}");
            assert!(decode_root_key_file(&file[..at]).is_none());
        }
    }

    #[test]
    fn passphrase_and_salt_make_the_key() {
        let cost = Argon2Settings { memory_kib: 8, passes: 1, lanes: 1 };
        let stretch = |p, s| RootKey::stretch(p, &[s; 16], cost).unwrap().commitment();
        assert_eq!(stretch("a", 1), stretch("a", 1));
        assert_ne!(stretch("a", 1), stretch("b", 1));
        assert_ne!(stretch("a", 1), stretch("a", 2));
    }

    #[test]
    fn pieces_have_keys_of_their_own() {
        let key = RootKey::take(&mut [3; 32]);
        let base = key.piece_key(b"snapshot", &[1; 32]);
        assert_ne!(*base, *key.piece_key(b"journal\0", &[1; 32]));
        assert_ne!(*base, *key.piece_key(b"snapshot", &[2; 32]));
    }
}
