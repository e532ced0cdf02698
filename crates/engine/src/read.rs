//! Reading blocks: entries, then adjacent slots in one read, opened in the caller's buffer.
//!
//! # Why no read epoch is needed
//! A segment can be released and reused between a reader's lookup and its read. The slot then holds
//! bytes of another key, segment sequence or LBA, and the tag does not verify. The reader looks up
//! again: if the entry has changed, it reads the new place; if it has not, the block is damaged. A
//! block's segment is released only after its entry has changed, so a live block is never missed.

use std::io::IoSliceMut;
use std::sync::atomic::Ordering;

use sealvol_core::{BLOCK_LEN, Hot, Result};
use sealvol_format::{Entry, EntryState, FANOUT, Phys};

use crate::core::{Content, Core};
use crate::index::split;

/// Most bytes read at once: they stay in the second-level cache until they are opened.
const CHUNK_BLOCKS: usize = 32;
/// Lookups of one block before a bad tag is believed, entry changes or not.
const MAX_RETRIES: u32 = 1000;

/// Least bytes that are worth another core's attention.
const SHARED_MIN: usize = 128 << 10;
/// Blocks of a cold request that are looked up together.
const WINDOW_BLOCKS: usize = 1024;
/// Most blocks that are read by one call, and most gaps between them.
const CHUNK_MAX: usize = 64;
const CHUNK_GAPS: usize = 8;

/// Blocks of a cold request that are read together: all without data, or in nearly adjacent slots.
struct Chunk<'a> {
    lba: u64,
    entries: &'a [Entry],
    buf: &'a mut [u8],
    is_read: bool,
}

impl Chunk<'_> {
    /// Whether `b` can follow `a` in a chunk: no data either, or at most a commit slot further on.
    fn goes_on(a: &Entry, b: &Entry) -> bool {
        match (a.state() == EntryState::Data, b.state() == EntryState::Data) {
            (true, true) => (1..=2).contains(&b.phys().0.wrapping_sub(a.phys().0)),
            (a, b) => a == b,
        }
    }

    /// The longest chunk that `entries` begin with.
    fn leading(entries: &[Entry]) -> &[Entry] {
        let mut gaps = 0;
        let mut count = 1;
        for (a, b) in entries.iter().zip(entries.iter().skip(1)).take(CHUNK_MAX - 1) {
            gaps += usize::from(b.phys().0 != a.phys().0.wrapping_add(1));
            let is_data = a.state() == EntryState::Data;
            if !Self::goes_on(a, b) || (is_data && gaps > CHUNK_GAPS) {
                break;
            }
            count += 1;
        }
        entries.get(..count).unwrap_or(entries)
    }
}

/// The entries of a few blocks, without allocating for small requests.
const STACK_ENTRIES: usize = FANOUT;

impl Core {
    /// Reads whole blocks into `buf`.
    pub(crate) fn read_blocks(&self, lba: u64, buf: &mut [u8], hot: bool) -> Result<Hot> {
        match buf.len() {
            0..=BLOCK_LEN => self.read_one(lba, buf, hot),
            len if len < 2 * SHARED_MIN => self.read_leaves(lba, buf, hot),
            _ => self.read_large(lba, buf, hot),
        }
    }

    /// One block: most requests are.
    fn read_one(&self, lba: u64, buf: &mut [u8], hot: bool) -> Result<Hot> {
        let (leaf, slot) = split(lba);
        let mut found = [Entry::INHERIT];
        if !self.lookup_leaf(leaf, slot, &mut found, hot)? {
            return Ok(Hot::WouldBlock);
        }
        let [entry] = found;
        if entry.state() != EntryState::Data {
            buf.fill(0);
            return Ok(Hot::Done);
        }
        match self.read_slot(&entry, Content::block(lba), buf, hot) {
            Ok(true) => Ok(Hot::Done),
            Ok(false) => Ok(Hot::WouldBlock),
            // Damage, or a race with reuse.
            Err(_) => self.reread_block(lba, entry, buf).map(|()| Hot::Done),
        }
    }

    /// A long request. For a caller that does not want to wait for the disk, it is read and opened in
    /// halves, on two cores. For one that does, it is read in order: the host then reads ahead while
    /// it is opened, and neither waits for another core.
    fn read_large(&self, lba: u64, buf: &mut [u8], hot: bool) -> Result<Hot> {
        if !hot {
            return self.read_in_order(lba, buf);
        }
        // Nothing is spawned for what is not in memory.
        let (first, rest) = buf.split_at_mut(SHARED_MIN);
        match self.read_leaves(lba, first, true)? {
            Hot::WouldBlock => Ok(Hot::WouldBlock),
            Hot::Done => self.read_halves(lba + (first.len() / BLOCK_LEN) as u64, rest),
        }
    }

    fn read_halves(&self, lba: u64, buf: &mut [u8]) -> Result<Hot> {
        if !self.shares || buf.len() < 2 * SHARED_MIN {
            return self.read_leaves(lba, buf, true);
        }
        let blocks = buf.len() / BLOCK_LEN / 2;
        let (front, back) = buf.split_at_mut(blocks * BLOCK_LEN);
        let mut other = Ok(Hot::Done);
        let own = rayon::in_place_scope(|scope| {
            scope.spawn(|_| other = self.read_halves(lba + blocks as u64, back));
            self.read_halves(lba, front)
        });
        Ok(if (own?, other?) == (Hot::Done, Hot::Done) { Hot::Done } else { Hot::WouldBlock })
    }

    /// Reads in order, chunk by chunk.
    fn read_in_order(&self, lba: u64, buf: &mut [u8]) -> Result<Hot> {
        let mut at = lba;
        let mut window = Vec::new();
        for part in buf.chunks_mut(WINDOW_BLOCKS * BLOCK_LEN) {
            window.clear();
            window.resize(part.len() / BLOCK_LEN, Entry::INHERIT);
            self.look_up(at, &mut window)?;
            self.read_window(at, &window, part)?;
            at += window.len() as u64;
        }
        Ok(Hot::Done)
    }

    fn look_up(&self, lba: u64, out: &mut [Entry]) -> Result<()> {
        let mut at = lba;
        let mut rest = out;
        while !rest.is_empty() {
            let (leaf, slot) = split(at);
            let count = rest.len().min(FANOUT - slot);
            let (part, after) = rest.split_at_mut(count);
            self.lookup_leaf(leaf, slot, part, false)?;
            at += count as u64;
            rest = after;
        }
        Ok(())
    }

    fn read_window(&self, lba: u64, entries: &[Entry], buf: &mut [u8]) -> Result<()> {
        if entries.chunk_by(Chunk::goes_on).count() > entries.len() / 8 {
            self.prefetch_scattered(entries);
        }
        let mut rest = buf;
        let mut at = 0;
        while at < entries.len() {
            let entries = Chunk::leading(entries.get(at..).unwrap_or_default());
            let (buf, after) = rest.split_at_mut(entries.len() * BLOCK_LEN);
            rest = after;
            let mut chunk = Chunk { lba: lba + at as u64, entries, buf, is_read: false };
            at += entries.len();
            chunk.is_read = self.read_chunk(&mut chunk);
            self.open_chunk(&mut chunk)?;
        }
        Ok(())
    }

    /// Reads a chunk's ciphertext; `false`: it could not be, or need not be.
    fn read_chunk(&self, chunk: &mut Chunk<'_>) -> bool {
        let Some(first) = chunk.entries.first().filter(|e| e.state() == EntryState::Data) else {
            return false;
        };
        // The commit slots in between are read with the rest: one call, and the host sees that the
        // file is read in order.
        let mut gaps = [[0; BLOCK_LEN]; CHUNK_GAPS];
        let mut gaps = gaps.iter_mut();
        let mut slices = Vec::with_capacity(2 * CHUNK_GAPS + 1);
        let mut rest = &mut *chunk.buf;
        for run in chunk.entries.chunk_by(|a, b| a.phys().0 + 1 == b.phys().0) {
            let (part, after) = rest.split_at_mut(run.len() * BLOCK_LEN);
            rest = after;
            if !slices.is_empty() {
                let Some(gap) = gaps.next() else { return false };
                slices.push(IoSliceMut::new(gap));
            }
            slices.push(IoSliceMut::new(part));
        }
        self.storage.read_vectored_at(first.phys().offset(), &mut slices).is_ok()
    }

    /// Opens what [`read_chunk`](Self::read_chunk) read; block by block with fresh lookups where
    /// that, or the reading, fails.
    fn open_chunk(&self, chunk: &mut Chunk<'_>) -> Result<()> {
        if chunk.entries.first().is_some_and(|entry| entry.state() != EntryState::Data) {
            chunk.buf.fill(0);
            return Ok(());
        }
        if chunk.is_read && self.open_read_chunk(chunk).is_ok() {
            return Ok(());
        }
        for ((entry, block), lba) in
            chunk.entries.iter().zip(chunk.buf.chunks_exact_mut(BLOCK_LEN)).zip(chunk.lba..)
        {
            self.reread_block(lba, *entry, block)?;
        }
        Ok(())
    }

    fn open_read_chunk(&self, chunk: &mut Chunk<'_>) -> Result<()> {
        let blocks = chunk.entries.iter().zip(chunk.buf.chunks_exact_mut(BLOCK_LEN));
        let mut key = None;
        for ((entry, block), lba) in blocks.zip(chunk.lba..) {
            let content = Content::block(lba);
            let (segment, slot) = self.locate(entry.phys(), content)?;
            if key.as_ref().is_none_or(|(of, _)| *of != segment) {
                key = self.segment_key(segment, false)?.map(|found| (segment, found));
            }
            let Some((_, key)) = &key else { continue };
            self.open_slot(key, slot, content, entry, block)?;
        }
        Ok(())
    }

    fn read_leaves(&self, lba: u64, buf: &mut [u8], hot: bool) -> Result<Hot> {
        let mut entries = [Entry::INHERIT; STACK_ENTRIES];
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
        if !hot && entries.len() > 1 {
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
