//! Offline verification: every page of the map, every stored block, every segment header, and the
//! live counts against a full scan. Nothing is written.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use sealvol_core::{BLOCK_LEN, Error, ErrorKind, Result};
use sealvol_format::{Entry, EntryState, FANOUT, TOP_LEVEL};

use crate::core::{Content, Core};
use crate::engine::Engine;

/// Problems listed one by one; more are only counted.
const MAX_PROBLEMS: usize = 1000;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// What is affected, such as `LBA 17` or `segment 3`.
    pub what: String,
    /// Where it is stored, in bytes from the start of the file.
    pub file_offset: Option<u64>,
    /// What was found.
    pub detail: String,
}

/// What verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Stored blocks that were read.
    pub blocks_checked: u64,
    /// Map and table pages that were read.
    pub pages_checked: u64,
    /// Segment headers that were read.
    pub segments_checked: u64,
    /// All problems, also those that are not listed.
    pub problem_count: u64,
    /// The first thousand problems.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.problem_count == 0
    }

    fn add(&mut self, what: String, file_offset: Option<u64>, detail: String) {
        self.problem_count += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { what, file_offset, detail });
        }
    }
}

struct Scan<'a> {
    core: &'a Core,
    report: VerifyReport,
    live: BTreeMap<u64, u32>,
    progress: &'a mut dyn FnMut(u64, u64) -> bool,
    buffer: Vec<u8>,
    stopped: bool,
    /// A page could not be read, so the scan's counts are incomplete.
    partial: bool,
}

impl Engine {
    /// Reads and authenticates everything that the volume refers to. `progress` is told how many
    /// blocks of the logical size have been passed, and stops the scan by returning `false`. The
    /// volume should be open read-only, or have no writers.
    ///
    /// # Errors
    /// Only when the scan itself cannot run; damage is in the report.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<VerifyReport> {
        let core = &*self.core;
        let _standstill = core.maintenance.lock();
        let mut scan = Scan {
            core,
            report: VerifyReport::default(),
            live: BTreeMap::new(),
            progress,
            buffer: vec![0; FANOUT * BLOCK_LEN],
            stopped: false,
            partial: false,
        };
        scan.page(TOP_LEVEL, 0, core.index.root().entry, true)?;
        // Leaves that only the delta knows.
        let last = (core.logical_blocks - 1) / FANOUT as u64;
        for leaf in core.index.delta_leaves_in(0, last) {
            if scan.stopped {
                break;
            }
            if core.find_page(0, leaf).ok().flatten().is_none() {
                scan.leaf_blocks(leaf)?;
            }
        }
        if !scan.stopped {
            scan.segments()?;
        }
        Ok(scan.report)
    }
}

impl Scan<'_> {
    fn count(&mut self, entry: &Entry) {
        if let Some(segment) = self.core.segment_of(entry) {
            *self.live.entry(segment.0).or_insert(0) += 1;
        }
    }

    fn unreadable(&mut self, content: Content, entry: &Entry, error: &Error) {
        self.report.add(content.to_string(), Some(entry.phys().offset()), describe(error));
    }

    /// Scans a page and what is below it. `alive`: no discarded page is above it.
    fn page(&mut self, level: u8, index: u64, entry: Entry, alive: bool) -> Result<()> {
        let alive = alive && !entry.is_dead();
        let living = if entry.is_dead() { entry.as_living() } else { entry };
        if living.state() != EntryState::Data || self.stopped {
            return Ok(());
        }
        self.count(&living);
        self.report.pages_checked += 1;
        // Straight from the storage: a cached page says nothing about the disk.
        let mut page = sealvol_format::Page::empty();
        let content = Content::map(level, index);
        if let Err(error) = self.core.read_slot(&living, content, page.as_bytes_mut(), false) {
            if alive {
                self.unreadable(content, &living, &error);
            }
            self.partial = true;
            return Ok(());
        }
        if level == 0 {
            for child in page.entries().filter(|child| child.state() == EntryState::Data) {
                self.count(&child);
            }
            return if alive { self.leaf_blocks(index) } else { Ok(()) };
        }
        for (child, slot) in page.entries().zip(0_u64..) {
            self.page(level - 1, (index << 7) | slot, child, alive)?;
        }
        Ok(())
    }

    /// Reads the blocks of one leaf as users would see them.
    fn leaf_blocks(&mut self, leaf: u64) -> Result<()> {
        let core = self.core;
        let base = leaf * FANOUT as u64;
        if !(self.progress)(base.min(core.logical_blocks), core.logical_blocks) {
            self.stopped = true;
            return Ok(());
        }
        let count = core.logical_blocks.saturating_sub(base).min(FANOUT as u64);
        let count = usize::try_from(count).unwrap_or(FANOUT);
        let mut entries = [Entry::INHERIT; FANOUT];
        let entries = entries.get_mut(..count).unwrap_or_default();
        if let Err(error) = core.lookup_leaf(leaf, 0, entries, false) {
            if error.kind() == ErrorKind::Internal {
                return Err(error);
            }
            self.report.add(format!("leaf {leaf}"), None, describe(&error));
            return Ok(());
        }
        self.report.blocks_checked +=
            entries.iter().filter(|entry| entry.state() == EntryState::Data).count() as u64;
        let buffer = self.buffer.get_mut(..count * BLOCK_LEN).unwrap_or_default();
        let errors_before = core.counters.integrity_errors.load(Ordering::Relaxed);
        if core.read_entries(base, entries, buffer, false).is_ok() {
            return Ok(());
        }
        core.counters.integrity_errors.store(errors_before, Ordering::Relaxed);
        for (entry, lba) in entries.iter().zip(base..) {
            let mut block = [0; BLOCK_LEN];
            if entry.state() == EntryState::Data
                && let Err(error) = core.read_slot(entry, Content::block(lba), &mut block, false)
            {
                self.report.add(
                    format!("LBA {lba}"),
                    Some(entry.phys().offset()),
                    describe(&error),
                );
            }
        }
        Ok(())
    }

    /// Checks headers and live counts of all segments, and the table's pages on the way.
    fn segments(&mut self) -> Result<()> {
        let core = self.core;
        let mut table = core.table.lock();
        let inner: Vec<((u8, u64), Entry)> =
            table.inner_entries.iter().map(|(at, entry)| (*at, *entry)).collect();
        let leaves: Vec<((u8, u64), Entry)> =
            (0_u64..).zip(table.leaf_entries.clone()).map(|(at, entry)| ((0, at), entry)).collect();
        for ((level, index), entry) in inner.into_iter().chain(leaves) {
            if entry.state() != EntryState::Data {
                continue;
            }
            self.report.pages_checked += 1;
            if let Err(error) = core.read_table_slot(&entry, level, index) {
                self.report.add(
                    Content::table(level, index).to_string(),
                    Some(entry.phys().offset()),
                    describe(&error),
                );
            }
        }
        for page in 0..table.page_count() {
            if core.load_table_page(&mut table, page).is_err() {
                // Reported above; its segments cannot be told apart.
                self.partial = true;
            }
        }
        let known: Vec<_> = table
            .loaded()
            .filter(|(_, info)| info.is_used())
            .map(|(segment, info)| (segment, *info))
            .collect();
        for (segment, info) in known {
            let counted = self.live.remove(&segment.0).unwrap_or(0);
            if !self.partial && counted != u32::from(info.stored.live) {
                let stored = info.stored.live;
                self.report.add(
                    format!("segment {}", segment.0),
                    Some(core.geometry.segment_offset(segment)),
                    format!("the table counts {stored} live slots, the map has {counted}"),
                );
            }
            let needed = info.stored.live > 0
                || table.table_live.contains_key(&segment.0)
                || info.last_group != 0;
            if !needed {
                continue;
            }
            self.report.segments_checked += 1;
            let problem = match core.read_header(segment) {
                Ok(header) if header.seq == info.stored.seq => None,
                Ok(header) => Some(format!(
                    "the header is of an earlier life of the segment ({:#x}, not {:#x})",
                    header.seq, info.stored.seq
                )),
                Err(error) => Some(describe(&error)),
            };
            if let Some(detail) = problem {
                let offset = Some(core.geometry.segment_offset(segment));
                self.report.add(format!("segment {}", segment.0), offset, detail);
            }
        }
        if !self.partial {
            for (segment, counted) in std::mem::take(&mut self.live) {
                self.report.add(
                    format!("segment {segment}"),
                    None,
                    format!("the map has {counted} live slots in it, the table calls it free"),
                );
            }
        }
        Ok(())
    }
}

fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
