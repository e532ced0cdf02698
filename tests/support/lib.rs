//! Support code shared by the workspace-level tests: a small volume on any storage.

#![forbid(unsafe_code)]

pub mod cli;
pub mod counting;
pub mod daemon;
pub mod history;
pub mod kms_client;
pub mod kms_proxy;
pub mod leak;
pub mod nbd_client;
pub mod tools;

use std::sync::Arc;

use sealvol_core::{BlockCount, ByteLen, Clock, Result, VolumeId};
use sealvol_engine::{Builder, CreateOptions, Engine, ExpandKey, OpenReport, Settings, create};
use sealvol_envelope::DataKey;
use sealvol_envelope::aead::AeadBackend;
use sealvol_format::{Geometry, StoredKey};
use sealvol_storage::Storage;
use sealvol_testkit::{AuditedKey, NonceAuditor, SeededEntropy, SimClock};

/// The shape of a test volume.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Its size.
    pub blocks: u64,
    /// Slots of a segment.
    pub slots: u32,
    /// Space ratio.
    pub percent: u32,
}

impl Shape {
    /// Small enough for tens of thousands of recoveries.
    pub const SMALL: Self = Self { blocks: 96, slots: 16, percent: 130 };
}

/// The data key of every test volume.
#[must_use]
pub fn data_key() -> DataKey {
    DataKey::take(&mut [7; 64])
}

/// What a KMS would have wrapped.
#[must_use]
pub fn stored_key() -> StoredKey {
    StoredKey {
        id: 1,
        lineage: [1; 16],
        commitment: [0; 32],
        key_arn: "arn:aws:kms:us-east-1:000000000000:key/test".into(),
        context: Vec::new(),
        // Longer than a sector, so that a crash can tear a superblock.
        blob: vec![3; 700],
    }
}

/// Creates a volume.
///
/// # Errors
/// As [`create`].
pub fn create_volume(storage: &dyn Storage, shape: Shape) -> Result<()> {
    let geometry = Geometry::new(shape.slots).unwrap_or(Geometry::DEFAULT);
    create(
        storage,
        &CreateOptions {
            volume: VolumeId([9; 16]),
            blocks: BlockCount(shape.blocks),
            key: stored_key(),
            geometry,
            space_percent: shape.percent,
        },
    )
}

/// Settings that make everything happen often.
#[must_use]
pub fn busy_settings() -> Settings {
    Settings {
        map_cache: ByteLen::kib(64),
        prewrite_segments: 0,
        keep_free_segments: 4,
        reap_pages: 3,
        ..Settings::default()
    }
}

/// What a seeded open needs.
#[derive(Debug, Clone)]
pub struct World {
    /// The clock that maintenance goes by.
    pub clock: SimClock,
    /// Aborts the test when a (key, nonce) pair is used twice.
    pub auditor: Arc<NonceAuditor>,
}

impl World {
    /// A world at time zero, with nothing sealed.
    #[must_use]
    pub fn new() -> Self {
        Self { clock: SimClock::new(), auditor: NonceAuditor::new() }
    }

    /// A builder without background thread, whose randomness comes from `seed`.
    #[must_use]
    pub fn builder(&self, storage: Arc<dyn Storage>, seed: u64) -> Builder {
        let auditor = Arc::clone(&self.auditor);
        let expand: ExpandKey = Arc::new(move |key| {
            Box::new(AuditedKey::expand(AeadBackend::AwsLc, key, Arc::clone(&auditor)))
        });
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        Engine::builder(storage)
            .settings(busy_settings())
            .clock(clock)
            .entropy(Arc::new(SeededEntropy::new(seed)))
            .aead_with(expand)
            .background(false)
    }

    /// Opens a volume for writing.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open(&self, storage: Arc<dyn Storage>, seed: u64) -> Result<(Engine, OpenReport)> {
        self.builder(storage, seed).open(vec![(1, data_key())])
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
