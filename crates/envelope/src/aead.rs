//! AES-256-GCM (NIST SP 800-38D) behind one small trait, with three byte-equal implementations.
//!
//! # The hazard, and how it is met
//! Sealing two messages under one (key, nonce) reveals their difference and the authentication key.
//! Callers meet it by construction: a segment's key is derived from 32 fresh random bytes, a nonce
//! holds the slot's index in that segment, and a sealed slot is never sealed again.

mod aws_lc;
mod ring;
mod rust_crypto;

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of a tag.
pub const TAG_LEN: usize = 16;

/// A nonce. Unique for each message under one key.
pub type Nonce = [u8; NONCE_LEN];
/// An authentication tag.
pub type Tag = [u8; TAG_LEN];

/// The message does not authenticate: key, nonce, associated data, ciphertext or tag is not the one
/// it was sealed with. Which of them is deliberately not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message does not authenticate")]
pub struct AuthError;

/// Sealing failed: the lengths differ or exceed what GCM allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message could not be sealed")]
pub struct SealError;

/// An expanded AEAD key. Expanded state is zeroised when dropped.
pub trait AeadKey: Send + Sync {
    /// Seals `plaintext` into `ciphertext` (of the same length) and returns the tag.
    ///
    /// # Errors
    /// [`SealError`] when the lengths differ.
    fn seal(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<Tag, SealError>;

    /// Opens `ciphertext` into `plaintext` (of the same length).
    ///
    /// # Errors
    /// [`AuthError`]; `plaintext` is then all zeros.
    fn open(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        ciphertext: &[u8],
        tag: &Tag,
        plaintext: &mut [u8],
    ) -> Result<(), AuthError>;

    /// Opens `in_out` in place.
    ///
    /// # Errors
    /// [`AuthError`]; `in_out` is then all zeros.
    fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        tag: &Tag,
        in_out: &mut [u8],
    ) -> Result<(), AuthError>;
}

/// Which implementation seals and opens. All give the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AeadBackend {
    /// AWS-LC: assembly for the machine's widest vector AES, chosen at run time.
    #[default]
    AwsLc,
    /// ring: 256-bit vector AES where AVX-512 is missing.
    Ring,
    /// RustCrypto `aes-gcm`: portable pure Rust.
    RustCrypto,
}

impl AeadBackend {
    /// Every implementation, for tests that compare them.
    pub const ALL: [Self; 3] = [Self::AwsLc, Self::Ring, Self::RustCrypto];

    /// The fastest one on this processor. AWS-LC uses vector AES only with AVX-512; with VAES and
    /// AVX2 alone ring is about twice as fast (ARCHITECTURE.md has the figures).
    #[must_use]
    pub fn fastest() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let vector_aes = is_x86_feature_detected!("vaes")
                && is_x86_feature_detected!("vpclmulqdq")
                && is_x86_feature_detected!("avx2");
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl");
            if vector_aes && !wide {
                return Self::Ring;
            }
        }
        Self::AwsLc
    }

    /// Expands a key.
    #[must_use]
    pub fn expand(self, key: &[u8; 32]) -> Box<dyn AeadKey> {
        match self {
            Self::AwsLc => Box::new(aws_lc::AwsLcKey::new(key)),
            Self::Ring => Box::new(ring::RingKey::new(key)),
            Self::RustCrypto => Box::new(rust_crypto::RustCryptoKey::new(key)),
        }
    }

    /// The name used in settings and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwsLc => "aws-lc-rs",
            Self::Ring => "ring",
            Self::RustCrypto => "aes-gcm",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// NIST GCM test case 16 (AES-256, 60-byte plaintext, 20-byte AAD).
    #[test]
    fn nist_vector() {
        fn bytes<const N: usize>(text: &str) -> [u8; N] {
            std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        }
        let key = bytes::<32>("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let nonce = bytes::<12>("cafebabefacedbaddecaf888");
        let aad = bytes::<20>("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let plain = bytes::<60>(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let tag = bytes::<16>("76fc6ece0f4e1768cddf8853bb2d551b");
        for backend in AeadBackend::ALL {
            let mut sealed = [0; 60];
            assert_eq!(backend.expand(&key).seal(&nonce, &aad, &plain, &mut sealed), Ok(tag));
            assert_eq!(sealed[..4], [0x52, 0x2d, 0xc1, 0xf0], "{backend:?}");
        }
    }

    #[test]
    fn different_lengths_are_refused() {
        for backend in AeadBackend::ALL {
            let key = backend.expand(&[1; 32]);
            assert_eq!(key.seal(&[0; 12], b"", &[1; 16], &mut [0; 15]), Err(SealError));
            assert_eq!(key.open(&[0; 12], b"", &[1; 16], &[0; 16], &mut [0; 15]), Err(AuthError));
        }
    }

    proptest! {
        /// The differential oracle: each implementation opens what the other sealed, to the byte.
        #[test]
        fn implementations_are_byte_equal(
            key in any::<[u8; 32]>(),
            nonce in any::<[u8; 12]>(),
            aad in proptest::collection::vec(any::<u8>(), 0..80),
            plain in proptest::collection::vec(any::<u8>(), 0..5000),
            flip in any::<prop::sample::Index>(),
        ) {
            let keys = AeadBackend::ALL.map(|backend| backend.expand(&key));
            let mut sealed_a = vec![0; plain.len()];
            let tag_a = keys[0].seal(&nonce, &aad, &plain, &mut sealed_a).unwrap();
            for key in &keys {
                let mut sealed = vec![0; plain.len()];
                prop_assert_eq!(key.seal(&nonce, &aad, &plain, &mut sealed), Ok(tag_a));
                prop_assert_eq!(&sealed_a, &sealed);
            }
            for key in &keys {
                let mut opened = vec![0xa5; plain.len()];
                key.open(&nonce, &aad, &sealed_a, &tag_a, &mut opened).unwrap();
                prop_assert_eq!(&opened, &plain);
                let mut in_place = sealed_a.clone();
                key.open_in_place(&nonce, &aad, &tag_a, &mut in_place).unwrap();
                prop_assert_eq!(&in_place, &plain);

                let mut damaged = [sealed_a.as_slice(), &tag_a].concat();
                let at = flip.index(damaged.len());
                damaged[at] ^= 1;
                let (damaged, tag) = damaged.split_at(plain.len());
                let tag: Tag = tag.try_into().unwrap();
                let mut opened = vec![0xa5; plain.len()];
                prop_assert_eq!(key.open(&nonce, &aad, damaged, &tag, &mut opened), Err(AuthError));
                prop_assert!(opened.iter().all(|b| *b == 0));
                let mut in_place = damaged.to_vec();
                prop_assert_eq!(key.open_in_place(&nonce, &aad, &tag, &mut in_place), Err(AuthError));
                prop_assert!(in_place.iter().all(|b| *b == 0));
            }
        }
    }
}
