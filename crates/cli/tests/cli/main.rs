//! Goal: the command does what its help says: results on stdout, one clear error on stderr, the
//! documented exit code. Method: the built binary, in a directory of its own.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed step fails the test")]

#[cfg(feature = "aws-kms")]
mod aws;
mod bad_input;
mod full_disk;
mod help;
mod key;
mod serve;
mod support;
mod up;
mod verbs;
