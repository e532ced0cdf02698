//! Writing groups of the maintenance kinds: map and table pages, moved blocks, stamps. Only the
//! holder of the maintenance lock appends to these kinds, so their place in the log stands still
//! while a batch is sealed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sealvol_core::{Error, ErrorKind, Result};
use sealvol_format::{
    Birth, Entry, Phys, Record, RecordKind, SLOT_LEN, SegmentIndex, SegmentKind, SlotClass, nonce,
};

use crate::core::{Content, Core};
use crate::keyring::SegmentKey;
use crate::log::{Group, LogState};

/// Collects sealed slots of one kind and writes them as full groups.
pub(crate) struct Batch<'a> {
    core: &'a Core,
    kind: SegmentKind,
    group: Option<Group>,
    room: u32,
    /// The last group written.
    pub(crate) last_seq: u64,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(core: &'a Core, kind: SegmentKind) -> Self {
        Self { core, kind, group: None, room: 0, last_seq: 0 }
    }

    /// Seals one slot and returns its entry. It can be read once [`finish`](Self::finish) returned.
    pub(crate) fn push(
        &mut self,
        content: Content,
        plain: &[u8; SLOT_LEN],
        record: RecordKind,
        old: Phys,
        birth: Birth,
    ) -> Result<Entry> {
        if self.group.as_ref().is_some_and(|group| group.payload_slots >= self.room) {
            self.flush()?;
        }
        if self.group.is_none() {
            self.start()?;
        }
        let Some(group) = &mut self.group else {
            return Err(Error::new(ErrorKind::Internal, "append", "no maintenance group"));
        };
        let slot = group.base + 1 + group.payload_slots;
        let (tag, sealed) = seal_slot(self.core, &group.key, slot, group.nonce, content, plain)?;
        let payload = u8::try_from(group.payload_slots + 1).unwrap_or(u8::MAX);
        group.parts.push((group.payload_slots, sealed));
        group.payload_slots += 1;
        group.records.push(Record {
            kind: record,
            lba: content.index,
            level: content.level,
            payload,
            old,
            birth,
            tag,
        });
        let phys = self.core.geometry.phys(group.segment, slot);
        if content.class != SlotClass::Block {
            self.core.counters.pages_written.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Entry::data(phys, birth, group.nonce, tag))
    }

    /// The segment that the next pushed slot will be in, and how full its group is.
    fn start(&mut self) -> Result<()> {
        let slots = self.core.geometry.slots_per_segment();
        loop {
            let mut state = self.core.log.lock();
            let room = state.room(self.kind, slots);
            let nonce = LogState::nonce(&*self.core.entropy)?;
            if let Some(room) = room.filter(|room| *room > 0)
                && let Some(open) = &state.place(self.kind).open
            {
                self.room = room;
                self.group = Some(Group {
                    kind: self.kind,
                    segment: open.segment,
                    key: Arc::clone(&open.key),
                    base: open.next_slot,
                    nonce,
                    records: Vec::new(),
                    parts: Vec::new(),
                    payload_slots: 0,
                    conditions: Vec::new(),
                    writeback: None,
                });
                return Ok(());
            }
            drop(state);
            self.core.check_alive("append")?;
            self.core.roll(self.kind)?;
        }
    }

    /// Writes what has been collected.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if let Some(group) = self.group.take() {
            self.last_seq = self.core.write_solo(group)?;
        }
        Ok(())
    }

    /// Writes the rest and returns the number of the last group, 0 if there was none.
    pub(crate) fn finish(mut self) -> Result<u64> {
        self.flush()?;
        Ok(self.last_seq)
    }
}

fn seal_slot(
    core: &Core,
    key: &SegmentKey,
    slot: u32,
    group_nonce: u64,
    content: Content,
    plain: &[u8; SLOT_LEN],
) -> Result<([u8; 16], Vec<u8>)> {
    let mut sealed = core.log.buffer(SLOT_LEN);
    let aad = core.identity(key.seq, slot, content).aad();
    let tag = key.aead.seal(&nonce(slot, group_nonce), &aad, plain, &mut sealed).map_err(|e| {
        Error::new(ErrorKind::Internal, "seal slot", content.to_string()).with_source(e)
    })?;
    Ok((tag, sealed))
}

impl Core {
    /// Writes a complete maintenance group as the next one in the log.
    fn write_solo(&self, mut group: Group) -> Result<u64> {
        let mut state = self.log.acquire();
        let (seq, previous) = (state.next_seq, state.chain);
        if let Some(open) = &mut state.place(group.kind).open {
            open.next_slot += group.slots();
        }
        drop(state);
        let written = match self.check_alive("append") {
            Ok(()) => self.write_group(&mut group, seq, previous),
            Err(error) => Err(error),
        };
        for (_, buffer) in group.parts.drain(..) {
            self.log.recycle(buffer);
        }
        let mut state = self.log.lock();
        if let Ok(tag) = &written {
            state.next_seq = seq + 1;
            state.chain = *tag;
        }
        state.busy = false;
        drop(state);
        self.log.notify();
        if let Some((offset, len)) = group.writeback {
            self.storage.start_writeback(offset, len);
        }
        written.map(|_| seq)
    }

    /// Appends a group that proves what is durable.
    pub(crate) fn write_stamp(&self) -> Result<u64> {
        let mut batch = Batch::new(self, SegmentKind::Meta);
        batch.start()?;
        if let Some(group) = &mut batch.group {
            group.records.push(Record::bare(RecordKind::Stamp));
        }
        batch.finish()
    }

    /// The segment of an entry's address, if it has one.
    pub(crate) fn segment_of(&self, entry: &Entry) -> Option<SegmentIndex> {
        self.geometry.locate(entry.phys()).map(|(segment, _)| segment)
    }
}
