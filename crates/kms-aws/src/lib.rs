//! AWS KMS as a [`sealvol_envelope::KeyService`].
//!
//! [`AwsKms`] sends each operation of the trait to AWS KMS, or to what answers like it at an
//! endpoint. The SDK signs, sends and parses; when to try again, for how long, and what a failure
//! means is decided here:
//! - `codes` knows the exception names and what each one calls for;
//! - `failure` reads the SDK's errors: by exception name first, never by variant or status alone;
//! - `retry` decides on the next attempt, without a clock or randomness of its own;
//! - `flights` lets callers that ask to unwrap the same blob share one call;
//! - [`MetricsSnapshot`] counts.
//!
//! # Who calls
//! The caller is whoever the credentials belong to. There is no [`sealvol_envelope::Caller`] to
//! choose: another principal is another [`AwsKms`], with its own credentials.
//!
//! # Secrets
//! A plaintext data key goes from the SDK's decoded buffer into locked memory, and that buffer is
//! zeroised. Out of reach, and so not zeroised, are the HTTP body in which it came (base64 in JSON,
//! in buffers of hyper and of the TLS implementation) and what the SDK's JSON parser copied; they
//! are freed within the call.
//!
//! This crate logs operations, exception names, request ids and times. The SDK's own events are
//! another matter: at level `trace` (targets `aws_*`) they show grant tokens, and keys too when
//! `LOG_SENSITIVE_BODIES=true` is in the environment. Do not collect them.

#![forbid(unsafe_code)]

mod client;
mod codes;
mod failure;
mod flights;
mod metrics;
mod retry;
mod service;
mod settings;

/// The SDK that this crate was built with, to make a [`aws_sdk_kms::config::Builder`] for
/// [`AwsKms::from_config`].
pub use aws_sdk_kms;
pub use client::{AwsKms, StaticCredentials};
pub use metrics::{LATENCY_BOUNDS_MS, MetricsSnapshot, Operation, OperationMetrics};
pub use settings::AwsKmsSettings;
