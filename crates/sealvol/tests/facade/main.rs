//! Goal: a volume's life through the facade: made, opened, damaged, mistaken for another, filled and
//! emptied. Method: real files in temporary directories, the embedded KMS in memory, and key services
//! that fail.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed step fails the test")]

mod bad_input;
mod damage;
mod lifecycle;
mod support;
mod transfer;
