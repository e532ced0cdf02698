//! Small volumes for the whole-engine targets: seeded, audited for nonce reuse, without threads.

use std::sync::Arc;

use sealvol_core::{BlockCount, ByteLen, Clock, Result, VolumeId};
use sealvol_engine::{Builder, CreateOptions, Engine, ExpandKey, Settings, create};
use sealvol_envelope::DataKey;
use sealvol_envelope::aead::AeadBackend;
use sealvol_format::{Geometry, StoredKey};
use sealvol_storage::Storage;
use sealvol_testkit::{AuditedKey, NonceAuditor, SeededEntropy, SimClock};

/// The shape of a volume.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Its size.
    pub blocks: u64,
    /// Slots of a segment.
    pub slots: u32,
    /// Space ratio.
    pub percent: u32,
}

/// What a volume lives in: its clock, and the auditor that sees every seal.
#[derive(Debug)]
pub struct World {
    /// The clock that maintenance goes by.
    pub clock: SimClock,
    auditor: Arc<NonceAuditor>,
    opens: u64,
}

impl Default for World {
    fn default() -> Self {
        Self { clock: SimClock::new(), auditor: NonceAuditor::new(), opens: 0 }
    }
}

/// The data key of every volume here.
#[must_use]
pub fn data_key() -> DataKey {
    DataKey::take(&mut [7; 64])
}

/// Creates a volume.
///
/// # Errors
/// As [`create`].
pub fn create_volume(storage: &dyn Storage, shape: Shape) -> Result<()> {
    let options = CreateOptions {
        volume: VolumeId([9; 16]),
        blocks: BlockCount(shape.blocks),
        key: StoredKey {
            id: 1,
            lineage: [1; 16],
            commitment: [0; 32],
            key_arn: "arn:aws:kms:us-east-1:000000000000:key/fuzz".into(),
            context: Vec::new(),
            blob: vec![1, 2, 3],
        },
        geometry: Geometry::new(shape.slots).unwrap_or(Geometry::DEFAULT),
        space_percent: shape.percent,
    };
    create(storage, &options)
}

impl World {
    /// A builder with its own seed for each open. A key and nonce that seal twice are a panic.
    pub fn builder(&mut self, storage: Arc<dyn Storage>) -> Builder {
        self.opens += 1;
        let auditor = Arc::clone(&self.auditor);
        let expand: ExpandKey = Arc::new(move |key| {
            Box::new(AuditedKey::expand(AeadBackend::default(), key, Arc::clone(&auditor)))
        });
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        Engine::builder(storage)
            .settings(Settings {
                map_cache: ByteLen::kib(64),
                prewrite_segments: 0,
                keep_free_segments: 4,
                reap_pages: 3,
                ..Settings::default()
            })
            .clock(clock)
            .entropy(Arc::new(SeededEntropy::new(self.opens)))
            .aead_with(expand)
            .background(false)
    }

    /// Opens a volume for writing.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open(&mut self, storage: Arc<dyn Storage>) -> Result<Engine> {
        self.builder(storage).open(vec![(1, data_key())]).map(|(engine, _)| engine)
    }
}
