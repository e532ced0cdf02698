//! The model volume: the oracle that decides whether what a device holds after a crash is right.
//!
//! The model records when each mutation began and ended, by a tick that each event advances. After a
//! crash at some tick, the device must hold what some *prefix* of the mutations leaves: a set that
//! with every mutation contains all that had ended before it began. Mutations that overlapped in
//! time may be ordered either way. The prefix must contain what was promised: all that was
//! acknowledged before the start of the last completed flush, and after a mere death of the process
//! all that was acknowledged.
//!
//! # How it is decided
//! A prefix is given by a *cut*: the tick at which its last mutation began. For each block, each
//! mutation that wrote the observed content allows an interval of cuts: from its own beginning to
//! the end of the first mutation that strictly follows it on that block. A cut that all blocks allow
//! is a prefix, unless a mutation is there in one block and missing in another: that one is torn.

mod stamp;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::stamp::{fill_block, identify_block, read_versions};

/// The most blocks of one request that land together (64 KiB). A larger one may be cut at a block.
const ATOMIC_BLOCKS: usize = 16;

/// A moment in the history of a [`ModelVolume`]. Each recorded event has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// Later than every event.
    pub const MAX: Self = Self(u64::MAX);
}

/// A request that was recorded by [`ModelVolume::begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MutationId {
    first: usize,
    count: usize,
}

/// A flush under way: what was acknowledged before it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a flush that returned is recorded by end_flush"]
pub struct FlushTicket(Tick);

/// How the workload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrashKind {
    /// Power loss: what was flushed survives.
    PowerLoss,
    /// The process died: what was acknowledged survives.
    Kill,
}

/// An accepted content: it is that of the prefix cut at any tick in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The earliest cut that explains the content.
    pub from: Tick,
    /// The latest.
    pub to: Tick,
}

/// Why a content is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The block holds bytes that nobody wrote there.
    Garbage {
        /// The block.
        lba: u64,
    },
    /// The block holds a version that had not been written when the device crashed, or never.
    Unknown {
        /// The block.
        lba: u64,
        /// What it holds.
        version: u64,
    },
    /// The block holds a version older than one that was promised to survive.
    Lost {
        /// The block.
        lba: u64,
        /// What it holds.
        version: u64,
    },
    /// One block shows a mutation, another lacks an earlier one: no prefix.
    NotAPrefix {
        /// The block that shows the later mutation.
        newer_lba: u64,
        /// What it holds.
        newer_version: u64,
        /// The block that lacks the earlier one.
        older_lba: u64,
        /// What it holds.
        older_version: u64,
    },
    /// One mutation is there in one block and missing in another.
    Torn {
        /// A block that shows it.
        present_lba: u64,
        /// A block that lacks it.
        absent_lba: u64,
        /// The version that `present_lba` holds.
        version: u64,
    },
    /// The device could not be read, or has another size.
    Unreadable(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Garbage { lba } => write!(f, "block {lba} holds bytes that nobody wrote there"),
            Self::Unknown { lba, version } => {
                write!(f, "block {lba} holds version {version}, which it never had until the crash")
            }
            Self::Lost { lba, version } => {
                write!(f, "block {lba} holds version {version}, older than one promised to survive")
            }
            Self::NotAPrefix { newer_lba, newer_version, older_lba, older_version } => write!(
                f,
                "block {newer_lba} holds version {newer_version}, but block {older_lba} holds \
                 version {older_version} and lacks an earlier write"
            ),
            Self::Torn { present_lba, absent_lba, version } => write!(
                f,
                "the request that wrote version {version} to block {present_lba} is missing in \
                 block {absent_lba}"
            ),
            Self::Unreadable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Violation {}

const NEVER: u64 = u64::MAX;

#[derive(Debug, Clone)]
struct Mutation {
    changes: Vec<(u64, u64)>,
    begin: u64,
    /// When it was acknowledged.
    acknowledged: u64,
    /// When it was over: what begins later follows it. The acknowledgement or failure, or for a part
    /// of a larger request the beginning of the next part.
    end: u64,
    /// When it surely had happened: `end`, but never for one that failed.
    due: u64,
    /// Its acknowledgement promises that it survives power loss.
    fua: bool,
    /// It failed: each of its blocks may be old or new.
    failed: bool,
}

/// One version that a block had or may have had.
#[derive(Debug, Clone, Copy)]
struct Entry {
    version: u64,
    /// `None` is the initial content.
    mutation: Option<usize>,
}

/// The history of a device of 4 KiB blocks and the judge of what a crash left of it. Content is a
/// version number per block (see [`fill_block`]); version 0 is zeros.
#[derive(Debug, Clone)]
pub struct ModelVolume {
    now: u64,
    mutations: Vec<Mutation>,
    /// For each block, its versions in the order of their beginnings.
    blocks: Vec<Vec<Entry>>,
    /// Completed flushes: (completed, started), with the start not falling.
    flushes: Vec<(u64, u64)>,
    next_version: u64,
}

/// The cuts that a candidate for a block's content allows.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    mutation: Option<usize>,
    from: u64,
    to: u64,
}

impl Allowed {
    fn covers(&self, segment: Prefix) -> bool {
        self.from <= segment.from.0 && self.to >= segment.to.0
    }
}

impl ModelVolume {
    /// A device of `blocks` zeroed blocks.
    #[must_use]
    pub fn new(blocks: usize) -> Self {
        Self::resumed(&vec![0; blocks], 1)
    }

    /// A device that durably holds `versions`, as observed after a crash. `next_version` must not
    /// have been used before: [`ModelVolume::next_version`] of the model so far.
    #[must_use]
    pub fn resumed(versions: &[u64], next_version: u64) -> Self {
        let initial = |version: &u64| vec![Entry { version: *version, mutation: None }];
        Self {
            now: 0,
            mutations: Vec::new(),
            blocks: versions.iter().map(initial).collect(),
            flushes: Vec::new(),
            next_version,
        }
    }

    /// How many blocks the device has.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The tick of the last event.
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick(self.now)
    }

    /// The lowest version that [`new_version`](Self::new_version) has not given out.
    #[must_use]
    pub fn next_version(&self) -> u64 {
        self.next_version
    }

    /// A version that no block has had yet.
    pub fn new_version(&mut self) -> u64 {
        let version = self.next_version;
        self.next_version += 1;
        version
    }

    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// Records that a request to set the blocks to the versions is about to be submitted. From now
    /// on it may or may not have happened. Up to 16 blocks land together; a larger request may be
    /// cut at any block.
    ///
    /// # Panics
    /// When a block lies outside the device or occurs twice.
    pub fn begin(&mut self, changes: &[(u64, u64)]) -> MutationId {
        self.begin_as(changes, false)
    }

    /// As [`begin`](Self::begin), for a request whose acknowledgement promises that it survives power
    /// loss (FUA).
    ///
    /// # Panics
    /// As [`begin`](Self::begin).
    pub fn begin_fua(&mut self, changes: &[(u64, u64)]) -> MutationId {
        self.begin_as(changes, true)
    }

    fn begin_as(&mut self, changes: &[(u64, u64)], fua: bool) -> MutationId {
        let first = self.mutations.len();
        let part_len = if changes.len() > ATOMIC_BLOCKS { 1 } else { changes.len().max(1) };
        for part in changes.chunks(part_len) {
            let begin = self.tick();
            let index = self.mutations.len();
            if index > first
                && let Some(previous) = self.mutations.last_mut()
            {
                // The parts of one request happen in order.
                previous.end = begin - 1;
                previous.due = begin - 1;
            }
            for (lba, version) in part {
                let block = usize::try_from(*lba).ok().and_then(|lba| self.blocks.get_mut(lba));
                let history = block.expect("the block lies inside the device");
                let twice = history.last().is_some_and(|last| last.mutation == Some(index));
                assert!(!twice, "block {lba} occurs twice in one request");
                history.push(Entry { version: *version, mutation: Some(index) });
            }
            self.mutations.push(Mutation {
                changes: part.to_vec(),
                begin,
                acknowledged: NEVER,
                end: NEVER,
                due: NEVER,
                fua,
                failed: false,
            });
        }
        MutationId { first, count: self.mutations.len() - first }
    }

    fn parts(&mut self, id: MutationId) -> impl Iterator<Item = &mut Mutation> {
        self.mutations.iter_mut().skip(id.first).take(id.count)
    }

    /// Records that the request succeeded.
    pub fn acknowledge(&mut self, id: MutationId) {
        let now = self.tick();
        for part in self.parts(id) {
            part.acknowledged = now;
            part.end = part.end.min(now);
            part.due = part.due.min(now);
        }
    }

    /// Records that the request failed: each of its blocks is old or new.
    pub fn fail(&mut self, id: MutationId) {
        let now = self.tick();
        for part in self.parts(id) {
            part.failed = true;
            part.end = part.end.min(now);
            part.due = NEVER;
        }
    }

    /// Records that a flush is about to be submitted.
    pub fn begin_flush(&mut self) -> FlushTicket {
        FlushTicket(Tick(self.tick()))
    }

    /// Records that a flush succeeded. (A failed one promises nothing and needs no record.)
    pub fn end_flush(&mut self, ticket: FlushTicket) {
        let now = self.tick();
        let before = self.flushes.last().map_or(0, |(_, started)| *started);
        self.flushes.push((now, ticket.0.0.max(before)));
    }

    /// The start of the last flush that completed by `at`.
    fn flushed(&self, at: u64) -> u64 {
        let count = self.flushes.partition_point(|(completed, _)| *completed <= at);
        count.checked_sub(1).and_then(|last| self.flushes.get(last)).map_or(0, |(_, start)| *start)
    }

    fn begin_of(&self, entry: &Entry) -> u64 {
        entry.mutation.and_then(|index| self.mutations.get(index)).map_or(0, |m| m.begin)
    }

    fn end_of(&self, entry: &Entry) -> u64 {
        entry.mutation.and_then(|index| self.mutations.get(index)).map_or(0, |m| m.end)
    }

    /// The candidates for a block's content after a crash at `at`, with the cuts they allow.
    fn candidates(
        &self,
        lba: u64,
        history: &[Entry],
        version: u64,
        at: u64,
        kind: CrashKind,
    ) -> Result<Vec<Allowed>, Violation> {
        let flushed = self.flushed(at);
        let mut known = false;
        let mut allowed = Vec::new();
        for (index, entry) in history.iter().enumerate() {
            let from = self.begin_of(entry);
            if from > at {
                break;
            }
            if entry.version != version {
                continue;
            }
            known = true;
            let end = self.end_of(entry);
            let mut to = at;
            let mut is_lost = false;
            // Later ones begin in order, so that those that strictly follow are a tail.
            let later = history.get(index + 1..).unwrap_or_default();
            for follower in later.iter().filter_map(|e| self.mutations.get(e.mutation?)) {
                if follower.begin > at {
                    break;
                }
                if follower.begin > end {
                    is_lost |= is_required(follower, at, flushed, kind);
                    to = to.min(follower.due);
                }
            }
            if !is_lost {
                allowed.push(Allowed { mutation: entry.mutation, from, to });
            }
        }
        match (allowed.is_empty(), known) {
            (false, _) => Ok(allowed),
            (true, true) => Err(Violation::Lost { lba, version }),
            (true, false) => Err(Violation::Unknown { lba, version }),
        }
    }

    /// Judges the device's content after a crash at the end of the history.
    ///
    /// # Errors
    /// The [`Violation`] of a promise.
    pub fn check(&self, kind: CrashKind, observed: &[u64]) -> Result<Prefix, Violation> {
        self.check_at(Tick::MAX, kind, observed)
    }

    /// Judges the device's content after a crash at `at`: what was recorded later had not happened.
    ///
    /// # Errors
    /// The [`Violation`] of a promise.
    pub fn check_at(
        &self,
        at: Tick,
        kind: CrashKind,
        observed: &[u64],
    ) -> Result<Prefix, Violation> {
        let at = at.0.min(self.now);
        if observed.len() != self.blocks.len() {
            return Err(Violation::Unreadable(format!(
                "the device has {} blocks and the model {}",
                observed.len(),
                self.blocks.len()
            )));
        }
        let mut cuts = Cuts::new(at);
        let mut all = Vec::with_capacity(observed.len());
        for ((lba, history), version) in (0_u64..).zip(&self.blocks).zip(observed) {
            let candidates = self.candidates(lba, history, *version, at, kind)?;
            if let [only] = candidates.as_slice() {
                cuts.narrow(*only, lba);
            }
            all.push(candidates);
        }
        let version_at = |lba: u64| {
            usize::try_from(lba).ok().and_then(|lba| observed.get(lba)).copied().unwrap_or_default()
        };
        let not_a_prefix = |newer_lba: u64, older_lba: u64| Violation::NotAPrefix {
            newer_lba,
            newer_version: version_at(newer_lba),
            older_lba,
            older_version: version_at(older_lba),
        };
        if cuts.from > cuts.to {
            return Err(not_a_prefix(cuts.from_lba, cuts.to_lba));
        }
        let mut violation = None;
        for segment in cuts.segments(&all).into_iter().rev() {
            let verdict = match cuts.excluding(&all, segment) {
                Some(lba) => Err(not_a_prefix(cuts.from_lba, lba)),
                None => self.check_atomicity(segment, &all, &version_at),
            };
            match verdict {
                Ok(()) => return Ok(segment),
                Err(found) => violation = violation.or(Some(found)),
            }
        }
        Err(violation.unwrap_or_else(|| not_a_prefix(cuts.from_lba, cuts.to_lba)))
    }

    /// Looks for a request that is there in one block and missing in another.
    fn check_atomicity(
        &self,
        segment: Prefix,
        candidates: &[Vec<Allowed>],
        version_at: &dyn Fn(u64) -> u64,
    ) -> Result<(), Violation> {
        let of = |lba: u64| usize::try_from(lba).ok().and_then(|lba| candidates.get(lba));
        for (index, mutation) in self.mutations.iter().enumerate() {
            // Outside, the cut says already that it is there or missing as a whole.
            let is_open = mutation.begin <= segment.to.0 && mutation.due >= segment.from.0;
            if !is_open || mutation.failed || mutation.changes.len() < 2 {
                continue;
            }
            let mut present = None;
            let mut absent = None;
            for (lba, _) in &mutation.changes {
                let Some(candidates) = of(*lba) else { continue };
                let mut candidates = candidates.iter().filter(|c| c.covers(segment)).peekable();
                let precedes = |c: &Allowed| {
                    let end = c.mutation.and_then(|m| self.mutations.get(m)).map_or(0, |m| m.end);
                    end < mutation.begin
                };
                if candidates.peek().is_none() {
                    continue;
                }
                if candidates.clone().all(|c| c.mutation == Some(index)) {
                    present = Some(*lba);
                } else if candidates.all(precedes) {
                    absent = Some(*lba);
                }
            }
            if let (Some(present_lba), Some(absent_lba)) = (present, absent) {
                let version = version_at(present_lba);
                return Err(Violation::Torn { present_lba, absent_lba, version });
            }
        }
        Ok(())
    }

    /// Whether a read that ran just now may return `version` for the block: it is the newest that
    /// was acknowledged, or one that was under way since.
    #[must_use]
    pub fn may_read(&self, lba: u64, version: u64) -> bool {
        let history = usize::try_from(lba).ok().and_then(|lba| self.blocks.get(lba));
        history.is_some_and(|history| {
            self.candidates(lba, history, version, self.now, CrashKind::Kill).is_ok()
        })
    }

    /// The content if every mutation so far happened, in the order of their beginnings.
    #[must_use]
    pub fn latest(&self) -> Vec<u64> {
        self.blocks.iter().map(|history| history.last().map_or(0, |last| last.version)).collect()
    }
}

/// Whether a mutation is promised to survive a crash at `at`.
fn is_required(mutation: &Mutation, at: u64, flushed: u64, kind: CrashKind) -> bool {
    let promised = match kind {
        CrashKind::Kill => at,
        CrashKind::PowerLoss if mutation.fua => at,
        CrashKind::PowerLoss => flushed,
    };
    mutation.acknowledged <= promised
}

/// The cuts that all blocks with one candidate allow.
#[derive(Debug)]
struct Cuts {
    from: u64,
    from_lba: u64,
    to: u64,
    to_lba: u64,
}

impl Cuts {
    fn new(at: u64) -> Self {
        Self { from: 0, from_lba: 0, to: at, to_lba: 0 }
    }

    fn narrow(&mut self, allowed: Allowed, lba: u64) {
        if allowed.from > self.from {
            (self.from, self.from_lba) = (allowed.from, lba);
        }
        if allowed.to < self.to {
            (self.to, self.to_lba) = (allowed.to, lba);
        }
    }

    /// Divides the cuts where a block with several candidates (zeroed more than once) turns from one
    /// to the next: inside a segment, all cuts are alike.
    fn segments(&self, all: &[Vec<Allowed>]) -> Vec<Prefix> {
        let mut starts = vec![self.from];
        for candidate in all.iter().filter(|candidates| candidates.len() > 1).flatten() {
            let edges = [candidate.from, candidate.to.saturating_add(1)];
            starts.extend(edges.iter().filter(|edge| **edge > self.from && **edge <= self.to));
        }
        starts.sort_unstable();
        starts.dedup();
        let ends = starts.iter().skip(1).map(|next| next - 1).chain([self.to]);
        starts
            .iter()
            .zip(ends)
            .map(|(from, to)| Prefix { from: Tick(*from), to: Tick(to) })
            .collect()
    }

    /// A block none of whose several candidates allows the segment.
    fn excluding(&self, all: &[Vec<Allowed>], segment: Prefix) -> Option<u64> {
        (0_u64..)
            .zip(all)
            .find(|(_, candidates)| {
                candidates.len() > 1 && !candidates.iter().any(|c| c.covers(segment))
            })
            .map(|(lba, _)| lba)
    }
}
