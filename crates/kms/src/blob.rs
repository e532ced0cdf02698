//! The ciphertext blob: what a wrapped data key looks like outside the KMS.
//!
//! ```text
//!  offset  len
//!       0    4  magic "SVKB"
//!       4    1  version, 2
//!       5    3  zero
//!       8   16  key id (the UUID's bytes)
//!      24   32  key material id
//!      56   16  N, random: the salt of this ciphertext's own key
//!      72   12  IV, random
//!      84    4  plaintext length, big-endian, 1 to 4096
//!      88    8  the first 8 bytes of SHA-256(bytes 0 to 87)
//!      96    n  ciphertext
//!    96+n   16  tag
//! ```
//! The key of version 2 is made as AWS KMS documents it (KMS Cryptographic Details, "Encrypt"): a KDF in
//! counter mode (NIST SP 800-108r1, section 4.1) with HMAC-SHA256, `[i]_32 || Label || 00 || Context
//! || [L]_32` with one block (i = 1, L = 256), the label below and N as the context, under the
//! material's own key-derivation key ([`Purpose::KeyStoreDerivation`]). Version 1 used HKDF
//! ([`Purpose::KeyStoreCiphertext`]) and is still opened. The associated data are the 96 header bytes and
//! the canonical encryption context. N makes every blob's key its own, so the IV guards a second time
//! what N guards already.
//!
//! The check in the header authenticates nothing. It tells damage (`InvalidCiphertextException`)
//! from an intact blob of a key that this KMS does not have (`AccessDeniedException`) where the key
//! that could tell is missing.

use sealvol_core::Entropy;
use sealvol_envelope::aead::{AeadBackend, TAG_LEN};
use sealvol_envelope::{EncryptionContext, KmsError, Purpose};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::fault;
use crate::ids::{KeyId, MaterialId};
use crate::secret::Secret;

const MAGIC: &[u8; 4] = b"SVKB";
/// Versions that are opened.
const HKDF: u8 = 1;
const COUNTER_KDF: u8 = 2;

const KDF_LABEL: &[u8] = b"sealvol kms ciphertext v2";

const KEY_ID_AT: usize = 8;
const MATERIAL_AT: usize = KEY_ID_AT + 16;
const SALT_AT: usize = MATERIAL_AT + 32;
const IV_AT: usize = SALT_AT + SALT_LEN;
const LEN_AT: usize = IV_AT + IV_LEN;
const CHECK_AT: usize = LEN_AT + 4;
const HEADER_LEN: usize = CHECK_AT + CHECK_LEN;

const SALT_LEN: usize = 16;
const IV_LEN: usize = 12;
const CHECK_LEN: usize = 8;

/// Longest plaintext of KMS.
pub(crate) const PLAINTEXT_MAX: usize = 4096;
/// Bytes that a blob adds to its plaintext.
pub const BLOB_OVERHEAD: usize = HEADER_LEN + TAG_LEN;

// Every blob fits into what KMS allows a ciphertext to be.
const _: () = assert!(PLAINTEXT_MAX + BLOB_OVERHEAD <= 6144);

/// Not a ciphertext blob of this version: damaged, truncated, extended or never one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a ciphertext of the embedded KMS")]
pub struct BlobError;

/// An intact blob's parts, borrowed. Nothing in it is authenticated yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CiphertextBlob<'a> {
    header: &'a [u8; HEADER_LEN],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

impl<'a> CiphertextBlob<'a> {
    /// Reads the layout.
    ///
    /// # Errors
    /// [`BlobError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BlobError> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(BlobError)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(BlobError)?;
        let blob = Self { header, ciphertext, tag };
        let fixed = header.starts_with(MAGIC)
            && matches!(blob.field::<4>(4), [HKDF | COUNTER_KDF, 0, 0, 0])
            && blob.field::<CHECK_LEN>(CHECK_AT) == check(header);
        let len = usize::try_from(u32::from_be_bytes(blob.field(LEN_AT))).ok().ok_or(BlobError)?;
        if !fixed || len != ciphertext.len() || !(1..=PLAINTEXT_MAX).contains(&len) {
            return Err(BlobError);
        }
        Ok(blob)
    }

    /// Length of the sealed plaintext.
    #[must_use]
    pub const fn plaintext_len(&self) -> usize {
        self.ciphertext.len()
    }

    pub(crate) fn key_id(&self) -> KeyId {
        KeyId::from_bytes(self.field(KEY_ID_AT))
    }

    pub(crate) fn material_id(&self) -> MaterialId {
        MaterialId(self.field(MATERIAL_AT))
    }

    /// Opens the blob under the material that it names.
    ///
    /// # Errors
    /// `InvalidCiphertextException`: context, key or bytes are not those it was sealed with.
    pub(crate) fn open(
        &self,
        secret: &Secret,
        context: &EncryptionContext,
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let salt = self.field::<SALT_LEN>(SALT_AT);
        let key = match self.field::<1>(4) {
            [HKDF] => secret.prk().subkey(Purpose::KeyStoreCiphertext, &salt),
            _ => derived_key(secret, &salt),
        };
        // Of its final length at once: a buffer that grows would leave copies behind.
        let mut plaintext = Zeroizing::new(vec![0; self.ciphertext.len()]);
        AeadBackend::default()
            .expand(&key)
            .open(
                &self.field(IV_AT),
                &aad(self.header, context),
                self.ciphertext,
                self.tag,
                &mut plaintext,
            )
            .map_err(|_| fault::invalid_ciphertext())?;
        Ok(plaintext)
    }

    /// `N` bytes of the header. The callers' offsets are constants inside it.
    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        self.header.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }
}

/// The key of one ciphertext.
fn derived_key(secret: &Secret, n: &[u8; SALT_LEN]) -> Zeroizing<[u8; 32]> {
    let kdk = secret.prk().mac(Purpose::KeyStoreDerivation);
    let (counter, bits) = (1_u32.to_be_bytes(), 256_u32.to_be_bytes());
    Zeroizing::new(kdk.tag(&[&counter, KDF_LABEL, &[0], n, &bits]))
}

/// Seals `plaintext` (1 to 4096 bytes) into a blob.
pub(crate) fn seal(
    entropy: &dyn Entropy,
    key: (KeyId, MaterialId, &Secret),
    context: &EncryptionContext,
    plaintext: &[u8],
) -> Result<Vec<u8>, KmsError> {
    seal_as(COUNTER_KDF, entropy, key, context, plaintext)
}

fn seal_as(
    version: u8,
    entropy: &dyn Entropy,
    (key_id, material_id, secret): (KeyId, MaterialId, &Secret),
    context: &EncryptionContext,
    plaintext: &[u8],
) -> Result<Vec<u8>, KmsError> {
    let failed = || fault::internal("the data key could not be sealed");
    let len = u32::try_from(plaintext.len()).map_err(|_| failed())?;
    let mut random = [0_u8; SALT_LEN + IV_LEN];
    entropy.fill(&mut random).map_err(|e| failed().with_source(e))?;
    let (salt, iv) = random.split_at(SALT_LEN);

    let mut blob = Vec::with_capacity(plaintext.len() + BLOB_OVERHEAD);
    blob.extend_from_slice(MAGIC);
    blob.extend_from_slice(&[version, 0, 0, 0]);
    blob.extend_from_slice(key_id.as_bytes());
    blob.extend_from_slice(&material_id.0);
    blob.extend_from_slice(salt);
    blob.extend_from_slice(iv);
    blob.extend_from_slice(&len.to_be_bytes());
    blob.extend_from_slice(&check(&blob));
    let header: [u8; HEADER_LEN] = blob.as_slice().try_into().map_err(|_| failed())?;

    blob.resize(HEADER_LEN + plaintext.len(), 0);
    let salt: &[u8; SALT_LEN] = salt.try_into().map_err(|_| failed())?;
    let key = match version {
        HKDF => secret.prk().subkey(Purpose::KeyStoreCiphertext, salt),
        _ => derived_key(secret, salt),
    };
    let nonce = iv.try_into().map_err(|_| failed())?;
    let sealed = blob.get_mut(HEADER_LEN..).ok_or_else(failed)?;
    let tag = AeadBackend::default()
        .expand(&key)
        .seal(&nonce, &aad(&header, context), plaintext, sealed)
        .map_err(|e| failed().with_source(e))?;
    blob.extend_from_slice(&tag);
    Ok(blob)
}

fn check(header: &[u8]) -> [u8; CHECK_LEN] {
    let digest: [u8; 32] = Sha256::digest(header.get(..CHECK_AT).unwrap_or(header)).into();
    digest.first_chunk().copied().unwrap_or_default()
}

fn aad(header: &[u8; HEADER_LEN], context: &EncryptionContext) -> Vec<u8> {
    let mut aad = header.to_vec();
    aad.extend_from_slice(&context.canonical());
    aad
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sealvol_core::SystemEntropy;

    use super::*;

    fn sealed(plaintext: &[u8]) -> (Secret, Vec<u8>) {
        let secret = Secret::take(&mut [9; 32]);
        let blob = seal(
            &SystemEntropy,
            (KeyId::from_random([1; 16]), MaterialId([2; 32]), &secret),
            &EncryptionContext::for_volume("vol-1").unwrap(),
            plaintext,
        )
        .unwrap();
        (secret, blob)
    }

    #[test]
    fn opens_with_its_context_alone() {
        let (secret, blob) = sealed(&[5; 64]);
        assert_eq!(blob.len(), 64 + BLOB_OVERHEAD);
        let parsed = CiphertextBlob::parse(&blob).unwrap();
        assert_eq!(parsed.key_id(), KeyId::from_random([1; 16]));
        assert_eq!(parsed.material_id(), MaterialId([2; 32]));
        let context = EncryptionContext::for_volume("vol-1").unwrap();
        assert_eq!(parsed.open(&secret, &context).unwrap()[..], [5; 64]);
        let refusal = parsed.open(&secret, &EncryptionContext::new()).map(|_| ()).unwrap_err();
        assert_eq!((refusal.code(), refusal.message()), ("InvalidCiphertextException", None));
    }

    /// The derivation against an independent implementation of SP 800-108.
    #[test]
    fn keys_are_derived_as_sp_800_108_says() {
        use aws_lc_rs::kdf::{KbkdfCtrHmacAlgorithmId, kbkdf_ctr_hmac};
        let algorithm =
            aws_lc_rs::kdf::get_kbkdf_ctr_hmac_algorithm(KbkdfCtrHmacAlgorithmId::Sha256).unwrap();
        let secret = Secret::take(&mut [9; 32]);
        let kdk = secret.prk().subkey(Purpose::KeyStoreDerivation, &[]);
        let n = [0xa5; SALT_LEN];
        let info = [KDF_LABEL, &[0], &n, &256_u32.to_be_bytes()].concat();
        let mut expected = [0; 32];
        kbkdf_ctr_hmac(algorithm, kdk.as_slice(), &info, &mut expected).unwrap();
        assert_eq!(*derived_key(&secret, &n), expected);
    }

    /// What the first version sealed opens for good.
    #[test]
    fn blobs_of_version_1_open() {
        let secret = Secret::take(&mut [9; 32]);
        let key = (KeyId::from_random([1; 16]), MaterialId([2; 32]), &secret);
        let context = EncryptionContext::for_volume("vol-1").unwrap();
        let mut opened = Vec::new();
        for version in [HKDF, COUNTER_KDF] {
            let blob = seal_as(version, &SystemEntropy, key, &context, &[5; 64]).unwrap();
            assert_eq!(blob[4], version);
            opened.push(CiphertextBlob::parse(&blob).unwrap().open(&secret, &context).unwrap());
        }
        assert_eq!(opened[0], opened[1]);
        assert_eq!(seal(&SystemEntropy, key, &context, &[5; 64]).unwrap()[4], COUNTER_KDF);
    }

    #[test]
    fn every_header_byte_is_checked_without_a_key() {
        let (_, blob) = sealed(&[5; 64]);
        for at in 0..HEADER_LEN {
            let mut damaged = blob.clone();
            damaged[at] ^= 0x10;
            assert_eq!(CiphertextBlob::parse(&damaged), Err(BlobError), "byte {at}");
        }
    }

    #[test]
    fn extreme_lengths() {
        for len in [1, PLAINTEXT_MAX] {
            let (_, blob) = sealed(&vec![1; len]);
            assert_eq!(CiphertextBlob::parse(&blob).unwrap().plaintext_len(), len);
        }
        for len in [0, PLAINTEXT_MAX + 1] {
            let (_, blob) = sealed(&vec![1; len]);
            assert_eq!(CiphertextBlob::parse(&blob), Err(BlobError), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(CiphertextBlob::parse(&bytes).is_err());
        }

        #[test]
        fn damaged_blobs_never_open(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let (secret, mut blob) = sealed(&[5; 64]);
            let at = at.index(blob.len());
            blob[at] ^= flip;
            let context = EncryptionContext::for_volume("vol-1").unwrap();
            let opened = CiphertextBlob::parse(&blob).ok().map(|b| b.open(&secret, &context));
            prop_assert!(!matches!(opened, Some(Ok(_))));
        }
    }
}
