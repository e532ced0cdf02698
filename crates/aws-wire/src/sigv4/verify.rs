//! Believing a signature.

use std::time::Duration;

use sealvol_core::UnixMillis;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::canonical::{PayloadHash, request_hash, string_to_sign};
use super::fault::AuthFault;
use super::head::RequestHead;
use super::key::{KeyScope, SigningKeyCache};
use super::presented::{Form, Presented};
use super::time::AmzDate;
use super::{TERMINATOR, UNSIGNED_PAYLOAD};

/// `x-amz-*` headers that AWS's clients leave unsigned beside a presigned query.
const UNSIGNED_WHEN_PRESIGNED: [&str; 2] = ["x-amz-checksum-mode", "x-amz-user-agent"];

/// What a request must have been signed for.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// The service's signing name: `kms`.
    pub service: &'a str,
    /// The region: `us-east-1`.
    pub region: &'a str,
    /// The time now.
    pub now: UnixMillis,
    /// How far the client's clock may be off, either way: 5 minutes for most services, 15 for S3 and
    /// STS.
    pub max_skew: Duration,
    /// Whether `x-amz-content-sha256: UNSIGNED-PAYLOAD` is taken, which leaves the body uncovered.
    /// Not for KMS.
    pub allow_unsigned_payload: bool,
}

impl<'a> Expectation<'a> {
    /// As KMS and most services have it: 5 minutes, payloads signed.
    #[must_use]
    pub fn new(service: &'a str, region: &'a str, now: UnixMillis) -> Self {
        let max_skew = Duration::from_secs(300);
        Self { service, region, now, max_skew, allow_unsigned_payload: false }
    }
}

/// Proof that a request was signed with the secret of its access key, and is as it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<'p> {
    access_key_id: &'p str,
    signed_at: AmzDate,
    covers_payload: bool,
}

impl<'p> Verified<'p> {
    /// Whose signature it is.
    #[must_use]
    pub fn access_key_id(&self) -> &'p str {
        self.access_key_id
    }

    /// When it was signed.
    #[must_use]
    pub fn signed_at(&self) -> AmzDate {
        self.signed_at
    }

    /// Whether the body is covered: always, unless the expectation allowed otherwise.
    #[must_use]
    pub fn covers_payload(&self) -> bool {
        self.covers_payload
    }
}

/// The hash of a body, as [`Presented::verify`] and [`Signer`](super::Signer) take it.
#[must_use]
pub fn payload_sha256(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

impl Presented<'_> {
    /// Checks that `head` and the payload are what was signed with `secret`, for what `want` says.
    /// `head` is the one that this was parsed from; `keys` saves deriving the same signing key again.
    ///
    /// `secret` must be that of [`access_key_id`](Self::access_key_id): the header form does not sign
    /// the id, so that nothing else binds it. Two ids must not share a secret.
    ///
    /// # Errors
    /// Scope and time are checked first, the signature last; an error says no more about the secret
    /// than that it does not fit.
    pub fn verify(
        &self,
        head: &RequestHead<'_>,
        payload_sha256: &[u8; 32],
        secret: &str,
        keys: &SigningKeyCache,
        want: &Expectation<'_>,
    ) -> Result<Verified<'_>, AuthFault> {
        self.check_scope(want)?;
        self.check_time(want)?;
        self.check_coverage(head)?;
        let payload = payload(head, payload_sha256, want)?;
        let hash =
            request_hash(head, self.signed_headers(), payload).ok_or(AuthFault::BadSignature)?;
        let scope = KeyScope {
            day: self.scope_day(),
            region: self.scope_region(),
            service: self.scope_service(),
        };
        let key = keys.signing_key(self.access_key_id(), secret, scope);
        let expected = key.sign(&string_to_sign(&self.signed_at(), self.scope(), &hash));
        let presented = self.signature().ok_or(AuthFault::BadSignature)?;
        if !bool::from(expected.ct_eq(presented)) {
            return Err(AuthFault::BadSignature);
        }
        Ok(Verified {
            access_key_id: self.access_key_id(),
            signed_at: self.signed_at(),
            covers_payload: matches!(payload, PayloadHash::Sha256(_)),
        })
    }

    /// AWS tells all that is wrong at once, each sentence with a space behind it.
    fn check_scope(&self, want: &Expectation<'_>) -> Result<(), AuthFault> {
        let mut wrong = String::new();
        if self.scope_region() != want.region {
            wrong.push_str("Credential should be scoped to a valid region. ");
        }
        if self.scope_service() != want.service {
            let text =
                format!("Credential should be scoped to correct service: '{}'. ", want.service);
            wrong.push_str(&text);
        }
        if self.scope_terminator() != TERMINATOR {
            let text = format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'. ",
                self.scope_terminator()
            );
            wrong.push_str(&text);
        }
        let (at, day) = (self.signed_at(), self.scope_day());
        if day != at.day() {
            let text = format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
                 HTTP: '{day}' != '{}', from '{at}'. ",
                at.day()
            );
            wrong.push_str(&text);
        }
        if wrong.is_empty() { Ok(()) } else { Err(AuthFault::WrongScope(wrong)) }
    }

    fn check_time(&self, want: &Expectation<'_>) -> Result<(), AuthFault> {
        let (at, now) = (self.signed_at(), AmzDate::from_millis(want.now));
        if at.is_after(&now.plus(want.max_skew)) {
            return Err(AuthFault::NotYetCurrent { at, now, allowed: want.max_skew });
        }
        let allowed = match self.form() {
            Form::Header => want.max_skew,
            Form::Query { expires } => expires,
        };
        if now.is_after(&at.plus(allowed)) {
            return Err(AuthFault::Expired { at, now, allowed });
        }
        Ok(())
    }

    /// Whether everything is signed that must be.
    fn check_coverage(&self, head: &RequestHead<'_>) -> Result<(), AuthFault> {
        let is_signed = |name: &str| self.signed_headers().split(';').any(|signed| signed == name);
        if !is_signed("host") {
            return Err(AuthFault::HostNotSigned);
        }
        let presigned = self.form() != Form::Header;
        let unsigned = head.headers.keys().map(|name| name.as_str()).find(|name| {
            name.starts_with("x-amz-")
                && !is_signed(name)
                && !(presigned && UNSIGNED_WHEN_PRESIGNED.contains(name))
        });
        match unsigned {
            Some(name) => Err(AuthFault::HeaderNotSigned(name.to_owned())),
            None => Ok(()),
        }
    }
}

/// How the payload was signed. A hash in the header must be the body's: the header is covered by the
/// signature, the body only through it.
fn payload<'a>(
    head: &RequestHead<'_>,
    sha256: &'a [u8; 32],
    want: &Expectation<'_>,
) -> Result<PayloadHash<'a>, AuthFault> {
    let mut declared = head.headers.get_all("x-amz-content-sha256").iter();
    let Some(first) = declared.next() else { return Ok(PayloadHash::Sha256(sha256)) };
    if declared.next().is_some() {
        return Err(AuthFault::BadSignature);
    }
    if first.as_bytes() == UNSIGNED_PAYLOAD.as_bytes() && want.allow_unsigned_payload {
        return Ok(PayloadHash::Literal(UNSIGNED_PAYLOAD));
    }
    if first.as_bytes() == hex::encode(sha256).as_bytes() {
        return Ok(PayloadHash::Sha256(sha256));
    }
    Err(AuthFault::BadSignature)
}
