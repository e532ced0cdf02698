//! The envelope: data keys that only a KMS can unwrap, the encryption context they are bound to,
//! the [`KeyService`] trait, the AEAD that seals blocks, and the subkeys derived for each purpose.
//! It knows neither which KMS nor which disk.

#![forbid(unsafe_code)]

pub mod aead;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
mod data_key;
mod error;
mod service;
mod subkey;

pub use context::{ContextError, EncryptionContext};
pub use data_key::{DataKey, WrappedDataKey};
pub use error::{KmsError, KmsErrorKind};
pub use service::{
    Caller, CreateGrantRequest, CreatedGrant, DecryptRequest, GenerateDataKeyRequest,
    GeneratedDataKey, GrantConstraint, GrantOperation, GrantTokens, KeyMetadata, KeyService,
    KeyState, ReEncryptRequest, RetireGrantRequest,
};
pub use subkey::{Mac, Prk, Purpose, SubkeyLabel, checksum};
