//! Commit slots: the first slot of each group, sealed, with the group's records.

use crate::bytes::u64_at;
use crate::record::RECORD_LEN;
use crate::{FormatError, Record, SLOT_LEN};

const WHAT: &str = "commit slot";
/// Most records of a group.
pub const MAX_RECORDS: usize = 125;
/// Most payload slots of a group.
pub const MAX_PAYLOAD_SLOTS: usize = 125;

const NONCE_LEN: usize = 8;
const TAG_LEN: usize = 16;
/// Bytes of the slot that are sealed; the nonce and the tag follow in clear.
pub const COMMIT_SEALED_LEN: usize = SLOT_LEN - NONCE_LEN - TAG_LEN;

const SEQ_AT: usize = 0;
const CHAIN_AT: usize = SEQ_AT + 8;
const DURABLE_AT: usize = CHAIN_AT + 16;
const NONCE_AT: usize = DURABLE_AT + 8;
const COUNTS_AT: usize = NONCE_AT + 8;
const RECORDS_AT: usize = COUNTS_AT + 8;
const _: () = assert!(RECORDS_AT + MAX_RECORDS * RECORD_LEN <= COMMIT_SEALED_LEN);

/// The plaintext of a commit slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitBody {
    /// The group's number: one order over all segment kinds, without gaps.
    pub seq: u64,
    /// The tag of the commit slot of group `seq - 1`.
    pub previous: [u8; 16],
    /// Every group up to this one was durable before this group was written.
    pub durable_upto: u64,
    /// The random half of the payload slots' nonces.
    pub payload_nonce: u64,
    /// Payload slots that follow the commit slot.
    pub payload_slots: u16,
    /// What the group changes.
    pub records: Vec<Record>,
}

impl CommitBody {
    /// Writes the plaintext into `out`. At most [`MAX_RECORDS`] records are kept.
    pub fn encode(&self, out: &mut [u8; COMMIT_SEALED_LEN]) {
        out.fill(0);
        let count = u16::try_from(self.records.len().min(MAX_RECORDS)).unwrap_or(0);
        let counts = u64::from(count) | (u64::from(self.payload_slots) << 16);
        let head: [(usize, &[u8]); 5] = [
            (SEQ_AT, &self.seq.to_le_bytes()),
            (CHAIN_AT, &self.previous),
            (DURABLE_AT, &self.durable_upto.to_le_bytes()),
            (NONCE_AT, &self.payload_nonce.to_le_bytes()),
            (COUNTS_AT, &counts.to_le_bytes()),
        ];
        for (at, bytes) in head {
            if let Some(place) = out.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        let places = out.get_mut(RECORDS_AT..).unwrap_or_default().chunks_exact_mut(RECORD_LEN);
        for (place, record) in places.zip(self.records.iter().take(MAX_RECORDS)) {
            place.copy_from_slice(&record.encode());
        }
    }

    /// Reads a plaintext.
    ///
    /// # Errors
    /// [`FormatError::Field`] for impossible counts, kinds or payload indices.
    pub fn decode(bytes: &[u8; COMMIT_SEALED_LEN]) -> Result<Self, FormatError> {
        let field = |field, found| FormatError::Field { what: WHAT, field, found };
        let counts = u64_at(bytes, COUNTS_AT);
        let count = usize::try_from(counts & 0xffff).unwrap_or(usize::MAX);
        let payload_slots = u16::try_from((counts >> 16) & 0xffff).unwrap_or(u16::MAX);
        if count > MAX_RECORDS || usize::from(payload_slots) > MAX_PAYLOAD_SLOTS {
            return Err(field("record or payload count", counts));
        }
        let mut previous = [0; 16];
        if let Some(chain) = bytes.get(CHAIN_AT..CHAIN_AT + 16) {
            previous.copy_from_slice(chain);
        }
        let (places, _) = bytes.get(RECORDS_AT..).unwrap_or_default().as_chunks::<RECORD_LEN>();
        let mut records = Vec::with_capacity(count);
        for place in places.iter().take(count) {
            let record = Record::decode(place)?;
            if u16::from(record.payload) > payload_slots {
                return Err(field("payload index", u64::from(record.payload)));
            }
            records.push(record);
        }
        Ok(Self {
            seq: u64_at(bytes, SEQ_AT),
            previous,
            durable_upto: u64_at(bytes, DURABLE_AT),
            payload_nonce: u64_at(bytes, NONCE_AT),
            payload_slots,
            records,
        })
    }
}

/// The clear end of a commit slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitTrailer {
    /// The random half of the commit slot's own nonce.
    pub nonce: u64,
    /// The commit slot's tag: the next link of the chain.
    pub tag: [u8; 16],
}

/// Splits a slot into its sealed part and its trailer.
#[must_use]
pub fn split_commit_slot(slot: &[u8; SLOT_LEN]) -> (&[u8; COMMIT_SEALED_LEN], CommitTrailer) {
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(slot.last_chunk::<TAG_LEN>().unwrap_or(&[0; TAG_LEN]));
    let sealed = slot.first_chunk::<COMMIT_SEALED_LEN>().unwrap_or(&[0; COMMIT_SEALED_LEN]);
    (sealed, CommitTrailer { nonce: u64_at(slot, COMMIT_SEALED_LEN), tag })
}

/// Writes the trailer at the end of a slot.
pub fn encode_trailer(slot: &mut [u8; SLOT_LEN], trailer: &CommitTrailer) {
    if let Some((_, end)) = slot.split_last_chunk_mut::<{ NONCE_LEN + TAG_LEN }>() {
        let (nonce, tag) = end.split_at_mut(NONCE_LEN);
        nonce.copy_from_slice(&trailer.nonce.to_le_bytes());
        tag.copy_from_slice(&trailer.tag);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Birth, Phys, RecordKind};

    fn body(records: usize) -> CommitBody {
        let records = (0..records)
            .map(|i| Record {
                kind: RecordKind::Data,
                lba: i as u64,
                level: 0,
                payload: u8::try_from(i + 1).unwrap(),
                old: Phys(i as u64 * 3),
                birth: Birth(7),
                tag: [u8::try_from(i).unwrap(); 16],
            })
            .collect::<Vec<_>>();
        CommitBody {
            seq: 42,
            previous: [1; 16],
            durable_upto: 41,
            payload_nonce: 99,
            payload_slots: u16::try_from(records.len()).unwrap(),
            records,
        }
    }

    #[test]
    fn a_full_group_round_trips() {
        for count in [0, 1, MAX_RECORDS] {
            let mut bytes = [0xff; COMMIT_SEALED_LEN];
            body(count).encode(&mut bytes);
            assert_eq!(CommitBody::decode(&bytes), Ok(body(count)));
        }
        let mut slot = [0; SLOT_LEN];
        let trailer = CommitTrailer { nonce: 5, tag: [6; 16] };
        encode_trailer(&mut slot, &trailer);
        assert_eq!(split_commit_slot(&slot).1, trailer);
    }

    #[test]
    fn a_payload_index_past_the_group_is_refused() {
        let mut bytes = [0; COMMIT_SEALED_LEN];
        let mut bad = body(3);
        bad.payload_slots = 2;
        bad.encode(&mut bytes);
        assert!(matches!(CommitBody::decode(&bytes), Err(FormatError::Field { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in proptest::collection::vec(any::<u8>(), COMMIT_SEALED_LEN)) {
            let bytes: [u8; COMMIT_SEALED_LEN] = bytes.try_into().unwrap();
            let _outcome = CommitBody::decode(&bytes);
        }
    }
}
