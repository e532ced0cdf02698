//! A disk's content as a persistent map of 4 KiB pages: sparse, copy-on-write, and cheap to clone,
//! because a crash test clones it once for every image it tries.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use sealvol_core::{BLOCK_LEN, BLOCK_LEN_U64};

/// Bytes that the medium writes whole or not at all.
pub(super) const SECTOR_LEN: usize = 512;
/// A bit for each sector of a page.
pub(super) type SectorMask = u8;
pub(super) const ALL_SECTORS: SectorMask = 0xff;
const SECTORS_PER_PAGE: u64 = 8;

/// Pages are reached through chunks of this many, so that a clone copies few pointers.
const CHUNK_PAGES: usize = 64;
const CHUNK_PAGES_U64: u64 = 64;

pub(super) type PageBytes = [u8; BLOCK_LEN];
static ZERO_PAGE: PageBytes = [0; BLOCK_LEN];

#[derive(Debug, Clone)]
struct Page {
    bytes: Arc<PageBytes>,
    /// Sectors that a write has touched, zeros included.
    written: SectorMask,
}

#[derive(Debug, Clone)]
struct Chunk {
    pages: [Option<Page>; CHUNK_PAGES],
}

/// The sectors of one page that one write replaced, and what the page held just after it.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) page: u64,
    pub(super) mask: SectorMask,
    pub(super) bytes: Arc<PageBytes>,
}

/// A sparse array of bytes, zero where nothing was written.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    chunks: BTreeMap<u64, Arc<Chunk>>,
}

/// Splits a page number into chunk number and place in the chunk.
fn place(page: u64) -> (u64, usize) {
    let index = usize::try_from(page % CHUNK_PAGES_U64).unwrap_or_default();
    (page / CHUNK_PAGES_U64, index)
}

/// Splits `[offset, offset + len)` at page boundaries: (page, range in the page).
fn split(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut at = offset;
    let mut left = len;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let start = usize::try_from(at % BLOCK_LEN_U64).unwrap_or_default();
        let count = left.min(BLOCK_LEN - start);
        let page = at / BLOCK_LEN_U64;
        at += count as u64;
        left -= count;
        Some((page, start..start + count))
    })
}

/// The sectors that a byte range of a page touches.
fn sectors(range: &Range<usize>) -> SectorMask {
    let first = range.start / SECTOR_LEN;
    let end = range.end.div_ceil(SECTOR_LEN);
    (first..end).fold(0, |mask, sector| mask | 1 << sector)
}

/// Copies the sectors of `mask`.
fn copy_sectors(target: &mut PageBytes, source: &PageBytes, mask: SectorMask) {
    let pairs = target.chunks_exact_mut(SECTOR_LEN).zip(source.chunks_exact(SECTOR_LEN));
    for (sector, (target, source)) in pairs.enumerate() {
        if mask & (1 << sector) != 0 {
            target.copy_from_slice(source);
        }
    }
}

impl Image {
    fn page(&self, page: u64) -> Option<&Page> {
        let (chunk, index) = place(page);
        self.chunks.get(&chunk)?.pages.get(index)?.as_ref()
    }

    /// Runs `f` on the place of a page, copying its chunk first if that is shared.
    fn with_slot(&mut self, page: u64, f: impl FnOnce(&mut Option<Page>)) {
        let (chunk, index) = place(page);
        let chunk = self
            .chunks
            .entry(chunk)
            .or_insert_with(|| Arc::new(Chunk { pages: [const { None }; CHUNK_PAGES] }));
        if let Some(slot) = Arc::make_mut(chunk).pages.get_mut(index) {
            f(slot);
        }
    }

    /// Fills `buf` from `offset`; zeros where there is nothing.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) {
        let mut rest = buf;
        for (page, range) in split(offset, rest.len()) {
            let (target, tail) = rest.split_at_mut(range.len());
            match self.page(page).and_then(|page| page.bytes.get(range)) {
                Some(source) => target.copy_from_slice(source),
                None => target.fill(0),
            }
            rest = tail;
        }
    }

    /// The pieces that writing `data` at `offset` would put.
    pub(super) fn compose(&self, offset: u64, data: &[u8]) -> Vec<Piece> {
        let mut rest = data;
        split(offset, data.len())
            .map(|(page, range)| {
                let (source, tail) = rest.split_at(range.len());
                rest = tail;
                let mask = sectors(&range);
                let mut bytes = match self.page(page) {
                    Some(old) if range.len() < BLOCK_LEN => *old.bytes,
                    _ => ZERO_PAGE,
                };
                if let Some(target) = bytes.get_mut(range) {
                    target.copy_from_slice(source);
                }
                Piece { page, mask, bytes: Arc::new(bytes) }
            })
            .collect()
    }

    /// Puts the sectors of `mask`, a part of the piece's own.
    pub(super) fn put(&mut self, piece: &Piece, mask: SectorMask) {
        let mask = mask & piece.mask;
        if mask == 0 {
            return;
        }
        self.with_slot(piece.page, |slot| match slot {
            Some(page) if mask != ALL_SECTORS => {
                copy_sectors(Arc::make_mut(&mut page.bytes), &piece.bytes, mask);
                page.written |= mask;
            }
            Some(page) => {
                page.bytes = Arc::clone(&piece.bytes);
                page.written = ALL_SECTORS;
            }
            None if mask == ALL_SECTORS => {
                *slot = Some(Page { bytes: Arc::clone(&piece.bytes), written: ALL_SECTORS });
            }
            None => {
                let mut bytes = ZERO_PAGE;
                copy_sectors(&mut bytes, &piece.bytes, mask);
                *slot = Some(Page { bytes: Arc::new(bytes), written: mask });
            }
        });
    }

    /// Writes `data` at `offset`.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        for piece in self.compose(offset, data) {
            self.put(&piece, ALL_SECTORS);
        }
    }

    /// Zeros the sectors of `mask` in a page, and forgets that they were written.
    pub(super) fn zero(&mut self, page: u64, mask: SectorMask) {
        if mask == 0 || self.page(page).is_none() {
            return;
        }
        self.with_slot(page, |slot| {
            if mask == ALL_SECTORS {
                *slot = None;
            } else if let Some(page) = slot {
                copy_sectors(Arc::make_mut(&mut page.bytes), &ZERO_PAGE, mask);
                page.written &= !mask;
            }
        });
    }

    /// The pages in `range` that hold something.
    pub(super) fn pages_in(&self, range: &Range<u64>) -> Vec<u64> {
        if range.is_empty() {
            return Vec::new();
        }
        let chunks = range.start / CHUNK_PAGES_U64..=(range.end - 1) / CHUNK_PAGES_U64;
        self.chunks
            .range(chunks)
            .flat_map(|(number, chunk)| {
                (number * CHUNK_PAGES_U64..)
                    .zip(&chunk.pages)
                    .filter_map(|(page, slot)| slot.as_ref().map(|_| page))
            })
            .filter(|page| range.contains(page))
            .collect()
    }

    /// Drops everything from byte `len` on.
    pub(super) fn truncate(&mut self, len: u64) {
        let boundary = len / BLOCK_LEN_U64;
        let kept_in_boundary = usize::try_from(len % BLOCK_LEN_U64).unwrap_or_default();
        let mut from = boundary;
        if kept_in_boundary > 0 {
            from += 1;
            if self.page(boundary).is_some() {
                self.with_slot(boundary, |slot| {
                    if let Some(page) = slot {
                        let gone =
                            sectors(&(kept_in_boundary.next_multiple_of(SECTOR_LEN)..BLOCK_LEN));
                        if let Some(tail) =
                            Arc::make_mut(&mut page.bytes).get_mut(kept_in_boundary..)
                        {
                            tail.fill(0);
                        }
                        page.written &= !gone;
                    }
                });
            }
        }
        for page in self.pages_in(&(from..u64::MAX)) {
            self.zero(page, ALL_SECTORS);
        }
        self.chunks.retain(|_, chunk| chunk.pages.iter().any(Option::is_some));
    }

    /// The sectors that were written or hold a byte that is not zero, ascending.
    pub(super) fn written_sectors(&self) -> Vec<u64> {
        let mut found = Vec::new();
        for (number, chunk) in &self.chunks {
            for (page, slot) in (number * CHUNK_PAGES_U64..).zip(&chunk.pages) {
                let Some(slot) = slot else { continue };
                let first = page * SECTORS_PER_PAGE;
                let sectors = (0_u8..).zip(slot.bytes.chunks_exact(SECTOR_LEN));
                found.extend(sectors.filter_map(|(sector, bytes)| {
                    let written = slot.written & (1 << sector) != 0;
                    (written || bytes.iter().any(|b| *b != 0)).then(|| first + u64::from(sector))
                }));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(image: &Image, offset: u64, len: usize) -> Vec<u8> {
        let mut buf = vec![0xa5; len];
        image.read(offset, &mut buf);
        buf
    }

    #[test]
    fn clones_do_not_see_later_writes() {
        let mut image = Image::default();
        image.write(1000, &[1; 10_000]);
        let copy = image.clone();
        image.write(5000, &[2; 100]);
        assert_eq!(read(&image, 4999, 102), [vec![1], vec![2; 100], vec![1]].concat());
        assert_eq!(read(&copy, 4999, 102), [1; 102]);
        assert_eq!(read(&copy, 10_999, 3), [1, 0, 0]);
        assert_eq!(read(&copy, 1 << 50, 5), [0; 5]);
    }

    #[test]
    fn pieces_put_only_their_sectors() {
        let mut image = Image::default();
        image.write(0, &[1; 4096]);
        let pieces = image.compose(100, &[2; 1000]);
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].mask, 0b111);
        image.put(&pieces[0], 0b010);
        assert_eq!(read(&image, 511, 514), [vec![1], vec![2; 512], vec![1]].concat());
    }

    #[test]
    fn truncation_leaves_zeros() {
        let mut image = Image::default();
        image.write(0, &[1; 20_000]);
        image.truncate(5000);
        assert_eq!(read(&image, 4999, 2), [1, 0]);
        assert_eq!(read(&image, 5000, 15_000), vec![0; 15_000]);
        assert_eq!(image.written_sectors(), (0..10).collect::<Vec<_>>());
        image.truncate(0);
        assert!(image.chunks.is_empty());
    }

    #[test]
    fn written_sectors_counts_zeros_that_were_written() {
        let mut image = Image::default();
        image.write(4096 * 70 + 512, &[0; 513]);
        image.write(3, &[9]);
        assert_eq!(image.written_sectors(), [0, 561, 562]);
        image.zero(70, ALL_SECTORS);
        assert_eq!(image.written_sectors(), [0]);
    }
}
