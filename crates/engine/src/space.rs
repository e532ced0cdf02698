//! Space: which segments may be opened, who may take them, and what is kept back.
//!
//! Users may take segments only above a reserve that covers the checkpoint of the present delta, the
//! table, one garbage-collection batch and the next roll of each kind. So reclaiming space never
//! needs space that users have taken, and a full volume refuses writes before it loses anything.

use std::io::IoSlice;
use std::sync::atomic::Ordering;

use sealvol_core::{Error, ErrorKind, Result};
use sealvol_format::{FANOUT, SLOT_LEN, SegmentIndex, Successor, TABLE_PAGE_SEGMENTS};

use crate::append::ATOMIC_BLOCKS;
use crate::checkpoint::Goal;
use crate::core::Core;
use crate::replay::is_blank_header;
use crate::segments::SegmentTable;

/// Segments for the next roll of each kind, and one to spare.
pub(crate) const ROLL_RESERVE: u64 = 4;
/// Segments that garbage collection may fill before a checkpoint frees its victims.
pub(crate) const GC_RESERVE: u64 = 4;
/// Rounds of reclaiming that one write waits for before it reports that there is no space.
const RECLAIM_ROUNDS: u32 = 64;

/// Extra segments of a volume of `data_segments`: room for the reserve of its largest checkpoint.
pub(crate) fn fixed_overhead(leaf_pages: u64, slots_per_segment: u64) -> u64 {
    let pages = leaf_pages.min(4096) + 64;
    2 * (ROLL_RESERVE + GC_RESERVE + pages.div_ceil(slots_per_segment - 2)) + 4
}

/// Most segments of a volume: `percent` of its logical size, and the fixed overhead.
pub(crate) fn segment_limit(logical_blocks: u64, slots_per_segment: u32, percent: u32) -> u64 {
    let slots = u64::from(slots_per_segment);
    // Commit slots and the header come out of each segment.
    let payload = (slots - 1) - (slots - 1).div_ceil(126);
    let data = logical_blocks.div_ceil(payload);
    let leaves = logical_blocks.div_ceil(FANOUT as u64);
    let scaled = (u128::from(data) * u128::from(percent)).div_ceil(100);
    u64::try_from(scaled).unwrap_or(u64::MAX).saturating_add(fixed_overhead(leaves, slots))
}

/// Space set aside for one write until it is in the log.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    core: &'a Core,
    slots: u64,
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.core.admitted_slots.fetch_sub(self.slots, Ordering::SeqCst);
    }
}

/// Where a segment may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pools {
    /// Any: one without host space behind it is given some.
    All,
    /// Only those that have it.
    Backed,
}

impl Core {
    /// Segments that users may not take.
    pub(crate) fn reserve(&self) -> u64 {
        let slots = u64::from(self.geometry.slots_per_segment());
        let leaves = self.logical_blocks.div_ceil(FANOUT as u64);
        let dirty = (self.index.dirty_leaves() as u64 + GC_RESERVE * (slots - 2)).min(leaves);
        // Inner pages above the dirty leaves, and the table.
        let segments = self.superblock_segments.load(Ordering::Relaxed);
        let pages = dirty + dirty / 16 + 16 + segments / TABLE_PAGE_SEGMENTS as u64;
        (pages + self.claimed_slots.load(Ordering::SeqCst)).div_ceil(slots - 2)
            + ROLL_RESERVE
            + GC_RESERVE
    }

    /// Segments that could be had, by the books; an underestimate while table pages are unloaded.
    pub(crate) fn update_available(&self, table: &SegmentTable) {
        self.available.store(table.available(), Ordering::SeqCst);
        self.superblock_segments.store(table.segments, Ordering::Relaxed);
    }

    /// Blocks that one admission covers: a longer request is admitted and appended part by part.
    pub(crate) fn admission_blocks(&self) -> u64 {
        u64::from(self.geometry.slots_per_segment() - 2).min(256)
    }

    /// Slots that users can count on in each segment: a piece that does not fit what is left of one
    /// goes into the next, and what was left stays empty. Two neighbours hold more than one piece of
    /// any length leaves over, so at least half is used.
    fn certain_slots(&self) -> u64 {
        let slots = u64::from(self.geometry.slots_per_segment()) - 1;
        (slots - u64::from(ATOMIC_BLOCKS).min(slots)).max(slots / 2)
    }

    /// Segments that must be available for another `slots` of users to be admitted.
    fn wanted(&self, slots: u64) -> u64 {
        let admitted = self.admitted_slots.load(Ordering::SeqCst) + slots;
        self.reserve() + admitted.div_ceil(self.certain_slots())
    }

    /// Segments that the users who are on their way may still take.
    pub(crate) fn admitted_segments(&self) -> u64 {
        self.admitted_slots.load(Ordering::SeqCst).div_ceil(self.certain_slots())
    }

    /// Admits `slots` if there is space for them now.
    ///
    /// A collection that starts at the same moment claims space, then looks at what is admitted;
    /// this admits, then looks at what is claimed. So at least one of the two sees the other.
    fn try_admit(&self, slots: u64) -> Option<Admission<'_>> {
        let enough = |wanted: u64| self.available.load(Ordering::SeqCst) >= wanted;
        let mut before = self.admitted_slots.load(Ordering::SeqCst);
        loop {
            let segments = (before + slots).div_ceil(self.certain_slots());
            if !enough(self.reserve() + segments) {
                return None;
            }
            let exchanged = self.admitted_slots.compare_exchange(
                before,
                before + slots,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            match exchanged {
                Ok(_) => break,
                Err(now) => before = now,
            }
        }
        let admission = Admission { core: self, slots };
        enough(self.wanted(0)).then_some(admission)
    }

    /// Waits until a user write of `slots` (payload and commit slots) may take the space it needs,
    /// reclaiming if necessary. The space is the caller's until it drops the admission.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`] when reclaiming frees nothing more.
    pub(crate) fn admit(&self, slots: u64) -> Result<Admission<'_>> {
        self.bound_delta()?;
        if self.available.load(Ordering::Acquire) < self.wanted(slots) + self.gc_low_margin() {
            self.wake_maintenance();
        }
        if let Some(admission) = self.try_admit(slots) {
            return Ok(admission);
        }
        self.counters.space_waits.fetch_add(1, Ordering::Relaxed);
        for _ in 0..RECLAIM_ROUNDS {
            let mut maintenance = self.maintenance.lock();
            self.load_free_segments(self.wanted(slots))?;
            if let Some(admission) = self.try_admit(slots) {
                return Ok(admission);
            }
            self.check_alive("write")?;
            let progress = self.reclaim(&mut maintenance)?;
            drop(maintenance);
            if let Some(admission) = self.try_admit(slots) {
                return Ok(admission);
            }
            if !progress {
                break;
            }
        }
        Err(Error::new(
            ErrorKind::NoSpace,
            "write",
            format!(
                "the volume's space ({} segments) is used up; discard blocks, or raise its space \
                 ratio",
                self.table.lock().limit
            ),
        ))
    }

    /// A segment past the end of the file, once no free one can hide on a page of the table that is
    /// not loaded.
    fn grow(&self, table: &mut SegmentTable) -> Result<Option<u64>> {
        while let Some(page) = table.unloaded_page() {
            self.load_table_page(table, page)?;
            if let Some(segment) = table.free.bare.pop_first() {
                return Ok(Some(segment));
            }
        }
        let last = SegmentTable::page_of(SegmentIndex(table.segments));
        self.load_table_page(table, last)?;
        Ok(table.grow())
    }

    /// Lets a discard pass. It may use the reserve, for it is what makes room on a full volume, but
    /// not the last segments: those are for the checkpoint that settles it.
    pub(crate) fn admit_discard(&self) -> Result<()> {
        self.bound_delta()?;
        for _ in 0..RECLAIM_ROUNDS {
            if self.available.load(Ordering::Acquire) > ROLL_RESERVE + GC_RESERVE {
                return Ok(());
            }
            if self.load_free_segments(ROLL_RESERVE + GC_RESERVE + 1)? {
                return Ok(());
            }
            let mut maintenance = self.maintenance.lock();
            if !self.reclaim(&mut maintenance)? {
                break;
            }
        }
        Ok(())
    }

    /// Bounds the memory of unsettled changes: writers that outrun checkpoints wait for one.
    fn bound_delta(&self) -> Result<()> {
        let budget = usize::try_from(self.settings.delta_memory.0).unwrap_or(usize::MAX);
        let memory = self.index.current_memory();
        if memory < budget {
            return Ok(());
        }
        self.wake_maintenance();
        if memory < budget.saturating_mul(2) {
            return Ok(());
        }
        let mut maintenance = self.maintenance.lock();
        if self.index.current_memory() < budget {
            return Ok(());
        }
        match self.checkpoint(&mut maintenance, &[], Goal::Continue) {
            Ok(_) => Ok(()),
            // Without space for a checkpoint the reserve is gone: the write is refused below.
            Err(error) if error.kind() == ErrorKind::NoSpace => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How far above the reserve background collection starts.
    pub(crate) fn gc_low_margin(&self) -> u64 {
        (self.superblock_limit.load(Ordering::Relaxed) / 64).clamp(1, 16)
    }

    /// Loads table pages until `want` segments are known to be available. Tells whether they are.
    pub(crate) fn load_free_segments(&self, want: u64) -> Result<bool> {
        let mut table = self.table.lock();
        loop {
            self.update_available(&table);
            if table.available() >= want {
                return Ok(true);
            }
            let Some(page) = table.unloaded_page() else { return Ok(false) };
            self.load_table_page(&mut table, page)?;
        }
    }

    /// Takes a free segment, with host space behind it, and gives it a sequence number.
    pub(crate) fn reserve_segment(&self) -> Result<Successor> {
        match self.reserve_from(Pools::All) {
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                // The host may be full of segments that were backed ahead meanwhile, the last of
                // them on its way to the pool: they are for this.
                drop(self.prewriting.lock());
                self.reserve_from(Pools::Backed).map_err(|_| error)
            }
            other => other,
        }
    }

    fn reserve_from(&self, pools: Pools) -> Result<Successor> {
        let mut table = self.table.lock();
        let pooled = table.free.written.pop_front().or_else(|| table.free.ready.pop_front());
        let backed = pooled.is_some();
        let next = match pooled {
            None if pools == Pools::All => match table.free.bare.pop_first() {
                Some(segment) => Some(segment),
                None => self.grow(&mut table)?,
            },
            pooled => pooled,
        };
        let Some(segment) = next else {
            return Err(Error::new(
                ErrorKind::NoSpace,
                "reserve segment",
                "every segment of the volume is in use",
            ));
        };
        self.load_table_page(&mut table, SegmentTable::page_of(SegmentIndex(segment)))?;
        let seq = table.next_seq();
        if let Some(info) = table.get_volatile(SegmentIndex(segment)) {
            info.held = true;
        }
        self.update_available(&table);
        drop(table);
        if let Err(error) = self.make_ready(SegmentIndex(segment), backed) {
            let mut table = self.table.lock();
            if let Some(info) = table.get_volatile(SegmentIndex(segment)) {
                info.held = false;
            }
            table.free.bare.insert(segment);
            self.update_available(&table);
            return Err(error);
        }
        Ok(Successor { segment: SegmentIndex(segment), seq })
    }

    /// Backs a segment with host space, unless it is, and sees to it that its old header cannot be
    /// taken for damage: until it is opened, replay looks there for a successor, and expects nothing,
    /// or a header of an earlier life.
    fn make_ready(&self, segment: SegmentIndex, backed: bool) -> Result<()> {
        let offset = self.geometry.segment_offset(segment);
        if !backed {
            self.storage.allocate(offset, self.geometry.segment_len(), false)?;
        }
        if self.storage.len()? <= offset {
            return Ok(());
        }
        let mut first = [0; SLOT_LEN];
        let damaged = match self.storage.read_at(offset, &mut first) {
            Ok(()) => !is_blank_header(&first) && self.check_header(segment, &first).is_err(),
            Err(error) if error.kind() == ErrorKind::Io => true,
            Err(error) => return Err(error),
        };
        if damaged {
            tracing::warn!(segment = segment.0, offset, "the header of a free segment was damaged");
            let zeros = [0; SLOT_LEN];
            let written = self.storage.write_at(offset, &[IoSlice::new(&zeros)]);
            written.inspect_err(|error| self.poison(error))?;
            // It must be gone before anything names the segment as its successor.
            self.sync_storage()?;
        }
        Ok(())
    }

    /// Pools segments that a durable checkpoint released. Keeps some backed for reuse and gives the
    /// space of the rest back to the host.
    pub(crate) fn pool_released(&self, released: Vec<u64>) {
        let mut punch = Vec::new();
        {
            let _no_rmw = self.reuse_gate.write();
            let mut table = self.table.lock();
            for segment in released {
                self.keys.remove(SegmentIndex(segment));
                let keep = usize::try_from(self.settings.keep_free_segments).unwrap_or(usize::MAX);
                if table.free.backed() < keep {
                    table.free.written.push_back(segment);
                } else {
                    punch.push(segment);
                }
            }
            self.update_available(&table);
        }
        // Punched outside the locks, and pooled only afterwards: punching counts as reuse.
        for segment in &punch {
            let offset = self.geometry.segment_offset(SegmentIndex(*segment));
            if let Err(error) = self.storage.punch(offset, self.geometry.segment_len()) {
                tracing::warn!(segment, error = ?error, "space was not given back to the host");
            }
        }
        let mut table = self.table.lock();
        table.free.bare.extend(punch);
        self.update_available(&table);
    }

    /// Backs a few fresh segments with written zeros ahead of use.
    pub(crate) fn prewrite(&self) -> Result<bool> {
        let want = usize::try_from(self.settings.prewrite_segments).unwrap_or(0);
        let _in_flight = self.prewriting.lock();
        let segment = {
            let mut table = self.table.lock();
            if table.free.written.len() >= want {
                return Ok(false);
            }
            let backed = table.free.ready.pop_front();
            let next = match backed.or_else(|| table.free.bare.pop_first()) {
                Some(segment) => Some(segment),
                None if table.unloaded_page().is_some() => None,
                None => self.grow(&mut table)?,
            };
            let Some(segment) = next else { return Ok(false) };
            segment
        };
        let offset = self.geometry.segment_offset(SegmentIndex(segment));
        let outcome = self.storage.allocate(offset, self.geometry.segment_len(), true);
        let mut table = self.table.lock();
        match outcome {
            Ok(()) => table.free.written.push_back(segment),
            Err(_) => drop(table.free.bare.insert(segment)),
        }
        self.update_available(&table);
        drop(table);
        match outcome {
            Ok(()) => Ok(true),
            // No host space to work ahead with: writers will find out, and say so.
            Err(error) if error.kind() == ErrorKind::NoSpace => Ok(false),
            Err(error) => Err(error),
        }
    }
}
