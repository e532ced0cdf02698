//! Subkeys: HKDF-SHA256 (RFC 5869) from a data key, one label for each purpose.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac as _};
use sealvol_sys::LockedBytes;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::data_key::DataKey;

/// What a subkey is for. Each purpose has a label of its own, so that no two purposes share a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Sealing the slots of one segment; the salt is the segment's.
    Segment,
    /// Authenticating segment headers.
    Header,
    /// Authenticating superblocks.
    Superblock,
    /// Naming snapshot chunks by content.
    ContentNames,
    /// Telling a wrong key from a damaged file.
    KeyCommitment,
    /// Sealing the embedded KMS's store.
    KeyStore,
    /// Sealing one ciphertext of the embedded KMS, version 1; the salt is the ciphertext's.
    KeyStoreCiphertext,
    /// The key-derivation key of a key material: what the key of each ciphertext (version 2) comes
    /// from.
    KeyStoreDerivation,
}

/// The HKDF `info` prefix of a purpose.
pub type SubkeyLabel = &'static [u8];

impl Purpose {
    /// The label, part of the on-disk format: never changed, never reused.
    #[must_use]
    pub const fn label(self) -> SubkeyLabel {
        match self {
            Self::Segment => b"sealvol v1 segment",
            Self::Header => b"sealvol v1 header",
            Self::Superblock => b"sealvol v1 superblock",
            Self::ContentNames => b"sealvol v1 content names",
            Self::KeyCommitment => b"sealvol v1 key commitment",
            Self::KeyStore => b"sealvol v1 key store",
            Self::KeyStoreCiphertext => b"sealvol v1 key store ciphertext",
            Self::KeyStoreDerivation => b"sealvol v1 key store derivation",
        }
    }
}

/// The pseudorandom key that HKDF-Extract makes of a data key, in locked memory.
#[derive(Debug)]
pub struct Prk {
    bytes: LockedBytes,
}

impl Prk {
    /// `HKDF-Extract(SHA-256, salt, data key)`. The salt is the volume id, so that volumes of one
    /// data key share no subkey.
    #[must_use]
    pub fn extract(salt: &[u8], key: &DataKey) -> Self {
        let (mut prk, _expander) = Hkdf::<Sha256>::extract(Some(salt), key.expose_secret());
        let bytes = LockedBytes::copy_from(&prk);
        prk.as_mut_slice().zeroize();
        Self { bytes }
    }

    /// Whether it is locked in RAM: see [`LockedBytes::is_locked`].
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.bytes.is_locked()
    }

    /// `HKDF-Expand(PRK, label || salt, 32)`.
    #[must_use]
    pub fn subkey(&self, purpose: Purpose, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0_u8; 32]);
        let expanded = Hkdf::<Sha256>::from_prk(self.bytes.expose_secret())
            .map(|hkdf| hkdf.expand_multi_info(&[purpose.label(), salt], out.as_mut_slice()));
        // Both lengths are constants that RFC 5869 allows (PRK 32 >= 32, output 32 <= 255 * 32).
        debug_assert!(matches!(expanded, Ok(Ok(()))), "HKDF lengths are constant");
        out
    }

    /// The public value that commits to this key. Equal keys give equal commitments; nothing about
    /// the key follows from it.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        *self.subkey(Purpose::KeyCommitment, &[])
    }

    /// A MAC for `purpose`.
    #[must_use]
    pub fn mac(&self, purpose: Purpose) -> Mac {
        Mac { key: self.subkey(purpose, &[]) }
    }
}

/// HMAC-SHA256 (RFC 2104) under one subkey.
pub struct Mac {
    key: Zeroizing<[u8; 32]>,
}

impl Mac {
    /// The tag of `parts`, concatenated.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.keyed();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Whether `tag` is the tag of `parts`, compared in constant time.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8; 32]) -> bool {
        self.tag(parts).ct_eq(tag).into()
    }

    fn keyed(&self) -> Hmac<Sha256> {
        // RFC 2104 pads a shorter key with zeros to the hash's 64-byte block.
        let mut block = Zeroizing::new([0_u8; 64]);
        for (to, from) in block.iter_mut().zip(self.key.iter()) {
            *to = *from;
        }
        Hmac::<Sha256>::new((&*block).into())
    }
}

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mac(..)")
    }
}

/// SHA-256 (FIPS 180-4) of `parts`, concatenated: detects accidents, proves nothing.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DataKey {
        DataKey::take(&mut [byte; 64])
    }

    #[test]
    fn purposes_salts_volumes_and_keys_separate_subkeys() {
        let prk = Prk::extract(b"volume a", &key(1));
        let base = prk.subkey(Purpose::Segment, b"s");
        assert_eq!(*base, *Prk::extract(b"volume a", &key(1)).subkey(Purpose::Segment, b"s"));
        assert_ne!(*base, *prk.subkey(Purpose::Header, b"s"));
        assert_ne!(*base, *prk.subkey(Purpose::Segment, b"t"));
        assert_ne!(*base, *Prk::extract(b"volume b", &key(1)).subkey(Purpose::Segment, b"s"));
        assert_ne!(*base, *Prk::extract(b"volume a", &key(2)).subkey(Purpose::Segment, b"s"));
    }

    #[test]
    fn rfc5869_test_case_1() {
        let ikm = [0x0b; 22];
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let mut okm = [0; 42];
        Hkdf::<Sha256>::new(Some(&salt), &ikm).expand(&info, &mut okm).unwrap();
        assert_eq!(okm[..8], [0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a]);
    }

    #[test]
    fn mac_accepts_only_its_own_tag() {
        let mac = Prk::extract(b"v", &key(1)).mac(Purpose::Header);
        let mut tag = mac.tag(&[b"ab", b"c"]);
        assert!(mac.verify(&[b"abc"], &tag));
        tag[31] ^= 1;
        assert!(!mac.verify(&[b"abc"], &tag));
    }
}
