//! The requests and answers of KMS, member for member as in its API model (2014-11-01).
//!
//! They serialise under AWS's names (JSON 1.1: blobs in base64, times as seconds since the epoch),
//! so that an endpoint needs no second description of them. Enumerations of requests are strings:
//! a value that is none of AWS's is a `ValidationException` of the operation, not a failure to parse.
//! A required string that is missing is the empty string.

mod aliases;
mod crypto;
mod grants;
mod keys;
mod policies;
mod rotation;
mod spec;
mod tags;
mod wire;

pub use aliases::*;
pub use crypto::*;
pub use grants::*;
pub use keys::*;
pub use policies::*;
pub use rotation::*;
pub use sealvol_aws_wire::json::{Blob, SecretBlob, Timestamp};
pub use spec::{KeySpec, KeyUsage, Origin};
pub use tags::*;
pub use wire::GrantToken;
pub(crate) use wire::context;

/// The pages of a listing: how many entries at most, and where the last page ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// `Limit`
    pub limit: Option<i64>,
    /// `Marker`
    pub marker: Option<String>,
}

/// An operation without an answer: the body has no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nothing;
