//! Appending to the log: reserving, sealing, leading, rolling segments, publishing.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::MutexGuard;
use sealvol_core::{BLOCK_LEN, Error, ErrorKind, Result};
use sealvol_format::{
    Birth, COMMIT_SEALED_MAX, CommitBody, CommitTrailer, Entry, HEADER_MAC_OFFSET,
    HEADER_SIGNED_LEN, MAX_PAYLOAD_SLOTS, Phys, Record, RecordKind, SLOT_LEN, SegmentHeader,
    SegmentIndex, SegmentKind, Successor, encode_trailer, nonce,
};

use crate::core::{Content, Core};
use crate::index::InDelta;
use crate::log::{Condition, Group, LogState, OpenGroup, condition};
use crate::segments::{OpenSegment, SegmentTable};

/// Blocks of one request that share a group: 64 KiB, unless segments are smaller than that.
pub(crate) const ATOMIC_BLOCKS: u32 = 16;
/// A shorter run of zeroed blocks is recorded in the index block by block.
const SHORT_RANGE: u64 = 64;
/// Dirty log bytes after which writeback is started.
const WRITEBACK_BYTES: u64 = 128 << 10;

/// Least bytes that are worth another core's attention: some 70 microseconds of sealing.
const SHARED_SEAL_MIN: usize = 128 << 10;
/// Slots from which on a group's writeback is started by itself.
const LARGE_GROUP: u32 = 64;
/// With more unsynced than this nobody waits for a flush, and large groups are left to the host and
/// to the next sync: starting writeback costs a request 12 us for 128 KiB.
const WRITEBACK_LIMIT: u64 = 8 << 20;

/// One indivisible change of a user's request.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// Whole blocks, from 1 to [`ATOMIC_BLOCKS`].
    Blocks { lba: u64, data: &'a [u8] },
    /// A run of blocks that read as zeros.
    Zeros { lba: u64, blocks: u64 },
    /// One block, only if its entry still has the address `old`.
    Replace { lba: u64, old: Phys, data: &'a [u8], outcome: Condition },
}

impl Piece<'_> {
    pub(crate) fn slots(&self) -> u32 {
        match self {
            Self::Blocks { data, .. } | Self::Replace { data, .. } => {
                u32::try_from(data.len() / BLOCK_LEN).unwrap_or(u32::MAX)
            }
            Self::Zeros { .. } => 0,
        }
    }

    fn records(&self) -> usize {
        match self {
            Self::Blocks { data, .. } => data.len() / BLOCK_LEN,
            Self::Zeros { .. } | Self::Replace { .. } => 1,
        }
    }
}

/// A reservation in the open group, to be sealed outside the lock.
struct Reservation {
    key: Arc<crate::keyring::SegmentKey>,
    /// The segment slot of its first payload slot.
    first_slot: u32,
    /// Its first payload slot in the group.
    first_payload: u32,
    nonce: u64,
    id: u64,
}

impl Core {
    /// Splits a run of whole blocks into pieces.
    pub(crate) fn split_blocks<'a>(
        &self,
        lba: u64,
        data: &'a [u8],
    ) -> impl Iterator<Item = Piece<'a>> + use<'a> {
        let most = ATOMIC_BLOCKS.min(self.geometry.slots_per_segment() - 2);
        let step = u64::from(most);
        data.chunks(usize::try_from(most).unwrap_or(1) * BLOCK_LEN)
            .zip(0_u64..)
            .map(move |(data, at)| Piece::Blocks { lba: lba + at * step, data })
    }

    /// Appends pieces, in order, and returns when all of them are written and published, with the
    /// number of the last group. On an error the first pieces may have been accepted: `done` says
    /// how many certainly were.
    pub(crate) fn append(
        &self,
        pieces: &[Piece<'_>],
        birth: Birth,
        done: &mut usize,
    ) -> Result<u64> {
        let mut rest = pieces;
        while let Some(first) = rest.first() {
            let mut state = self.open_group_for(first)?;
            let Some(open) = state.open.as_mut() else {
                return Err(Error::new(ErrorKind::Internal, "append", "no open group"));
            };
            // As many pieces as fit share the group.
            let (mut slots, mut records, mut count) = (0, 0, 0);
            for piece in rest {
                if !open.fits(slots + piece.slots(), records + piece.records()) {
                    break;
                }
                slots += piece.slots();
                records += piece.records();
                count += 1;
            }
            let (taken, after) = rest.split_at(count.max(1));
            rest = after;
            let reservation = Reservation {
                key: Arc::clone(&open.group.key),
                first_slot: open.group.base + 1 + open.group.payload_slots,
                first_payload: open.group.payload_slots,
                nonce: open.group.nonce,
                id: open.id,
            };
            let first_record = open.group.records.len();
            open.group.payload_slots += slots;
            // Placeholders keep the order of records the order of reservations.
            open.group.records.resize(first_record + records, Record::bare(RecordKind::Void));
            open.pending += 1;
            let last_id = open.id;
            drop(state);

            let sealed = self.seal_pieces(taken, &reservation, slots, birth);

            let mut state = self.log.lock();
            let open = state.open.as_mut().filter(|open| open.id == reservation.id);
            let Some(open) = open else {
                return Err(Error::new(ErrorKind::Internal, "append", "the open group vanished"));
            };
            open.pending -= 1;
            match sealed {
                Ok((records, buffer)) => {
                    for ((place, record), at) in open
                        .group
                        .records
                        .iter_mut()
                        .skip(first_record)
                        .zip(records)
                        .zip(first_record..)
                    {
                        *place = record;
                        if let Some(outcome) = outcome_of(taken, at - first_record) {
                            open.group.conditions.push((at, outcome));
                        }
                    }
                    if slots > 0 {
                        open.group.parts.push((reservation.first_payload, buffer));
                    }
                }
                Err(error) => {
                    // Its records stay VOID; the slots hold nothing that is referred to.
                    if slots > 0 {
                        let blank = vec![0; usize::try_from(slots).unwrap_or(0) * SLOT_LEN];
                        open.group.parts.push((reservation.first_payload, blank));
                    }
                    drop(self.drive(state, last_id));
                    return Err(error);
                }
            }
            state = self.drive(state, last_id);
            let failed = self.failed.load(Ordering::Acquire) && state.written_id < last_id;
            drop(state);
            if failed {
                self.check_alive("write")?;
            }
            *done += count.max(1);
        }
        Ok(self.log.written.load(Ordering::Acquire))
    }

    /// Waits until group `id` is written, writing it when nobody else does.
    fn drive<'a>(
        &'a self,
        mut state: MutexGuard<'a, LogState>,
        id: u64,
    ) -> MutexGuard<'a, LogState> {
        loop {
            if state.written_id >= id || self.failed.load(Ordering::Acquire) {
                return state;
            }
            let ready = !state.busy
                && state.open.as_ref().is_some_and(|open| open.id == id && open.pending == 0);
            if ready {
                state = self.lead(state);
            } else {
                self.log.wait(&mut state);
            }
        }
    }

    /// Writes the open group. The caller has checked that nobody is busy and nothing is pending.
    fn lead<'a>(&'a self, mut state: MutexGuard<'a, LogState>) -> MutexGuard<'a, LogState> {
        let Some(mut open) = state.open.take() else { return state };
        state.busy = true;
        if let Some(segment) = &mut state.place(open.group.kind).open {
            segment.next_slot += open.group.slots();
        }
        let (seq, previous) = (state.next_seq, state.chain);
        drop(state);
        let written = self.write_group(&mut open.group, seq, previous);
        for (_, buffer) in open.group.parts.drain(..) {
            self.log.recycle(buffer);
        }
        let mut state = self.log.lock();
        if let Ok(tag) = written {
            state.next_seq = seq + 1;
            state.chain = tag;
            state.written_id = open.id;
        }
        state.busy = false;
        self.log.notify();
        if let Some((offset, len)) = open.group.writeback {
            // No other request has to wait for this.
            drop(state);
            self.storage.start_writeback(offset, len);
            state = self.log.lock();
        }
        state
    }

    /// The lock with an open user group that has room for `piece`.
    fn open_group_for(&self, piece: &Piece<'_>) -> Result<MutexGuard<'_, LogState>> {
        let (slots, records) = (piece.slots(), piece.records());
        let mut state = self.log.lock();
        loop {
            if self.failed.load(Ordering::Acquire) {
                drop(state);
                self.check_alive("write")?;
                state = self.log.lock();
            }
            if let Some(open) = &state.open {
                if open.fits(slots, records) {
                    return Ok(state);
                }
                if !state.busy && open.pending == 0 {
                    state = self.lead(state);
                } else {
                    self.log.wait(&mut state);
                }
                continue;
            }
            if state.rolling {
                // A group opened now would have its place in the segment that is being left.
                self.log.wait(&mut state);
                continue;
            }
            let room = state.room(SegmentKind::User, self.geometry.slots_per_segment());
            if let Some(room) = room.filter(|room| *room >= slots) {
                let nonce = LogState::nonce(&*self.entropy)?;
                state.opened_id += 1;
                let id = state.opened_id;
                let Some(segment) = &state.place(SegmentKind::User).open else { continue };
                let group = Group {
                    kind: SegmentKind::User,
                    segment: segment.segment,
                    key: Arc::clone(&segment.key),
                    base: segment.next_slot,
                    nonce,
                    records: Vec::new(),
                    parts: Vec::new(),
                    payload_slots: 0,
                    conditions: Vec::new(),
                    writeback: None,
                };
                state.open = Some(OpenGroup { id, group, pending: 0, room });
                return Ok(state);
            }
            if state.busy {
                self.log.wait(&mut state);
                continue;
            }
            state.busy = true;
            state.rolling = true;
            drop(state);
            let rolled = self.roll(SegmentKind::User);
            state = self.log.lock();
            state.busy = false;
            state.rolling = false;
            self.log.notify();
            rolled?;
        }
    }

    /// Seals the payload of pieces and makes their records.
    fn seal_pieces(
        &self,
        pieces: &[Piece<'_>],
        reservation: &Reservation,
        slots: u32,
        birth: Birth,
    ) -> Result<(Vec<Record>, Vec<u8>)> {
        let mut buffer = self.log.buffer(usize::try_from(slots).unwrap_or(0) * SLOT_LEN);
        let mut records = Vec::with_capacity(pieces.iter().map(Piece::records).sum());
        self.seal_into(pieces, reservation, 0, &mut buffer, birth, &mut records)?;
        Ok((records, buffer))
    }

    /// Seals pieces into `buffer`, which begins `first` payload slots behind the reservation's start.
    /// Much of it is sealed on two cores, and each half again on two, where they are idle.
    fn seal_into(
        &self,
        pieces: &[Piece<'_>],
        reservation: &Reservation,
        first: u32,
        buffer: &mut [u8],
        birth: Birth,
        records: &mut Vec<Record>,
    ) -> Result<()> {
        if self.shares && buffer.len() >= 2 * SHARED_SEAL_MIN && pieces.len() > 1 {
            let (left, right) = pieces.split_at(pieces.len() / 2);
            let slots: u32 = left.iter().map(Piece::slots).sum();
            let middle = usize::try_from(slots).unwrap_or(0) * SLOT_LEN;
            if let Some((front, back)) = buffer.split_at_mut_checked(middle) {
                let (mut more, mut other) = (Vec::new(), Ok(()));
                let own = rayon::in_place_scope(|scope| {
                    scope.spawn(|_| {
                        let at = first + slots;
                        other = self.seal_into(right, reservation, at, back, birth, &mut more);
                    });
                    self.seal_into(left, reservation, first, front, birth, records)
                });
                own.and(other)?;
                records.append(&mut more);
                return Ok(());
            }
        }
        let mut places = buffer.chunks_exact_mut(SLOT_LEN);
        let mut at = first;
        for piece in pieces {
            let (kind, lba, data, old) = match piece {
                Piece::Zeros { lba, blocks } => {
                    records.push(Record::range(*lba, *blocks, birth));
                    continue;
                }
                Piece::Blocks { lba, data } => (RecordKind::Data, *lba, *data, Phys::NONE),
                Piece::Replace { lba, old, data, .. } => (RecordKind::Move, *lba, *data, *old),
            };
            for ((block, lba), place) in
                data.chunks_exact(BLOCK_LEN).zip(lba..).zip(places.by_ref())
            {
                let slot = reservation.first_slot + at;
                let aad = self.identity(reservation.key.seq, slot, Content::block(lba)).aad();
                let tag = reservation
                    .key
                    .aead
                    .seal(&nonce(slot, reservation.nonce), &aad, block, place)
                    .map_err(|e| {
                        Error::new(ErrorKind::Internal, "seal block", format!("LBA {lba}"))
                            .with_source(e)
                    })?;
                let payload = u8::try_from(reservation.first_payload + at + 1).unwrap_or(u8::MAX);
                records.push(Record { kind, lba, level: 0, payload, old, birth, tag });
                at += 1;
            }
        }
        Ok(())
    }

    /// Seals the commit slot, writes the group, publishes its records. The caller is `busy`.
    pub(crate) fn write_group(
        &self,
        group: &mut Group,
        seq: u64,
        previous: [u8; 16],
    ) -> Result<[u8; 16]> {
        let outcome = self.write_group_bytes(group, seq, previous);
        match &outcome {
            Ok(_) => {
                self.publish(group);
                self.log.written.store(seq, Ordering::Release);
                let is_change = group
                    .records
                    .iter()
                    .any(|record| !matches!(record.kind, RecordKind::Stamp | RecordKind::Void));
                if is_change {
                    self.log.last_change.store(seq, Ordering::Release);
                }
            }
            Err(error) => self.poison(error),
        }
        outcome
    }

    fn write_group_bytes(
        &self,
        group: &mut Group,
        seq: u64,
        previous: [u8; 16],
    ) -> Result<[u8; 16]> {
        let durable_upto = self.log.durable.load(Ordering::Acquire);
        let body = CommitBody {
            seq,
            previous,
            durable_upto,
            payload_nonce: group.nonce,
            payload_slots: u16::try_from(group.payload_slots).unwrap_or(u16::MAX),
            records: std::mem::take(&mut group.records),
        };
        let mut plain = [0; COMMIT_SEALED_MAX];
        let len = body.encode(&mut plain);
        group.records = body.records;
        let plain = plain.get(..len).unwrap_or_default();
        let mut commit = [0; SLOT_LEN];
        let aad = self.identity(group.key.seq, group.base, Content::COMMIT).aad();
        let sealed = commit.get_mut(..len).unwrap_or_default();
        let tag =
            group.key.aead.seal(&nonce(group.base, group.nonce), &aad, plain, sealed).map_err(
                |e| {
                    Error::new(ErrorKind::Internal, "seal commit slot", format!("group {seq}"))
                        .with_source(e)
                },
            )?;
        let sealed_len = u16::try_from(len).unwrap_or(u16::MAX);
        encode_trailer(&mut commit, &CommitTrailer { sealed_len, nonce: group.nonce, tag });

        let mut parts: Vec<&(u32, Vec<u8>)> = group.parts.iter().collect();
        parts.sort_unstable_by_key(|(at, _)| *at);
        let mut slices = Vec::with_capacity(1 + parts.len());
        slices.push(IoSlice::new(&commit));
        slices.extend(parts.iter().map(|(_, bytes)| IoSlice::new(bytes)));
        let offset = self.geometry.phys(group.segment, group.base).offset();
        self.storage.write_at(offset, &slices)?;

        let len = u64::from(group.slots()) * SLOT_LEN as u64;
        self.count_log_bytes(len);
        self.log.claimed.fetch_max(durable_upto, Ordering::AcqRel);
        self.counters.groups.fetch_add(1, Ordering::Relaxed);
        let unsynced = self.log.unsynced.fetch_add(len, Ordering::Relaxed);
        if group.slots() >= LARGE_GROUP {
            // The disk works while the next group is sealed.
            group.writeback = (unsynced < WRITEBACK_LIMIT).then_some((offset, len));
        } else if unsynced / WRITEBACK_BYTES != (unsynced + len) / WRITEBACK_BYTES {
            let start = self.geometry.segment_offset(group.segment);
            group.writeback = Some((start, offset + len - start));
        }
        if unsynced < self.settings.unsynced.0 && unsynced + len >= self.settings.unsynced.0 {
            self.wake_maintenance();
        }
        Ok(tag)
    }

    fn count_log_bytes(&self, len: u64) {
        self.log.bytes.fetch_add(len, Ordering::Relaxed);
        self.counters.log_bytes.fetch_add(len, Ordering::Relaxed);
    }

    /// Publishes a written group's records in the index.
    fn publish(&self, group: &Group) {
        let mut conditions = group.conditions.iter().peekable();
        for (at, record) in group.records.iter().enumerate() {
            let applied = self.publish_record(group, record);
            if let Some((_, outcome)) = conditions.next_if(|(record, _)| *record == at) {
                let code = if applied { condition::APPLIED } else { condition::SKIPPED };
                outcome.store(code, Ordering::Release);
            }
        }
    }

    fn publish_record(&self, group: &Group, record: &Record) -> bool {
        match record.kind {
            RecordKind::Data => {
                self.index.set(record.lba, self.payload_entry(group, record));
                true
            }
            RecordKind::Zero => {
                self.index.set(record.lba, Entry::zero(record.birth));
                true
            }
            RecordKind::Range => {
                self.publish_range(record.lba, record.range_blocks(), record.birth);
                true
            }
            RecordKind::Move => {
                // Unchanged by the delta means unchanged since its mover looked: checkpoints cannot
                // settle in between (maintenance lock for GC, reuse gate for read-modify-write).
                let applies = match self.index.in_delta(record.lba) {
                    InDelta::Changed(entry) => entry.phys() == record.old,
                    InDelta::Unchanged => true,
                };
                if applies {
                    self.index.set(record.lba, self.payload_entry(group, record));
                }
                applies
            }
            RecordKind::Fill
            | RecordKind::Map
            | RecordKind::Table
            | RecordKind::Snap
            | RecordKind::Void
            | RecordKind::Stamp => false,
        }
    }

    /// Publishes zeros: short runs as points, long ones as a range.
    pub(crate) fn publish_range(&self, lba: u64, blocks: u64, birth: Birth) {
        let end = lba.saturating_add(blocks).min(self.logical_blocks);
        if blocks <= SHORT_RANGE {
            for lba in lba..end {
                self.index.set(lba, Entry::zero(birth));
            }
        } else {
            self.index.set_range(lba, end, birth);
        }
    }

    fn payload_entry(&self, group: &Group, record: &Record) -> Entry {
        let phys = self.geometry.phys(group.segment, group.base + u32::from(record.payload));
        Entry::data(phys, record.birth, group.nonce, record.tag)
    }

    /// Opens the reserved segment of a kind and reserves its successor. The caller is `busy`, or,
    /// for the kinds that only maintenance writes, holds the maintenance lock.
    pub(crate) fn roll(&self, kind: SegmentKind) -> Result<()> {
        let reserved = self.log.lock().place(kind).reserved;
        let successor = self.reserve_segment()?;
        let opened = self.open_segment(kind, reserved, successor);
        match opened {
            Ok(open) => {
                let mut state = self.log.lock();
                // Not the last group in it but the next one of all: a checkpoint frozen before that
                // group may have its cursor here, and replay must find the way to the successor.
                let last_group = state.next_seq;
                let place = state.place(kind);
                place.reserved = successor;
                let closed = place.open.replace(open);
                drop(state);
                if let Some(closed) = closed {
                    self.close_segment(closed.segment, closed.next_slot, last_group)?;
                }
                Ok(())
            }
            Err(error) => {
                // The header's state on disk is unknown: nothing may be appended any more.
                self.poison(&error);
                Err(error)
            }
        }
    }

    fn open_segment(
        &self,
        kind: SegmentKind,
        reserved: Successor,
        successor: Successor,
    ) -> Result<OpenSegment> {
        let salt = self.random::<32>()?;
        let key_id = self.keyring.current_id();
        let header = SegmentHeader {
            suite: self.suite,
            kind,
            segment: reserved.segment,
            seq: reserved.seq,
            salt,
            key_id,
            generation: self.snapshot_generation().0,
            successor,
        };
        let mut slot = header.encode();
        let signed = slot.get(..HEADER_SIGNED_LEN).unwrap_or_default();
        let mac = self.keyring.header_mac().tag(&[&self.volume.0, signed]);
        if let Some(place) = slot.get_mut(HEADER_MAC_OFFSET..HEADER_MAC_OFFSET + mac.len()) {
            place.copy_from_slice(&mac);
        }
        let offset = self.geometry.segment_offset(reserved.segment);
        self.storage.write_at(offset, &[IoSlice::new(&slot)])?;
        self.count_log_bytes(SLOT_LEN as u64);
        let key = Arc::new(self.keyring.segment_key(reserved.seq, key_id, &salt)?);
        let mut table = self.table.lock();
        self.load_table_page(&mut table, SegmentTable::page_of(reserved.segment))?;
        if let Some(info) = table.get_mut(reserved.segment) {
            info.stored.seq = reserved.seq;
            info.stored.salt = salt;
            info.stored.key_id = key_id;
            info.stored.kind = kind as u8;
            info.stored.generation = header.generation;
            info.stored.live = 0;
            info.stored.used = 0;
            info.held = true;
            info.last_group = u64::MAX;
        }
        self.keys.insert(reserved.segment, Arc::clone(&key));
        drop(table);
        Ok(OpenSegment { segment: reserved.segment, key, next_slot: 1 })
    }

    /// Marks a segment as complete: `used` slots, no group after `last_group`.
    pub(crate) fn close_segment(
        &self,
        segment: SegmentIndex,
        used: u32,
        last_group: u64,
    ) -> Result<()> {
        let mut table = self.table.lock();
        self.load_table_page(&mut table, SegmentTable::page_of(segment))?;
        if let Some(info) = table.get_mut(segment) {
            info.stored.used = u16::try_from(used).unwrap_or(u16::MAX);
            info.held = false;
            info.last_group = last_group;
        }
        Ok(())
    }

    /// The generation in which blocks are born now.
    pub(crate) fn snapshot_generation(&self) -> Birth {
        Birth(self.generation.load(Ordering::Acquire))
    }
}

/// The outcome cell of record `at` of the pieces, if that record is conditional.
fn outcome_of(pieces: &[Piece<'_>], at: usize) -> Option<Arc<AtomicU8>> {
    let mut first = 0;
    for piece in pieces {
        if at == first
            && let Piece::Replace { outcome, .. } = piece
        {
            return Some(Arc::clone(outcome));
        }
        first += piece.records();
        if first > at {
            return None;
        }
    }
    None
}

const _: () = assert!(ATOMIC_BLOCKS as usize <= MAX_PAYLOAD_SLOTS);
