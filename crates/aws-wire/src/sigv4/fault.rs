//! Why a request is not authenticated, and what AWS calls that in each protocol.

use std::borrow::Cow;
use std::time::Duration;

use thiserror::Error;

use super::time::AmzDate;
use crate::fault::{Fault, Protocol};

/// Why a request is not authenticated. `Display` is AWS's message where its text is known.
///
/// [`UnknownKey`](Self::UnknownKey), [`ExpiredToken`](Self::ExpiredToken) are the caller's findings:
/// which keys and sessions there are is not known here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthFault {
    /// The request carries no authentication.
    #[error("Missing Authentication Token")]
    Missing,
    /// The authentication lacks a part, or a part cannot be read. The text names it.
    #[error("{0}")]
    Incomplete(Cow<'static, str>),
    /// There is no such access key, or the session token is not of it.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The session token is past its time.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// The request is not what was signed, or was signed with another secret.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your \
         AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    BadSignature,
    /// Signed too long ago; a presigned request past its time.
    #[error("Signature expired: {at} is now earlier than {} ({now} - {}.)", now.minus(*.allowed), minutes(*.allowed))]
    Expired {
        /// When it was signed.
        at: AmzDate,
        /// When it was verified.
        now: AmzDate,
        /// How long it could live.
        allowed: Duration,
    },
    /// Signed in the future, by a clock that runs ahead.
    #[error("Signature not yet current: {at} is still later than {} ({now} + {}.)", now.plus(*.allowed), minutes(*.allowed))]
    NotYetCurrent {
        /// When it says it was signed.
        at: AmzDate,
        /// When it was verified.
        now: AmzDate,
        /// How far a clock may run ahead.
        allowed: Duration,
    },
    /// The credential is for another day, region or service. The text names each.
    #[error("{0}")]
    WrongScope(String),
    /// `host` is not among the signed headers.
    #[error("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")]
    HostNotSigned,
    /// A header that changes what a request means is not signed.
    #[error("There were headers present in the request which were not signed: {0}")]
    HeaderNotSigned(String),
}

/// AWS counts in minutes; what is no whole number of them is told in seconds.
fn minutes(time: Duration) -> String {
    match time.as_secs() {
        secs if secs % 60 == 0 => format!("{} min", secs / 60),
        secs => format!("{secs} sec"),
    }
}

impl AuthFault {
    pub(crate) fn incomplete(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Incomplete(what.into())
    }

    /// What the client is told in `protocol`.
    #[must_use]
    pub fn fault(&self, protocol: Protocol) -> Fault {
        let message = match (self, protocol) {
            // EC2 does not tell an unknown key from a wrong signature.
            (Self::UnknownKey | Self::BadSignature, Protocol::Ec2) => {
                "AWS was not able to validate the provided access credentials".to_owned()
            }
            (Self::Expired { .. }, Protocol::Ec2) => "Request has expired.".to_owned(),
            (Self::Missing, Protocol::Query) => {
                "Request is missing Authentication Token".to_owned()
            }
            _ => self.to_string(),
        };
        Fault::new(protocol, self.code(protocol)).with_message(message)
    }

    fn code(&self, protocol: Protocol) -> &'static str {
        let [json, query, ec2] = match self {
            Self::Missing => [
                "MissingAuthenticationTokenException",
                "MissingAuthenticationToken",
                "MissingAuthenticationToken",
            ],
            Self::Incomplete(_) => {
                ["IncompleteSignatureException", "IncompleteSignature", "IncompleteSignature"]
            }
            Self::UnknownKey => {
                ["UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure"]
            }
            Self::ExpiredToken => ["ExpiredTokenException", "ExpiredToken", "RequestExpired"],
            Self::Expired { .. } => {
                ["InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired"]
            }
            Self::BadSignature
            | Self::NotYetCurrent { .. }
            | Self::WrongScope(_)
            | Self::HostNotSigned
            | Self::HeaderNotSigned(_) => {
                ["InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure"]
            }
        };
        match protocol {
            Protocol::Json => json,
            Protocol::Query => query,
            Protocol::Ec2 => ec2,
        }
    }
}
