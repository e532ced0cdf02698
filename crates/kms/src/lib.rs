//! The embedded KMS: keys, aliases, policies and grants, in memory or in a directory.
//!
//! It answers as AWS KMS does (same exception names, same order of checks), through a [`Session`]
//! for each caller, which is a [`sealvol_envelope::KeyService`], too. Keys
//! at rest are sealed under a root key: a key file, or a passphrase stretched with Argon2id.
//!
//! # What it is not
//! It is no HSM: whoever reads the process's memory, or the root key and the store, has the keys.
//! It knows nothing of volumes.
//!
//! # Layers
//! - [`model`]: requests and answers, as AWS has them;
//! - [`codec`]: every byte format, as pure functions (fuzzed);
//! - `state`: the keys, aliases and grants, and the changes that lead from one state to the next;
//! - `store`: where changes become durable;
//! - `authorize`, `facts`: who may do what;
//! - [`Kms`]: opening; [`Session`]: the operations (`ops`);
//! - [`audit`]: what is recorded of each call.

#![forbid(unsafe_code)]

pub mod audit;
mod authorize;
mod blob;
mod counters;
mod facts;
mod fault;
mod ids;
mod kms;
mod lapse;
pub mod model;
mod operation;
mod ops;
mod rates;
mod requester;
mod secret;
mod service;
mod session;
mod settings;
mod shorthand;
mod state;
mod store;
mod time;
mod token;
mod trail;
mod validate;

pub use counters::{CounterSnapshot, LATENCY_BOUNDS_US, LatencySnapshot};
pub use kms::{Kms, KmsParts};
pub use operation::{Action, Operation};
pub use rates::RateLimits;
pub use requester::{OpenDirectory, Origin, PrincipalDirectory, Requester};
pub use session::Session;
pub use settings::{Argon2Settings, KmsSettings};
pub use shorthand::Alias;
pub use store::{OpenError, RootKeySource};

/// The byte formats of this crate as pure functions: no I/O, no panic on any input, memory bounded
/// by the input's length.
pub mod codec {
    pub use crate::blob::{BLOB_OVERHEAD, BlobError, CiphertextBlob};
    pub use crate::state::{BodyError, check_change_body, check_snapshot_body};
    pub use crate::store::{
        Acknowledged, Damage, HEADER_LEN, RECORD_LEN_MAX, RootKey, RootKeyKind, StoreHeader,
        StoreImage, decode_root_key_file, decode_store,
    };
    pub use crate::token::check_token_shape;
}
