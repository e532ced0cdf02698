//! Checkpoints: merge the frozen delta into the map, bottom-up, into the log; settle live counts;
//! write the segment table; sync; then both superblocks; then release segments.
//!
//! # Why a crash at any point is harmless
//! Until a superblock names the new root, the old one does, and nothing that it needs has been
//! reused: segments are released last. Replay from the old superblock's position passes over the
//! new map and table pages without applying them.
//!
//! # Why a failed attempt can be repeated
//! The frozen delta stays frozen. A merge that fails leaves unreferenced pages and no counts
//! changed; after a merge that succeeded, the attempt goes on from its result.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;
use sealvol_core::{Error, ErrorKind, Result};
use sealvol_format::{
    Birth, Cursor, Entry, EntryState, FANOUT, MAP_LEVELS, Page, Phys, RecordKind, SegmentIndex,
    SegmentKind, TABLE_LEVELS, TOP_LEVEL, TablePage,
};

use crate::cache::Leaf;
use crate::core::{Content, Core, Maintenance};
use crate::index::FrozenDelta;
use crate::meta::Batch;
use crate::segments::SegmentTable;

/// A checkpoint under way.
#[derive(Debug)]
pub(crate) struct Pending {
    seq: u64,
    tag: [u8; 16],
    cursors: [Cursor; 3],
    frozen: FrozenDelta,
    merged: Option<Merged>,
}

#[derive(Debug)]
struct Merged {
    root: Entry,
    changed: Vec<(u64, Option<Leaf>)>,
}

/// How a checkpoint ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The volume goes on.
    Continue,
    /// The volume closes: the superblock says so, and replay would start at the very end.
    Close,
}

impl Core {
    /// Runs a checkpoint to its end. `force` lists first LBAs of map pages that must be rewritten
    /// although nothing in them changed. Tells whether anything was merged.
    pub(crate) fn checkpoint(
        &self,
        maintenance: &mut Maintenance,
        force: &[u64],
        goal: Goal,
    ) -> Result<bool> {
        let outcome = self.checkpoint_steps(maintenance, force, goal);
        if let Err(error) = &outcome
            && error.kind() != ErrorKind::NoSpace
        {
            self.poison(error);
        }
        outcome
    }

    fn checkpoint_steps(
        &self,
        maintenance: &mut Maintenance,
        force: &[u64],
        goal: Goal,
    ) -> Result<bool> {
        self.check_alive("checkpoint")?;
        let mut pending = match maintenance.pending.take() {
            Some(pending) => pending,
            None => self.freeze(),
        };
        let had_content = !pending.frozen.leaves.is_empty() || !pending.frozen.ranges.is_empty();
        if pending.merged.is_none() {
            match self.merge(&pending.frozen, force, maintenance) {
                Ok(merged) => pending.merged = Some(merged),
                Err(error) => {
                    maintenance.pending = Some(pending);
                    return Err(error);
                }
            }
        }
        let root = pending.merged.as_ref().map_or(Entry::INHERIT, |merged| merged.root);
        let table_root = match self.write_table() {
            Ok(root) => root,
            Err(error) => {
                maintenance.pending = Some(pending);
                return Err(error);
            }
        };
        // From here on an error leaves it open what the disk holds: fail-stop, whatever the kind.
        self.sync_all().inspect_err(|error| self.poison(error))?;
        let (segments, limit) = {
            let table = self.table.lock();
            (table.segments, table.limit)
        };
        let end = match goal {
            Goal::Continue => (pending.seq, pending.tag, pending.cursors),
            // Nothing but map and table pages follows the frozen position, and nothing will.
            Goal::Close => self.position(),
        };
        let durable = self.log.durable.load(Ordering::Acquire);
        self.write_superblocks(|block| {
            let state = &mut block.state;
            (state.checkpoint_seq, state.checkpoint_tag, state.cursors) = end;
            state.durable_seq = durable;
            state.root = root;
            state.table = table_root;
            state.segments = segments;
            state.segment_limit = limit;
            state.clean = goal == Goal::Close;
        })
        .inspect_err(|error| self.poison(error))?;
        {
            // No read-modify-write may see its block's entry move from the delta into the tree.
            let _no_rmw = self.reuse_gate.write();
            let changed = pending.merged.map(|merged| merged.changed).unwrap_or_default();
            self.index.settle(root, changed);
        }
        let released = {
            let mut table = self.table.lock();
            table.release(pending.seq)
        };
        self.pool_released(released);
        maintenance.checkpoint_log_bytes = self.log.bytes.load(Ordering::Relaxed);
        maintenance.settled_seq = pending.seq;
        self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        Ok(had_content)
    }

    /// The position after the last group: number, chain tag, cursors.
    fn position(&self) -> (u64, [u8; 16], [Cursor; 3]) {
        let state = self.log.lock();
        let cursors = state.places.each_ref().map(|place| place.cursor());
        (state.next_seq - 1, state.chain, cursors)
    }

    /// Freezes the delta at a group boundary.
    fn freeze(&self) -> Pending {
        let state = self.log.acquire();
        let (seq, tag) = (state.next_seq - 1, state.chain);
        let cursors = state.places.each_ref().map(|place| place.cursor());
        drop(state);
        let frozen = self.index.freeze();
        self.log.release();
        Pending { seq, tag, cursors, frozen, merged: None }
    }

    fn merge(
        &self,
        frozen: &FrozenDelta,
        force: &[u64],
        maintenance: &mut Maintenance,
    ) -> Result<Merged> {
        let mut merger = Merger {
            core: self,
            frozen,
            force,
            batch: Batch::new(self, SegmentKind::Meta),
            live: HashMap::new(),
            changed: Vec::new(),
            reap_budget: self.settings.reap_pages,
            reap_waiting: false,
        };
        let root = merger.merge(TOP_LEVEL, 0, self.index.root().entry)?;
        let Merger { batch, live, changed, reap_waiting, .. } = merger;
        batch.finish()?;
        self.settle_live(&live)?;
        maintenance.reap_waiting = reap_waiting;
        Ok(Merged { root, changed })
    }

    /// Applies the merge's changes to the live counts, all or nothing.
    fn settle_live(&self, live: &HashMap<u64, i32>) -> Result<()> {
        let mut table = self.table.lock();
        for segment in live.keys() {
            self.load_table_page(&mut table, SegmentTable::page_of(SegmentIndex(*segment)))?;
        }
        let most = i32::try_from(self.geometry.slots_per_segment()).unwrap_or(i32::MAX) - 1;
        for (segment, change) in live.iter().filter(|(_, change)| **change != 0) {
            let Some(info) = table.get_mut(SegmentIndex(*segment)) else { continue };
            let count = i32::from(info.stored.live) + change;
            if !(0..=most).contains(&count) {
                return Err(Error::new(
                    ErrorKind::Internal,
                    "settle live counts",
                    format!("segment {segment} would have {count} live slots; please report this"),
                ));
            }
            info.stored.live = u16::try_from(count).unwrap_or(0);
        }
        Ok(())
    }

    /// Writes the changed pages of the segment table and the pages above them. Returns its root.
    fn write_table(&self) -> Result<Entry> {
        let (dirty, leaf_entries) = {
            let mut table = self.table.lock();
            (table.take_dirty(), table.leaf_entries.clone())
        };
        let written = self.write_table_pages(&dirty, leaf_entries);
        if written.is_err() {
            let mut table = self.table.lock();
            for (page, _) in &dirty {
                table.mark_dirty(*page);
            }
        }
        written
    }

    fn write_table_pages(
        &self,
        dirty: &[(usize, TablePage)],
        mut leaf_entries: Vec<Entry>,
    ) -> Result<Entry> {
        let top = (TABLE_LEVELS - 1, 0);
        let mut inner = self.table.lock().inner_entries.clone();
        let old_root = inner.get(&top).copied().unwrap_or(Entry::INHERIT);
        if dirty.is_empty() {
            return Ok(old_root);
        }
        let mut batch = Batch::new(self, SegmentKind::Meta);
        let mut moves: Vec<(Entry, Entry)> = Vec::new();
        let mut push =
            |batch: &mut Batch<'_>, level: u8, index: u64, old: Entry, bytes: &[u8; 4096]| {
                let content = Content::table(level, index);
                let entry = batch.push(content, bytes, RecordKind::Table, old.phys(), Birth(0))?;
                moves.push((old, entry));
                Ok::<Entry, Error>(entry)
            };
        let mut parents: Vec<u64> = Vec::new();
        for (at, page) in dirty {
            let index = *at as u64;
            let old = leaf_entries.get(*at).copied().unwrap_or(Entry::INHERIT);
            let entry = push(&mut batch, 0, index, old, &page.encode())?;
            if let Some(place) = leaf_entries.get_mut(*at) {
                *place = entry;
            }
            parents.push(index >> 7);
        }
        for level in 1..TABLE_LEVELS {
            parents.dedup();
            let mut next = Vec::new();
            for index in std::mem::take(&mut parents) {
                let mut page = Page::empty();
                for slot in 0..FANOUT {
                    let child = (index << 7) | slot as u64;
                    let entry = if level == 1 {
                        usize::try_from(child).ok().and_then(|at| leaf_entries.get(at)).copied()
                    } else {
                        inner.get(&(level - 1, child)).copied()
                    };
                    page.set(slot, entry.unwrap_or(Entry::INHERIT));
                }
                let old = inner.get(&(level, index)).copied().unwrap_or(Entry::INHERIT);
                let entry = push(&mut batch, level, index, old, page.as_bytes())?;
                inner.insert((level, index), entry);
                next.push(index >> 7);
            }
            parents = next;
        }
        batch.finish()?;
        let mut table = self.table.lock();
        // Pages that appeared meanwhile (the file grew) are not part of this table.
        for (place, entry) in table.leaf_entries.iter_mut().zip(leaf_entries) {
            *place = entry;
        }
        table.inner_entries = inner;
        for (old, new) in moves {
            table.move_table_page(self.segment_of(&old), self.segment_of(&new));
        }
        Ok(table.inner_entries.get(&top).copied().unwrap_or(old_root))
    }
}

/// One pass over the map.
struct Merger<'a> {
    core: &'a Core,
    frozen: &'a FrozenDelta,
    force: &'a [u64],
    batch: Batch<'a>,
    live: HashMap<u64, i32>,
    changed: Vec<(u64, Option<Leaf>)>,
    reap_budget: u32,
    reap_waiting: bool,
}

/// Blocks below one page of `level`, as a shift.
const fn span_shift(level: u8) -> u32 {
    7 * (level as u32 + 1)
}

impl Merger<'_> {
    fn count(&mut self, entry: &Entry, change: i32) {
        if let Some(segment) = self.core.segment_of(entry) {
            *self.live.entry(segment.0).or_insert(0) += change;
        }
    }

    /// Whether a frozen point lies in the leaves `[first, end)`.
    fn has_points(&self, first: u64, end: u64) -> bool {
        let at = self.frozen.leaves.partition_point(|leaf| *leaf < first);
        self.frozen.leaves.get(at).is_some_and(|leaf| *leaf < end)
    }

    fn is_forced(&self, start: u64, end: u64) -> bool {
        let at = self.force.partition_point(|lba| *lba < start);
        self.force.get(at).is_some_and(|lba| *lba < end)
    }

    /// The new entry of the page (level, index), whose entry was `old`.
    fn merge(&mut self, level: u8, index: u64, old: Entry) -> Result<Entry> {
        let start = index << span_shift(level);
        let end = (index + 1) << span_shift(level);
        let fan = FANOUT as u64;
        let points = self.has_points(start / fan, end / fan);
        if !points && !self.frozen.ranges.intersects(start, end) {
            if old.is_dead() {
                return self.reap(level, index, old);
            }
            let wanted = (old.has_dead() && self.reap_budget > 0) || self.is_forced(start, end);
            if old.state() != EntryState::Data || !wanted {
                self.reap_waiting |= old.has_dead();
                return Ok(old);
            }
        }
        if !points && self.frozen.ranges.covers(start, end) {
            let birth = self.frozen.birth;
            return match old.state() {
                EntryState::Data => self.reap(level, index, old.into_dead(birth)),
                _ if old.is_dead() => self.reap(level, index, old),
                _ => Ok(Entry::zero(birth)),
            };
        }
        let mut page = self.take_page(level, index, old)?;
        if level == 0 {
            self.merge_leaf(index, &mut page);
        } else {
            for slot in 0..FANOUT {
                let child = (index << 7) | slot as u64;
                let before = page.get(slot);
                let after = self.merge(level - 1, child, before)?;
                if after != before {
                    page.set(slot, after);
                }
            }
        }
        self.put_page(level, index, old, page)
    }

    /// The content of a page that is about to be rewritten; its old slot stops being live. The
    /// content of a dead page is settled (leaf) or handed down (inner page).
    fn take_page(&mut self, level: u8, index: u64, old: Entry) -> Result<Page> {
        if old.is_dead() {
            let living = old.as_living();
            let mut page = self.read(level, index, &living)?;
            self.count(&living, -1);
            for slot in 0..FANOUT {
                let child = page.get(slot);
                let zero = Entry::zero(old.birth());
                let handed_down = match (level, child.state()) {
                    (0, EntryState::Data) => {
                        self.count(&child, -1);
                        zero
                    }
                    (_, EntryState::Data) => child.into_dead(old.birth()),
                    _ if child.is_dead() => child,
                    _ => zero,
                };
                page.set(slot, handed_down);
            }
            return Ok(page);
        }
        match old.state() {
            EntryState::Data => {
                let page = self.read(level, index, &old)?;
                self.count(&old, -1);
                Ok(page)
            }
            EntryState::Inherit => Ok(Page::empty()),
            EntryState::Zero => Ok(Page::filled(Entry::zero(old.birth()))),
        }
    }

    fn read(&self, level: u8, index: u64, entry: &Entry) -> Result<Page> {
        match self.core.read_map_page(entry, level, index, false)? {
            Some(page) => Ok(Page::clone(&page)),
            None => Err(Error::new(
                ErrorKind::Internal,
                "read map page",
                "a blocking read did not block",
            )),
        }
    }

    fn merge_leaf(&mut self, leaf: u64, page: &mut Page) {
        let base = leaf * FANOUT as u64;
        let zero = Entry::zero(self.frozen.birth);
        if self.frozen.ranges.intersects(base, base + FANOUT as u64) {
            for slot in 0..FANOUT {
                if self.frozen.ranges.contains(base + slot as u64) {
                    self.replace(page, slot, zero);
                }
            }
        }
        for (slot, entry) in self.core.index.frozen_leaf(leaf) {
            self.replace(page, slot, entry);
        }
    }

    fn replace(&mut self, page: &mut Page, slot: usize, entry: Entry) {
        let before = page.get(slot);
        if before.state() == EntryState::Data {
            self.count(&before, -1);
        }
        if entry.state() == EntryState::Data {
            self.count(&entry, 1);
        }
        page.set(slot, entry);
    }

    /// Writes a page, or collapses a uniform one into its entry.
    fn put_page(&mut self, level: u8, index: u64, old: Entry, page: Page) -> Result<Entry> {
        let (mut inherit, mut zero, mut dead) = (true, true, false);
        let mut birth = Birth(0);
        for entry in page.entries() {
            inherit &= entry == Entry::INHERIT;
            zero &= entry.state() == EntryState::Zero && !entry.is_dead();
            dead |= level > 0 && (entry.is_dead() || entry.has_dead());
            birth = birth.max(entry.birth());
        }
        if inherit || zero {
            if level == 0 {
                self.changed.push((index, None));
            }
            return Ok(if zero { Entry::zero(birth) } else { Entry::INHERIT });
        }
        let old_phys = if old.state() == EntryState::Data { old.phys() } else { Phys::NONE };
        let content = Content::map(level, index);
        let entry = self
            .batch
            .push(content, page.as_bytes(), RecordKind::Map, old_phys, birth)?
            .with_has_dead(dead);
        self.count(&entry, 1);
        if level > 0 {
            self.core.pages.insert(&entry, Arc::new(page));
        } else if self.core.index.is_cached(index) {
            self.changed.push((index, Some(Leaf::Page(Arc::new(page)))));
        } else {
            // A reader may be about to cache the old one.
            self.changed.push((index, None));
        }
        Ok(entry)
    }

    /// Settles the counts of a dead page and of all below it, as far as the budget goes.
    fn reap(&mut self, level: u8, index: u64, dead: Entry) -> Result<Entry> {
        if self.reap_budget == 0 {
            self.reap_waiting = true;
            return Ok(dead);
        }
        self.reap_budget -= 1;
        let zero = Entry::zero(dead.birth());
        let living = dead.as_living();
        let mut page = match self.read(level, index, &living) {
            Ok(page) => page,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                // What it referred to can't be told any more: that space stays in use.
                tracing::warn!(error = ?error, "a discarded map page is damaged; its space is lost");
                self.core.counters.integrity_errors.fetch_add(1, Ordering::Relaxed);
                return Ok(dead);
            }
            Err(error) => return Err(error),
        };
        self.count(&living, -1);
        let mut rest = false;
        for slot in 0..FANOUT {
            let child = page.get(slot);
            let after = match child.state() {
                EntryState::Data if level == 0 => {
                    self.count(&child, -1);
                    zero
                }
                EntryState::Data => {
                    self.reap(level - 1, (index << 7) | slot as u64, child.into_dead(dead.birth()))?
                }
                _ if child.is_dead() => self.reap(level - 1, (index << 7) | slot as u64, child)?,
                _ => zero,
            };
            rest |= after.is_dead() || after.has_dead();
            page.set(slot, after);
        }
        if !rest {
            return Ok(zero);
        }
        self.put_page(level, index, Entry::INHERIT, page)
    }
}

const _: () = assert!(MAP_LEVELS == TOP_LEVEL + 1);
