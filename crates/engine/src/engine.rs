//! Creating, opening and closing volumes.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, RwLock};
use sealvol_core::{BlockCount, Clock, Entropy, Error, ErrorKind, Result, VolumeId};
use sealvol_core::{SystemClock, SystemEntropy};
use sealvol_envelope::DataKey;
use sealvol_envelope::aead::AeadBackend;
use sealvol_format::{
    DATA_OFFSET, Geometry, MAX_LOGICAL_BLOCKS, SLOT_LEN, StoredKey, Suite, Superblock,
    SuperblockState, VolumeState,
};
use sealvol_storage::Storage;

use crate::cache::PageCache;
use crate::checkpoint::Goal;
use crate::core::{Core, Maintenance, Wake};
use crate::index::Index;
use crate::keyring::{ExpandKey, KeyCache, Keyring, expand_with};
use crate::log::Log;
use crate::maintain::{self, Schedule};
use crate::segments::SegmentTable;
use crate::settings::Settings;
use crate::space::segment_limit;
use crate::stats::{Counters, Stats};
use crate::superblocks::{self, Copy};

/// What a new volume is.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Its identity, random.
    pub volume: VolumeId,
    /// Its size.
    pub blocks: BlockCount,
    /// Its wrapped data key.
    pub key: StoredKey,
    /// Segment size.
    pub geometry: Geometry,
    /// How far the file may grow, in percent of the logical size: room for garbage collection.
    /// From 110 to 1000; 130 is a good default.
    pub space_percent: u32,
}

/// How a volume is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Reads and writes.
    #[default]
    ReadWrite,
    /// Reads only; the file is not changed, not even to recover from a crash.
    ReadOnly,
}

/// What opening a volume found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// The last close was in order.
    pub clean: bool,
    /// Groups replayed after a crash.
    pub replayed_groups: u64,
    /// Groups found but dropped, because they were never flushed and are incomplete.
    pub dropped_groups: u64,
    /// A superblock copy was damaged or older, and has been (or, read-only, would be) rewritten.
    pub superblock_repaired: Option<String>,
    /// The log is damaged: where, and what is missing. Only set in a read-only open.
    pub corruption: Option<String>,
    /// The kernel is still the one that the volume was last open under: a client of then may go on.
    pub same_boot: bool,
    /// Data keys are in memory that can be swapped out, because the lock limit is used up.
    pub keys_unlocked: bool,
}

/// Creates a volume in empty storage: the public superblock, twice, durable.
///
/// # Errors
/// [`ErrorKind::Invalid`] for an impossible size or ratio or an oversize key;
/// [`ErrorKind::Conflict`] if the storage is not empty.
pub fn create(storage: &dyn Storage, options: &CreateOptions) -> Result<()> {
    const OP: &str = "create volume";
    let blocks = options.blocks.0;
    if blocks == 0 || blocks > MAX_LOGICAL_BLOCKS {
        return Err(Error::new(
            ErrorKind::Invalid,
            OP,
            format!("a volume has from 1 to {MAX_LOGICAL_BLOCKS} blocks of 4 KiB, not {blocks}"),
        ));
    }
    if !(110..=1000).contains(&options.space_percent) {
        return Err(Error::new(
            ErrorKind::Invalid,
            OP,
            format!(
                "the space ratio must be from 110 to 1000 percent, not {}",
                options.space_percent
            ),
        ));
    }
    if storage.len()? != 0 {
        return Err(Error::new(ErrorKind::Conflict, OP, "the file is not empty"));
    }
    let limit = segment_limit(blocks, options.geometry.slots_per_segment(), options.space_percent);
    if limit > options.geometry.max_segments() {
        return Err(Error::new(
            ErrorKind::Invalid,
            OP,
            format!(
                "{blocks} blocks at {} percent take {limit} segments, and a file has at most {}; use \
                 larger segments or a lower space ratio",
                options.space_percent,
                options.geometry.max_segments()
            ),
        ));
    }
    let block = Superblock {
        suite: Suite::Aes256Gcm,
        volume_state: VolumeState::Blank,
        volume: options.volume,
        logical_blocks: blocks,
        geometry: options.geometry,
        keys: vec![options.key.clone()],
        state: SuperblockState { segment_limit: limit, ..SuperblockState::default() },
    };
    let bytes = superblocks::seal(&block, None)?;
    for copy in 0..2 {
        superblocks::write_copy(storage, copy, &bytes)?;
    }
    // The file ends where the first segment will begin.
    storage.write_at(DATA_OFFSET - SLOT_LEN as u64, &[IoSlice::new(&[0; SLOT_LEN])])?;
    storage.sync()
}

/// Opens volumes.
pub struct Builder {
    storage: Arc<dyn Storage>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    expand: ExpandKey,
    mode: Mode,
    accept_truncation: bool,
    background: bool,
    expected: Option<VolumeId>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Builder {
    /// Tunables.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of randomness than the system's: only for tests.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Which AES-GCM implementation seals; by default the fastest on this processor.
    #[must_use]
    pub fn aead(mut self, backend: AeadBackend) -> Self {
        self.expand = expand_with(backend);
        self
    }

    /// A custom AEAD key factory: for tests that audit nonces.
    #[must_use]
    pub fn aead_with(mut self, expand: ExpandKey) -> Self {
        self.expand = expand;
        self
    }

    /// Read-only or writable.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Open a volume whose log is damaged, losing openly what followed the damage.
    #[must_use]
    pub fn accept_truncation(mut self, accept: bool) -> Self {
        self.accept_truncation = accept;
        self
    }

    /// Whether a maintenance thread runs. Without one, [`Engine::maintain`] must be called.
    #[must_use]
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// The volume that the caller means: another one is refused.
    #[must_use]
    pub fn expect_volume(mut self, volume: VolumeId) -> Self {
        self.expected = Some(volume);
        self
    }

    /// Opens the volume with its data keys (id and key).
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] when a key is not the volume's; [`ErrorKind::Corrupt`] when the file
    /// is damaged (nothing is changed then; open read-only to save what is there);
    /// [`ErrorKind::Unsupported`] for a newer format; [`ErrorKind::NoSpace`], [`ErrorKind::Io`].
    pub fn open(self, keys: Vec<(u16, DataKey)>) -> Result<(Engine, OpenReport)> {
        const OP: &str = "open volume";
        let mut report = OpenReport::default();
        let Unlocked { keyring, superblock, weak_copy } = self.unlock(&keys, &mut report)?;
        drop(keys);
        report.keys_unlocked = !keyring.is_locked();
        report.clean = superblock.state.clean || superblock.volume_state == VolumeState::Blank;
        let boot_id = sealvol_storage::boot_id().unwrap_or([0; 16]);
        report.same_boot = superblock.state.boot_id == boot_id && boot_id != [0; 16];

        let read_only = self.mode == Mode::ReadOnly;
        let state = superblock.state.clone();
        let pages = usize::try_from(self.settings.map_cache.0 / 4400).unwrap_or(0);
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let mut table = SegmentTable::new(state.segments, state.segment_limit);
        table.segments = state.segments;
        let core = Arc::new(Core {
            volume: superblock.volume,
            suite: superblock.suite,
            geometry: superblock.geometry,
            logical_blocks: superblock.logical_blocks,
            read_only,
            keyring,
            keys: KeyCache::new(),
            pages: PageCache::new(pages / 4),
            index: Index::new(state.root, pages - pages / 4),
            table: Mutex::new(table),
            log: Log::new(),
            maintenance: Mutex::new(Maintenance::default()),
            reuse_gate: RwLock::new(()),
            prewriting: Mutex::new(()),
            superblock: Mutex::new(superblock),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            counters: Counters::default(),
            wake: (Mutex::new(Wake::default()), Condvar::new()),
            available: AtomicU64::new(0),
            superblock_segments: AtomicU64::new(state.segments),
            superblock_limit: AtomicU64::new(state.segment_limit),
            claimed_slots: AtomicU64::new(0),
            weak_copy: AtomicUsize::new(weak_copy),
            admitted_slots: AtomicU64::new(0),
            shares: cores >= u64::from(self.settings.share_from_cores),
            generation: AtomicU32::new(state.snapshot_generation),
            storage: self.storage,
            clock: self.clock,
            entropy: self.entropy,
            settings: self.settings,
        });
        {
            let mut table = core.table.lock();
            match core.load_table_tree(&mut table, state.table) {
                Err(error) if read_only && error.kind() == ErrorKind::Corrupt => {
                    // What can be read without the table is still worth saving.
                    report.corruption = Some(format!("{error}"));
                }
                outcome => outcome?,
            }
        }
        let mut replay = core.replay()?;
        if let Some(damage) = replay.corruption.clone() {
            if self.accept_truncation {
                core.accept_truncation(&mut replay)?;
            } else if read_only {
                report.corruption.get_or_insert(damage);
            } else {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    OP,
                    format!(
                        "{damage}; nothing was changed: open it read-only to save what is there, \
                         or accept the truncation explicitly"
                    ),
                ));
            }
        }
        report.replayed_groups = replay.groups.len() as u64;
        report.dropped_groups = replay.dropped;
        core.apply_replay(&replay)?;
        if !read_only {
            core.start_log(&replay, boot_id)?;
        }
        let worker =
            if self.background && !read_only { Some(maintain::spawn(&core)?) } else { None };
        let engine = Engine { core, worker, schedule: Mutex::new(Schedule::default()) };
        Ok((engine, report))
    }
}

/// What the data keys open a volume by.
struct Unlocked {
    keyring: Keyring,
    superblock: Superblock,
    weak_copy: usize,
}

impl Builder {
    /// Finds the superblock that the given keys belong to.
    fn unlock(&self, keys: &[(u16, DataKey)], report: &mut OpenReport) -> Result<Unlocked> {
        let mut first_error = None;
        for public in superblocks::read_candidates(&*self.storage)? {
            let unlocked = self.keyring(&public, keys).and_then(|keyring| {
                let mut notes = OpenReport::default();
                let (superblock, weak_copy) =
                    choose(&*self.storage, &keyring, &public, &mut notes)?;
                report.superblock_repaired = notes.superblock_repaired;
                Ok(Unlocked { keyring, superblock, weak_copy })
            });
            match unlocked {
                Ok(unlocked) => return Ok(unlocked),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        Err(first_error
            .unwrap_or_else(|| Error::new(ErrorKind::Internal, "open volume", "no superblock")))
    }

    /// The keys that a superblock names, in its order: the last of them seals new segments.
    fn keyring(&self, public: &Superblock, given: &[(u16, DataKey)]) -> Result<Keyring> {
        const OP: &str = "open volume";
        if let Some(expected) = self.expected
            && expected != public.volume
        {
            return Err(Error::new(
                ErrorKind::Corrupt,
                OP,
                format!("the file holds volume {}, not {expected}: it was swapped", public.volume),
            ));
        }
        let mut keys = Vec::with_capacity(public.keys.len());
        for stored in &public.keys {
            let Some((id, key)) = given.iter().find(|(id, _)| *id == stored.id) else {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    OP,
                    format!("data key {} of the volume was not given", stored.id),
                ));
            };
            keys.push((*id, key));
        }
        let keyring = Keyring::new(public.volume, &keys, Arc::clone(&self.expand))?;
        for stored in &public.keys {
            let known = public.volume_state == VolumeState::Keyed && stored.commitment != [0; 32];
            if known && keyring.commitment(stored.id) != Some(stored.commitment) {
                return Err(Error::new(
                    ErrorKind::Denied,
                    OP,
                    "the data key is not the one that this volume is sealed with",
                ));
            }
        }
        Ok(keyring)
    }
}

/// Chooses the superblock to go on from: the authentic copy of the higher generation, or a blank one
/// beside no segment.
fn choose(
    storage: &dyn Storage,
    keyring: &Keyring,
    public: &Superblock,
    report: &mut OpenReport,
) -> Result<(Superblock, usize)> {
    const OP: &str = "open volume";
    let mut best_at = 0;
    let copies = superblocks::read_copies(storage)?;
    let mut best: Option<Superblock> = None;
    let mut blank: Option<Superblock> = None;
    let mut notes = Vec::new();
    for (at, (name, copy)) in ["A", "B"].into_iter().zip(copies).enumerate() {
        match copy {
            Copy::Bad(error) => notes.push(format!("copy {name}: {error}")),
            Copy::Parsed { block, .. } if block.volume != public.volume => {
                notes.push(format!("copy {name} is of another volume"));
            }
            Copy::Parsed { block, .. } if block.volume_state == VolumeState::Blank => {
                if *block == *public {
                    blank = Some(*block);
                } else {
                    notes.push(format!(
                        "copy {name} is blank, as of a volume that was never opened"
                    ));
                }
            }
            Copy::Parsed { block, raw } => {
                if !superblocks::is_authentic(keyring.super_mac(), &raw) {
                    notes.push(format!("copy {name} does not authenticate"));
                } else if let Some(other) = &best {
                    let generations = (other.state.generation, block.state.generation);
                    if generations.0 != generations.1 {
                        notes.push(format!("the copies are of generations {generations:?}"));
                    }
                    if generations.1 > generations.0 {
                        best = Some(*block);
                        best_at = at;
                    }
                } else {
                    best = Some(*block);
                    best_at = at;
                }
            }
        }
    }
    if !notes.is_empty() {
        let note = notes.join("; ");
        tracing::warn!(volume = %public.volume, note, "superblock repaired from its twin");
        report.superblock_repaired = Some(note);
    }
    if let Some(block) = best {
        return Ok((block, 1 - best_at));
    }
    let Some(block) = blank else {
        return Err(Error::new(
            ErrorKind::Corrupt,
            OP,
            format!(
                "neither superblock authenticates ({}); restore the file from a copy",
                report.superblock_repaired.clone().unwrap_or_default()
            ),
        ));
    };
    refuse_blanked(storage, &block)?;
    Ok((block, 0))
}

/// A blank superblock beside a segment is not a new volume: its superblock was replaced.
fn refuse_blanked(storage: &dyn Storage, block: &Superblock) -> Result<()> {
    let len = storage.len()?;
    let segment_len = block.geometry.segment_len();
    let segments = len.saturating_sub(DATA_OFFSET) / segment_len;
    for segment in 0..segments.min(1024) {
        let mut slot = [0; SLOT_LEN];
        storage.read_at(DATA_OFFSET + segment * segment_len, &mut slot)?;
        if sealvol_format::SegmentHeader::decode(&slot).is_ok() {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "open volume",
                "the superblock says that the volume was never opened, but it holds data: the \
                 superblock was blanked; restore the file from a copy",
            ));
        }
    }
    Ok(())
}

/// An open volume.
///
/// # Durability
/// See [`sealvol_core::BlockDevice`]. Dropping an engine without [`close`](Self::close) is a crash:
/// nothing acknowledged is lost, and the next open replays the log.
#[derive(Debug)]
pub struct Engine {
    pub(crate) core: Arc<Core>,
    worker: Option<JoinHandle<()>>,
    schedule: Mutex<Schedule>,
}

impl Engine {
    /// Starts to open the volume in `storage`.
    #[must_use]
    pub fn builder(storage: Arc<dyn Storage>) -> Builder {
        Builder {
            storage,
            settings: Settings::default(),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
            expand: expand_with(AeadBackend::fastest()),
            mode: Mode::default(),
            accept_truncation: false,
            background: true,
            expected: None,
        }
    }

    /// The volume's identity.
    #[must_use]
    pub fn volume(&self) -> VolumeId {
        self.core.volume
    }

    /// Counters since the open.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.core.counters.snapshot();
        let table = self.core.table.lock();
        stats.segments = table.segments;
        stats.free_segments = table.available();
        stats.segment_limit = table.limit;
        stats.map_cache_misses = self.core.index.cache_misses();
        stats
    }

    /// Does the background work that is due: for volumes opened without a maintenance thread.
    ///
    /// # Errors
    /// As any change of the volume.
    pub fn maintain(&self) -> Result<()> {
        self.core.maintain(&mut self.schedule.lock()).map(drop)
    }

    /// Runs a checkpoint now.
    ///
    /// # Errors
    /// As any change of the volume.
    pub fn checkpoint(&self) -> Result<()> {
        self.core.check_writable("checkpoint")?;
        let mut maintenance = self.core.maintenance.lock();
        self.core.checkpoint(&mut maintenance, &[], Goal::Continue).map(drop)
    }

    /// Runs one round of garbage collection now. Tells whether it got anywhere.
    ///
    /// # Errors
    /// As any change of the volume.
    pub fn collect(&self) -> Result<bool> {
        self.core.check_writable("collect")?;
        let mut maintenance = self.core.maintenance.lock();
        self.core.reclaim(&mut maintenance)
    }

    /// Closes the volume in order: everything durable, nothing to replay at the next open. The
    /// caller has stopped issuing requests.
    ///
    /// # Errors
    /// As a flush. The volume is closed all the same, as after a crash.
    pub fn close(mut self) -> Result<()> {
        self.stop_worker();
        if self.core.read_only {
            return Ok(());
        }
        self.core.check_alive("close volume")?;
        let mut maintenance = self.core.maintenance.lock();
        while maintenance.pending.is_some() {
            self.core.checkpoint(&mut maintenance, &[], Goal::Continue)?;
        }
        self.core.checkpoint(&mut maintenance, &[], Goal::Close)?;
        Ok(())
    }

    fn stop_worker(&mut self) {
        {
            let (state, condvar) = &self.core.wake;
            state.lock().stop = true;
            condvar.notify_all();
        }
        if let Some(worker) = self.worker.take()
            && worker.join().is_err()
        {
            tracing::error!(volume = %self.core.volume, "the maintenance thread had panicked");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop_worker();
        self.core.failed.store(true, Ordering::Release);
    }
}
