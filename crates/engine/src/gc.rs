//! Garbage collection: move the live blocks of the emptiest segments together, so that a checkpoint
//! can release them.
//!
//! Victims are chosen by *settled* counts, and only among segments whose groups a checkpoint has
//! settled. Blocks are found through commit slots, checked against the index, verified and sealed
//! anew with MOVE records, which apply only where the entry still has the old address. Map pages are
//! not copied: the next checkpoint is told to rewrite them.

use std::sync::atomic::Ordering;

use sealvol_core::{Error, ErrorKind, Result};
use sealvol_format::{
    COMMIT_SEALED_MAX, CommitBody, Entry, EntryState, Record, RecordKind, SLOT_LEN, SegmentIndex,
    SegmentKind, split_commit_slot,
};

use crate::checkpoint::Goal;
use crate::core::{Content, Core, Maintenance};
use crate::keyring::SegmentKey;
use crate::meta::Batch;
use crate::segments::SegmentTable;

/// Segments whose live blocks are gathered and sorted together: 8 MiB of buffers.
const GATHER: usize = 2;
/// How often victims are chosen anew because users took the space meanwhile.
const CLAIM_ATTEMPTS: usize = 8;
/// Most segments that one round fills.
const MAX_OUTPUT: u64 = 16;

/// A group found in a segment.
#[derive(Debug)]
pub(crate) struct FoundGroup {
    /// Slot of its commit slot.
    pub(crate) slot: u32,
    pub(crate) body: CommitBody,
    pub(crate) tag: [u8; 16],
}

/// A live block of a victim.
struct LiveBlock {
    lba: u64,
    entry: Entry,
    victim: usize,
    slot: u32,
}

struct Victim {
    segment: SegmentIndex,
    bytes: Vec<u8>,
    key: std::sync::Arc<SegmentKey>,
}

impl Core {
    /// Opens one slot as a commit slot. `None` if it is not one of this segment's.
    pub(crate) fn open_commit(
        &self,
        key: &SegmentKey,
        slot: u32,
        bytes: &[u8],
    ) -> Option<FoundGroup> {
        let (sealed, trailer) = split_commit_slot(bytes.first_chunk::<SLOT_LEN>()?).ok()?;
        let entry = Entry::data(
            sealvol_format::Phys::NONE,
            sealvol_format::Birth(0),
            trailer.nonce,
            trailer.tag,
        );
        let mut buffer = [0; COMMIT_SEALED_MAX];
        let plain = buffer.get_mut(..sealed.len())?;
        plain.copy_from_slice(sealed);
        self.open_slot(key, slot, Content::COMMIT, &entry, plain).ok()?;
        let body = CommitBody::decode(plain).ok()?;
        let last = slot + u32::from(body.payload_slots);
        (last < self.geometry.slots_per_segment()).then_some(FoundGroup {
            slot,
            body,
            tag: trailer.tag,
        })
    }

    /// One round of reclaiming: collect, then checkpoint. Tells whether it got anywhere.
    pub(crate) fn reclaim(&self, maintenance: &mut Maintenance) -> Result<bool> {
        let before = self.available.load(Ordering::Acquire);
        let mut force = Vec::new();
        let collected = match self.collect(maintenance, &mut force) {
            Ok(collected) => collected,
            // The reserve was too small for this batch: settle what there is.
            Err(error) if error.kind() == ErrorKind::NoSpace => 0,
            Err(error) => {
                self.claimed_slots.store(0, Ordering::SeqCst);
                return Err(error);
            }
        };
        force.sort_unstable();
        let merged = self.checkpoint(maintenance, &force, Goal::Continue);
        self.claimed_slots.store(0, Ordering::SeqCst);
        let merged = merged?;
        let after = self.available.load(Ordering::Acquire);
        Ok(after > before || collected > 0 || merged || maintenance.reap_waiting)
    }

    /// Moves the live blocks out of the emptiest segments. Returns how many segments that empties.
    fn collect(&self, maintenance: &Maintenance, force: &mut Vec<u64>) -> Result<usize> {
        // Users who are admitted while victims are being chosen make it choose again.
        let victims = (0..CLAIM_ATTEMPTS).find_map(|_| self.choose_victims(maintenance));
        let victims = victims.unwrap_or_default();
        let mut collected = 0;
        for gathered in victims.chunks(GATHER) {
            collected += self.collect_some(gathered, force)?;
        }
        Ok(collected)
    }

    /// The emptiest settled segments, as many as the free space can take the contents of, and claims
    /// that space. `None`: users took some of it meanwhile.
    fn choose_victims(&self, maintenance: &Maintenance) -> Option<Vec<SegmentIndex>> {
        let payload = u64::from(self.geometry.slots_per_segment()) - 2;
        let kept = || crate::space::ROLL_RESERVE + self.admitted_segments();
        let free = || self.available.load(Ordering::SeqCst).saturating_sub(kept()) * payload;
        let usable = free();
        let leaves = self.logical_blocks.div_ceil(128);
        let dirty = self.index.dirty_leaves() as u64;
        let mut moved = 0;
        let need = |moved: u64| {
            let pages = (dirty + moved).min(leaves);
            moved + pages + pages / 16 + 40
        };
        let table = self.table.lock();
        let mut candidates: Vec<(u16, u64, SegmentIndex)> = table
            .loaded()
            .filter(|(segment, info)| {
                info.is_used()
                    && !info.held
                    && !info.quarantined
                    && info.last_group <= maintenance.settled_seq
                    // Released, or about to be.
                    && (info.stored.live > 0 || table.table_live.contains_key(&segment.0))
            })
            .map(|(segment, info)| (info.stored.live, info.stored.seq, segment))
            .collect();
        candidates.sort_unstable();
        let mut victims = Vec::new();
        let mut gain = 0;
        for (live, _, segment) in candidates {
            let live = u64::from(live);
            // A victim that is nearly full costs more than it gives.
            if moved + live > MAX_OUTPUT * payload
                || need(moved + live) > usable
                || live * 32 > payload * 31
            {
                break;
            }
            moved += live;
            gain += payload - live;
            victims.push(segment);
            if victims.len() >= 64 {
                break;
            }
        }
        drop(table);
        // Less than a segment's worth: moving would only wear the disk.
        if gain < payload {
            return Some(Vec::new());
        }
        // First claimed, then looked at again: see `try_admit`.
        self.claimed_slots.store(need(moved), Ordering::SeqCst);
        if need(moved) > free() {
            self.claimed_slots.store(0, Ordering::SeqCst);
            return None;
        }
        Some(victims)
    }

    fn collect_some(&self, segments: &[SegmentIndex], force: &mut Vec<u64>) -> Result<usize> {
        let mut victims = Vec::with_capacity(segments.len());
        let mut live = Vec::new();
        let len = usize::try_from(self.geometry.segment_len()).unwrap_or(0);
        for segment in segments {
            let Some(key) = self.segment_key(*segment, false)? else { continue };
            let mut bytes = vec![0; len];
            if let Err(error) =
                self.storage.read_at(self.geometry.segment_offset(*segment), &mut bytes)
            {
                self.quarantine(*segment, &error);
                continue;
            }
            let victim = Victim { segment: *segment, bytes, key };
            self.find_live(&victim, victims.len(), &mut live, force)?;
            victims.push(victim);
        }
        live.sort_unstable_by_key(|block| block.lba);
        let mut batch = Batch::new(self, SegmentKind::Gc);
        for block in &live {
            let Some(victim) = victims.get(block.victim) else { continue };
            let at = usize::try_from(block.slot).unwrap_or(0) * SLOT_LEN;
            let Some(sealed) =
                victim.bytes.get(at..).and_then(|tail| tail.first_chunk::<SLOT_LEN>())
            else {
                continue;
            };
            let mut plain = *sealed;
            let content = Content::block(block.lba);
            if let Err(error) =
                self.open_slot(&victim.key, block.slot, content, &block.entry, &mut plain)
            {
                self.quarantine(victim.segment, &error);
                continue;
            }
            let (old, birth) = (block.entry.phys(), block.entry.birth());
            batch.push(content, &plain, RecordKind::Move, old, birth)?;
            self.counters.blocks_moved.fetch_add(1, Ordering::Relaxed);
        }
        batch.finish()?;
        self.counters.segments_collected.fetch_add(victims.len() as u64, Ordering::Relaxed);
        Ok(victims.len())
    }

    /// Walks a victim's commit slots for blocks and pages that are still referred to.
    fn find_live(
        &self,
        victim: &Victim,
        number: usize,
        live: &mut Vec<LiveBlock>,
        force: &mut Vec<u64>,
    ) -> Result<()> {
        let stored = {
            let table = self.table.lock();
            table.get(victim.segment).map_or(0, |info| u32::from(info.stored.used))
        };
        // Unknown after a crash that caught the segment open: then its end is where nothing opens.
        let known = stored != 0;
        let used = if known { stored } else { self.geometry.slots_per_segment() };
        let mut slot = 1;
        while slot < used {
            let at = usize::try_from(slot).unwrap_or(usize::MAX).saturating_mul(SLOT_LEN);
            let bytes = victim.bytes.get(at..).unwrap_or_default();
            let Some(found) = self.open_commit(&victim.key, slot, bytes) else {
                if known {
                    let offset = self.geometry.phys(victim.segment, slot).offset();
                    self.quarantine(
                        victim.segment,
                        &Error::new(
                            ErrorKind::Corrupt,
                            "collect segment",
                            format!(
                                "the commit slot at file offset {offset} does not authenticate"
                            ),
                        ),
                    );
                }
                // The groups behind it are found by trying every slot.
                slot += 1;
                continue;
            };
            for record in &found.body.records {
                self.check_record(victim, number, &found, record, live, force)?;
            }
            slot = found.slot + 1 + u32::from(found.body.payload_slots);
        }
        Ok(())
    }

    fn check_record(
        &self,
        victim: &Victim,
        number: usize,
        found: &FoundGroup,
        record: &Record,
        live: &mut Vec<LiveBlock>,
        force: &mut Vec<u64>,
    ) -> Result<()> {
        let slot = found.slot + u32::from(record.payload);
        let phys = self.geometry.phys(victim.segment, slot);
        match record.kind {
            RecordKind::Data | RecordKind::Move | RecordKind::Fill if record.payload > 0 => {
                if record.lba >= self.logical_blocks {
                    return Ok(());
                }
                let entry = self.lookup(record.lba)?;
                if entry.state() == EntryState::Data && entry.phys() == phys {
                    live.push(LiveBlock { lba: record.lba, entry, victim: number, slot });
                }
            }
            RecordKind::Map => {
                let first_lba = record.lba << (7 * (u32::from(record.level) + 1));
                if let Some(entry) = self.find_page(record.level, record.lba)?
                    && entry.phys() == phys
                {
                    force.push(first_lba);
                }
            }
            RecordKind::Table => {
                let mut table = self.table.lock();
                let first = record.lba << (7 * u32::from(record.level));
                let entry = if record.level == 0 {
                    usize::try_from(first).ok().and_then(|at| table.leaf_entries.get(at)).copied()
                } else {
                    table.inner_entries.get(&(record.level, record.lba)).copied()
                };
                if entry.is_some_and(|entry| entry.phys() == phys) {
                    let page = usize::try_from(first).unwrap_or(usize::MAX);
                    self.load_table_page(&mut table, page)?;
                    table.mark_dirty(page);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes a segment with a bad slot out of circulation: its good blocks have been or will be
    /// moved, the bad one stays where it is, for whoever restores it.
    fn quarantine(&self, segment: SegmentIndex, error: &Error) {
        self.counters.integrity_errors.fetch_add(1, Ordering::Relaxed);
        tracing::error!(segment = segment.0, error = ?error, "segment quarantined");
        let mut table = self.table.lock();
        if self.load_table_page(&mut table, SegmentTable::page_of(segment)).is_ok()
            && let Some(info) = table.get_volatile(segment)
        {
            info.quarantined = true;
        }
    }
}
