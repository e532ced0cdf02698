//! What the machine's page cache and its disk hold, and what the disk may hold after power loss.
//!
//! Between two syncs each write is *pending*. A power loss leaves, sector by sector, the durable
//! version or any version that was pending, whatever the order of the writes.

use std::ops::Range;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng, RngExt as _, SeedableRng as _};
use sealvol_core::BLOCK_LEN_U64;

use super::image::{ALL_SECTORS, Image, Piece, SectorMask};

/// What a crash leaves of the writes since the last sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrashMode {
    /// Power loss: each pending write is dropped, kept or torn at 512 bytes, and overlapping ones
    /// land in any order.
    PowerLoss,
    /// Power loss before any pending write reached the disk.
    DropAll,
    /// The process died and the machine lives (kill -9): all writes are there.
    KeepAll,
    /// Power loss that tears every pending write of more than one sector.
    Torn,
}

/// What a failed sync leaves on the disk of the writes it should have made durable. As on Linux,
/// they stay readable in the page cache, and no later sync writes them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncLoss {
    /// Nothing.
    All,
    /// A random part, as [`CrashMode::PowerLoss`] leaves it, drawn from this seed.
    Part(u64),
}

/// One write, allocation or punch, as the page cache and the disk see it.
#[derive(Debug)]
pub(super) struct Change {
    /// Position in the order of operations.
    pub(super) id: u64,
    pub(super) pieces: Vec<Piece>,
    /// Pages that become zero, disjoint from the pieces.
    pub(super) zero_pages: Range<u64>,
    /// The length that the file has at least afterwards.
    pub(super) len: u64,
}

impl Change {
    fn apply(&self, image: &mut Image) {
        for page in image.pages_in(&self.zero_pages) {
            image.zero(page, ALL_SECTORS);
        }
        for piece in &self.pieces {
            image.put(piece, ALL_SECTORS);
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let zeros_meet = self.zero_pages.start < other.zero_pages.end
            && other.zero_pages.start < self.zero_pages.end;
        let zeros_pieces = |zeros: &Range<u64>, pieces: &[Piece]| {
            pieces.iter().any(|piece| zeros.contains(&piece.page))
        };
        zeros_meet
            || zeros_pieces(&self.zero_pages, &other.pieces)
            || zeros_pieces(&other.zero_pages, &self.pieces)
            || self.pieces.iter().any(|a| {
                // Pieces ascend by page.
                let found = other.pieces.binary_search_by_key(&a.page, |b| b.page);
                found.ok().and_then(|at| other.pieces.get(at)).is_some_and(|b| a.mask & b.mask != 0)
            })
    }
}

/// Page cache, disk, and the difference.
#[derive(Debug, Clone, Default)]
pub(super) struct DiskState {
    /// What reads see.
    pub(super) live: Image,
    pub(super) live_len: u64,
    /// What the disk surely holds.
    pub(super) durable: Image,
    pub(super) durable_len: u64,
    /// What it may hold besides, in the order of the operations.
    pub(super) pending: Vec<Arc<Change>>,
}

impl DiskState {
    /// A disk with nothing pending.
    pub(super) fn clean(image: Image, len: u64) -> Self {
        Self {
            live: image.clone(),
            live_len: len,
            durable: image,
            durable_len: len,
            pending: Vec::new(),
        }
    }

    /// The change enters the page cache.
    pub(super) fn issue(&mut self, change: &Arc<Change>) {
        change.apply(&mut self.live);
        self.live_len = self.live_len.max(change.len);
        self.pending.push(Arc::clone(change));
    }

    /// Makes every change before `upto` durable, except those whose calls had not returned when the
    /// sync started.
    pub(super) fn sync(&mut self, upto: u64, except: &[u64]) {
        let mut kept: Vec<Arc<Change>> = Vec::new();
        let mut done: Vec<Arc<Change>> = Vec::new();
        // From the newest on: an unfinished change under a newer durable one went to the disk with
        // it, because the disk gets the page as it is, not write by write.
        for change in self.pending.drain(..).rev() {
            let covered = change.id < upto && !except.contains(&change.id);
            if covered || done.iter().any(|newer| newer.overlaps(&change)) {
                done.push(change);
            } else {
                kept.push(change);
            }
        }
        for change in done.iter().rev() {
            change.apply(&mut self.durable);
            self.durable_len = self.durable_len.max(change.len);
        }
        kept.reverse();
        self.pending = kept;
    }

    /// A sync fails: the pending changes stay in the page cache, but count as clean from now on.
    pub(super) fn lose(&mut self, loss: SyncLoss) {
        if let SyncLoss::Part(seed) = loss {
            let mut rng = StdRng::seed_from_u64(seed);
            (self.durable, self.durable_len) = self.crash(&mut rng, CrashMode::PowerLoss, None);
        }
        let id = self.pending.last().map_or(0, |change| change.id);
        self.pending.clear();
        // The length is metadata, which the file system still has to write.
        if self.live_len > self.durable_len {
            let len = self.live_len;
            self.pending.push(Arc::new(Change { id, pieces: Vec::new(), zero_pages: 0..0, len }));
        }
    }

    /// What the disk may hold after a crash now, with `in_flight` under way.
    pub(super) fn crash(
        &self,
        rng: &mut (impl Rng + ?Sized),
        mode: CrashMode,
        in_flight: Option<&Arc<Change>>,
    ) -> (Image, u64) {
        match mode {
            CrashMode::DropAll => (self.durable.clone(), self.durable_len),
            CrashMode::KeepAll => self.kill(rng, in_flight),
            CrashMode::PowerLoss | CrashMode::Torn => self.lose_power(rng, mode, in_flight),
        }
    }

    /// kill -9: the kernel copies a write page by page, so that one under way leaves a prefix.
    fn kill(&self, rng: &mut (impl Rng + ?Sized), in_flight: Option<&Arc<Change>>) -> (Image, u64) {
        let mut image = self.live.clone();
        let mut len = self.live_len;
        if let Some(change) = in_flight {
            let count = rng.random_range(0..=change.pieces.len());
            for piece in change.pieces.iter().take(count) {
                image.put(piece, ALL_SECTORS);
                len = len.max(change.len.min((piece.page + 1) * BLOCK_LEN_U64));
            }
        }
        (image, len)
    }

    fn lose_power(
        &self,
        rng: &mut (impl Rng + ?Sized),
        mode: CrashMode,
        in_flight: Option<&Arc<Change>>,
    ) -> (Image, u64) {
        let mut image = self.durable.clone();
        let mut order: Vec<&Arc<Change>> = self.pending.iter().chain(in_flight).collect();
        order.shuffle(rng);
        // Each image has a bias of its own: "all but one" and "one alone" are likely, too.
        let keep_percent = match rng.random_range(0..4_u32) {
            0 => 5,
            1 => 95,
            _ => 50,
        };
        let tear_percent = if mode == CrashMode::Torn { 100 } else { 25 };
        let mut lens = vec![self.durable_len];
        for change in order {
            lens.push(change.len.max(self.durable_len));
            if rng.random_range(0..100) < tear_percent {
                tear(rng, change, &mut image);
            } else if rng.random_range(0..100) < keep_percent {
                change.apply(&mut image);
            }
        }
        let longest = lens.iter().copied().max().unwrap_or(self.durable_len);
        let len = if rng.random_bool(0.5) {
            longest
        } else {
            let pick = rng.random_range(0..lens.len());
            lens.get(pick).copied().unwrap_or(longest)
        };
        if len < longest {
            image.truncate(len);
        }
        (image, len)
    }
}

/// How the sectors of a torn write are chosen.
#[derive(Debug, Clone, Copy)]
enum Tear {
    /// The first sectors arrived.
    Prefix,
    /// The last sectors arrived.
    Suffix,
    /// One in eight arrived.
    Few,
    /// Half of them arrived.
    Half,
    /// One in eight is missing.
    Most,
}

impl Tear {
    fn mask(self, rng: &mut (impl Rng + ?Sized)) -> SectorMask {
        let mut draw = || rng.random::<SectorMask>();
        match self {
            Self::Few => draw() & draw() & draw(),
            Self::Most => draw() | draw() | draw(),
            Self::Half | Self::Prefix | Self::Suffix => draw(),
        }
    }
}

/// Applies a part of the sectors of `change`: some and not all, where it has more than one.
fn tear(rng: &mut (impl Rng + ?Sized), change: &Change, image: &mut Image) {
    let style = match rng.random_range(0..5_u32) {
        0 => Tear::Prefix,
        1 => Tear::Suffix,
        2 => Tear::Few,
        3 => Tear::Half,
        _ => Tear::Most,
    };
    for page in image.pages_in(&change.zero_pages) {
        image.zero(page, style.mask(rng));
    }
    let total: u32 = change.pieces.iter().map(|piece| piece.mask.count_ones()).sum();
    if total < 2 {
        if rng.random_bool(0.5) {
            change.pieces.iter().for_each(|piece| image.put(piece, ALL_SECTORS));
        }
        return;
    }
    let cut = rng.random_range(1..total);
    // One sector surely arrives and one surely does not.
    let (lucky, unlucky) = (cut - 1, cut);
    let mut number = 0;
    for piece in &change.pieces {
        let random = style.mask(rng);
        let mut mask = 0;
        for sector in (0..8).map(|n| 1_u8 << n).filter(|sector| piece.mask & sector != 0) {
            let arrives = match style {
                Tear::Prefix => number < cut,
                Tear::Suffix => number >= cut,
                Tear::Few | Tear::Half | Tear::Most if number == lucky => true,
                Tear::Few | Tear::Half | Tear::Most if number == unlucky => false,
                Tear::Few | Tear::Half | Tear::Most => random & sector != 0,
            };
            if arrives {
                mask |= sector;
            }
            number += 1;
        }
        image.put(piece, mask);
    }
}
