//! What a failed attempt means. The SDK's variants say little: throttling, denial and validation
//! are none of them, so the exception's name decides, and the HTTP status only where there is none.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use sealvol_envelope::{KmsError, KmsErrorKind as Kind};

use crate::codes::{self, Class, Executed};
use crate::retry::Stop;

/// Longest text of others that goes into a message.
const MESSAGE_LEN_MAX: usize = 1024;

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) code: &'static str,
    pub(crate) class: Class,
    pub(crate) executed: Executed,
    pub(crate) message: Option<String>,
    /// What AWS support asks for.
    pub(crate) request_id: Option<String>,
}

impl Failure {
    fn new(
        (kind, code): (Kind, &'static str),
        (class, executed): (Class, Executed),
        message: impl Into<String>,
    ) -> Self {
        let message = Some(message.into());
        Self { kind, code, class, executed, message, request_id: None }
    }

    fn passing(code: &'static str, executed: Executed, message: impl Into<String>) -> Self {
        Self::new((Kind::Retry, code), (Class::Transient, executed), message)
    }

    /// An attempt that took too long and was given up.
    pub(crate) fn timed_out(after: Duration) -> Self {
        let message = format!("no answer within {:.1} s", after.as_secs_f64());
        Self::passing(codes::TIMEOUT, Executed::Maybe, message)
    }

    /// A successful answer that lacks what such answers have.
    pub(crate) fn lacking(what: &str) -> Self {
        Self::unreadable(format!("the answer has no usable {what}"))
    }

    fn unreadable(message: impl Into<String>) -> Self {
        let outcome = (Class::Transient, Executed::Maybe);
        Self::new((Kind::Internal, codes::INVALID_RESPONSE), outcome, message)
    }

    /// What the SDK's error means.
    pub(crate) fn from_sdk<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match &error {
            SdkError::ServiceError(service) => {
                let (meta, response) = (service.err().meta(), service.raw());
                // The name in the header holds even if the body can't be read.
                let header = response.headers().get("x-amzn-errortype").map(bare_name);
                let failure =
                    Self::from_answer(response.status().as_u16(), meta.code().or(header), || {
                        meta.message().map(str::to_owned).or_else(|| {
                            meta.code().is_none().then(|| shown(&DisplayErrorContext(&error)))
                        })
                    });
                Self { request_id: meta.request_id().map(str::to_owned), ..failure }
            }
            SdkError::DispatchFailure(failure) if failure.is_user() => Self::new(
                (Kind::Internal, codes::CONNECTION_FAILURE),
                (Class::Final, Executed::No),
                shown(&DisplayErrorContext(&error)),
            ),
            SdkError::DispatchFailure(_) => Self::from_dispatch(&error),
            SdkError::ResponseError(_) => Self::passing(
                codes::INVALID_RESPONSE,
                Executed::Maybe,
                format!("the answer broke off: {}", shown(&DisplayErrorContext(&error))),
            ),
            SdkError::TimeoutError(_) => {
                Self::passing(codes::TIMEOUT, Executed::Maybe, shown(&DisplayErrorContext(&error)))
            }
            // The request was not made: a value that the SDK does not take, or no region.
            _ => Self::new(
                (Kind::Invalid, "ValidationException"),
                (Class::Final, Executed::No),
                shown(&DisplayErrorContext(&error)),
            ),
        }
    }

    /// An answer with a failure in it.
    fn from_answer(
        status: u16,
        name: Option<&str>,
        message: impl FnOnce() -> Option<String>,
    ) -> Self {
        let mut message = message();
        if let Some(text) = &mut message {
            truncate(text);
        }
        if let Some(name) = name {
            if let Some(code) = codes::lookup(name, message.as_deref()) {
                if let (Class::Skew, Some(text)) = (code.class, &mut message) {
                    text.push_str("; set this machine's clock (NTP)");
                }
                // An empty message is none: integrity failures come without.
                let message = message.filter(|text| !text.is_empty());
                let (kind, class, executed) = (code.kind, code.class, code.executed);
                let code = code.name;
                return Self { kind, code, class, executed, message, request_id: None };
            }
            let told = shown(&name);
            message = Some(match message {
                Some(message) => format!("{told}: {message}"),
                None => told,
            });
        }
        let told = |what: &str| match &message {
            Some(message) => format!("{what}: {message}"),
            None => what.to_owned(),
        };
        let text = told(&format!("HTTP status {status}"));
        match (status, name) {
            (200..=299, None) => Self::unreadable(told("the answer cannot be read")),
            (429, None) => Self::new(
                (Kind::Retry, "TooManyRequestsException"),
                (Class::Throttled, Executed::No),
                text,
            ),
            (503, None) => Self::passing("ServiceUnavailable", Executed::Maybe, text),
            (500..=599, None) => Self::passing("InternalFailure", Executed::Maybe, text),
            (500..=599, Some(_)) => Self::passing(codes::UNKNOWN, Executed::Maybe, text),
            _ => Self::new((Kind::Internal, codes::UNKNOWN), (Class::Final, Executed::No), text),
        }
    }

    /// No answer came: no credentials, no connection, or it broke.
    fn from_dispatch(error: &(dyn StdError + 'static)) -> Self {
        let text = shown(&DisplayErrorContext(error));
        let mut cause = Some(error);
        let mut sent = Executed::Maybe;
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<CredentialsError>() {
                return Self::from_credentials(error, &text);
            }
            let refused = error.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::HostUnreachable
                        | io::ErrorKind::NetworkUnreachable
                )
            });
            let told = error.to_string();
            // Neither type is public.
            if refused || told.contains("dns error") || told.contains("HTTP connect timeout") {
                sent = Executed::No;
            }
            if told.contains("invalid peer certificate") {
                return Self::new(
                    (Kind::Internal, codes::CONNECTION_FAILURE),
                    (Class::Final, Executed::No),
                    format!("the endpoint's certificate is not trusted: {text}"),
                );
            }
            cause = error.source();
        }
        Self::passing(codes::CONNECTION_FAILURE, sent, text)
    }

    fn from_credentials(error: &CredentialsError, text: &str) -> Self {
        match error {
            CredentialsError::ProviderTimedOut(_) => Self::passing(
                codes::NO_CREDENTIALS,
                Executed::No,
                format!("loading AWS credentials took too long: {text}"),
            ),
            CredentialsError::CredentialsNotLoaded(_) => Self::new(
                (Kind::Denied, codes::NO_CREDENTIALS),
                (Class::Final, Executed::No),
                "there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                 AWS_PROFILE, or run where the instance or the task has a role",
            ),
            _ => Self::new(
                (Kind::Denied, codes::NO_CREDENTIALS),
                (Class::Final, Executed::No),
                format!("AWS credentials do not load: {text}"),
            ),
        }
    }

    /// The error of the whole call.
    pub(crate) fn into_error(self, stop: Stop, attempts: u32, elapsed: Duration) -> KmsError {
        let Some(mut message) = self.message else {
            return KmsError::silent(self.kind, self.code);
        };
        let seconds = elapsed.as_secs_f64();
        match stop {
            Stop::Final if attempts == 1 => {}
            Stop::Deadline => message.push_str(&format!(
                " (the call's deadline has come, after {attempts} attempts in {seconds:.1} s)"
            )),
            Stop::Ambiguous => message.push_str(
                " (it may have been done all the same, and doing it twice makes two of it: not \
                 tried again)",
            ),
            Stop::Final | Stop::Attempts | Stop::Propagation => {
                message.push_str(&format!(" (after {attempts} attempts in {seconds:.1} s)"));
            }
        }
        KmsError::new(self.kind, self.code, message)
    }
}

/// An exception name without namespace and URL.
fn bare_name(name: &str) -> &str {
    let name = name.split(':').next().unwrap_or_default();
    name.rsplit('#').next().unwrap_or_default()
}

fn shown(what: &dyn std::fmt::Display) -> String {
    let mut text = what.to_string();
    truncate(&mut text);
    text
}

/// Foreign text must not fill logs.
fn truncate(text: &mut String) {
    if text.len() > MESSAGE_LEN_MAX {
        let end = (0..=MESSAGE_LEN_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, name: Option<&str>, message: Option<&str>) -> Failure {
        Failure::from_answer(status, name, || message.map(str::to_owned))
    }

    #[test]
    fn the_name_decides_and_not_the_status() {
        for status in [200, 400, 403, 404, 500] {
            let throttled = answer(status, Some("ThrottlingException"), Some("Rate exceeded"));
            assert_eq!((throttled.kind, throttled.class), (Kind::Retry, Class::Throttled));
            let denied = answer(status, Some("AccessDeniedException"), Some("no"));
            assert_eq!((denied.kind, denied.class), (Kind::Denied, Class::Propagation));
            let limit = answer(status, Some("LimitExceededException"), Some("grants"));
            assert_eq!((limit.kind, limit.class), (Kind::LimitExceeded, Class::Final));
        }
    }

    #[test]
    fn without_a_name_the_status_decides() {
        let cases = [
            (200, Kind::Internal, Class::Transient, "InvalidResponse"),
            (302, Kind::Internal, Class::Final, "UnknownError"),
            (400, Kind::Internal, Class::Final, "UnknownError"),
            (403, Kind::Internal, Class::Final, "UnknownError"),
            (429, Kind::Retry, Class::Throttled, "TooManyRequestsException"),
            (500, Kind::Retry, Class::Transient, "InternalFailure"),
            (502, Kind::Retry, Class::Transient, "InternalFailure"),
            (503, Kind::Retry, Class::Transient, "ServiceUnavailable"),
            (504, Kind::Retry, Class::Transient, "InternalFailure"),
        ];
        for (status, kind, class, code) in cases {
            let failure = answer(status, None, None);
            assert_eq!((failure.kind, failure.class, failure.code), (kind, class, code));
        }
    }

    #[test]
    fn unknown_names_are_told() {
        let failure = answer(400, Some("BrandNewException"), Some("what it says"));
        assert_eq!((failure.kind, failure.code), (Kind::Internal, "UnknownError"));
        let text = failure.message.unwrap();
        assert!(text.contains("BrandNewException: what it says"), "{text}");
        let failure = answer(500, Some("BrandNewException"), None);
        assert_eq!((failure.class, failure.code), (Class::Transient, "UnknownError"));
    }

    #[test]
    fn integrity_failures_stay_silent() {
        for message in [None, Some("")] {
            let failure = answer(400, Some("InvalidCiphertextException"), message);
            let error = failure.into_error(Stop::Final, 1, Duration::ZERO);
            assert_eq!((error.kind(), error.message()), (Kind::Corrupt, None));
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told() {
        let failure = answer(400, Some("InvalidSignatureException"), Some("Signature expired: x"));
        assert_eq!((failure.kind, failure.class), (Kind::Denied, Class::Skew));
        assert!(failure.message.unwrap().contains("clock"));
    }

    #[test]
    fn errors_say_how_often_and_how_long() {
        let failure = || answer(500, None, None);
        let text = |stop| failure().into_error(stop, 5, Duration::from_millis(1500)).to_string();
        assert!(text(Stop::Attempts).contains("5 attempts in 1.5 s"));
        assert!(text(Stop::Deadline).contains("deadline"));
        assert!(text(Stop::Ambiguous).contains("two"));
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let mut text = "\u{e9}".repeat(1000);
        truncate(&mut text);
        assert_eq!(text.len(), MESSAGE_LEN_MAX + 3);
    }
}
