//! The AWS backend: against scripted answers (with a clock that the test owns), against a socket that
//! misbehaves, and against an independent server through the suite of the trait.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod answers;
mod moto;
mod remote;
mod script;
mod wire;
