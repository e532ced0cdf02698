//! Session tokens: a session, sealed, in the hands of the one whose it is.
//!
//! ```text
//!  offset  len
//!       0    1  version, 1
//!       1   32  random salt
//!      33    n  the session as JSON, under AES-256-GCM
//!  33 + n   16  tag
//! ```
//! in base64 with the URL-safe alphabet and no padding. Key and nonce come by HKDF-SHA256 from the
//! caller's key and the salt, so that none is used twice however many tokens there are. The version
//! and the access key id are authenticated: a token goes with its own access key.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use sealvol_core::{Entropy, UnixMillis};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::SecretText;

const VERSION: u8 = 1;
const SALT_LEN: usize = 32;
const INFO: &[u8] = b"sealvol iam session token v1";
/// Longest token that is looked at. The longest session policy makes one of about 6 KiB.
const TOKEN_TEXT_MAX: usize = 16 << 10;

/// Why a token does not open a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The session has ended.
    #[error("the security token included in the request is expired")]
    Expired,
    /// It is no token, of another key, or of a role that is gone.
    #[error("the security token included in the request is invalid")]
    Invalid,
}

/// What a token carries.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionRecord {
    pub(crate) role: String,
    pub(crate) session: String,
    pub(crate) expires: UnixMillis,
    #[serde(serialize_with = "expose")]
    pub(crate) secret: SecretText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
}

/// Seals and opens tokens.
pub(crate) struct TokenKey(Zeroizing<[u8; 32]>);

impl TokenKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*key))
    }

    pub(crate) fn seal(
        &self,
        record: &SessionRecord,
        access_key_id: &str,
        entropy: &dyn Entropy,
    ) -> sealvol_core::Result<String> {
        let failed =
            |why| sealvol_core::Error::new(sealvol_core::ErrorKind::Internal, "seal token", why);
        let mut salt = [0; SALT_LEN];
        entropy.fill(&mut salt)?;
        // Room enough from the start: a buffer that grows leaves copies of the secret behind.
        let policy_len = record.policy.as_ref().map_or(0, String::len);
        let mut body = Zeroizing::new(Vec::with_capacity(4096 + 6 * policy_len));
        serde_json::to_writer(&mut *body, record)
            .map_err(|_| failed("a session does not serialise"))?;
        let sealed = self.under(&salt).and_then(|(cipher, nonce)| {
            let aad = aad(access_key_id);
            cipher.encrypt((&nonce).into(), Payload { msg: &body, aad: &aad }).ok()
        });
        let sealed = sealed.ok_or_else(|| failed("a session is too long"))?;
        let bytes = [&[VERSION][..], &salt, &sealed].concat();
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(crate) fn open(
        &self,
        token: &str,
        access_key_id: &str,
        now: UnixMillis,
    ) -> Result<SessionRecord, TokenError> {
        let record = self.unseal(token, access_key_id).ok_or(TokenError::Invalid)?;
        if now >= record.expires { Err(TokenError::Expired) } else { Ok(record) }
    }

    fn unseal(&self, token: &str, access_key_id: &str) -> Option<SessionRecord> {
        // Checked before decoding, so that a long text costs nothing.
        if token.len() > TOKEN_TEXT_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (&version, rest) = bytes.split_first()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT_LEN>()?;
        if version != VERSION {
            return None;
        }
        let (cipher, nonce) = self.under(salt)?;
        let aad = aad(access_key_id);
        let body = cipher.decrypt((&nonce).into(), Payload { msg: sealed, aad: &aad }).ok()?;
        serde_json::from_slice(&Zeroizing::new(body)).ok()
    }

    /// The cipher of one token, and its one nonce.
    fn under(&self, salt: &[u8; SALT_LEN]) -> Option<(Box<Aes256Gcm>, [u8; 12])> {
        let mut okm = Zeroizing::new([0_u8; 32 + 12]);
        Hkdf::<Sha256>::new(Some(salt), &*self.0).expand(INFO, &mut *okm).ok()?;
        let (key, nonce) = okm.split_first_chunk::<32>()?;
        Some((Box::new(Aes256Gcm::new(key.into())), *nonce.first_chunk()?))
    }
}

/// Secrets do not serialise but here, where the text is sealed at once.
fn expose<S: serde::Serializer>(secret: &SecretText, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose_secret())
}

fn aad(access_key_id: &str) -> Vec<u8> {
    [&[VERSION][..], access_key_id.as_bytes()].concat()
}
