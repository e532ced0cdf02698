//! Segment headers: what decodes reads back equal after encoding, and its signed part is all of it.

use sealvol_format::{HEADER_MAC_OFFSET, SLOT_LEN, SegmentHeader};

use crate::input::Input;

/// The target's body.
pub fn run(data: &[u8]) {
    let slot: [u8; SLOT_LEN] = Input::new(data).array();
    let Ok((header, mac)) = SegmentHeader::decode(&slot) else { return };
    let mut again = header.encode();
    again[HEADER_MAC_OFFSET..HEADER_MAC_OFFSET + 32].copy_from_slice(&mac);
    assert_eq!(SegmentHeader::decode(&again), Ok((header, mac)));
}
