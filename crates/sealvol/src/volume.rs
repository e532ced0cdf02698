//! [`Volume`]: creating, opening and closing, which is where the KMS comes in. Between opening and
//! closing it is a [`BlockDevice`] and calls no KMS.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealvol_core::{
    BlockDevice, DeviceInfo, Extent, Hot, Result as DeviceResult, VolumeId, WriteFlags,
    WriteRequest, ZeroFlags,
};
use sealvol_core::{Entropy, ErrorKind};
use sealvol_engine::{CreateOptions, Engine, Mode, OpenReport, Stats};
use sealvol_envelope::{
    DataKey, DecryptRequest, EncryptionContext, GenerateDataKeyRequest, KeyService, KmsErrorKind,
};
use sealvol_format::{DATA_OFFSET, StoredKey, Superblock};
use sealvol_storage::{FileStorage, MmapStorage, OpenMode, Storage};

use crate::error::{Error, Result};
use crate::info::{VolumeInfo, context_of, default_name, malformed_context};
use crate::options::{Backend, OpenOptions, Provisioning, VolumeSpec};

/// Bytes of a volume's data key: 64, as EBS asks for.
pub const DATA_KEY_LEN: u16 = 64;

const CREATE: &str = "create volume";
const OPEN: &str = "open volume";

/// An open volume. See [`BlockDevice`] for its I/O.
///
/// # Durability
/// A write that returned survives the death of this process; a flush that returned makes it survive
/// power loss. Dropping a volume without [`close`](Self::close) is a crash: nothing acknowledged is
/// lost, and the next open replays the log.
pub struct Volume {
    engine: Engine,
    details: VolumeInfo,
    report: OpenReport,
}

impl Volume {
    /// Makes a volume file at `path`, with a data key that the KMS made and that nobody has seen.
    ///
    /// The KMS is asked first. The file is written under a temporary name in the same directory
    /// (mode 0600), synced, and renamed; an existing `path` is never replaced.
    ///
    /// # Durability
    /// On success the volume and its name survive power loss.
    ///
    /// # Errors
    /// `Conflict` when `path` exists; `Invalid` for an impossible size; `NoSpace`, `Io`; whatever
    /// the KMS answers (see [`Error::kms`]). Nothing is left behind.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing behind. It blocks its thread for file I/O.
    pub async fn create(
        path: impl AsRef<Path>,
        spec: VolumeSpec,
        keys: &dyn KeyService,
    ) -> Result<VolumeInfo> {
        Self::create_as(path.as_ref(), path.as_ref(), spec, keys).await
    }

    /// [`create`](Self::create), with errors that name `path` rather than where the `file` is yet.
    pub(crate) async fn create_as(
        path: &Path,
        file: &Path,
        spec: VolumeSpec,
        keys: &dyn KeyService,
    ) -> Result<VolumeInfo> {
        spec.check()
            .map_err(|e| Error::new(e.kind(), format!("{CREATE} {}: {e}", path.display())))?;
        if file.symlink_metadata().is_ok() {
            let taken = sealvol_core::Error::new(
                ErrorKind::Conflict,
                "create file",
                format!("{}: it exists already", path.display()),
            );
            return Err(Error::at_volume(CREATE, path, taken));
        }
        let volume = match spec.id {
            Some(id) => id,
            None => VolumeId(random(&*spec.entropy)?),
        };
        let context = volume_context(path, &spec, volume)?;
        let request = GenerateDataKeyRequest {
            key_id: spec.key.clone(),
            context,
            number_of_bytes: DATA_KEY_LEN,
            grant_tokens: spec.grant_tokens.clone(),
        };
        let wrapped = keys
            .generate_data_key_without_plaintext(request)
            .await
            .map_err(|source| Error::from_kms(CREATE, path, &spec.key, source))?;
        let key = StoredKey {
            id: 1,
            lineage: random(&*spec.entropy)?,
            commitment: [0; 32],
            key_arn: wrapped.key_arn,
            context: wrapped.context.canonical(),
            blob: wrapped.ciphertext,
        };
        let options = CreateOptions {
            volume,
            blocks: spec.size.blocks().unwrap_or_default(),
            key,
            geometry: spec.geometry,
            space_percent: spec.space_percent,
        };
        write_new(file, &spec, &options).map_err(|e| Error::at_volume(CREATE, path, e))?;
        tracing::info!(path = %path.display(), %volume, size = %spec.size, "volume created");
        VolumeInfo::read(file)
    }

    /// Opens the volume in the file `path`: locks the file, asks the KMS to unwrap the data keys
    /// under the contexts recorded in it, and recovers from a crash if there was one.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` (another process has it open), `Corrupt` (damaged, or not what was
    /// expected), `Denied`, `Unsupported` (a newer format), `NoSpace`, `Io`; whatever the KMS
    /// answers (see [`Error::kms`]). The file's data is intact after each of them.
    ///
    /// # Cancellation
    /// Dropping the future closes the file. It blocks its thread for file I/O and recovery, which a
    /// crash can make as long as reading 256 MiB of log.
    pub async fn open(
        path: impl AsRef<Path>,
        options: OpenOptions,
        keys: &dyn KeyService,
    ) -> Result<Self> {
        Self::open_as(path.as_ref(), path.as_ref(), options, keys).await
    }

    /// [`open`](Self::open), with errors that name `path` rather than where the `file` is yet.
    pub(crate) async fn open_as(
        path: &Path,
        file: &Path,
        options: OpenOptions,
        keys: &dyn KeyService,
    ) -> Result<Self> {
        let fail = |source| Error::at_volume(OPEN, path, source);
        let mode = if options.read_only { OpenMode::ReadOnly } else { OpenMode::ReadWrite };
        let storage = FileStorage::open(file, mode).map_err(fail)?;
        let candidates = sealvol_engine::read_candidates(&storage).map_err(fail)?;
        let metadata =
            file.metadata().map_err(|e| Error::io(format!("{OPEN} {}", path.display()), e))?;
        let storage: Arc<dyn Storage> = match options.backend {
            Backend::File => Arc::new(storage),
            Backend::Mmap => Arc::new(MmapStorage::new(storage).map_err(fail)?),
        };
        let mut first_error = None;
        for candidate in candidates {
            let opening =
                Opening { path, metadata: &metadata, storage: &storage, options: &options };
            match opening.open(candidate, keys).await {
                Ok(volume) => {
                    volume.announce(path);
                    return Ok(volume);
                }
                Err(error) => {
                    let final_word = !twin_may_help(&error);
                    let first = first_error.get_or_insert(error);
                    if final_word {
                        break;
                    }
                    tracing::debug!(error = ?first, "trying the other superblock copy");
                }
            }
        }
        Err(first_error.unwrap_or_else(|| {
            Error::new(ErrorKind::Internal, format!("{OPEN} {}: no superblock", path.display()))
        }))
    }

    fn announce(&self, path: &Path) {
        tracing::info!(
            path = %path.display(),
            volume = %self.details.id,
            clean = self.report.clean,
            replayed_groups = self.report.replayed_groups,
            "volume opened"
        );
        if self.report.keys_unlocked {
            tracing::warn!("data keys are in memory that can be swapped: raise `ulimit -l`");
        }
    }

    /// The volume's public part, as it was at the open.
    #[must_use]
    pub const fn details(&self) -> &VolumeInfo {
        &self.details
    }

    /// What opening it found.
    #[must_use]
    pub const fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Counters since the open.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// The engine below, for its maintenance operations.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Closes the volume in order: everything durable, nothing to replay at the next open, the data
    /// key gone from memory, the file unlocked.
    ///
    /// # Errors
    /// `Io`, `NoSpace`, `Poisoned`. The volume is closed all the same, as after a crash.
    pub fn close(self) -> Result<()> {
        let Self { engine, details, .. } = self;
        engine.close().map_err(|source| {
            Error::around(
                format!(
                    "close volume {}: it is left as after a crash, and the next open recovers what \
                     was flushed",
                    details.name
                ),
                source,
            )
        })?;
        tracing::info!(volume = %details.id, "volume closed");
        Ok(())
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume").field("details", &self.details).finish_non_exhaustive()
    }
}

impl BlockDevice for Volume {
    fn info(&self) -> DeviceInfo {
        self.engine.info()
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> DeviceResult<()> {
        self.engine.read(offset, buf)
    }

    fn read_hot(&self, offset: u64, buf: &mut [u8]) -> DeviceResult<Hot> {
        self.engine.read_hot(offset, buf)
    }

    fn write(&self, offset: u64, data: &[u8], flags: WriteFlags) -> DeviceResult<()> {
        self.engine.write(offset, data, flags)
    }

    fn write_batch(&self, batch: &[WriteRequest<'_>]) -> Vec<DeviceResult<()>> {
        self.engine.write_batch(batch)
    }

    fn flush(&self) -> DeviceResult<()> {
        self.engine.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> DeviceResult<()> {
        self.engine.discard(offset, len)
    }

    fn write_zeroes(&self, offset: u64, len: u64, flags: ZeroFlags) -> DeviceResult<()> {
        self.engine.write_zeroes(offset, len, flags)
    }

    fn extents(&self, offset: u64, len: u64, max_extents: usize) -> DeviceResult<Vec<Extent>> {
        self.engine.extents(offset, len, max_extents)
    }

    fn prefetch(&self, offset: u64, len: u64) -> DeviceResult<()> {
        self.engine.prefetch(offset, len)
    }
}

pub(crate) fn random<const N: usize>(entropy: &dyn Entropy) -> DeviceResult<[u8; N]> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}

/// The context that a new volume's key is bound to: its name and what the caller adds.
fn volume_context(path: &Path, spec: &VolumeSpec, id: VolumeId) -> Result<EncryptionContext> {
    let refuse =
        |why: String| Error::new(ErrorKind::Invalid, format!("{CREATE} {}: {why}", path.display()));
    let name = match (&spec.name, spec.context.get("aws:ebs:id")) {
        (Some(name), Some(pair)) if name != pair => {
            return Err(refuse(format!(
                "the name '{name}' and the context's aws:ebs:id '{pair}' differ; give one of them"
            )));
        }
        (Some(name), _) => name.clone(),
        (None, Some(pair)) => pair.to_owned(),
        (None, None) => default_name(id),
    };
    if name.is_empty() {
        return Err(refuse("the name is empty; leave it out to get one".into()));
    }
    let more = spec.context.iter().filter(|(key, _)| *key != "aws:ebs:id");
    EncryptionContext::from_pairs([("aws:ebs:id", name.as_str())].into_iter().chain(more))
        .map_err(|e| refuse(format!("{e}; use fewer or shorter pairs")))
}

/// Writes the blank volume under a temporary name and publishes it.
fn write_new(path: &Path, spec: &VolumeSpec, options: &CreateOptions) -> DeviceResult<()> {
    let temporary = temporary_beside(path, &*spec.entropy)?;
    let storage = FileStorage::create_new(&temporary)?;
    let mut litter = Litter::new(&temporary)?;
    sealvol_engine::create(&storage, options)?;
    if spec.provisioning == Provisioning::Prewritten {
        let public = sealvol_engine::read_public(&storage)?;
        let len = public.geometry.segment_len().saturating_mul(public.state.segment_limit);
        storage.allocate(DATA_OFFSET, len, true)?;
    }
    match storage.rename_new(path) {
        Ok(_locked) => {
            litter.keep();
            Ok(())
        }
        Err(error) => {
            // It may have got its name before the directory failed to sync.
            litter.also_at(path);
            Err(error)
        }
    }
}

/// A name beside `path` that nothing has.
pub(crate) fn temporary_beside(path: &Path, entropy: &dyn Entropy) -> DeviceResult<PathBuf> {
    let Some(name) = path.file_name() else {
        let context = format!("{}: it names no file; give the path of a new file", path.display());
        return Err(sealvol_core::Error::new(ErrorKind::Invalid, "create file", context));
    };
    let unique = u64::from_be_bytes(random(entropy)?);
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{unique:016x}.new"));
    Ok(path.with_file_name(temporary))
}

/// A file that is removed unless it is kept.
pub(crate) struct Litter {
    paths: Vec<PathBuf>,
    identity: (u64, u64),
}

impl Litter {
    pub(crate) fn new(path: &Path) -> DeviceResult<Self> {
        let identity = identity(path)
            .map_err(|e| sealvol_core::Error::io("create file", path.display().to_string(), e))?;
        Ok(Self { paths: vec![path.to_owned()], identity })
    }

    pub(crate) fn also_at(&mut self, path: &Path) {
        self.paths.push(path.to_owned());
    }

    pub(crate) fn keep(&mut self) {
        self.paths.clear();
    }
}

impl Drop for Litter {
    fn drop(&mut self) {
        for path in &self.paths {
            // Only what we made: the name may be somebody else's by now.
            if identity(path).is_ok_and(|found| found == self.identity)
                && let Err(error) = std::fs::remove_file(path)
            {
                tracing::warn!(path = %path.display(), %error, "a temporary file was left behind");
            }
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let found = path.symlink_metadata()?;
    Ok((found.dev(), found.ino()))
}

/// Whether a damaged superblock copy could be the cause, so that its twin is worth a try.
fn twin_may_help(error: &Error) -> bool {
    match error.kms() {
        Some(kms) => matches!(
            kms.kind(),
            KmsErrorKind::Corrupt
                | KmsErrorKind::Denied
                | KmsErrorKind::Invalid
                | KmsErrorKind::NotFound
        ),
        None => matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Denied),
    }
}

/// One attempt to open a volume.
struct Opening<'a> {
    path: &'a Path,
    metadata: &'a std::fs::Metadata,
    storage: &'a Arc<dyn Storage>,
    options: &'a OpenOptions,
}

impl Opening<'_> {
    async fn open(&self, public: Superblock, keys: &dyn KeyService) -> Result<Volume> {
        let Self { path, options, .. } = *self;
        let mut details = VolumeInfo::new(path, &public, self.metadata)?;
        check_pins(path, &details, options)?;
        let data_keys = unwrap_keys(path, &public, options, keys).await?;
        let (engine, report) = Engine::builder(Arc::clone(self.storage))
            .settings(options.settings.clone())
            .clock(Arc::clone(&options.clock))
            .entropy(Arc::clone(&options.entropy))
            .aead(options.aead)
            .mode(if options.read_only { Mode::ReadOnly } else { Mode::ReadWrite })
            .accept_truncation(options.accept_truncation)
            .expect_volume(public.volume)
            .open(data_keys)
            .map_err(|source| Error::at_volume(OPEN, path, source))?;
        // The engine's word is authenticated.
        details.size = engine.info().len;
        Ok(Volume { engine, details, report })
    }
}

/// Refuses a file that is not the one the caller means.
fn check_pins(path: &Path, details: &VolumeInfo, options: &OpenOptions) -> Result<()> {
    let swapped = |what: &str, found: String, expected: String| {
        Error::new(
            ErrorKind::Corrupt,
            format!(
                "{OPEN} {}: the file was swapped: its {what} is {found}, not {expected}; restore \
                 the right file, or check the path",
                path.display()
            ),
        )
    };
    if let Some(id) = options.expect_id
        && id != details.id
    {
        return Err(swapped("volume id", details.id.to_string(), id.to_string()));
    }
    let Some(key) = details.current_key() else { return Ok(()) };
    if let Some(arn) = &options.expect_key_arn
        && *arn != key.key_arn
    {
        return Err(swapped("KMS key", key.key_arn.clone(), arn.clone()));
    }
    if let Some(context) = &options.expect_context
        && *context != key.context
    {
        return Err(swapped("encryption context", show(&key.context), show(context)));
    }
    Ok(())
}

fn show(context: &EncryptionContext) -> String {
    let pairs: Vec<String> =
        context.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Asks the KMS for each data key.
async fn unwrap_keys(
    path: &Path,
    public: &Superblock,
    options: &OpenOptions,
    keys: &dyn KeyService,
) -> Result<Vec<(u16, DataKey)>> {
    let mut data_keys = Vec::with_capacity(public.keys.len());
    for stored in &public.keys {
        let request = DecryptRequest {
            ciphertext: stored.blob.clone(),
            context: context_of(stored).map_err(|e| malformed_context(path, e))?,
            key_id: Some(stored.key_arn.clone()),
            grant_tokens: options.grant_tokens.clone(),
        };
        let key = keys
            .decrypt(request)
            .await
            .map_err(|source| Error::from_kms(OPEN, path, &stored.key_arn, source))?;
        if key.len() != usize::from(DATA_KEY_LEN) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "{OPEN} {}: the unwrapped data key has {} bytes instead of {DATA_KEY_LEN}; the \
                     wrapped key in the superblock is not this volume's",
                    path.display(),
                    key.len()
                ),
            ));
        }
        data_keys.push((stored.id, key));
    }
    Ok(data_keys)
}
