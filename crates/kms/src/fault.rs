//! The errors of KMS, each made in one place: AWS's exception name, its recorded message where one
//! is known, and the kind that tells callers of this project what to do.

use sealvol_envelope::{KmsError, KmsErrorKind};

use crate::operation::Action;

pub(crate) fn validation(message: impl Into<String>) -> KmsError {
    KmsError::new(KmsErrorKind::Invalid, "ValidationException", message)
}

/// A violated constraint in AWS's words. `value` is `None` for fields that AWS does not echo.
pub(crate) fn constraint(field: &str, value: Option<&str>, must: &str) -> KmsError {
    let value = value.map(|value| format!(" '{value}'")).unwrap_or_default();
    validation(format!(
        "1 validation error detected: Value{value} at '{field}' failed to satisfy constraint: \
         Member must {must}"
    ))
}

/// A required member that is not there.
pub(crate) fn missing(field: &str) -> KmsError {
    validation(format!(
        "1 validation error detected: Value null at '{field}' failed to satisfy constraint: \
         Member must not be null"
    ))
}

pub(crate) fn not_found(message: impl Into<String>) -> KmsError {
    KmsError::new(KmsErrorKind::NotFound, "NotFoundException", message)
}

pub(crate) fn invalid_arn(text: &str) -> KmsError {
    KmsError::new(KmsErrorKind::Invalid, "InvalidArnException", format!("Invalid arn {text}"))
}

/// `why` follows the sentence, as in AWS: " because no ... policy allows the ... action".
pub(crate) fn access_denied(
    principal: &str,
    action: Action,
    resource: &str,
    why: &str,
) -> KmsError {
    let action = action.qualified();
    KmsError::new(
        KmsErrorKind::Denied,
        "AccessDeniedException",
        format!(
            "User: {principal} is not authorized to perform: {action} on resource: {resource}{why}"
        ),
    )
}

/// One answer for a ciphertext whose key is missing, in another region, or forbidden, so that the
/// caller learns nothing about keys that it may not use.
pub(crate) fn ciphertext_denied() -> KmsError {
    KmsError::new(
        KmsErrorKind::Denied,
        "AccessDeniedException",
        "The ciphertext refers to a customer master key that does not exist, does not exist in \
         this region, or you are not allowed to access.",
    )
}

pub(crate) fn disabled(arn: &str) -> KmsError {
    KmsError::new(KmsErrorKind::KeyUnusable, "DisabledException", format!("{arn} is disabled."))
}

/// The key is in a state that the operation does not work in.
pub(crate) fn invalid_state(arn: &str, state: &str) -> KmsError {
    KmsError::new(
        KmsErrorKind::KeyUnusable,
        "KMSInvalidStateException",
        format!("{arn} is {state}"),
    )
}

pub(crate) fn unsupported(message: impl Into<String>) -> KmsError {
    KmsError::new(KmsErrorKind::Invalid, "UnsupportedOperationException", message)
}

/// AWS gives no message when the key is of a kind that never does this (kms.md, case 30).
pub(crate) const fn unsupported_by_key() -> KmsError {
    KmsError::silent(KmsErrorKind::Invalid, "UnsupportedOperationException")
}

pub(crate) fn invalid_key_usage(message: impl Into<String>) -> KmsError {
    KmsError::new(KmsErrorKind::Invalid, "InvalidKeyUsageException", message)
}

pub(crate) fn malformed_policy(message: impl Into<String>) -> KmsError {
    KmsError::new(KmsErrorKind::Invalid, "MalformedPolicyDocumentException", message)
}

pub(crate) fn tag(message: impl Into<String>) -> KmsError {
    KmsError::new(KmsErrorKind::Invalid, "TagException", message)
}

pub(crate) fn invalid_marker() -> KmsError {
    KmsError::new(KmsErrorKind::Invalid, "InvalidMarkerException", "Could not deserialize marker")
}

pub(crate) fn conflict(message: impl Into<String>) -> KmsError {
    KmsError::new(KmsErrorKind::Conflict, "ConflictException", message)
}

pub(crate) fn throttled() -> KmsError {
    KmsError::new(KmsErrorKind::Retry, "ThrottlingException", "Rate exceeded")
}

/// The good outcome of a dry run.
pub(crate) fn dry_run() -> KmsError {
    KmsError::new(
        KmsErrorKind::DryRun,
        "DryRunOperationException",
        "The request would have succeeded, but the DryRun option is set.",
    )
}

/// Damage and a wrong context look the same: no message (kms.md, case 5).
pub(crate) const fn invalid_ciphertext() -> KmsError {
    KmsError::silent(KmsErrorKind::Corrupt, "InvalidCiphertextException")
}

pub(crate) fn incorrect_key() -> KmsError {
    KmsError::new(
        KmsErrorKind::Corrupt,
        "IncorrectKeyException",
        "The key ID in the request does not identify a CMK that can perform this operation.",
    )
}

pub(crate) fn invalid_grant_token() -> KmsError {
    KmsError::new(KmsErrorKind::Invalid, "InvalidGrantTokenException", "Invalid grant token")
}

pub(crate) fn invalid_grant_id() -> KmsError {
    KmsError::new(KmsErrorKind::Invalid, "InvalidGrantIdException", "Invalid grant id")
}

pub(crate) fn limit_exceeded(message: impl Into<String>) -> KmsError {
    KmsError::new(KmsErrorKind::LimitExceeded, "LimitExceededException", message)
}

pub(crate) fn already_exists(message: impl Into<String>) -> KmsError {
    KmsError::new(KmsErrorKind::Conflict, "AlreadyExistsException", message)
}

pub(crate) fn internal(message: impl Into<String>) -> KmsError {
    KmsError::new(KmsErrorKind::Internal, "KMSInternalException", message)
}
