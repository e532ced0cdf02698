//! AES-256-GCM by AWS-LC.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce as LcNonce, UnboundKey};

use super::{AeadKey, AuthError, Nonce, SealError, TAG_LEN, Tag};

/// The expanded key lives on AWS-LC's heap, which it cleanses when it frees.
pub(super) struct AwsLcKey {
    /// `None` only if AWS-LC refused a 32-byte key, which it does not; every use then fails closed.
    key: Option<LessSafeKey>,
}

impl AwsLcKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { key: UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new) }
    }
}

impl AeadKey for AwsLcKey {
    fn seal(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<Tag, SealError> {
        let mut tag = [0; TAG_LEN];
        let key = self.key.as_ref().ok_or(SealError)?;
        key.seal_out_of_place_scatter(
            LcNonce::assume_unique_for_key(*nonce),
            Aad::from(aad),
            plaintext,
            ciphertext,
            &[],
            &mut tag,
        )
        .map_err(|_| SealError)?;
        Ok(tag)
    }

    fn open(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        ciphertext: &[u8],
        tag: &Tag,
        plaintext: &mut [u8],
    ) -> Result<(), AuthError> {
        let opened = self.key.as_ref().map(|key| {
            key.open_separate_gather(
                LcNonce::assume_unique_for_key(*nonce),
                Aad::from(aad),
                ciphertext,
                tag,
                plaintext,
            )
        });
        match opened {
            Some(Ok(())) => Ok(()),
            _ => {
                plaintext.fill(0);
                Err(AuthError)
            }
        }
    }

    fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        tag: &Tag,
        in_out: &mut [u8],
    ) -> Result<(), AuthError> {
        let opened = self.key.as_ref().is_some_and(|key| {
            let nonce = LcNonce::assume_unique_for_key(*nonce);
            key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, in_out).is_ok()
        });
        if opened {
            Ok(())
        } else {
            in_out.fill(0);
            Err(AuthError)
        }
    }
}
