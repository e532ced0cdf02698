//! Ciphertext blobs of the embedded KMS: nothing opens but what it made, under the context that it
//! was made with.

use sealvol_envelope::EncryptionContext;
use sealvol_kms::codec::{BLOB_OVERHEAD, CiphertextBlob};
use sha2::{Digest, Sha256};

use crate::input::Input;
use crate::memory::bounded;
use crate::toy_kms::toy_kms;

/// Where the header's check is, as `blob.rs` of the KMS draws it.
const CHECK_AT: usize = 88;
const HEADER_LEN: usize = CHECK_AT + 8;
const TAG_LEN: usize = BLOB_OVERHEAD - HEADER_LEN;

/// The target's body: a mode, then what the mode says.
pub fn run(data: &[u8]) {
    let kms = toy_kms();
    let mut input = Input::new(data);
    match input.u8() % 4 {
        // Any bytes.
        0 => try_open(input.all()),
        // Any bytes with a header that fits.
        1 => {
            let mut blob = input.all().to_vec();
            fix_header(&mut blob);
            let plaintext_len = blob.len().checked_sub(BLOB_OVERHEAD);
            let fits = plaintext_len.is_some_and(|len| (1..=4096).contains(&len));
            assert_eq!(CiphertextBlob::parse(&blob).is_ok(), fits);
            try_open(&blob);
        }
        // A genuine blob, damaged.
        2 => {
            let mut blob = kms.blob.clone();
            input.damage(&mut blob);
            try_open(&blob);
            fix_header(&mut blob);
            try_open(&blob);
        }
        // A genuine blob, another context.
        _ => {
            let Ok(context) = EncryptionContext::from_canonical(input.all()) else { return };
            let same = context == kms.context;
            assert_eq!(kms.opens(&kms.blob, context), same);
        }
    }
}

fn try_open(blob: &[u8]) {
    let kms = toy_kms();
    bounded((256 << 10) + 4 * blob.len(), || {
        if let Ok(parsed) = CiphertextBlob::parse(blob) {
            assert_eq!(parsed.plaintext_len() + BLOB_OVERHEAD, blob.len());
        }
        assert_eq!(kms.opens(blob, kms.context.clone()), blob == kms.blob);
    });
}

/// Makes length and check of a blob's header right.
fn fix_header(blob: &mut [u8]) {
    let ciphertext_len = blob.len().saturating_sub(HEADER_LEN + TAG_LEN);
    let Some(header) = blob.first_chunk_mut::<HEADER_LEN>() else { return };
    header[..8].copy_from_slice(b"SVKB\x01\0\0\0");
    header[CHECK_AT - 4..CHECK_AT].copy_from_slice(&(ciphertext_len as u32).to_be_bytes());
    let check: [u8; 32] = Sha256::digest(&header[..CHECK_AT]).into();
    header[CHECK_AT..].copy_from_slice(&check[..8]);
}
