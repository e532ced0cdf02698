//! Goal: what AWS's clients send is answered as AWS answers it, and what nobody should send harms
//! nobody. Method: a server on loopback with a clock that stands still, requests as raw bytes, signed
//! by AWS's own library; time limits on a stream in memory, under tokio's paused time.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed step fails the test")]

mod auth;
mod ends;
mod kms;
mod limits;
mod metrics;
mod sts;
mod support;
