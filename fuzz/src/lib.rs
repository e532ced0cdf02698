//! The fuzz targets' bodies, as plain functions from bytes: `fuzz_targets/` hands them to libFuzzer,
//! `tests/corpus.rs` replays the committed corpora through them without it, and any other fuzzer can
//! call [`run`].
//!
//! Each target decodes untrusted bytes and asserts what must hold whatever they are: no panic, no
//! memory out of proportion ([`memory`]), and the properties that its module names.

#![forbid(unsafe_code)]

pub mod commit_slot;
pub mod context;
pub mod iam_config;
pub mod input;
pub mod json_body;
pub mod kms_blob;
pub mod kms_http_body;
pub mod kms_store;
pub mod kms_token;
pub mod map_page;
pub mod memory;
pub mod nbd_handshake;
pub mod nbd_requests;
pub mod policy_document;
pub mod query_form;
pub mod record;
pub mod seeds;
pub mod segment_header;
pub mod session_token;
pub mod sigv4_request;
pub mod superblock;
mod toy_kms;
pub mod volume;
pub mod volume_image;
pub mod volume_ops;

/// A target's name and body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, by name.
pub const TARGETS: [Target; 20] = [
    ("commit_slot", commit_slot::run),
    ("context", context::run),
    ("iam_config", iam_config::run),
    ("json_body", json_body::run),
    ("kms_blob", kms_blob::run),
    ("kms_http_body", kms_http_body::run),
    ("kms_store", kms_store::run),
    ("kms_token", kms_token::run),
    ("map_page", map_page::run),
    ("nbd_handshake", nbd_handshake::run),
    ("nbd_requests", nbd_requests::run),
    ("policy_document", policy_document::run),
    ("query_form", query_form::run),
    ("record", record::run),
    ("segment_header", segment_header::run),
    ("session_token", session_token::run),
    ("sigv4_request", sigv4_request::run),
    ("superblock", superblock::run),
    ("volume_image", volume_image::run),
    ("volume_ops", volume_ops::run),
];

/// Runs the target `name` once. `false` when there is none of that name.
///
/// # Panics
/// When a property does not hold: that is a finding.
#[must_use]
pub fn run(name: &str, data: &[u8]) -> bool {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    if let Some((_, body)) = target {
        body(data);
    }
    target.is_some()
}
