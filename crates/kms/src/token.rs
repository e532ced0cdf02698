//! Grant tokens: made from the grant's id on demand and checked by their own MAC, so that none is
//! stored and all tokens of a grant are interchangeable.
//!
//! ```text
//!  offset  len
//!       0    1  version, 1
//!       1   16  key id
//!      17   32  grant id
//!      49   16  random, so that each CreateGrant returns a token of its own
//!      65   32  HMAC-SHA256 over bytes 0 to 64, under the store's token secret
//! ```
//! in base64 with the URL-safe alphabet and no padding: 130 characters.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealvol_core::Entropy;
use sealvol_envelope::{KmsError, Mac, Purpose};

use crate::fault;
use crate::ids::{GrantId, KeyId, random};
use crate::secret::Secret;

const VERSION: u8 = 1;
const SIGNED_LEN: usize = 1 + 16 + 32 + 16;
const MAC_LEN: usize = 32;
const TOKEN_LEN: usize = SIGNED_LEN + MAC_LEN;

/// A grant that an authentic token names. The grant may have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GrantRef {
    pub(crate) key: KeyId,
    pub(crate) grant: GrantId,
}

/// Makes and checks tokens.
#[derive(Debug)]
pub(crate) struct TokenMaker {
    mac: Mac,
}

impl TokenMaker {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self { mac: secret.prk().mac(Purpose::KeyStore) }
    }

    pub(crate) fn make(
        &self,
        entropy: &dyn Entropy,
        grant: GrantRef,
    ) -> Result<String, sealvol_core::Error> {
        let mut token = Vec::with_capacity(TOKEN_LEN);
        token.push(VERSION);
        token.extend_from_slice(grant.key.as_bytes());
        token.extend_from_slice(&grant.grant.0);
        token.extend_from_slice(&random::<16>(entropy)?);
        token.extend_from_slice(&self.mac.tag(&[&token]));
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// The grant of an authentic token.
    ///
    /// # Errors
    /// `InvalidGrantTokenException` for one that this KMS did not make.
    pub(crate) fn check(&self, token: &str) -> Result<GrantRef, KmsError> {
        let (signed, mac, grant) = decode(token).ok_or_else(fault::invalid_grant_token)?;
        if self.mac.verify(&[&signed], &mac) {
            Ok(grant)
        } else {
            Err(fault::invalid_grant_token())
        }
    }
}

/// Whether `token` has the layout of a token; its MAC is not checked. For fuzzing.
#[must_use]
pub fn check_token_shape(token: &str) -> bool {
    decode(token).is_some()
}

fn decode(token: &str) -> Option<([u8; SIGNED_LEN], [u8; MAC_LEN], GrantRef)> {
    // Checked before decoding, so that a long text costs nothing.
    if token.len() != TOKEN_LEN.div_ceil(3) * 4 - (3 - TOKEN_LEN % 3) % 3 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (signed, rest) = bytes.split_first_chunk::<SIGNED_LEN>()?;
    let mac = rest.first_chunk::<MAC_LEN>()?;
    let (version, ids) = signed.split_first()?;
    let (key, ids) = ids.split_first_chunk::<16>()?;
    let grant =
        GrantRef { key: KeyId::from_bytes(*key), grant: GrantId(*ids.first_chunk::<32>()?) };
    (*version == VERSION && rest.len() == MAC_LEN).then_some((*signed, *mac, grant))
}

#[cfg(test)]
mod tests {
    use sealvol_core::SystemEntropy;

    use super::*;

    #[test]
    fn only_own_tokens_are_taken() {
        let maker = TokenMaker::new(&Secret::take(&mut [1; 32]));
        let stranger = TokenMaker::new(&Secret::take(&mut [2; 32]));
        let grant = GrantRef { key: KeyId::from_random([3; 16]), grant: GrantId([4; 32]) };
        let token = maker.make(&SystemEntropy, grant).unwrap();
        assert_eq!(token.len(), 130);
        assert_eq!(maker.check(&token).unwrap(), grant);
        assert_ne!(maker.make(&SystemEntropy, grant).unwrap(), token);
        assert_eq!(stranger.check(&token).unwrap_err().code(), "InvalidGrantTokenException");
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(maker.check(&changed).unwrap_err().code(), "InvalidGrantTokenException");
        }
    }
}
