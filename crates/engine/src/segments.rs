//! The segment table in memory: what each segment holds, which are free, and how a segment gets
//! from free to open to closed to free again.
//!
//! Pages of the table load when first needed, so that opening a volume does not depend on its size.
//! Everything here is bookkeeping: I/O is done by the callers in `core` and `checkpoint`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hashbrown::{HashMap, HashSet};
use sealvol_format::{
    Cursor, Entry, SegmentIndex, Successor, TABLE_PAGE_SEGMENTS, TableEntry, TablePage,
};

/// What is known of a segment beyond what the table stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SegmentInfo {
    pub(crate) stored: TableEntry,
    /// The last group in it, while this process knows; 0 for older segments.
    pub(crate) last_group: u64,
    /// Open for appending, or reserved as a successor.
    pub(crate) held: bool,
    /// Something in it did not authenticate: never a victim again, never freed by accident.
    pub(crate) quarantined: bool,
}

impl SegmentInfo {
    pub(crate) const fn is_used(&self) -> bool {
        self.stored.seq != 0
    }
}

type InfoPage = Box<[SegmentInfo; TABLE_PAGE_SEGMENTS]>;

/// Segments that may be opened, by how ready their space is.
#[derive(Debug, Default)]
pub(crate) struct FreePool {
    /// Backed by host space and written before: appending syncs fast.
    pub(crate) written: VecDeque<u64>,
    /// Backed by host space.
    pub(crate) ready: VecDeque<u64>,
    /// Without host space, or perhaps: must be allocated first. The lowest is taken first, because a
    /// file that may not grow can still fill its holes.
    pub(crate) bare: BTreeSet<u64>,
}

impl FreePool {
    pub(crate) fn len(&self) -> usize {
        self.backed() + self.bare.len()
    }

    /// Segments that can be opened even if the host has no more space to give.
    pub(crate) fn backed(&self) -> usize {
        self.written.len() + self.ready.len()
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct SegmentTable {
    pages: Vec<Option<InfoPage>>,
    dirty: HashSet<usize>,
    /// Entries of the table's own leaf pages, as of the last checkpoint.
    pub(crate) leaf_entries: Vec<Entry>,
    /// Entries of the table's inner pages by (level, index).
    pub(crate) inner_entries: BTreeMap<(u8, u64), Entry>,
    /// Table pages that live in each segment.
    pub(crate) table_live: HashMap<u64, u16>,
    pub(crate) free: FreePool,
    /// Whether loading a page pools its free segments. Off while a log is being replayed: the log
    /// may say that a segment which the table calls free is in use.
    pooling: bool,
    /// Segments that the file has ever used.
    pub(crate) segments: u64,
    /// Most segments it may use.
    pub(crate) limit: u64,
    epoch: u64,
    counter: u32,
}

impl SegmentTable {
    pub(crate) fn new(segments: u64, limit: u64) -> Self {
        let pages = usize::try_from(segments.div_ceil(TABLE_PAGE_SEGMENTS as u64)).unwrap_or(0);
        Self {
            pages: (0..pages).map(|_| None).collect(),
            dirty: HashSet::new(),
            leaf_entries: vec![Entry::INHERIT; pages],
            inner_entries: BTreeMap::new(),
            table_live: HashMap::new(),
            free: FreePool::default(),
            pooling: false,
            segments,
            limit,
            epoch: 0,
            counter: 0,
        }
    }

    /// Sequence numbers never repeat: the epoch is durable before the first is used.
    pub(crate) fn next_seq(&mut self) -> u64 {
        self.counter += 1;
        (self.epoch << 32) | u64::from(self.counter)
    }

    /// Starts the sequence numbers of a writable open.
    pub(crate) fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.counter = 0;
    }

    pub(crate) fn page_of(segment: SegmentIndex) -> usize {
        usize::try_from(segment.0 / TABLE_PAGE_SEGMENTS as u64).unwrap_or(usize::MAX)
    }

    fn slot_of(segment: SegmentIndex) -> usize {
        usize::try_from(segment.0 % TABLE_PAGE_SEGMENTS as u64).unwrap_or(0)
    }

    pub(crate) fn page_count(&self) -> usize {
        self.pages.len()
    }

    pub(crate) fn is_loaded(&self, page: usize) -> bool {
        self.pages.get(page).is_some_and(Option::is_some)
    }

    pub(crate) fn install(&mut self, page: usize, stored: &TablePage) {
        let mut infos = Box::new([SegmentInfo::default(); TABLE_PAGE_SEGMENTS]);
        for (info, stored) in infos.iter_mut().zip(&stored.entries) {
            info.stored = *stored;
        }
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        if self.leaf_entries.len() <= page {
            self.leaf_entries.resize(page + 1, Entry::INHERIT);
        }
        if let Some(place) = self.pages.get_mut(page) {
            *place = Some(infos);
        }
        if self.pooling {
            self.pool_free(page);
        }
    }

    /// A segment's info, if its page is loaded.
    pub(crate) fn get(&self, segment: SegmentIndex) -> Option<&SegmentInfo> {
        self.pages.get(Self::page_of(segment))?.as_ref()?.get(Self::slot_of(segment))
    }

    /// A segment's info to be changed, if its page is loaded. The page becomes dirty.
    pub(crate) fn get_mut(&mut self, segment: SegmentIndex) -> Option<&mut SegmentInfo> {
        let page = Self::page_of(segment);
        let info = self.pages.get_mut(page)?.as_mut()?.get_mut(Self::slot_of(segment))?;
        self.dirty.insert(page);
        Some(info)
    }

    /// A segment's info to be changed in memory only (`held`, `quarantined`, `last_group`).
    pub(crate) fn get_volatile(&mut self, segment: SegmentIndex) -> Option<&mut SegmentInfo> {
        self.pages.get_mut(Self::page_of(segment))?.as_mut()?.get_mut(Self::slot_of(segment))
    }

    /// Segments of all loaded pages.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = (SegmentIndex, &SegmentInfo)> {
        self.pages.iter().enumerate().flat_map(move |(page, infos)| {
            let base = page as u64 * TABLE_PAGE_SEGMENTS as u64;
            infos.iter().flat_map(move |infos| {
                infos.iter().zip(base..).map(|(info, at)| (SegmentIndex(at), info))
            })
        })
    }

    fn is_free(&self, segment: SegmentIndex, info: &SegmentInfo) -> bool {
        !info.held
            && !info.quarantined
            && info.stored.live == 0
            && !self.table_live.contains_key(&segment.0)
    }

    /// The first page that is not loaded: its free segments are not known yet.
    pub(crate) fn unloaded_page(&self) -> Option<usize> {
        self.pages.iter().position(Option::is_none)
    }

    /// Pools the free segments of a page as it was loaded: what a durable checkpoint left at zero
    /// may be reused. Must run before anything changes the page's counts.
    fn pool_free(&mut self, page: usize) {
        let base = page as u64 * TABLE_PAGE_SEGMENTS as u64;
        for segment in (base..base + TABLE_PAGE_SEGMENTS as u64).map(SegmentIndex) {
            if segment.0 >= self.segments {
                break;
            }
            let free = self
                .get(segment)
                .is_some_and(|info| info.last_group == 0 && self.is_free(segment, info));
            if free {
                if let Some(info) = self.get_volatile(segment) {
                    info.stored = TableEntry::default();
                }
                self.free.bare.insert(segment.0);
            }
        }
    }

    /// Ends recovery: pools what is free on the pages loaded so far, and from now on at loading.
    pub(crate) fn start_pooling(&mut self) {
        self.pooling = true;
        for page in 0..self.pages.len() {
            if self.is_loaded(page) {
                self.pool_free(page);
            }
        }
    }

    /// Segments that a durable checkpoint at `checkpoint_seq` made free: closed, settled at zero,
    /// every group of them older than the checkpoint. Their entries are cleared; the caller pools
    /// them once no reader or writer can depend on them.
    pub(crate) fn release(&mut self, checkpoint_seq: u64) -> Vec<u64> {
        let freed: Vec<SegmentIndex> = self
            .loaded()
            .filter(|(segment, info)| {
                info.is_used() && info.last_group <= checkpoint_seq && self.is_free(*segment, info)
            })
            .map(|(segment, _)| segment)
            .collect();
        for segment in &freed {
            if let Some(info) = self.get_mut(*segment) {
                *info = SegmentInfo::default();
            }
        }
        freed.into_iter().map(|segment| segment.0).collect()
    }

    /// How many more segments could be had: free ones, and room to grow.
    pub(crate) fn available(&self) -> u64 {
        self.free.len() as u64 + self.limit.saturating_sub(self.segments)
    }

    /// Adds a never-used segment at the end of the file, if the limit allows.
    pub(crate) fn grow(&mut self) -> Option<u64> {
        if self.segments >= self.limit {
            return None;
        }
        let segment = self.segments;
        let page = Self::page_of(SegmentIndex(segment));
        if page >= self.pages.len() {
            // Before the count grows: the new segment is the caller's, not the pool's.
            self.install(page, &TablePage::empty());
        }
        self.segments += 1;
        Some(segment)
    }

    /// Takes the pages that must be written, with their contents.
    pub(crate) fn take_dirty(&mut self) -> Vec<(usize, TablePage)> {
        let mut dirty: Vec<usize> = self.dirty.drain().collect();
        dirty.sort_unstable();
        dirty
            .into_iter()
            .filter_map(|at| {
                let infos = self.pages.get(at)?.as_ref()?;
                let mut page = TablePage::empty();
                for (stored, info) in page.entries.iter_mut().zip(infos.iter()) {
                    *stored = info.stored;
                }
                Some((at, page))
            })
            .collect()
    }

    /// Pages whose write failed become dirty again.
    pub(crate) fn mark_dirty(&mut self, page: usize) {
        self.dirty.insert(page);
    }

    /// Records that a table page moved from `old` to `new` (segments).
    pub(crate) fn move_table_page(&mut self, old: Option<SegmentIndex>, new: Option<SegmentIndex>) {
        if let Some(new) = new {
            *self.table_live.entry(new.0).or_insert(0) += 1;
        }
        if let Some(old) = old
            && let Some(count) = self.table_live.get_mut(&old.0)
        {
            *count -= 1;
            if *count == 0 {
                self.table_live.remove(&old.0);
            }
        }
    }
}

/// A segment being appended to.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) segment: SegmentIndex,
    pub(crate) key: std::sync::Arc<crate::keyring::SegmentKey>,
    pub(crate) next_slot: u32,
}

/// One kind's place in the log: the open segment, or the reserved one that will open next.
#[derive(Debug)]
pub(crate) struct LogPlace {
    pub(crate) open: Option<OpenSegment>,
    pub(crate) reserved: Successor,
}

impl LogPlace {
    /// Where a replay of this kind would look for the next group.
    pub(crate) fn cursor(&self) -> Cursor {
        match &self.open {
            Some(open) => Cursor { segment: open.segment, seq: open.key.seq, slot: open.next_slot },
            None => Cursor { segment: self.reserved.segment, seq: self.reserved.seq, slot: 1 },
        }
    }
}
