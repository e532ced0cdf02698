//! Reading the log after a crash: which groups follow the superblock's position, where they end, and
//! whether that end is honest. Nothing here writes.
//!
//! The next group is whichever opens, at a cursor or at the start of its successor, with the next
//! number and the right previous tag. Where no such group is found, the search goes past the break:
//! if anything there says that a missing group had been durable, the log is damaged, not torn.

use std::collections::BTreeSet;
use std::sync::Arc;

use sealvol_core::{Error, ErrorKind, Result};
use sealvol_format::{
    BIRTH_MAX, Cursor, Entry, RecordKind, SLOT_LEN, SegmentHeader, SegmentKind, Successor,
};

use crate::core::{Content, Core};
use crate::gc::FoundGroup;
use crate::keyring::SegmentKey;

/// Slots read at once.
const WINDOW_SLOTS: u32 = 32;

/// A group that was accepted.
#[derive(Debug)]
pub(crate) struct ReplayGroup {
    pub(crate) seq: u64,
    pub(crate) header: Arc<SegmentHeader>,
    pub(crate) key: Arc<SegmentKey>,
    pub(crate) found: FoundGroup,
}

/// What the log holds after the superblock's position.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) groups: Vec<ReplayGroup>,
    /// Segments that the way led through, with groups or without.
    pub(crate) visited: Vec<Arc<SegmentHeader>>,
    /// Number and tag of the last accepted group.
    pub(crate) last_seq: u64,
    pub(crate) chain: [u8; 16],
    /// Every group up to this one was durable.
    pub(crate) durable: u64,
    /// Why the log ends too early, and where.
    pub(crate) corruption: Option<String>,
    /// Groups that were found but dropped because their payload was incomplete.
    pub(crate) dropped: u64,
}

/// One segment being read.
struct Reader {
    header: Arc<SegmentHeader>,
    key: Arc<SegmentKey>,
    slot: u32,
    window: Vec<u8>,
    window_start: u32,
    /// The commit slot at `slot`, once it has been looked at.
    parked: Option<Option<FoundGroup>>,
}

/// One kind's place during replay.
struct Track {
    start: Cursor,
    current: Option<Reader>,
    /// The successor, once it has been looked for.
    next: Option<Option<Reader>>,
    /// Segments that were left behind.
    passed: Vec<Arc<SegmentHeader>>,
}

impl Core {
    /// Opens the segment that must carry `seq`; `None` if it was never opened.
    ///
    /// A header is one sector, so on honest media its slot holds zeros (fresh, pre-written or
    /// punched space), the header of an earlier life, or the right one. Anything else is damage,
    /// and so is the lack of the right one where groups have already been (`slot` > 1): without
    /// it flushed groups would silently be missed.
    fn open_reader(&self, place: Successor, slot: u32) -> Result<Option<Reader>> {
        let offset = self.geometry.segment_offset(place.segment);
        let missing = || {
            Error::new(
                ErrorKind::Corrupt,
                "replay log",
                format!(
                    "the header of segment {:#x} at file offset {offset} is missing",
                    place.seq
                ),
            )
        };
        let end = offset + self.geometry.segment_len();
        if place.segment.0 >= self.geometry.max_segments() || end > self.storage.len()? {
            return if slot > 1 { Err(missing()) } else { Ok(None) };
        }
        let mut first = [0; SLOT_LEN];
        self.storage.read_at(offset, &mut first)?;
        let header = if is_blank_header(&first) {
            None
        } else {
            Some(self.check_header(place.segment, &first)?)
        };
        let Some(header) = header.filter(|header| header.seq == place.seq) else {
            return if slot > 1 { Err(missing()) } else { Ok(None) };
        };
        let key = self.keyring.segment_key(header.seq, header.key_id, &header.salt)?;
        Ok(Some(Reader {
            header: Arc::new(header),
            key: Arc::new(key),
            slot,
            window: Vec::new(),
            window_start: 0,
            parked: None,
        }))
    }

    fn slot_bytes<'a>(&self, reader: &'a mut Reader, slot: u32) -> Result<&'a [u8]> {
        let have = u32::try_from(reader.window.len() / SLOT_LEN).unwrap_or(0);
        if slot < reader.window_start || slot >= reader.window_start + have {
            let count = WINDOW_SLOTS.min(self.geometry.slots_per_segment() - slot);
            reader.window.resize(usize::try_from(count).unwrap_or(0) * SLOT_LEN, 0);
            let offset = self.geometry.phys(reader.header.segment, slot).offset();
            self.storage.read_at(offset, &mut reader.window)?;
            reader.window_start = slot;
        }
        let at = usize::try_from(slot - reader.window_start).unwrap_or(0) * SLOT_LEN;
        Ok(reader.window.get(at..at + SLOT_LEN).unwrap_or_default())
    }

    /// The group at the reader's slot, if there is one.
    fn peek<'a>(&self, reader: &'a mut Reader) -> Result<Option<&'a FoundGroup>> {
        if reader.parked.is_none() {
            let slot = reader.slot;
            let found = if slot < self.geometry.slots_per_segment() {
                let key = Arc::clone(&reader.key);
                let bytes = self.slot_bytes(reader, slot)?;
                self.open_commit(&key, slot, bytes)
            } else {
                None
            };
            reader.parked = Some(found);
        }
        Ok(reader.parked.as_ref().and_then(Option::as_ref))
    }

    /// Reads the log from the superblock's cursors.
    pub(crate) fn replay(&self) -> Result<Replay> {
        let state = self.superblock.lock().state.clone();
        let mut tracks = Vec::with_capacity(SegmentKind::ALL.len());
        let mut damage = None;
        for start in state.cursors {
            let place = Successor { segment: start.segment, seq: start.seq };
            let current = match start.seq {
                0 => None,
                _ => note_damage(self.open_reader(place, start.slot), &mut damage)?.flatten(),
            };
            tracks.push(Track { start, current, next: None, passed: Vec::new() });
        }
        let mut replay = Replay {
            groups: Vec::new(),
            visited: Vec::new(),
            last_seq: state.checkpoint_seq,
            chain: state.checkpoint_tag,
            durable: state.durable_seq,
            corruption: None,
            dropped: 0,
        };
        'groups: loop {
            for track in &mut tracks {
                let next = self.take_next(track, replay.last_seq + 1, &replay.chain);
                if let Some(group) = note_damage(next, &mut damage)?.flatten() {
                    replay.last_seq = group.seq;
                    replay.chain = group.found.tag;
                    replay.durable = replay.durable.max(group.found.body.durable_upto);
                    replay.groups.push(group);
                    continue 'groups;
                }
            }
            break;
        }
        for track in &mut tracks {
            replay.visited.append(&mut track.passed);
            replay.visited.extend(track.current.as_ref().map(|reader| Arc::clone(&reader.header)));
            let beyond = note_damage(self.durable_beyond(track), &mut damage)?;
            replay.durable = replay.durable.max(beyond.unwrap_or(0));
        }
        if damage.is_some() {
            replay.corruption = damage;
            return Ok(replay);
        }
        if replay.last_seq < replay.durable {
            let places: Vec<String> = tracks.iter().map(|track| self.describe(track)).collect();
            replay.corruption = Some(format!(
                "the log ends after group {} although group {} was durable; the missing group \
                 should be at {}",
                replay.last_seq,
                replay.durable,
                places.join(" or ")
            ));
            return Ok(replay);
        }
        note_damage(self.drop_incomplete(&mut replay), &mut damage)?;
        replay.corruption = damage;
        Ok(replay)
    }

    fn describe(&self, track: &Track) -> String {
        let (segment, slot) = match &track.current {
            Some(reader) => (reader.header.segment, reader.slot),
            None => (track.start.segment, track.start.slot),
        };
        format!("file offset {}", self.geometry.phys(segment, slot).offset())
    }

    /// The group numbered `seq`, if it is this kind's next one.
    fn take_next(
        &self,
        track: &mut Track,
        seq: u64,
        chain: &[u8; 16],
    ) -> Result<Option<ReplayGroup>> {
        let Some(current) = &mut track.current else { return Ok(None) };
        let fits = |found: &FoundGroup| found.body.seq == seq && found.body.previous == *chain;
        if !self.peek(current)?.is_some_and(fits) {
            if track.next.is_none() {
                track.next = Some(self.open_reader(current.header.successor, 1)?);
            }
            let Some(Some(next)) = &mut track.next else { return Ok(None) };
            if !self.peek(next)?.is_some_and(fits) {
                return Ok(None);
            }
            track.passed.push(Arc::clone(&current.header));
            track.current = track.next.take().flatten();
        }
        let Some(current) = &mut track.current else { return Ok(None) };
        let Some(Some(found)) = current.parked.take() else { return Ok(None) };
        current.slot = found.slot + 1 + u32::from(found.body.payload_slots);
        Ok(Some(ReplayGroup {
            seq,
            header: Arc::clone(&current.header),
            key: Arc::clone(&current.key),
            found,
        }))
    }

    /// The newest durable group that anything behind a track's end tells of: every remaining slot
    /// of its segment is tried, then its successors, slot by slot.
    fn durable_beyond(&self, track: &mut Track) -> Result<u64> {
        let Some(current) = &mut track.current else { return Ok(0) };
        let mut durable = self.scan_commits(current)?;
        let mut seen = BTreeSet::from([current.header.seq]);
        let mut next = self.open_reader(current.header.successor, 1)?;
        while let Some(mut reader) = next {
            if !seen.insert(reader.header.seq) {
                break;
            }
            durable = durable.max(self.scan_commits(&mut reader)?);
            next = self.open_reader(reader.header.successor, 1)?;
        }
        Ok(durable)
    }

    /// Tries every slot from the reader's on as a commit slot.
    fn scan_commits(&self, reader: &mut Reader) -> Result<u64> {
        let mut durable = 0;
        let mut slot = reader.slot;
        while slot < self.geometry.slots_per_segment() {
            let key = Arc::clone(&reader.key);
            let bytes = self.slot_bytes(reader, slot)?;
            match self.open_commit(&key, slot, bytes) {
                Some(found) => {
                    durable = durable.max(found.body.durable_upto);
                    slot += 1 + u32::from(found.body.payload_slots);
                }
                None => slot += 1,
            }
        }
        Ok(durable)
    }

    /// Accepts the loss of what followed a break: the log ends where it can be read, and every
    /// block of it is checked.
    pub(crate) fn accept_truncation(&self, replay: &mut Replay) -> Result<()> {
        replay.corruption = None;
        replay.durable = self.superblock.lock().state.checkpoint_seq;
        self.drop_incomplete(replay)
    }

    /// Groups after the durable one may have reached the disk in part: from the first with a payload
    /// that does not authenticate, they never happened.
    fn drop_incomplete(&self, replay: &mut Replay) -> Result<()> {
        let first = replay.groups.partition_point(|group| group.seq <= replay.durable);
        let mut keep = replay.groups.len();
        for (at, group) in replay.groups.iter().enumerate().skip(first) {
            if !self.payload_is_whole(group)? {
                keep = at;
                break;
            }
        }
        if keep == replay.groups.len() {
            return Ok(());
        }
        replay.dropped = (replay.groups.len() - keep) as u64;
        if let Some(bad) = replay.groups.get(keep) {
            replay.last_seq = bad.seq - 1;
            replay.chain = bad.found.body.previous;
        }
        replay.groups.truncate(keep);
        Ok(())
    }

    fn payload_is_whole(&self, group: &ReplayGroup) -> Result<bool> {
        let mut block = [0; SLOT_LEN];
        for record in &group.found.body.records {
            let holds_block =
                matches!(record.kind, RecordKind::Data | RecordKind::Move | RecordKind::Fill);
            if record.payload == 0 || !holds_block {
                continue;
            }
            let slot = group.found.slot + u32::from(record.payload);
            let phys = self.geometry.phys(group.header.segment, slot);
            let nonce = group.found.body.payload_nonce;
            let entry = Entry::data(phys, BIRTH_MAX, nonce, record.tag);
            self.storage.read_at(phys.offset(), &mut block).map_err(|error| {
                Error::new(
                    ErrorKind::Corrupt,
                    "replay log",
                    format!("the payload of group {} cannot be read", group.seq),
                )
                .with_source(error)
            })?;
            let content = Content::block(record.lba);
            if self.open_slot(&group.key, slot, content, &entry, &mut block).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a segment's first slot has no header: it is one sector, and that holds zeros.
pub(crate) fn is_blank_header(slot: &[u8; SLOT_LEN]) -> bool {
    slot.get(..512).is_some_and(|sector| sector.iter().all(|byte| *byte == 0))
}

/// Sets damage and read errors aside, the first one with its text: they end the log where they are,
/// and the caller decides whether to go on read-only. Other errors pass.
fn note_damage<T>(outcome: Result<T>, damage: &mut Option<String>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io) => {
            let cause = std::error::Error::source(&error).map(|source| format!(": {source}"));
            damage.get_or_insert(format!("{error}{}", cause.unwrap_or_default()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
