//! The exception names that KMS and the front ends before it answer with, and what each calls for.

use sealvol_envelope::KmsErrorKind as Kind;

/// What the retry policy does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Refused for its rate: not executed, and tried again later.
    Throttled,
    /// A passing fault.
    Transient,
    /// The clock of this machine is off; the SDK learns by how much from the answer's `Date`.
    Skew,
    /// A final answer, unless a grant that the request's tokens name has not spread yet.
    Propagation,
    /// Asking again would not change the answer.
    Final,
}

/// Whether the service may have carried out what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Executed {
    No,
    Maybe,
}

/// An exception name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) class: Class,
    pub(crate) executed: Executed,
}

const fn code(name: &'static str, kind: Kind, class: Class, executed: Executed) -> Code {
    Code { name, kind, class, executed }
}

const fn throttled(name: &'static str) -> Code {
    code(name, Kind::Retry, Class::Throttled, Executed::No)
}

const fn transient(name: &'static str) -> Code {
    code(name, Kind::Retry, Class::Transient, Executed::Maybe)
}

const fn last(name: &'static str, kind: Kind) -> Code {
    code(name, kind, Class::Final, Executed::No)
}

const fn skew(name: &'static str) -> Code {
    code(name, Kind::Denied, Class::Skew, Executed::No)
}

/// Of KMS itself: those of the operations of this crate, and what their neighbours answer with.
/// Then what any AWS service answers with: rate, faults, signature, credentials, shape.
pub(crate) const CODES: &[Code] = &[
    code("AccessDeniedException", Kind::Denied, Class::Propagation, Executed::No),
    code("NotFoundException", Kind::NotFound, Class::Propagation, Executed::No),
    last("AlreadyExistsException", Kind::Conflict),
    last("CloudHsmClusterInvalidConfigurationException", Kind::Internal),
    last("ConflictException", Kind::Conflict),
    last("CustomKeyStoreInvalidStateException", Kind::KeyUnusable),
    last("CustomKeyStoreNotFoundException", Kind::NotFound),
    last("DisabledException", Kind::KeyUnusable),
    last("DryRunOperationException", Kind::Invalid),
    last("IncorrectKeyException", Kind::Corrupt),
    last("IncorrectKeyMaterialException", Kind::Corrupt),
    last("InvalidAliasNameException", Kind::Invalid),
    last("InvalidArnException", Kind::Invalid),
    last("InvalidCiphertextException", Kind::Corrupt),
    last("InvalidGrantIdException", Kind::Invalid),
    last("InvalidGrantTokenException", Kind::Invalid),
    last("InvalidKeyUsageException", Kind::Invalid),
    last("InvalidMarkerException", Kind::Invalid),
    last("KMSInvalidStateException", Kind::KeyUnusable),
    // On the SDK's list of throttling codes, but a used-up quota of grants does not pass by itself.
    last("LimitExceededException", Kind::LimitExceeded),
    last("MalformedPolicyDocumentException", Kind::Invalid),
    last("TagException", Kind::Invalid),
    last("UnsupportedOperationException", Kind::Invalid),
    transient("DependencyTimeoutException"),
    transient("KMSInternalException"),
    transient("KeyUnavailableException"),
    throttled("BandwidthLimitExceeded"),
    throttled("EC2ThrottledException"),
    throttled("PriorRequestNotComplete"),
    throttled("ProvisionedThroughputExceededException"),
    throttled("RequestLimitExceeded"),
    throttled("RequestThrottled"),
    throttled("RequestThrottledException"),
    throttled("SlowDown"),
    throttled("ThrottledException"),
    throttled("Throttling"),
    throttled("ThrottlingException"),
    throttled("TooManyRequestsException"),
    transient("InternalError"),
    transient("InternalFailure"),
    transient("InternalFailureException"),
    transient("InternalServerError"),
    transient("InternalServerException"),
    transient("InternalServiceError"),
    transient("InternalServiceException"),
    transient("RequestTimeout"),
    transient("RequestTimeoutException"),
    transient("ServiceUnavailable"),
    transient("ServiceUnavailableException"),
    transient("TransactionInProgressException"),
    skew("RequestExpired"),
    skew("RequestInTheFuture"),
    skew("RequestTimeTooSkewed"),
    last("AuthFailure", Kind::Denied),
    last("ExpiredToken", Kind::Denied),
    last("ExpiredTokenException", Kind::Denied),
    last("IncompleteSignature", Kind::Denied),
    last("IncompleteSignatureException", Kind::Denied),
    last("InvalidClientTokenId", Kind::Denied),
    last("InvalidSignatureException", Kind::Denied),
    last("MissingAuthenticationToken", Kind::Denied),
    last("MissingAuthenticationTokenException", Kind::Denied),
    last("NotAuthorized", Kind::Denied),
    last("OptInRequired", Kind::Denied),
    last("SignatureDoesNotMatch", Kind::Denied),
    last("UnrecognizedClientException", Kind::Denied),
    last("InvalidAction", Kind::Invalid),
    last("InvalidParameterValue", Kind::Invalid),
    last("InvalidRequestException", Kind::Invalid),
    last("SerializationException", Kind::Invalid),
    last("UnknownOperationException", Kind::Invalid),
    last("ValidationError", Kind::Invalid),
    last("ValidationException", Kind::Invalid),
];

// Names that no service sends: what happened on this side.

/// No connection, or it broke.
pub(crate) const CONNECTION_FAILURE: &str = "ConnectionFailure";
/// What came is no answer of KMS.
pub(crate) const INVALID_RESPONSE: &str = "InvalidResponse";
/// The service answered with a name that is not in [`CODES`], or with none.
pub(crate) const UNKNOWN: &str = "UnknownError";
/// No answer in time. AWS has this name, too.
pub(crate) const TIMEOUT: &str = "RequestTimeout";
/// Credentials did not load.
pub(crate) const NO_CREDENTIALS: &str = "MissingAuthenticationToken";

/// The entry of an exception name. With its message, because a signature is refused under one name
/// for a wrong secret and for a wrong clock.
pub(crate) fn lookup(name: &str, message: Option<&str>) -> Option<Code> {
    // What S3-like front ends call it.
    let name = if name == "AccessDenied" { "AccessDeniedException" } else { name };
    let found = CODES.iter().find(|code| code.name == name).copied()?;
    let about_time = |text: &str| {
        ["Signature expired", "Signature not yet current", "Request has expired"]
            .iter()
            .any(|start| text.contains(start))
    };
    let signature = ["InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure"];
    if signature.contains(&name) && message.is_some_and(about_time) {
        return Some(skew(found.name));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (index, code) in CODES.iter().enumerate() {
            assert!(!CODES[index + 1..].iter().any(|other| other.name == code.name), "{code:?}");
        }
    }

    /// Every exception name that the reference of KMS lists, with what is to be done about it.
    #[test]
    fn every_exception_of_kms_has_its_kind_and_class() {
        let expected = [
            ("AccessDeniedException", Kind::Denied, Class::Propagation),
            ("NotFoundException", Kind::NotFound, Class::Propagation),
            ("DisabledException", Kind::KeyUnusable, Class::Final),
            ("KMSInvalidStateException", Kind::KeyUnusable, Class::Final),
            ("InvalidCiphertextException", Kind::Corrupt, Class::Final),
            ("IncorrectKeyException", Kind::Corrupt, Class::Final),
            ("InvalidKeyUsageException", Kind::Invalid, Class::Final),
            ("InvalidGrantTokenException", Kind::Invalid, Class::Final),
            ("InvalidGrantIdException", Kind::Invalid, Class::Final),
            ("InvalidArnException", Kind::Invalid, Class::Final),
            ("InvalidMarkerException", Kind::Invalid, Class::Final),
            ("InvalidAliasNameException", Kind::Invalid, Class::Final),
            ("MalformedPolicyDocumentException", Kind::Invalid, Class::Final),
            ("TagException", Kind::Invalid, Class::Final),
            ("UnsupportedOperationException", Kind::Invalid, Class::Final),
            ("DryRunOperationException", Kind::Invalid, Class::Final),
            ("ValidationException", Kind::Invalid, Class::Final),
            ("AlreadyExistsException", Kind::Conflict, Class::Final),
            ("ConflictException", Kind::Conflict, Class::Final),
            ("LimitExceededException", Kind::LimitExceeded, Class::Final),
            ("KeyUnavailableException", Kind::Retry, Class::Transient),
            ("DependencyTimeoutException", Kind::Retry, Class::Transient),
            ("KMSInternalException", Kind::Retry, Class::Transient),
            ("ThrottlingException", Kind::Retry, Class::Throttled),
            ("Throttling", Kind::Retry, Class::Throttled),
            ("TooManyRequestsException", Kind::Retry, Class::Throttled),
            ("UnrecognizedClientException", Kind::Denied, Class::Final),
            ("InvalidSignatureException", Kind::Denied, Class::Final),
            ("MissingAuthenticationTokenException", Kind::Denied, Class::Final),
            ("RequestTimeTooSkewed", Kind::Denied, Class::Skew),
        ];
        for (name, kind, class) in expected {
            let code = lookup(name, None).unwrap();
            assert_eq!((code.name, code.kind, code.class), (name, kind, class));
        }
        assert_eq!(lookup("AccessDenied", None).unwrap().name, "AccessDeniedException");
        assert_eq!(lookup("SomethingNewException", None), None);
    }

    #[test]
    fn a_signature_refused_for_its_time_is_a_clock_that_is_off() {
        let class = |message| lookup("InvalidSignatureException", Some(message)).unwrap().class;
        assert_eq!(class("Signature expired: 20260101T000000Z is now earlier"), Class::Skew);
        assert_eq!(class("Signature not yet current: 20260101T000000Z"), Class::Skew);
        assert_eq!(class("The request signature we calculated does not match"), Class::Final);
        let other = lookup("ValidationException", Some("Signature expired")).unwrap();
        assert_eq!(other.class, Class::Final);
    }

    /// A definite "not executed" is claimed for refusals only.
    #[test]
    fn what_may_have_been_done_is_said_to_be() {
        for code in CODES {
            let maybe = code.class == Class::Transient;
            assert_eq!(code.executed == Executed::Maybe, maybe, "{}", code.name);
        }
    }
}
