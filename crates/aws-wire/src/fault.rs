//! What a request was refused with, and the one map from AWS's fault names to HTTP statuses.
//!
//! Statuses are those that AWS sends, not those of the Smithy models, which differ for KMS (404, 409).

use std::borrow::Cow;

use http::StatusCode;

/// Which family of protocols a fault is told in: names and statuses differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// JSON 1.1, as KMS and ECS speak it.
    Json,
    /// The query protocol with XML answers, as STS and IAM speak it.
    Query,
    /// The query protocol as EC2 speaks it, which names authentication faults its own way.
    Ec2,
}

/// A fault as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    code: Cow<'static, str>,
    message: Option<Cow<'static, str>>,
    status: StatusCode,
}

impl Fault {
    /// The fault `code` of `protocol`, with the status that goes with it.
    #[must_use]
    pub fn new(protocol: Protocol, code: impl Into<Cow<'static, str>>) -> Self {
        let code = code.into();
        let status = status(protocol, &code);
        Self { code, message: None, status }
    }

    /// The same with a message.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// AWS's name of it: `NotFoundException`, `AccessDenied`.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What AWS says with it, if anything.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether the client is at fault, and repeating the request as it is does not help.
    #[must_use]
    pub fn is_sender(&self) -> bool {
        self.status.is_client_error()
    }
}

/// The HTTP status of the fault `code`. Whatever is not named here is the client's fault: 400.
#[must_use]
pub fn status(protocol: Protocol, code: &str) -> StatusCode {
    match protocol {
        Protocol::Json => json_status(code),
        Protocol::Query | Protocol::Ec2 => query_status(code),
    }
}

fn json_status(code: &str) -> StatusCode {
    match code {
        "DependencyTimeoutException"
        | "InternalFailure"
        | "InternalServerException"
        | "KMSInternalException"
        | "KeyUnavailableException"
        // ECS calls its own failures by this name.
        | "ServerException" => StatusCode::INTERNAL_SERVER_ERROR,
        "RequestEntityTooLargeException" => StatusCode::PAYLOAD_TOO_LARGE,
        "ServiceUnavailableException" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn query_status(code: &str) -> StatusCode {
    match code {
        "AuthFailure" => StatusCode::UNAUTHORIZED,
        "AccessDenied"
        | "ExpiredToken"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "RegionDisabledException"
        | "SignatureDoesNotMatch"
        | "UnauthorizedOperation" => StatusCode::FORBIDDEN,
        "MalformedQueryString" => StatusCode::NOT_FOUND,
        "RequestEntityTooLarge" => StatusCode::PAYLOAD_TOO_LARGE,
        "InternalError" | "InternalFailure" => StatusCode::INTERNAL_SERVER_ERROR,
        "RequestLimitExceeded" | "ServiceUnavailable" | "Unavailable" => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every exception of KMS's operations that we answer with, and the unmodelled ones.
    const KMS_CLIENT_FAULTS: [&str; 27] = [
        "AccessDeniedException",
        "AlreadyExistsException",
        "ConflictException",
        "DisabledException",
        "DryRunOperationException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "IncorrectKeyException",
        "InvalidAliasNameException",
        "InvalidArnException",
        "InvalidCiphertextException",
        "InvalidGrantIdException",
        "InvalidGrantTokenException",
        "InvalidKeyUsageException",
        "InvalidMarkerException",
        "InvalidSignatureException",
        "KMSInvalidStateException",
        "LimitExceededException",
        "MalformedPolicyDocumentException",
        "MissingAuthenticationTokenException",
        "NotFoundException",
        "SerializationException",
        "TagException",
        "ThrottlingException",
        "UnrecognizedClientException",
        "UnsupportedOperationException",
        "ValidationException",
    ];

    #[test]
    fn every_client_fault_of_kms_is_400() {
        for code in KMS_CLIENT_FAULTS {
            let fault = Fault::new(Protocol::Json, code);
            assert_eq!(fault.status(), StatusCode::BAD_REQUEST, "{code}");
            assert!(fault.is_sender());
        }
    }

    #[test]
    fn faults_of_kms_itself_are_500() {
        for code in
            ["KMSInternalException", "KeyUnavailableException", "DependencyTimeoutException"]
        {
            let fault = Fault::new(Protocol::Json, code).with_message("m");
            assert_eq!(fault.status(), StatusCode::INTERNAL_SERVER_ERROR, "{code}");
            assert!(!fault.is_sender());
            assert_eq!((fault.code(), fault.message()), (code, Some("m")));
        }
    }

    #[test]
    fn query_services_answer_403_to_the_unauthenticated() {
        for code in ["MissingAuthenticationToken", "InvalidClientTokenId", "SignatureDoesNotMatch"]
        {
            assert_eq!(status(Protocol::Query, code), StatusCode::FORBIDDEN);
        }
        assert_eq!(status(Protocol::Query, "IncompleteSignature"), StatusCode::BAD_REQUEST);
        assert_eq!(status(Protocol::Ec2, "RequestExpired"), StatusCode::BAD_REQUEST);
        assert_eq!(status(Protocol::Ec2, "AuthFailure"), StatusCode::UNAUTHORIZED);
    }
}
