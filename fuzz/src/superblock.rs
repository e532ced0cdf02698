//! Superblocks: what decodes can be written again, and reads back equal.

use sealvol_format::{FormatError, SLOT_LEN, SUPER_LEN, Superblock, signed_part};

use crate::memory::bounded;

/// The fields whose lengths the encoder limits more strictly than the decoder.
const LIMITED: [&str; 4] =
    ["key ARN length", "encryption context length", "wrapped key length", "total length"];

/// The target's body.
pub fn run(data: &[u8]) {
    let Ok(block) = bounded(2 * SUPER_LEN, || Superblock::decode(data)) else { return };
    assert!(signed_part(data).is_ok(), "decoded without a signed part");
    let body = match block.encode() {
        Ok(body) => body,
        Err(FormatError::Field { field, .. }) if LIMITED.contains(&field) => return,
        Err(error) => panic!("decoded, but does not encode: {error}"),
    };
    let mac = [0x5a; 32];
    let sealed = Superblock::seal(body.clone(), &mac);
    assert!(sealed.len() <= SUPER_LEN && sealed.len().is_multiple_of(SLOT_LEN));
    assert_eq!(signed_part(&sealed), Ok((body.as_slice(), mac)));
    assert_eq!(Superblock::decode(&sealed), Ok(block));
}
