//! The client's side: signing a request, for tests and load generators.

use std::fmt;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue};
use sealvol_core::UnixMillis;
use thiserror::Error;

use super::ALGORITHM;
use super::canonical::{PayloadHash, request_hash, scope, string_to_sign};
use super::head::RequestHead;
use super::key::{KeyScope, SigningKeyCache};
use super::presented::{DATE_HEADER, TOKEN_HEADER};
use super::time::AmzDate;

/// An access key with its secret.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// `AKIA...`, or `ASIA...` for a temporary one.
    pub access_key_id: &'a str,
    /// What signs.
    pub secret_access_key: &'a str,
    /// The token of a temporary key.
    pub session_token: Option<&'a str>,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Why a request cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignError {
    /// The request names no host: set the header or the authority.
    #[error("the request has no host to sign")]
    NoHost,
    /// The key id or the token cannot stand in a header.
    #[error("the access key or session token does not fit a header")]
    UnfitCredentials,
}

/// Signs the requests of one key to one service.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    /// Who signs.
    pub credentials: Credentials<'a>,
    /// The region of the endpoint.
    pub region: &'a str,
    /// The service's signing name: `kms`.
    pub service: &'a str,
    /// Keeps the derived key between requests.
    pub keys: &'a SigningKeyCache,
}

impl Signer<'_> {
    /// The headers to add to `head` (in place of older ones) so that all of its headers, and the
    /// payload, are signed at `at`: `x-amz-date`, `x-amz-security-token` if there is one, `host` if
    /// only the authority names it, and `authorization`.
    ///
    /// # Errors
    /// When `head` names no host, or the credentials do not fit a header.
    pub fn sign(
        &self,
        head: &RequestHead<'_>,
        payload_sha256: &[u8; 32],
        at: UnixMillis,
    ) -> Result<HeaderMap, SignError> {
        let at = AmzDate::from_millis(at);
        let value =
            |text: &str| HeaderValue::from_str(text).map_err(|_| SignError::UnfitCredentials);
        let mut added = HeaderMap::new();
        added.insert(DATE_HEADER, value(at.as_str())?);
        if let Some(token) = self.credentials.session_token {
            let mut token = value(token)?;
            token.set_sensitive(true);
            added.insert(TOKEN_HEADER, token);
        }
        if !head.headers.contains_key(HOST) {
            let authority = head.authority.ok_or(SignError::NoHost)?;
            added.insert(HOST, HeaderValue::from_str(authority).map_err(|_| SignError::NoHost)?);
        }
        let mut all = head.headers.clone();
        all.remove(AUTHORIZATION);
        for (name, value) in &added {
            all.insert(name, value.clone());
        }
        let mut names: Vec<&str> = all.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let names = names.join(";");

        let signed = RequestHead { headers: &all, ..*head };
        let hash = request_hash(&signed, &names, PayloadHash::Sha256(payload_sha256))
            .ok_or(SignError::NoHost)?;
        let Credentials { access_key_id: id, secret_access_key: secret, .. } = self.credentials;
        let key_scope = KeyScope { day: at.day(), region: self.region, service: self.service };
        let scope = scope(&at, self.region, self.service);
        let key = self.keys.signing_key(id, secret, key_scope);
        let signature = hex::encode(key.sign(&string_to_sign(&at, &scope, &hash)));
        let authorization = format!(
            "{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        added.insert(AUTHORIZATION, value(&authorization)?);
        Ok(added)
    }
}
