//! Whose request it is: signatures against the keys of the directory and of sessions.

use std::time::Duration;

use http::header::AUTHORIZATION;
use sealvol_aws_wire::sigv4::{AuthFault, Expectation, Presented, RequestHead, SigningKeyCache};
use sealvol_core::UnixMillis;
use sealvol_iam::{Directory, SecretText, Sessions, SourceOfCall, TokenError};
use sealvol_policy::{AccountId, Identity, Principal};

/// How requests are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMode {
    /// By their signatures.
    #[default]
    Signature,
    /// Not at all: every access key is the account root's, whatever signature comes with it. For
    /// throw-away tests, and served on loopback only.
    Any,
}

/// A service that requests are signed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Kms,
    Sts,
}

impl Service {
    /// Its signing name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Kms => "kms",
            Self::Sts => "sts",
        }
    }

    /// How far a client's clock may be off; AWS documents both.
    const fn max_skew(self) -> Duration {
        match self {
            Self::Kms => Duration::from_secs(5 * 60),
            Self::Sts => Duration::from_secs(15 * 60),
        }
    }
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) access_key_id: String,
    pub(crate) identity: Identity,
    /// Of a service: on whose behalf it calls.
    pub(crate) source: Option<SourceOfCall>,
    /// The service that a test key calls through.
    pub(crate) via_service: Option<String>,
}

/// What senders are looked up in.
pub(crate) struct Gate<'a> {
    pub(crate) mode: AuthMode,
    pub(crate) account: AccountId,
    pub(crate) region: &'a str,
    pub(crate) directory: &'a Directory,
    pub(crate) sessions: &'a Sessions,
    pub(crate) keys: &'a SigningKeyCache,
    pub(crate) now: UnixMillis,
}

impl Gate<'_> {
    /// Who sent the request with this head and body.
    pub(crate) fn sender(
        &self,
        head: &RequestHead<'_>,
        payload_sha256: impl FnOnce() -> [u8; 32],
        service: Service,
    ) -> Result<Sender, AuthFault> {
        if self.mode == AuthMode::Any {
            let access_key_id = claimed_key(head).ok_or(AuthFault::Missing)?;
            let identity = Identity::new(Principal::AccountRoot { account: self.account });
            return Ok(Sender { access_key_id, identity, source: None, via_service: None });
        }
        let presented = Presented::parse(head)?.ok_or(AuthFault::Missing)?;
        let (secret, sender) = self.find(&presented)?;
        let want = Expectation {
            max_skew: service.max_skew(),
            ..Expectation::new(service.as_str(), self.region, self.now)
        };
        let payload = payload_sha256();
        presented.verify(head, &payload, secret.expose_secret(), self.keys, &want)?;
        Ok(sender)
    }

    fn find(&self, presented: &Presented<'_>) -> Result<(SecretText, Sender), AuthFault> {
        let id = presented.access_key_id();
        let access_key_id = id.to_owned();
        let Some(token) = presented.session_token() else {
            let credential = self.directory.credential(id).ok_or(AuthFault::UnknownKey)?.clone();
            let sender = Sender {
                access_key_id,
                identity: credential.identity,
                source: credential.source,
                via_service: credential.via_service,
            };
            return Ok((credential.secret, sender));
        };
        // A token goes with its own key only; a lasting key has none.
        let opened = self.sessions.open(self.directory, token, id, self.now);
        let opened = opened.map_err(|error| match error {
            TokenError::Expired => AuthFault::ExpiredToken,
            TokenError::Invalid => AuthFault::UnknownKey,
        })?;
        let sender =
            Sender { access_key_id, identity: opened.identity, source: None, via_service: None };
        Ok((opened.secret, sender))
    }
}

/// The service that the credential of a request names, believed or not.
pub(crate) fn claimed_service(head: &RequestHead<'_>) -> Option<Service> {
    let presented = Presented::parse(head).ok()??;
    match presented.scope_service() {
        "kms" => Some(Service::Kms),
        "sts" => Some(Service::Sts),
        _ => None,
    }
}

/// The access key that a request names, in whatever form: header or query.
fn claimed_key(head: &RequestHead<'_>) -> Option<String> {
    let header = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let from_header = header.and_then(|text| text.split_once("Credential=")).map(|(_, id)| id);
    let from_query =
        || head.query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Credential="));
    let id = from_header.or_else(from_query)?;
    let end = id.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(id.len());
    let id = id.get(..end)?;
    (!id.is_empty() && id.len() <= 128).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn key(authorization: Option<&str>, query: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(text) = authorization {
            headers.insert(AUTHORIZATION, text.parse().unwrap());
        }
        claimed_key(&RequestHead {
            method: "POST",
            path: "/",
            query,
            headers: &headers,
            authority: None,
        })
    }

    #[test]
    fn a_key_is_claimed_by_header_or_query() {
        let id = Some("AKIDEXAMPLE".to_owned());
        assert_eq!(key(Some("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/x/y, Signature=z"), ""), id);
        assert_eq!(key(Some("anything Credential=AKIDEXAMPLE"), ""), id);
        assert_eq!(key(None, "a=b&X-Amz-Credential=AKIDEXAMPLE%2F2015"), id);
        for nothing in ["Bearer x", "AWS4-HMAC-SHA256 Credential=/x", ""] {
            assert_eq!(key(Some(nothing), ""), None, "{nothing}");
        }
        assert_eq!(key(None, "X-Amz-Credential="), None);
    }
}
