//! The embedded KMS from outside: one module for each promise.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail and print as tests do"
)]

mod conformance;
mod cost;
mod damage;
mod decoders;
mod grants;
mod manage;
mod processes;
mod restart;
mod root_key;
mod support;
mod upgrade;
