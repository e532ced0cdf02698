//! What the parts of an open volume share: storage, keys, index, table; and the two primitives they
//! are built on: opening one sealed slot, and finding the key of a segment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex, RwLock};
use sealvol_core::{Clock, Entropy, Error, ErrorKind, Result, VolumeId};
use sealvol_format::{
    Entry, EntryState, Geometry, HEADER_SIGNED_LEN, Page, Phys, SLOT_LEN, SegmentHeader,
    SegmentIndex, SlotClass, SlotIdentity, Suite, Superblock, TABLE_LEVELS, TablePage, nonce,
};
use sealvol_storage::Storage;

use crate::cache::PageCache;
use crate::index::Index;
use crate::keyring::{KeyCache, Keyring, SegmentKey};
use crate::log::Log;
use crate::segments::SegmentTable;
use crate::settings::Settings;
use crate::stats::Counters;
use crate::superblocks;

/// Everything an open volume consists of. The engine's other modules add methods to it.
pub(crate) struct Core {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: Settings,
    pub(crate) volume: VolumeId,
    pub(crate) suite: Suite,
    pub(crate) geometry: Geometry,
    pub(crate) logical_blocks: u64,
    pub(crate) read_only: bool,
    pub(crate) keyring: Keyring,
    pub(crate) keys: KeyCache,
    pub(crate) pages: PageCache,
    pub(crate) index: Index,
    pub(crate) table: Mutex<SegmentTable>,
    pub(crate) log: Log,
    /// Serialises checkpoints and garbage collection; holds what only they use.
    pub(crate) maintenance: Mutex<Maintenance>,
    /// Held shared by a read-modify-write from its read to its publication, exclusively while freed
    /// segments enter the pool: so no address it read can be reused meanwhile.
    pub(crate) reuse_gate: RwLock<()>,
    /// Held while a segment that is written ahead is in neither pool.
    pub(crate) prewriting: Mutex<()>,
    /// The superblock as last written.
    pub(crate) superblock: Mutex<Superblock>,
    /// Set once; every later change is refused.
    pub(crate) failed: AtomicBool,
    pub(crate) failure: Mutex<Option<String>>,
    pub(crate) counters: Counters,
    /// Wakes the maintenance thread.
    pub(crate) wake: (Mutex<Wake>, Condvar),
    /// Available segments as last computed, for the writers' fast path.
    pub(crate) available: AtomicU64,
    /// Segments in the file, and most that may be, for the same purpose.
    pub(crate) superblock_segments: AtomicU64,
    pub(crate) superblock_limit: AtomicU64,
    /// Slots that a collection under way may still need.
    pub(crate) claimed_slots: AtomicU64,
    /// Which superblock copy (0 or 1) is to be written first.
    pub(crate) weak_copy: AtomicUsize,
    /// Slots of users that were admitted and are not in the log yet.
    pub(crate) admitted_slots: AtomicU64,
    /// Whether long requests are shared between cores.
    pub(crate) shares: bool,
    /// The snapshot generation in which blocks are born now.
    pub(crate) generation: AtomicU32,
}

/// What the maintenance thread is told.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    pub(crate) requested: bool,
    pub(crate) stop: bool,
}

/// State of the maintenance tasks.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    /// A checkpoint that was frozen and has not been completed.
    pub(crate) pending: Option<crate::checkpoint::Pending>,
    /// Position of the last completed checkpoint: groups up to it are settled in the table.
    pub(crate) settled_seq: u64,
    /// Log bytes at the last checkpoint.
    pub(crate) checkpoint_log_bytes: u64,
    /// Whether discarded subtrees still await the reaper.
    pub(crate) reap_waiting: bool,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("volume", &self.volume).finish_non_exhaustive()
    }
}

/// What a slot is opened as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    pub(crate) class: SlotClass,
    pub(crate) level: u8,
    pub(crate) index: u64,
}

impl Content {
    pub(crate) const fn block(lba: u64) -> Self {
        Self { class: SlotClass::Block, level: 0, index: lba }
    }

    pub(crate) const fn map(level: u8, index: u64) -> Self {
        Self { class: SlotClass::Map, level, index }
    }

    pub(crate) const fn table(level: u8, index: u64) -> Self {
        Self { class: SlotClass::Table, level, index }
    }

    pub(crate) const COMMIT: Self = Self { class: SlotClass::Commit, level: 0, index: 0 };
}

impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.class {
            SlotClass::Block => write!(f, "LBA {}", self.index),
            SlotClass::Map => write!(f, "map page {} of level {}", self.index, self.level),
            SlotClass::Table => write!(f, "table page {} of level {}", self.index, self.level),
            _ => f.write_str("commit slot"),
        }
    }
}

impl Core {
    /// The associated data of a slot.
    pub(crate) fn identity(&self, segment_seq: u64, slot: u32, content: Content) -> SlotIdentity {
        SlotIdentity {
            suite: self.suite,
            volume: self.volume,
            segment_seq,
            slot,
            class: content.class,
            level: content.level,
            index: content.index,
        }
    }

    pub(crate) fn locate(&self, phys: Phys, content: Content) -> Result<(SegmentIndex, u32)> {
        self.geometry.locate(phys).ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                "locate slot",
                format!("{content} points to the impossible address {}", phys.0),
            )
        })
    }

    /// Opens ciphertext in place.
    pub(crate) fn open_slot(
        &self,
        key: &SegmentKey,
        slot: u32,
        content: Content,
        entry: &Entry,
        in_out: &mut [u8],
    ) -> Result<()> {
        let aad = self.identity(key.seq, slot, content).aad();
        key.aead.open_in_place(&nonce(slot, entry.nonce()), &aad, entry.tag(), in_out).map_err(
            |e| {
                Error::new(
                    ErrorKind::Corrupt,
                    "open block",
                    format!(
                        "{content} at file offset {} does not authenticate; run `sealvol volume \
                     verify`, and restore it from a snapshot or backup",
                        entry.phys().offset()
                    ),
                )
                .with_source(e)
            },
        )
    }

    /// Reads and opens one sealed slot. `Ok(false)`: `hot` was asked for and it is not in memory.
    pub(crate) fn read_slot(
        &self,
        entry: &Entry,
        content: Content,
        out: &mut [u8],
        hot: bool,
    ) -> Result<bool> {
        let (segment, slot) = self.locate(entry.phys(), content)?;
        let Some(key) = self.segment_key(segment, hot)? else { return Ok(false) };
        if hot {
            if !self.storage.read_at_nowait(entry.phys().offset(), out)? {
                return Ok(false);
            }
        } else {
            self.storage.read_at(entry.phys().offset(), out)?;
        }
        self.open_slot(&key, slot, content, entry, out)?;
        Ok(true)
    }

    /// The key of a segment, by the table. `None`: `hot` was asked for and a table page is not in
    /// memory.
    pub(crate) fn segment_key(
        &self,
        segment: SegmentIndex,
        hot: bool,
    ) -> Result<Option<Arc<SegmentKey>>> {
        if let Some(key) = self.keys.get(segment) {
            return Ok(Some(key));
        }
        let mut table = self.table.lock();
        if hot && table.get(segment).is_none() {
            return Ok(None);
        }
        if let Err(error) = self.load_table_page(&mut table, SegmentTable::page_of(segment)) {
            // The header holds the salt too. Only readers go on from here: whoever changes the
            // table meets the same error.
            if !self.read_only || error.kind() != ErrorKind::Corrupt {
                return Err(error);
            }
            let key = Arc::new(self.bootstrap_key(segment)?);
            self.keys.insert(segment, Arc::clone(&key));
            return Ok(Some(key));
        }
        let Some(info) = table.get(segment).filter(|info| info.is_used()) else {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "find segment key",
                format!("segment {} is in use by the map but free in the table", segment.0),
            ));
        };
        let stored = info.stored;
        let key = Arc::new(self.keyring.segment_key(stored.seq, stored.key_id, &stored.salt)?);
        // Inserted under the table's lock: a reuse of the segment comes before or after, not between.
        self.keys.insert(segment, Arc::clone(&key));
        Ok(Some(key))
    }

    /// Reads and authenticates a segment's header.
    pub(crate) fn read_header(&self, segment: SegmentIndex) -> Result<SegmentHeader> {
        let mut slot = [0; SLOT_LEN];
        self.storage.read_at(self.geometry.segment_offset(segment), &mut slot)?;
        self.check_header(segment, &slot)
    }

    /// Authenticates a header that claims to be of `segment`.
    pub(crate) fn check_header(
        &self,
        segment: SegmentIndex,
        slot: &[u8; SLOT_LEN],
    ) -> Result<SegmentHeader> {
        let damaged = |why: String| {
            Error::new(
                ErrorKind::Corrupt,
                "read segment header",
                format!(
                    "segment {} at file offset {}: {why}",
                    segment.0,
                    self.geometry.segment_offset(segment)
                ),
            )
        };
        let (header, mac) = SegmentHeader::decode(slot).map_err(|e| damaged(e.to_string()))?;
        let signed = slot.get(..HEADER_SIGNED_LEN).unwrap_or_default();
        if !self.keyring.header_mac().verify(&[&self.volume.0, signed], &mac) {
            return Err(damaged("the header does not authenticate".into()));
        }
        if header.segment != segment {
            return Err(damaged(format!("the header is of segment {}", header.segment.0)));
        }
        Ok(header)
    }

    /// The key of a segment that holds table pages: from its header, since the table itself is what
    /// is being read.
    pub(crate) fn bootstrap_key(&self, segment: SegmentIndex) -> Result<SegmentKey> {
        let header = self.read_header(segment)?;
        self.keyring.segment_key(header.seq, header.key_id, &header.salt)
    }

    /// Reads a page of the table's tree.
    pub(crate) fn read_table_slot(
        &self,
        entry: &Entry,
        level: u8,
        index: u64,
    ) -> Result<[u8; SLOT_LEN]> {
        let content = Content::table(level, index);
        let (segment, slot) = self.locate(entry.phys(), content)?;
        let key = self.bootstrap_key(segment)?;
        let mut out = [0; SLOT_LEN];
        self.storage.read_at(entry.phys().offset(), &mut out)?;
        self.open_slot(&key, slot, content, entry, &mut out)?;
        Ok(out)
    }

    /// Loads a page of the segment table, if it is not in memory yet.
    pub(crate) fn load_table_page(&self, table: &mut SegmentTable, page: usize) -> Result<()> {
        if page >= table.page_count() || table.is_loaded(page) {
            return Ok(());
        }
        let entry = table.leaf_entries.get(page).copied().unwrap_or(Entry::INHERIT);
        let stored = match entry.state() {
            EntryState::Data => TablePage::decode(&self.read_table_slot(&entry, 0, page as u64)?),
            EntryState::Inherit | EntryState::Zero => TablePage::empty(),
        };
        table.install(page, &stored);
        Ok(())
    }

    /// Walks the table's inner pages from its root, filling in where its leaf pages are.
    pub(crate) fn load_table_tree(&self, table: &mut SegmentTable, root: Entry) -> Result<()> {
        let mut waiting = vec![(TABLE_LEVELS - 1, 0_u64, root)];
        while let Some((level, index, entry)) = waiting.pop() {
            if entry.state() != EntryState::Data {
                continue;
            }
            let (segment, _) = self.locate(entry.phys(), Content::table(level, index))?;
            table.move_table_page(None, Some(segment));
            if level == 0 {
                let page = usize::try_from(index).unwrap_or(usize::MAX);
                match table.leaf_entries.get_mut(page) {
                    Some(place) => *place = entry,
                    None => {
                        return Err(Error::new(
                            ErrorKind::Corrupt,
                            "load segment table",
                            format!("table page {index} lies past the volume's segments"),
                        ));
                    }
                }
                continue;
            }
            table.inner_entries.insert((level, index), entry);
            let page = Page::from_bytes(self.read_table_slot(&entry, level, index)?);
            for (slot, child) in (0_u64..).zip(page.entries()) {
                waiting.push((level - 1, (index << 7) | slot, child));
            }
        }
        Ok(())
    }

    /// Reads a map page through the inner-page cache.
    pub(crate) fn read_map_page(
        &self,
        entry: &Entry,
        level: u8,
        index: u64,
        hot: bool,
    ) -> Result<Option<Arc<Page>>> {
        if level > 0
            && let Some(page) = self.pages.get(entry)
        {
            return Ok(Some(page));
        }
        let mut page = Page::empty();
        if !self.read_slot(entry, Content::map(level, index), page.as_bytes_mut(), hot)? {
            return Ok(None);
        }
        let page = Arc::new(page);
        if level > 0 {
            self.pages.insert(entry, Arc::clone(&page));
        }
        Ok(Some(page))
    }

    /// Makes the volume fail-stop.
    pub(crate) fn poison(&self, error: &Error) {
        let mut failure = self.failure.lock();
        if failure.is_none() {
            tracing::error!(volume = %self.volume, error = ?error, "volume failed; it accepts no more changes");
            *failure = Some(format!("{error:?}"));
        }
        self.failed.store(true, Ordering::Release);
    }

    /// Refuses if an earlier error made the volume fail-stop.
    pub(crate) fn check_alive(&self, op: &'static str) -> Result<()> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let why = self.failure.lock().clone().unwrap_or_default();
        Err(Error::new(
            ErrorKind::Poisoned,
            op,
            format!(
                "the volume stopped accepting changes after an error ({why}); close it and open \
                 it again: what was flushed is safe"
            ),
        ))
    }

    pub(crate) fn check_writable(&self, op: &'static str) -> Result<()> {
        if self.read_only {
            return Err(Error::new(ErrorKind::Denied, op, "the volume is open read-only"));
        }
        self.check_alive(op)
    }

    /// Fresh random bytes.
    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N]> {
        let mut out = [0; N];
        self.entropy.fill(&mut out)?;
        Ok(out)
    }

    /// Writes both superblock copies, each made durable before the next step. `change` edits the
    /// state; the generation rises by one.
    pub(crate) fn write_superblocks(&self, change: impl FnOnce(&mut Superblock)) -> Result<()> {
        let mut current = self.superblock.lock();
        let mut next = current.clone();
        change(&mut next);
        next.state.generation += 1;
        let bytes = superblocks::seal(&next, Some(self.keyring.super_mac()))?;
        self.check_fence(&current)?;
        // The copy that may be damaged or older first: at every moment one good copy stands.
        let first = self.weak_copy.load(Ordering::Acquire);
        for copy in [first, 1 - first] {
            superblocks::write_copy(&*self.storage, copy, &bytes)?;
            self.sync_storage()?;
            self.weak_copy.store(1 - copy, Ordering::Release);
        }
        *current = next;
        self.counters.superblocks.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Another writable opener raised the epoch: this one must not write again.
    fn check_fence(&self, current: &Superblock) -> Result<()> {
        for copy in superblocks::read_copies(&*self.storage)? {
            if let superblocks::Copy::Parsed { block, raw } = copy
                && superblocks::is_authentic(self.keyring.super_mac(), &raw)
                && block.state.open_epoch > current.state.open_epoch
            {
                return Err(Error::new(
                    ErrorKind::Fenced,
                    "write superblock",
                    "another process has opened this volume for writing; this one stops",
                ));
            }
        }
        Ok(())
    }

    /// Wakes the maintenance thread, if there is one.
    pub(crate) fn wake_maintenance(&self) {
        let (state, condvar) = &self.wake;
        let mut state = state.lock();
        if !state.requested {
            state.requested = true;
            condvar.notify_one();
        }
    }
}
