//! Commit slots: the plaintext within its limits and stable under encoding, and the clear trailer.

use sealvol_format::{
    COMMIT_SEALED_MAX, CommitBody, MAX_PAYLOAD_SLOTS, MAX_RECORDS, SLOT_LEN, encode_trailer,
    split_commit_slot,
};

use crate::input::Input;
use crate::memory::bounded;

/// The target's body: a slot, unsealed; whatever its trailer says, all of it is tried as a plaintext.
pub fn run(data: &[u8]) {
    let slot: [u8; SLOT_LEN] = Input::new(data).array();
    if let Ok((sealed, trailer)) = split_commit_slot(&slot) {
        assert_eq!(sealed.len(), usize::from(trailer.sealed_len));
        assert!(sealed.len() <= COMMIT_SEALED_MAX);
        let mut again = [0; SLOT_LEN];
        again[..sealed.len()].copy_from_slice(sealed);
        encode_trailer(&mut again, &trailer);
        assert_eq!(split_commit_slot(&again), Ok((sealed, trailer)));
        plaintext(sealed);
    }
    plaintext(data);
}

fn plaintext(bytes: &[u8]) {
    let Ok(body) = bounded(64 << 10, || CommitBody::decode(bytes)) else { return };
    assert!(body.records.len() <= MAX_RECORDS);
    assert!(usize::from(body.payload_slots) <= MAX_PAYLOAD_SLOTS);
    for record in &body.records {
        assert!(u16::from(record.payload) <= body.payload_slots);
    }
    let mut again = [0xff; COMMIT_SEALED_MAX];
    let len = body.encode(&mut again);
    assert_eq!(len, bytes.len());
    assert_eq!(CommitBody::decode(&again[..len]), Ok(body));
}
