//! Commit slots: the plaintext within its limits and stable under encoding, and the clear trailer.

use sealvol_format::{
    COMMIT_SEALED_LEN, CommitBody, MAX_PAYLOAD_SLOTS, MAX_RECORDS, SLOT_LEN, encode_trailer,
    split_commit_slot,
};

use crate::input::Input;
use crate::memory::bounded;

/// The target's body.
pub fn run(data: &[u8]) {
    let slot: [u8; SLOT_LEN] = Input::new(data).array();
    let (sealed, trailer) = split_commit_slot(&slot);
    let mut again = [0; SLOT_LEN];
    again[..COMMIT_SEALED_LEN].copy_from_slice(sealed);
    encode_trailer(&mut again, &trailer);
    assert_eq!(again, slot, "the parts of a slot are not the slot");

    let Ok(body) = bounded(64 << 10, || CommitBody::decode(sealed)) else { return };
    assert!(body.records.len() <= MAX_RECORDS);
    assert!(usize::from(body.payload_slots) <= MAX_PAYLOAD_SLOTS);
    for record in &body.records {
        assert!(u16::from(record.payload) <= body.payload_slots);
    }
    let mut again = [0xff; COMMIT_SEALED_LEN];
    body.encode(&mut again);
    assert_eq!(CommitBody::decode(&again), Ok(body));
}
