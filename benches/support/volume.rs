//! The sealed volume under test.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Advice;
use sealvol_core::{
    BlockCount, BlockDevice, ByteLen, Entropy, SystemEntropy, VolumeId, WriteFlags,
};
use sealvol_engine::{CreateOptions, Engine, Settings, create};
use sealvol_envelope::DataKey;
use sealvol_envelope::aead::AeadBackend;
use sealvol_format::{DATA_OFFSET, Geometry, StoredKey};
use sealvol_storage::{FileStorage, MmapStorage, Storage};

use crate::rng::noise;
use crate::{Error, Result};

/// How the volume's file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StorageKind {
    /// By pread: the default of the product.
    #[default]
    File,
    /// Through a memory map.
    Mmap,
}

/// What volume to make.
#[derive(Debug, Clone, Copy)]
pub struct VolumeShape {
    /// Logical size.
    pub len: ByteLen,
    /// Space over logical size, percent.
    pub space_percent: u32,
    /// The whole file is written with zeros first, as `Provisioning::Prewritten` does.
    pub prewritten: bool,
    /// How the file is read.
    pub storage: StorageKind,
}

impl VolumeShape {
    /// A volume of `len` with the default space, pre-written.
    #[must_use]
    pub const fn prewritten(len: ByteLen) -> Self {
        Self { len, space_percent: 130, prewritten: true, storage: StorageKind::File }
    }
}

/// An open volume in a file.
#[derive(Debug)]
pub struct SealedVolume {
    engine: Engine,
    path: PathBuf,
}

impl SealedVolume {
    /// Creates and opens a volume at `path`.
    ///
    /// # Errors
    /// When it cannot be created or opened.
    pub fn create(path: &Path, shape: VolumeShape) -> Result<Self> {
        let file = FileStorage::create_new(path)?;
        let mut id = [0; 16];
        SystemEntropy.fill(&mut id)?;
        let options = CreateOptions {
            volume: VolumeId(id),
            blocks: shape.len.blocks().ok_or("the size is not a multiple of 4096")?,
            key: stored_key(),
            geometry: Geometry::DEFAULT,
            space_percent: shape.space_percent,
        };
        create(&file, &options)?;
        let mut settings = Settings::default();
        if let Ok(cores) = std::env::var("SEALVOL_BENCH_SHARE") {
            settings.share_from_cores =
                cores.parse().map_err(|e| format!("SEALVOL_BENCH_SHARE: {e}"))?;
        }
        if shape.prewritten {
            prewrite(&file, options.blocks, options.space_percent)?;
            // There is nothing left to write ahead, and nothing is given back to the host.
            settings.prewrite_segments = 0;
            settings.keep_free_segments = u32::MAX;
        }
        let storage: Arc<dyn Storage> = match shape.storage {
            StorageKind::File => Arc::new(file),
            StorageKind::Mmap => Arc::new(MmapStorage::new(file)?),
        };
        let builder = Engine::builder(storage).settings(settings).aead(AeadBackend::fastest());
        let (engine, _report) = builder.open(vec![(1, bench_key())])?;
        Ok(Self { engine, path: path.to_owned() })
    }

    /// The open engine.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The volume's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the engine out, to be shared with a server.
    #[must_use]
    pub fn into_engine(self) -> Engine {
        self.engine
    }

    /// Makes the volume as good as new: nothing written, every segment free for use.
    ///
    /// # Errors
    /// As any change of the volume.
    pub fn renew(&self) -> Result<()> {
        self.engine.discard(0, self.engine.info().len.0)?;
        // The first checkpoint settles the discards, the second releases what they emptied.
        for _ in 0..4 {
            self.engine.checkpoint()?;
            self.engine.maintain()?;
        }
        self.engine.flush()?;
        Ok(())
    }
}

/// Writes zeros over all the space the volume may ever use.
fn prewrite(file: &FileStorage, blocks: BlockCount, space_percent: u32) -> Result<()> {
    let superblock = sealvol_engine::read_public(file)?;
    let segments = superblock.state.segment_limit;
    if segments == 0 {
        return Err(format!("no segment limit for {} blocks at {space_percent}%", blocks.0).into());
    }
    file.allocate(DATA_OFFSET, segments * superblock.geometry.segment_len(), true)?;
    file.sync()?;
    Ok(())
}

/// The data key of benches, which protect nothing.
#[must_use]
pub fn bench_key() -> DataKey {
    DataKey::take(&mut [7; 64])
}

/// Its wrapped form, which no KMS made.
#[must_use]
pub fn stored_key() -> StoredKey {
    StoredKey {
        id: 1,
        lineage: [1; 16],
        commitment: [0; 32],
        key_arn: "arn:aws:kms:us-east-1:000000000000:key/bench".into(),
        context: Vec::new(),
        blob: vec![1, 2, 3],
    }
}

/// Writes every byte of the device once, in order, and flushes: what AWS calls initialised.
///
/// # Errors
/// As the device.
pub fn fill(device: &dyn BlockDevice) -> Result<()> {
    let len = device.info().len.0;
    let data = noise(2 << 20, 42);
    let mut at = 0;
    while at < len {
        let size = usize::try_from((len - at).min(1 << 20))?;
        // Neighbouring requests differ.
        let from = usize::try_from((at >> 20) % 256)? * 4096;
        let piece = data.get(from..from + size).ok_or("noise is too short")?;
        device.write(at, piece, WriteFlags::default())?;
        at += size as u64;
        if at.is_multiple_of(256 << 20) {
            device.flush()?;
        }
    }
    device.flush()?;
    Ok(())
}

/// Takes the file's pages out of memory, so that the next reads go to the disk. Dirty pages stay:
/// flush first.
///
/// # Errors
/// When the file cannot be opened.
pub fn drop_caches(path: &Path) -> Result<()> {
    let file = OpenOptions::new().read(true).open(path)?;
    rustix::fs::fdatasync(&file).map_err(Error::from)?;
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(())
}
