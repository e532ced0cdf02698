//! The [`BlockDevice`] of an open volume.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use sealvol_core::{
    BLOCK_LEN, BLOCK_LEN_U64, BlockDevice, ByteLen, DeviceInfo, Error, ErrorKind, Extent,
    ExtentKind, Hot, Result, WriteFlags, WriteRequest, ZeroFlags,
};
use sealvol_format::{EntryState, FANOUT};

use crate::append::{ATOMIC_BLOCKS, Piece};
use crate::core::{Content, Core};
use crate::engine::Engine;
use crate::index::split;
use crate::log::condition;

/// Leaves of a range below which extents are looked up leaf by leaf.
const SMALL_RANGE_LEAVES: u64 = 64;
/// Most attempts of one read-modify-write under contention for one block.
const MAX_ATTEMPTS: u32 = 10_000;

impl BlockDevice for Engine {
    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            len: ByteLen(self.core.logical_blocks * BLOCK_LEN_U64),
            read_only: self.core.read_only,
            preferred_block_len: 4096,
        }
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.core.read_bytes(&self.info(), offset, buf, false).map(drop)
    }

    fn read_hot(&self, offset: u64, buf: &mut [u8]) -> Result<Hot> {
        self.core.read_bytes(&self.info(), offset, buf, true)
    }

    fn write(&self, offset: u64, data: &[u8], flags: WriteFlags) -> Result<()> {
        let info = self.info();
        if let Some(lba) = self.core.as_one_piece(offset, data) {
            self.core.check_writable("write")?;
            info.check_range("write", offset, data.len() as u64)?;
            self.core.write_piece(Piece::Blocks { lba, data })?;
            return if flags.fua { self.core.sync_all() } else { Ok(()) };
        }
        self.core.write_many(&info, &[WriteRequest { offset, data, flags }]).remove(0)
    }

    fn write_batch(&self, batch: &[WriteRequest<'_>]) -> Vec<Result<()>> {
        self.core.write_many(&self.info(), batch)
    }

    fn flush(&self) -> Result<()> {
        if self.core.read_only {
            return Ok(());
        }
        self.core.check_alive("flush")?;
        self.core.counters.flushes.fetch_add(1, Ordering::Relaxed);
        self.core.sync_all()
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.core.zero_bytes(&self.info(), "discard", offset, len)
    }

    fn write_zeroes(&self, offset: u64, len: u64, flags: ZeroFlags) -> Result<()> {
        self.core.zero_bytes(&self.info(), "write zeroes", offset, len)?;
        if flags.fua { self.flush() } else { Ok(()) }
    }

    fn extents(&self, offset: u64, len: u64, max_extents: usize) -> Result<Vec<Extent>> {
        self.info().check_range("list extents", offset, len)?;
        self.core.list_extents(offset, len, max_extents)
    }

    fn prefetch(&self, offset: u64, len: u64) -> Result<()> {
        self.info().check_range("prefetch", offset, len)?;
        self.core.prefetch_bytes(offset, len)
    }
}

/// The first and last block of a byte range, which is not empty.
fn blocks_of(offset: u64, len: u64) -> (u64, u64) {
    (offset / BLOCK_LEN_U64, (offset + len - 1) / BLOCK_LEN_U64)
}

fn to_index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl Core {
    fn read_bytes(&self, info: &DeviceInfo, offset: u64, buf: &mut [u8], hot: bool) -> Result<Hot> {
        info.check_range("read", offset, buf.len() as u64)?;
        if buf.is_empty() {
            return Ok(Hot::Done);
        }
        let outcome = self.read_range(offset, buf, hot);
        match &outcome {
            Ok(Hot::Done) => {
                let blocks = (buf.len() as u64).div_ceil(BLOCK_LEN_U64);
                self.counters.blocks_read.fetch_add(blocks, Ordering::Relaxed);
            }
            Ok(Hot::WouldBlock) => {}
            // Nothing of a failed request is handed out.
            Err(_) => buf.fill(0),
        }
        outcome
    }

    fn read_range(&self, offset: u64, buf: &mut [u8], hot: bool) -> Result<Hot> {
        let head = to_index(offset % BLOCK_LEN_U64);
        if head == 0 && buf.len().is_multiple_of(BLOCK_LEN) {
            return self.read_blocks(offset / BLOCK_LEN_U64, buf, hot);
        }
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let within = to_index(at % BLOCK_LEN_U64);
            if within == 0 && rest.len() >= BLOCK_LEN {
                let whole = rest.len() - rest.len() % BLOCK_LEN;
                let (part, after) = rest.split_at_mut(whole);
                if self.read_blocks(at / BLOCK_LEN_U64, part, hot)? == Hot::WouldBlock {
                    return Ok(Hot::WouldBlock);
                }
                at += whole as u64;
                rest = after;
                continue;
            }
            let count = (BLOCK_LEN - within).min(rest.len());
            let (part, after) = rest.split_at_mut(count);
            let mut block = [0; BLOCK_LEN];
            if self.read_blocks(at / BLOCK_LEN_U64, &mut block, hot)? == Hot::WouldBlock {
                return Ok(Hot::WouldBlock);
            }
            part.copy_from_slice(block.get(within..within + count).unwrap_or_default());
            at += count as u64;
            rest = after;
        }
        Ok(Hot::Done)
    }

    /// The first block of a request that is one piece: the usual one, which needs no lists.
    fn as_one_piece(&self, offset: u64, data: &[u8]) -> Option<u64> {
        let most = ATOMIC_BLOCKS.min(self.geometry.slots_per_segment() - 2) as usize * BLOCK_LEN;
        let aligned = offset.is_multiple_of(BLOCK_LEN_U64) && data.len().is_multiple_of(BLOCK_LEN);
        (aligned && !data.is_empty() && data.len() <= most).then_some(offset / BLOCK_LEN_U64)
    }

    fn write_piece(&self, piece: Piece<'_>) -> Result<()> {
        let blocks = u64::from(piece.slots());
        let _admission = self.admit(blocks + 1)?;
        self.append(&[piece], self.snapshot_generation(), &mut 0)?;
        self.counters.blocks_written.fetch_add(blocks, Ordering::Relaxed);
        Ok(())
    }

    /// Writes requests in order. Runs of whole blocks of all requests share groups.
    fn write_many(&self, info: &DeviceInfo, batch: &[WriteRequest<'_>]) -> Vec<Result<()>> {
        let mut results: Vec<Result<()>> = Vec::with_capacity(batch.len());
        let mut pieces = Vec::new();
        // Pieces of each queued request: (index in the batch, pieces so far).
        let mut queued: Vec<(usize, usize)> = Vec::new();
        let mut blocks = 0;
        for (at, request) in batch.iter().enumerate() {
            let len = request.data.len() as u64;
            let checked = self
                .check_writable("write")
                .and_then(|()| info.check_range("write", request.offset, len));
            let aligned =
                request.offset.is_multiple_of(BLOCK_LEN_U64) && len.is_multiple_of(BLOCK_LEN_U64);
            results.push(checked);
            if results.last().is_some_and(Result::is_err) || len == 0 {
                continue;
            }
            if aligned {
                pieces.extend(self.split_blocks(request.offset / BLOCK_LEN_U64, request.data));
                blocks += len / BLOCK_LEN_U64;
                queued.push((at, pieces.len()));
            } else {
                // In order: what is queued first, then the unaligned request by itself.
                self.append_queued(&mut pieces, &mut queued, &mut blocks, &mut results);
                let outcome = self.write_unaligned(request.offset, request.data);
                if let Some(result) = results.get_mut(at) {
                    *result = outcome;
                }
            }
        }
        self.append_queued(&mut pieces, &mut queued, &mut blocks, &mut results);
        let fua = batch.iter().zip(&results).any(|(w, r)| w.flags.fua && r.is_ok());
        if fua && let Err(error) = self.sync_all() {
            for (request, result) in batch.iter().zip(&mut results) {
                if request.flags.fua && result.is_ok() {
                    *result = Err(error.duplicate());
                }
            }
        }
        results
    }

    fn append_queued(
        &self,
        pieces: &mut Vec<Piece<'_>>,
        queued: &mut Vec<(usize, usize)>,
        blocks: &mut u64,
        results: &mut [Result<()>],
    ) {
        if pieces.is_empty() {
            return;
        }
        let mut done = 0;
        let outcome = self.append_admitted(pieces, &mut done);
        match outcome {
            Ok(()) => {
                self.counters.blocks_written.fetch_add(*blocks, Ordering::Relaxed);
            }
            Err(error) => {
                for (at, upto) in queued.iter() {
                    if *upto > done
                        && let Some(result) = results.get_mut(*at)
                    {
                        *result = Err(error.duplicate());
                    }
                }
            }
        }
        pieces.clear();
        queued.clear();
        *blocks = 0;
    }

    /// Appends pieces part by part, so that space is made for each part and not for all at once.
    fn append_admitted(&self, pieces: &[Piece<'_>], done: &mut usize) -> Result<()> {
        let most = self.admission_blocks();
        let mut rest = pieces;
        while !rest.is_empty() {
            let (mut slots, mut count) = (0, 0);
            for piece in rest {
                // In the worst case each piece has a group to itself.
                slots += u64::from(piece.slots()) + 1;
                count += 1;
                if slots >= most {
                    break;
                }
            }
            let (part, after) = rest.split_at(count);
            let _admission = self.admit(slots)?;
            self.append(part, self.snapshot_generation(), done)?;
            rest = after;
        }
        Ok(())
    }

    /// Writes a range that does not begin or end at a block.
    fn write_unaligned(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let within = to_index(at % BLOCK_LEN_U64);
            let lba = at / BLOCK_LEN_U64;
            if within == 0 && rest.len() >= BLOCK_LEN {
                let (part, after) = rest.split_at(rest.len() - rest.len() % BLOCK_LEN);
                let blocks = (part.len() / BLOCK_LEN) as u64;
                let pieces: Vec<Piece<'_>> = self.split_blocks(lba, part).collect();
                self.append_admitted(&pieces, &mut 0)?;
                self.counters.blocks_written.fetch_add(blocks, Ordering::Relaxed);
                at += part.len() as u64;
                rest = after;
                continue;
            }
            let (part, after) = rest.split_at((BLOCK_LEN - within).min(rest.len()));
            self.modify_block(lba, |block| {
                if let Some(place) = block.get_mut(within..within + part.len()) {
                    place.copy_from_slice(part);
                }
            })?;
            at += part.len() as u64;
            rest = after;
        }
        Ok(())
    }

    /// Read-modify-write of one block: the write applies only if the block has not changed since it
    /// was read; else it starts again.
    fn modify_block(&self, lba: u64, change: impl Fn(&mut [u8; BLOCK_LEN])) -> Result<()> {
        for _ in 0..MAX_ATTEMPTS {
            // Before the gate: reclaiming needs the gate itself.
            let _admission = self.admit(2)?;
            let gate = self.reuse_gate.read();
            let entry = self.lookup(lba)?;
            let mut block = [0; BLOCK_LEN];
            if entry.state() == EntryState::Data {
                self.read_slot(&entry, Content::block(lba), &mut block, false).inspect_err(
                    |_| {
                        self.counters.integrity_errors.fetch_add(1, Ordering::Relaxed);
                    },
                )?;
            }
            change(&mut block);
            let outcome = Arc::new(AtomicU8::new(condition::PENDING));
            let piece = Piece::Replace {
                lba,
                old: entry.phys(),
                data: &block,
                outcome: Arc::clone(&outcome),
            };
            self.append(&[piece], self.snapshot_generation(), &mut 0)?;
            drop(gate);
            if outcome.load(Ordering::Acquire) == condition::APPLIED {
                self.counters.blocks_written.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
        Err(Error::new(
            ErrorKind::Retry,
            "write",
            format!("LBA {lba} kept changing under a partial write"),
        ))
    }

    /// Makes a byte range read as zeros: whole blocks by records, the ends by read-modify-write.
    fn zero_bytes(&self, info: &DeviceInfo, op: &'static str, offset: u64, len: u64) -> Result<()> {
        self.check_writable(op)?;
        info.check_range(op, offset, len)?;
        let end = offset + len;
        let first = offset.next_multiple_of(BLOCK_LEN_U64);
        let last = end - end % BLOCK_LEN_U64;
        if first > last {
            // Inside one block.
            return self.zero_part(offset, end);
        }
        if offset < first {
            self.zero_part(offset, first)?;
        }
        if first < last {
            let blocks = (last - first) / BLOCK_LEN_U64;
            self.admit_discard()?;
            let piece = Piece::Zeros { lba: first / BLOCK_LEN_U64, blocks };
            self.append(&[piece], self.snapshot_generation(), &mut 0)?;
            self.counters.blocks_zeroed.fetch_add(blocks, Ordering::Relaxed);
        }
        if last < end {
            self.zero_part(last, end)?;
        }
        Ok(())
    }

    fn zero_part(&self, start: u64, end: u64) -> Result<()> {
        if start == end {
            return Ok(());
        }
        let lba = start / BLOCK_LEN_U64;
        if self.lookup(lba)?.state() != EntryState::Data {
            return Ok(());
        }
        let base = lba * BLOCK_LEN_U64;
        let (from, to) = (to_index(start - base), to_index(end - base));
        self.modify_block(lba, |block| block.get_mut(from..to).unwrap_or_default().fill(0))
    }

    fn list_extents(&self, offset: u64, len: u64, max_extents: usize) -> Result<Vec<Extent>> {
        let mut runs =
            Runs { out: Vec::new(), most: max_extents.max(1), from: offset, to: offset + len };
        if len == 0 {
            return Ok(runs.out);
        }
        let (first, last) = blocks_of(offset, len);
        let fan = FANOUT as u64;
        let (first_leaf, last_leaf) = (first / fan, last / fan);
        let delta = if last_leaf - first_leaf <= SMALL_RANGE_LEAVES {
            (first_leaf..=last_leaf).collect()
        } else {
            self.index.delta_leaves_in(first_leaf, last_leaf)
        };
        let mut entries = [sealvol_format::Entry::INHERIT; FANOUT];
        let mut lba = first;
        while lba <= last {
            let (leaf, slot) = split(lba);
            let next_delta = delta.get(delta.partition_point(|l| *l < leaf)).copied();
            let mut by_leaf = next_delta == Some(leaf);
            if !by_leaf {
                let until = next_delta.map_or(last + 1, |l| l * fan).min(last + 1);
                let range = self.index.range_at_or_after(lba).filter(|range| range.start < until);
                match range {
                    Some(range) if range.start <= lba => {
                        let end = range.end.min(until);
                        if !runs.push(lba, end, false) {
                            return Ok(runs.out);
                        }
                        lba = end;
                        continue;
                    }
                    range => {
                        let until = range.map_or(until, |range| range.start);
                        match self.uniform_run(lba)? {
                            (Some(_), end) => {
                                let end = end.min(until);
                                if !runs.push(lba, end, false) {
                                    return Ok(runs.out);
                                }
                                lba = end;
                                continue;
                            }
                            (None, _) => by_leaf = true,
                        }
                    }
                }
            }
            debug_assert!(by_leaf);
            let count = to_index((last + 1 - lba).min((FANOUT - slot) as u64));
            let found = entries.get_mut(..count).unwrap_or_default();
            self.lookup_leaf(leaf, slot, found, false)?;
            for (entry, at) in found.iter().zip(lba..) {
                if !runs.push(at, at + 1, entry.state() == EntryState::Data) {
                    return Ok(runs.out);
                }
            }
            lba += count as u64;
        }
        Ok(runs.out)
    }

    fn prefetch_bytes(&self, offset: u64, len: u64) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let (first, last) = blocks_of(offset, len);
        self.prefetch_blocks(first, last + 1)
    }
}

/// Collects extents, clipped to the asked range.
struct Runs {
    out: Vec<Extent>,
    most: usize,
    from: u64,
    to: u64,
}

impl Runs {
    /// Adds blocks `[lba, end)`; `false` when the list is full.
    fn push(&mut self, lba: u64, end: u64, data: bool) -> bool {
        let kind = if data { ExtentKind::Data } else { ExtentKind::Hole };
        let start = (lba * BLOCK_LEN_U64).max(self.from);
        let end = (end * BLOCK_LEN_U64).min(self.to);
        if start >= end {
            return true;
        }
        let full = self.out.len() == self.most;
        match self.out.last_mut() {
            Some(run) if run.kind == kind => run.len += end - start,
            _ if full => return false,
            _ => self.out.push(Extent { offset: start, len: end - start, kind }),
        }
        true
    }
}
