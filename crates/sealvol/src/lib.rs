//! Envelope-encrypted block volumes, for storage services, microVM hosts and CSI drivers.
//!
//! A [`Volume`] is a file that behaves as a disk. Every block is sealed with AES-256-GCM under a
//! data key that only a KMS can unwrap, bound by encryption context to the volume. It works as EBS
//! volumes do: creating one asks the KMS for a wrapped key, opening one asks it to unwrap that key,
//! and in between no call is made, so that I/O goes on while the KMS is away or the key is disabled.
//!
//! # Quick start
//! ```
//! use std::sync::Arc;
//!
//! use sealvol::kms::{Kms, KmsSettings};
//! use sealvol::{BlockDevice, ByteLen, OpenOptions, Volume, VolumeSpec, WriteFlags};
//! use sealvol::{SystemClock, SystemEntropy};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The embedded KMS; `Kms::open_dir` keeps one in a directory.
//! let kms = Kms::in_memory(
//!     KmsSettings::default(),
//!     Arc::new(SystemClock::new()),
//!     Arc::new(SystemEntropy),
//! )?;
//! let root = kms.root_caller();
//! kms.ensure_key(&root, "alias/volumes", "volumes of this host")?;
//! let keys = kms.handle(root);
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("data.vol");
//! Volume::create(&path, VolumeSpec::new(ByteLen::gib(1), "alias/volumes"), &*keys).await?;
//!
//! let volume = Volume::open(&path, OpenOptions::new(), &*keys).await?;
//! let block = [7; 4096];
//! volume.write(8 << 20, &block, WriteFlags::default())?;
//! volume.flush()?; // From here on it survives power loss.
//!
//! let mut read_back = [0; 4096];
//! volume.read(8 << 20, &mut read_back)?;
//! assert_eq!(read_back, block);
//! volume.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go from here
//! - [`Volume`], [`VolumeSpec`], [`OpenOptions`]: a volume's life;
//! - [`import_raw`], [`import_new`], [`export_raw`]: plain images in and out;
//! - [`verify()`], [`VolumeInfo`]: checks, and what a file tells without its key;
//! - [`kms`]: the embedded KMS; [`KeyService`]: what another KMS must be able to do;
//! - `nbd` (feature `nbd`): serving a volume to a VM or a host.

#![forbid(unsafe_code)]

mod error;
mod info;
mod job;
mod options;
mod transfer;
mod verify;
mod volume;

pub use error::{Error, Result};
pub use info::{InfoState, KeyInfo, VolumeInfo};
pub use job::{Damage, Job, Progress};
pub use options::{Backend, OpenOptions, Provisioning, VolumeSpec};
pub use sealvol_core::{
    BLOCK_LEN, BlockCount, BlockDevice, ByteLen, Clock, DeviceInfo, Entropy, Error as DeviceError,
    ErrorKind, Extent, ExtentKind, Hot, MemoryDevice, ParseByteLenError, Result as DeviceResult,
    SECTOR_LEN, SystemClock, SystemEntropy, UnixMillis, VolumeId, WriteFlags, WriteRequest,
    ZeroFlags,
};
pub use sealvol_engine::{Engine, OpenReport, Problem, Settings, Stats};
pub use sealvol_envelope::aead::AeadBackend;
pub use sealvol_envelope::{
    Caller, ContextError, CreateGrantRequest, CreatedGrant, DataKey, DecryptRequest,
    EncryptionContext, GenerateDataKeyRequest, GeneratedDataKey, GrantConstraint, GrantOperation,
    GrantTokens, KeyMetadata, KeyService, KeyState, KmsError, KmsErrorKind, ReEncryptRequest,
    RetireGrantRequest, WrappedDataKey,
};
pub use sealvol_format::Geometry;
/// The embedded KMS.
pub use sealvol_kms as kms;
/// AWS KMS.
#[cfg(feature = "aws-kms")]
pub use sealvol_kms_aws as kms_aws;
/// The NBD server.
#[cfg(feature = "nbd")]
pub use sealvol_nbd as nbd;
pub use transfer::{
    ExportOptions, ExportReport, ImportReport, export_raw, import_new, import_raw, import_reader,
    raw_len,
};
pub use verify::{VerifyReport, verify};
pub use volume::{DATA_KEY_LEN, Volume};

/// The README's code compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
