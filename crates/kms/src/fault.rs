//! The errors of KMS, each made in one place: AWS's exception name, its recorded message where one
//! is known, and the kind that tells callers of this project what to do.

use sealvol_envelope::{KmsError, KmsErrorKind};

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

pub(crate) fn not_found(message: impl Into<String>) -> KmsError {
    KmsError::new(KmsErrorKind::NotFound, "NotFoundException", message)
}

pub(crate) fn invalid_arn(text: &str) -> KmsError {
    KmsError::new(KmsErrorKind::Invalid, "InvalidArnException", format!("Invalid arn {text}"))
}

pub(crate) fn access_denied(principal: &str, action: &str, resource: &str) -> KmsError {
    KmsError::new(
        KmsErrorKind::Denied,
        "AccessDeniedException",
        format!(
            "User: {principal} is not authorized to perform: kms:{action} on resource: {resource}"
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

pub(crate) fn pending_deletion(arn: &str) -> KmsError {
    KmsError::new(
        KmsErrorKind::KeyUnusable,
        "KMSInvalidStateException",
        format!("{arn} is pending deletion."),
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
