//! The embedded KMS: keys, aliases and grants, in memory or in a directory.
//!
//! It answers as AWS KMS does for the operations that a volume's life needs (same exception names,
//! same order of checks), through [`sealvol_envelope::KeyService`] handles bound to a caller. Keys
//! at rest are sealed under a root key: a key file, or a passphrase stretched with Argon2id.
//!
//! # What it is not
//! It is no HSM: whoever reads the process's memory, or the root key and the store, has the keys.
//! It knows nothing of volumes.
//!
//! # Layers
//! - [`codec`]: every byte format, as pure functions (fuzzed);
//! - `state`: the keys, aliases and grants, and the changes that lead from one state to the next;
//! - `store`: where changes become durable;
//! - `authorize`: who may do what;
//! - [`Kms`]: the operations.

#![forbid(unsafe_code)]

mod authorize;
mod blob;
mod counters;
mod fault;
mod ids;
mod kms;
mod secret;
mod settings;
mod state;
mod store;
mod token;
mod validate;

pub use authorize::{Action, AdminPolicy, KeyPolicyEngine, PolicyDecision, PolicyQuery};
pub use counters::{CounterSnapshot, Operation};
pub use kms::{Alias, Grant, Kms};
pub use settings::{Argon2Settings, KmsSettings};
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
