//! Commit slots: the first slot of each group, sealed, with the group's records.

use crate::bytes::u64_at;
use crate::record::RECORD_LEN;
use crate::{FormatError, Record, SLOT_LEN};

const WHAT: &str = "commit slot";
/// Most records of a group.
pub const MAX_RECORDS: usize = 125;
/// Most payload slots of a group.
pub const MAX_PAYLOAD_SLOTS: usize = 125;

const TAG_LEN: usize = 16;
/// Bytes of the clear end of the slot: sealed length, nonce, tag.
const TRAILER_LEN: usize = 8 + 8 + TAG_LEN;
/// Most bytes of the slot that are sealed. Only the used ones are: a group of one block seals 80
/// bytes here, not 4 KiB. The rest of the slot is zeros that nothing depends on.
pub const COMMIT_SEALED_MAX: usize = SLOT_LEN - TRAILER_LEN;

const SEQ_AT: usize = 0;
const CHAIN_AT: usize = SEQ_AT + 8;
const DURABLE_AT: usize = CHAIN_AT + 16;
const NONCE_AT: usize = DURABLE_AT + 8;
const COUNTS_AT: usize = NONCE_AT + 8;
const RECORDS_AT: usize = COUNTS_AT + 8;
const _: () = assert!(RECORDS_AT + MAX_RECORDS * RECORD_LEN <= COMMIT_SEALED_MAX);

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
    /// Writes the plaintext into `out` and returns its length. At most [`MAX_RECORDS`] records are
    /// kept.
    pub fn encode(&self, out: &mut [u8; COMMIT_SEALED_MAX]) -> usize {
        let count = self.records.len().min(MAX_RECORDS);
        let counts = (count as u64) | (u64::from(self.payload_slots) << 16);
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
        RECORDS_AT + count * RECORD_LEN
    }

    /// Reads a plaintext.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] when the length is not that of its records;
    /// [`FormatError::Field`] for impossible counts, kinds or payload indices.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let field = |field, found| FormatError::Field { what: WHAT, field, found };
        let Some((head, records)) = bytes.split_first_chunk::<RECORDS_AT>() else {
            return Err(FormatError::Truncated { what: WHAT });
        };
        let counts = u64_at(head, COUNTS_AT);
        let count = usize::try_from(counts & 0xffff).unwrap_or(usize::MAX);
        let payload_slots = u16::try_from((counts >> 16) & 0xffff).unwrap_or(u16::MAX);
        if count > MAX_RECORDS || usize::from(payload_slots) > MAX_PAYLOAD_SLOTS {
            return Err(field("record or payload count", counts));
        }
        let (places, rest) = records.as_chunks::<RECORD_LEN>();
        if places.len() != count || !rest.is_empty() {
            return Err(FormatError::Truncated { what: WHAT });
        }
        let mut previous = [0; 16];
        if let Some(chain) = head.get(CHAIN_AT..CHAIN_AT + 16) {
            previous.copy_from_slice(chain);
        }
        let mut records = Vec::with_capacity(count);
        for place in places {
            let record = Record::decode(place)?;
            if u16::from(record.payload) > payload_slots {
                return Err(field("payload index", u64::from(record.payload)));
            }
            records.push(record);
        }
        Ok(Self {
            seq: u64_at(head, SEQ_AT),
            previous,
            durable_upto: u64_at(head, DURABLE_AT),
            payload_nonce: u64_at(head, NONCE_AT),
            payload_slots,
            records,
        })
    }
}

/// The clear end of a commit slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitTrailer {
    /// Bytes that are sealed, from the start of the slot.
    pub sealed_len: u16,
    /// The random half of the commit slot's own nonce.
    pub nonce: u64,
    /// The commit slot's tag: the next link of the chain.
    pub tag: [u8; 16],
}

/// Splits a slot into its sealed part and its trailer.
///
/// # Errors
/// [`FormatError::Field`] when the sealed length is none that a commit slot can have.
pub fn split_commit_slot(slot: &[u8; SLOT_LEN]) -> Result<(&[u8], CommitTrailer), FormatError> {
    let (word, nonce) = (u64_at(slot, COMMIT_SEALED_MAX), u64_at(slot, COMMIT_SEALED_MAX + 8));
    let possible = word >= RECORDS_AT as u64
        && word <= (RECORDS_AT + MAX_RECORDS * RECORD_LEN) as u64
        && (word - RECORDS_AT as u64).is_multiple_of(RECORD_LEN as u64);
    let sealed_len = u16::try_from(word).ok().filter(|_| possible);
    let sealed = sealed_len.and_then(|len| slot.get(..usize::from(len)));
    let (Some(sealed_len), Some(sealed)) = (sealed_len, sealed) else {
        return Err(FormatError::Field { what: WHAT, field: "sealed length", found: word });
    };
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(slot.last_chunk::<TAG_LEN>().unwrap_or(&[0; TAG_LEN]));
    Ok((sealed, CommitTrailer { sealed_len, nonce, tag }))
}

/// Writes the trailer at the end of a slot.
pub fn encode_trailer(slot: &mut [u8; SLOT_LEN], trailer: &CommitTrailer) {
    if let Some((_, end)) = slot.split_last_chunk_mut::<TRAILER_LEN>() {
        let (len, rest) = end.split_at_mut(8);
        let (nonce, tag) = rest.split_at_mut(8);
        len.copy_from_slice(&u64::from(trailer.sealed_len).to_le_bytes());
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
            let mut bytes = [0xff; COMMIT_SEALED_MAX];
            let len = body(count).encode(&mut bytes);
            assert_eq!(len, 48 + 32 * count);
            assert_eq!(CommitBody::decode(&bytes[..len]), Ok(body(count)));
            assert!(CommitBody::decode(&bytes[..len - 1]).is_err());
            assert!(CommitBody::decode(&bytes).is_err());
        }
        let mut slot = [0; SLOT_LEN];
        let trailer = CommitTrailer { sealed_len: 80, nonce: 5, tag: [6; 16] };
        encode_trailer(&mut slot, &trailer);
        let (sealed, read) = split_commit_slot(&slot).unwrap();
        assert_eq!((sealed.len(), read), (80, trailer));
        for sealed_len in [0, 47, 81, 4080] {
            encode_trailer(&mut slot, &CommitTrailer { sealed_len, ..trailer });
            assert!(split_commit_slot(&slot).is_err());
        }
    }

    #[test]
    fn a_payload_index_past_the_group_is_refused() {
        let mut bytes = [0; COMMIT_SEALED_MAX];
        let mut bad = body(3);
        bad.payload_slots = 2;
        let len = bad.encode(&mut bytes);
        assert!(matches!(CommitBody::decode(&bytes[..len]), Err(FormatError::Field { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..COMMIT_SEALED_MAX)) {
            let _outcome = CommitBody::decode(&bytes);
        }
    }
}
