//! AES-256-GCM by ring: the fastest on processors with VAES but without AVX-512, where AWS-LC falls
//! back to 128-bit AES-NI.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce as RingNonce, Tag as RingTag, UnboundKey};
use sealvol_sys::WipedBox;

use super::{AeadKey, AuthError, Nonce, SealError, Tag};

/// ring keeps the expanded key inline and does not wipe it: the box does.
pub(super) struct RingKey {
    /// `None` only if ring refused a 32-byte key, which it does not; every use then fails closed.
    key: Option<WipedBox<LessSafeKey>>,
}

impl RingKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let expanded = UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new);
        Self { key: expanded.map(WipedBox::new) }
    }
}

impl AeadKey for RingKey {
    fn seal(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<Tag, SealError> {
        let key = self.key.as_ref().ok_or(SealError)?;
        if plaintext.len() != ciphertext.len() {
            return Err(SealError);
        }
        ciphertext.copy_from_slice(plaintext);
        let nonce = RingNonce::assume_unique_for_key(*nonce);
        match key.seal_in_place_separate_tag(nonce, Aad::from(aad), ciphertext) {
            Ok(tag) => tag.as_ref().try_into().map_err(|_| SealError),
            Err(_) => {
                ciphertext.fill(0);
                Err(SealError)
            }
        }
    }

    fn open(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        ciphertext: &[u8],
        tag: &Tag,
        plaintext: &mut [u8],
    ) -> Result<(), AuthError> {
        if plaintext.len() != ciphertext.len() {
            plaintext.fill(0);
            return Err(AuthError);
        }
        plaintext.copy_from_slice(ciphertext);
        self.open_in_place(nonce, aad, tag, plaintext)
    }

    fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        tag: &Tag,
        in_out: &mut [u8],
    ) -> Result<(), AuthError> {
        let opened = self.key.as_ref().is_some_and(|key| {
            let nonce = RingNonce::assume_unique_for_key(*nonce);
            let tag = RingTag::from(*tag);
            key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, in_out, 0..).is_ok()
        });
        if opened {
            Ok(())
        } else {
            in_out.fill(0);
            Err(AuthError)
        }
    }
}
