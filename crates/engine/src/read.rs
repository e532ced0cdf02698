//! Reading blocks: entries, then adjacent slots in one read, opened in the caller's buffer.
//!
//! # Why no read epoch is needed
//! A segment can be released and reused between a reader's lookup and its read. The slot then holds
//! bytes of another key, segment sequence or LBA, and the tag does not verify. The reader looks up
//! again: if the entry has changed, it reads the new place; if it has not, the block is damaged. A
//! block's segment is released only after its entry has changed, so a live block is never missed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sealvol_core::{BLOCK_LEN, Hot, Result};
use sealvol_format::{Entry, EntryState, FANOUT, Phys};

use crate::core::{Content, Core};
use crate::index::split;

/// Most bytes read at once: they stay in the second-level cache until they are opened.
const CHUNK_BLOCKS: usize = 32;
/// Lookups of one block before a bad tag is believed, entry changes or not.
const MAX_RETRIES: u32 = 1000;

/// Requests longer than this are read ahead as wholes.
const READ_AHEAD_MIN: usize = 128 << 10;
/// Blocks that are read ahead of a sequential reader, at least.
const WINDOW_BLOCKS: u64 = 512;
/// Sequential readers that are told apart.
const SEQUENCES: usize = 8;

/// Where recent large reads ended.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    ends: [AtomicU64; SEQUENCES],
    next: AtomicUsize,
}

impl Sequences {
    /// Notes a read of `[start, end)`. Tells whether it goes on where another one ended.
    fn note(&self, start: u64, end: u64) -> bool {
        for place in &self.ends {
            // No read that starts at block 0 goes on from anything.
            if start != 0 && place.load(Ordering::Relaxed) == start {
                place.store(end, Ordering::Relaxed);
                return true;
            }
        }
        let at = self.next.fetch_add(1, Ordering::Relaxed) % SEQUENCES;
        if let Some(place) = self.ends.get(at) {
            place.store(end, Ordering::Relaxed);
        }
        false
    }
}

/// The entries of a few blocks, without allocating for small requests.
const STACK_ENTRIES: usize = FANOUT;

impl Core {
    /// Reads whole blocks into `buf`.
    pub(crate) fn read_blocks(&self, lba: u64, buf: &mut [u8], hot: bool) -> Result<Hot> {
        let mut entries = [Entry::INHERIT; STACK_ENTRIES];
        if !hot && buf.len() > READ_AHEAD_MIN {
            self.read_ahead(lba, (buf.len() / BLOCK_LEN) as u64)?;
        }
        let mut rest = buf;
        let mut at = lba;
        while !rest.is_empty() {
            let (leaf, slot) = split(at);
            let blocks = (rest.len() / BLOCK_LEN).min(FANOUT - slot);
            let (part, after) = rest.split_at_mut(blocks * BLOCK_LEN);
            let found = entries.get_mut(..blocks).unwrap_or_default();
            if !self.lookup_leaf(leaf, slot, found, hot)? {
                return Ok(Hot::WouldBlock);
            }
            if self.read_entries(at, found, part, hot)? == Hot::WouldBlock {
                return Ok(Hot::WouldBlock);
            }
            at += blocks as u64;
            rest = after;
        }
        Ok(Hot::Done)
    }

    /// Has a large request's blocks read ahead together, if they are not in memory: opening the first
    /// of them then overlaps with reading the others. A request that goes on where another one ended
    /// is one of a sequence: then what follows it is read ahead, too.
    fn read_ahead(&self, lba: u64, blocks: u64) -> Result<()> {
        let end = lba + blocks;
        let (from, until) = if self.sequences.note(lba, end) {
            (end, end + blocks.max(WINDOW_BLOCKS))
        } else {
            (lba, end)
        };
        let until = until.min(self.logical_blocks);
        // The last block that is wanted tells, by one byte, whether all of it is in memory.
        let last = self.lookup(until.saturating_sub(1))?;
        let mut probe = [0; 1];
        let known = from >= until
            || last.state() != EntryState::Data
            || self.storage.read_at_nowait(last.phys().offset(), &mut probe)?;
        if known { Ok(()) } else { self.prefetch_blocks(from, until) }
    }

    /// Asks for the slots of `[lba, end)`, neighbours together.
    pub(crate) fn prefetch_blocks(&self, lba: u64, end: u64) -> Result<()> {
        let mut entries = [Entry::INHERIT; STACK_ENTRIES];
        let mut run: Option<(u64, u64)> = None;
        let mut at = lba;
        while at < end {
            let (leaf, slot) = split(at);
            let count = usize::try_from(end - at).unwrap_or(FANOUT).min(FANOUT - slot);
            let found = entries.get_mut(..count).unwrap_or_default();
            self.lookup_leaf(leaf, slot, found, false)?;
            for entry in found.iter().filter(|entry| entry.state() == EntryState::Data) {
                let slot = entry.phys().0;
                run = match run {
                    // The commit slot between two groups is no reason to ask twice.
                    Some((first, next)) if (next..=next + 1).contains(&slot) => {
                        Some((first, slot + 1))
                    }
                    before => {
                        self.prefetch_slots(before);
                        Some((slot, slot + 1))
                    }
                };
            }
            at += count as u64;
        }
        self.prefetch_slots(run);
        Ok(())
    }

    fn prefetch_slots(&self, run: Option<(u64, u64)>) {
        if let Some((first, next)) = run {
            self.storage.prefetch(Phys(first).offset(), Phys(next).offset() - Phys(first).offset());
        }
    }

    pub(crate) fn read_entries(
        &self,
        lba: u64,
        entries: &[Entry],
        buf: &mut [u8],
        hot: bool,
    ) -> Result<Hot> {
        if !hot && (2..=READ_AHEAD_MIN / BLOCK_LEN).contains(&entries.len()) {
            self.prefetch_scattered(entries);
        }
        let mut rest = buf;
        let mut at = 0;
        while let Some(first) = entries.get(at) {
            let run = run_len(entries.get(at..).unwrap_or_default());
            let (part, after) = rest.split_at_mut(run * BLOCK_LEN);
            rest = after;
            let run_lba = lba + at as u64;
            let run_entries = entries.get(at..at + run).unwrap_or_default();
            at += run;
            if first.state() != EntryState::Data {
                part.fill(0);
                continue;
            }
            match self.read_run(run_lba, run_entries, part, hot) {
                Ok(Hot::Done) => {}
                Ok(Hot::WouldBlock) => return Ok(Hot::WouldBlock),
                Err(_) => {
                    // Damage, or a race with reuse: block by block, with a fresh lookup each.
                    for ((entry, block), lba) in
                        run_entries.iter().zip(part.chunks_exact_mut(BLOCK_LEN)).zip(run_lba..)
                    {
                        self.reread_block(lba, *entry, block)?;
                    }
                }
            }
        }
        Ok(Hot::Done)
    }

    /// Scattered blocks are read ahead together, so that a cold request waits once, not once a block.
    fn prefetch_scattered(&self, entries: &[Entry]) {
        let mut at = run_len(entries);
        if at == entries.len() {
            return;
        }
        while let Some(entry) = entries.get(at) {
            let run = run_len(entries.get(at..).unwrap_or_default());
            if entry.state() == EntryState::Data {
                self.storage.prefetch(entry.phys().offset(), (run * BLOCK_LEN) as u64);
            }
            at += run;
        }
    }

    /// Reads adjacent slots of one segment.
    fn read_run(&self, lba: u64, entries: &[Entry], buf: &mut [u8], hot: bool) -> Result<Hot> {
        let Some(first) = entries.first() else { return Ok(Hot::Done) };
        let (segment, slot) = self.locate(first.phys(), Content::block(lba))?;
        let Some(key) = self.segment_key(segment, hot)? else { return Ok(Hot::WouldBlock) };
        let mut offset = first.phys().offset();
        let mut slot = slot;
        let mut lba = lba;
        for (entries, part) in
            entries.chunks(CHUNK_BLOCKS).zip(buf.chunks_mut(CHUNK_BLOCKS * BLOCK_LEN))
        {
            if hot {
                if !self.storage.read_at_nowait(offset, part)? {
                    return Ok(Hot::WouldBlock);
                }
            } else {
                self.storage.read_at(offset, part)?;
            }
            offset += part.len() as u64;
            for (entry, block) in entries.iter().zip(part.chunks_exact_mut(BLOCK_LEN)) {
                self.open_slot(&key, slot, Content::block(lba), entry, block)?;
                slot += 1;
                lba += 1;
            }
        }
        Ok(Hot::Done)
    }

    /// Reads one block that did not open, until it opens or its entry stands still.
    fn reread_block(&self, lba: u64, mut entry: Entry, block: &mut [u8]) -> Result<()> {
        for _ in 0..MAX_RETRIES {
            let now = self.lookup(lba)?;
            let outcome = if now.state() == EntryState::Data {
                self.read_slot(&now, Content::block(lba), block, false).map(drop)
            } else {
                block.fill(0);
                Ok(())
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) if now == entry => {
                    block.fill(0);
                    self.counters.integrity_errors.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(volume = %self.volume, lba, error = ?error, "block lost");
                    return Err(error);
                }
                Err(_) => entry = now,
            }
        }
        block.fill(0);
        Err(sealvol_core::Error::new(
            sealvol_core::ErrorKind::Retry,
            "read",
            format!("LBA {lba} kept changing while it was being read"),
        ))
    }
}

/// How many leading entries can be read at once: adjacent data, or entries without data.
fn run_len(entries: &[Entry]) -> usize {
    let Some(first) = entries.first() else { return 0 };
    let data = first.state() == EntryState::Data;
    let same = entries.iter().zip(0_u64..).take_while(|(entry, at)| {
        if data {
            entry.state() == EntryState::Data && entry.phys().0 == first.phys().0 + at
        } else {
            entry.state() != EntryState::Data
        }
    });
    same.count().max(1)
}
