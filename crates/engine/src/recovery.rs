//! From a replayed log to an open volume: apply the groups, secure the tail, start new segments.
//!
//! The accepted blocks after the durable group are copied into new segments and checkpointed before
//! anything is served: after a failed sync the page cache can hold what the disk never got.
//! Crashing in here is harmless: the old superblock still stands, nothing that it needs is reused,
//! and the new groups hang from no cursor of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sealvol_core::{Error, ErrorKind, Result};
use sealvol_format::{Entry, EntryState, RecordKind, SLOT_LEN, SegmentKind, Successor};

use crate::checkpoint::Goal;
use crate::core::{Content, Core};
use crate::meta::Batch;
use crate::replay::{Replay, ReplayGroup};
use crate::segments::{LogPlace, SegmentTable};

/// Segments by which recovery may pass the volume's limit rather than refuse to open it.
const EMERGENCY_SEGMENTS: u64 = 64;

impl Core {
    /// Keeps the segments that replay led through from being reused before a new superblock stands:
    /// a crash during recovery must find the same way again.
    fn hold_visited(&self, replay: &Replay) -> Result<()> {
        let mut table = self.table.lock();
        for header in &replay.visited {
            self.load_table_page(&mut table, SegmentTable::page_of(header.segment))?;
            if let Some(info) = table.get_volatile(header.segment)
                && info.stored.seq == header.seq
            {
                info.last_group = replay.last_seq + 1;
            }
        }
        Ok(())
    }

    /// Applies the replayed groups to the index, in order.
    pub(crate) fn apply_replay(&self, replay: &Replay) -> Result<()> {
        self.apply_groups(replay)?;
        if self.read_only { Ok(()) } else { self.hold_visited(replay) }
    }

    fn apply_groups(&self, replay: &Replay) -> Result<()> {
        for group in &replay.groups {
            match self.note_segment(group) {
                // Read-only, a damaged table is lived with: the group's key is known.
                Err(error) if self.read_only && error.kind() == ErrorKind::Corrupt => {
                    self.keys.insert(group.header.segment, Arc::clone(&group.key));
                }
                outcome => outcome?,
            }
            for record in &group.found.body.records {
                let slot = group.found.slot + u32::from(record.payload);
                let phys = self.geometry.phys(group.header.segment, slot);
                let nonce = group.found.body.payload_nonce;
                let entry = Entry::data(phys, record.birth, nonce, record.tag);
                if record.lba >= self.logical_blocks
                    && !matches!(record.kind, RecordKind::Map | RecordKind::Table)
                {
                    continue;
                }
                match record.kind {
                    RecordKind::Data => self.index.set(record.lba, entry),
                    RecordKind::Zero => self.index.set(record.lba, Entry::zero(record.birth)),
                    RecordKind::Range => {
                        self.publish_range(record.lba, record.range_blocks(), record.birth);
                    }
                    RecordKind::Move => {
                        if self.lookup(record.lba)?.phys() == record.old {
                            self.index.set(record.lba, entry);
                        }
                    }
                    RecordKind::Fill => {
                        if self.lookup(record.lba)?.state() == EntryState::Inherit {
                            self.index.set(record.lba, entry);
                        }
                    }
                    RecordKind::Map
                    | RecordKind::Table
                    | RecordKind::Snap
                    | RecordKind::Void
                    | RecordKind::Stamp => {}
                }
            }
        }
        Ok(())
    }

    /// Enters a replayed group's segment into the table.
    fn note_segment(&self, group: &ReplayGroup) -> Result<()> {
        let segment = group.header.segment;
        let mut table = self.table.lock();
        while segment.0 >= table.segments {
            // The file had grown since the checkpoint.
            let last = SegmentTable::page_of(sealvol_format::SegmentIndex(table.segments));
            self.load_table_page(&mut table, last)?;
            if table.grow().is_none() {
                table.limit += 1;
            }
        }
        self.load_table_page(&mut table, SegmentTable::page_of(segment))?;
        if let Some(info) = table.get_mut(segment) {
            if info.stored.seq != group.header.seq {
                // The table knows an earlier life of this segment.
                info.stored.seq = group.header.seq;
                info.stored.salt = group.header.salt;
                info.stored.key_id = group.header.key_id;
                info.stored.kind = group.header.kind as u8;
                info.stored.generation = group.header.generation;
                info.stored.live = 0;
            }
            let used = group.found.slot + 1 + u32::from(group.found.body.payload_slots);
            info.stored.used = u16::try_from(used).unwrap_or(u16::MAX);
            info.last_group = group.seq;
        }
        self.keys.insert(segment, Arc::clone(&group.key));
        drop(table);
        Ok(())
    }

    /// Makes a replayed volume writable: reserves new segments, copies what may not be durable, and
    /// makes a superblock durable that starts there.
    pub(crate) fn start_log(&self, replay: &Replay, boot_id: [u8; 16]) -> Result<()> {
        let fresh = replay.groups.is_empty();
        let epoch = |block: &mut sealvol_format::Superblock, epoch: u64| {
            block.volume_state = sealvol_format::VolumeState::Keyed;
            block.state.open_epoch = epoch;
            block.state.boot_id = boot_id;
            block.state.clean = false;
            block.state.durable_seq = replay.durable;
            for key in &mut block.keys {
                key.commitment = self.keyring.commitment(key.id).unwrap_or_default();
            }
        };
        let next_epoch = self.superblock.lock().state.open_epoch + 1;
        if !fresh {
            // Durable before the first segment of this epoch is written.
            self.write_superblocks(|block| epoch(block, next_epoch))?;
        }
        let limit = {
            let mut table = self.table.lock();
            table.start_pooling();
            table.set_epoch(next_epoch);
            let limit = table.limit;
            table.limit += EMERGENCY_SEGMENTS;
            self.update_available(&table);
            limit
        };
        let mut reserved = Vec::with_capacity(SegmentKind::ALL.len());
        for _ in SegmentKind::ALL {
            reserved.push(self.reserve_segment()?);
        }
        let place = |kind: SegmentKind| LogPlace {
            open: None,
            reserved: reserved
                .get(kind as usize)
                .copied()
                .unwrap_or(Successor { segment: sealvol_format::SegmentIndex(0), seq: 0 }),
        };
        let places = SegmentKind::ALL.map(place);
        let cursors = places.each_ref().map(|place| place.cursor());
        self.log.install(replay.last_seq, replay.chain, replay.durable, places);
        if fresh {
            let segments = self.table.lock().segments;
            self.write_superblocks(|block| {
                epoch(block, next_epoch);
                block.state.cursors = cursors;
                block.state.checkpoint_seq = replay.last_seq;
                block.state.checkpoint_tag = replay.chain;
                block.state.segments = segments;
            })?;
            self.maintenance.lock().settled_seq = replay.last_seq;
        } else {
            self.copy_tail(replay)?;
            let mut maintenance = self.maintenance.lock();
            self.checkpoint(&mut maintenance, &[], Goal::Continue)?;
        }
        let mut table = self.table.lock();
        table.limit = limit.max(table.segments);
        self.update_available(&table);
        Ok(())
    }

    /// Copies the blocks of accepted groups that may not be durable.
    fn copy_tail(&self, replay: &Replay) -> Result<()> {
        let first = replay.groups.partition_point(|group| group.seq <= replay.durable);
        let mut batch = Batch::new(self, SegmentKind::Gc);
        for group in replay.groups.iter().skip(first) {
            for record in &group.found.body.records {
                let slot = group.found.slot + u32::from(record.payload);
                let phys = self.geometry.phys(group.header.segment, slot);
                let holds_block =
                    matches!(record.kind, RecordKind::Data | RecordKind::Move | RecordKind::Fill);
                if record.payload == 0 || !holds_block || record.lba >= self.logical_blocks {
                    continue;
                }
                let entry = self.lookup(record.lba)?;
                if entry.phys() != phys || entry.state() != EntryState::Data {
                    continue;
                }
                let content = Content::block(record.lba);
                let mut block = [0; SLOT_LEN];
                if !self.read_slot(&entry, content, &mut block, false)? {
                    return Err(Error::new(ErrorKind::Internal, "recover", "a read did not block"));
                }
                batch.push(content, &block, RecordKind::Move, phys, entry.birth())?;
            }
        }
        batch.finish()?;
        self.counters.blocks_moved.store(0, Ordering::Relaxed);
        Ok(())
    }
}
