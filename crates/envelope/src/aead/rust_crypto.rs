//! AES-256-GCM by RustCrypto.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, KeyInit};

use super::{AeadKey, AuthError, Nonce, SealError, Tag};

/// Boxed, so that the key schedule is not copied about; its `zeroize` feature wipes it on drop.
pub(super) struct RustCryptoKey {
    key: Box<Aes256Gcm>,
}

impl RustCryptoKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { key: Box::new(Aes256Gcm::new(key.into())) }
    }
}

impl AeadKey for RustCryptoKey {
    fn seal(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<Tag, SealError> {
        let buffer = InOutBuf::new(plaintext, ciphertext).map_err(|_| SealError)?;
        let tag =
            self.key.encrypt_inout_detached(nonce.into(), aad, buffer).map_err(|_| SealError)?;
        Ok(tag.into())
    }

    fn open(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        ciphertext: &[u8],
        tag: &Tag,
        plaintext: &mut [u8],
    ) -> Result<(), AuthError> {
        let opened = match InOutBuf::new(ciphertext, plaintext) {
            Ok(buffer) => {
                self.key.decrypt_inout_detached(nonce.into(), aad, buffer, tag.into()).is_ok()
            }
            Err(_) => false,
        };
        if opened {
            Ok(())
        } else {
            plaintext.fill(0);
            Err(AuthError)
        }
    }

    fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        tag: &Tag,
        in_out: &mut [u8],
    ) -> Result<(), AuthError> {
        let buffer = InOutBuf::from(&mut *in_out);
        if self.key.decrypt_inout_detached(nonce.into(), aad, buffer, tag.into()).is_ok() {
            Ok(())
        } else {
            in_out.fill(0);
            Err(AuthError)
        }
    }
}
