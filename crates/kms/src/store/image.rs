//! A whole store as bytes: sealing a snapshot, and reading header, snapshot and journal back.

use std::fmt;

use sealvol_core::Entropy;
use sealvol_envelope::aead::{AeadBackend, TAG_LEN};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::acknowledged::Acknowledged;
use super::error::Damage;
use super::header::{HEADER_LEN, StoreHeader, VERSION};
use super::journal::Chain;
use super::root_key::RootKey;
use crate::ids::random;
use crate::state::{State, decode_snapshot, encode_snapshot};

const LABEL: &[u8; 8] = b"snapshot";
/// Every key seals one message, so the nonce is constant.
const NONCE: [u8; 12] = [0; 12];

/// What a store's bytes hold.
pub struct StoreImage {
    /// The public header.
    pub header: StoreHeader,
    /// Where each journal record ends.
    pub record_ends: Vec<u64>,
    /// Where the last intact record (or the snapshot) ends.
    pub end: u64,
    /// Bytes behind it: an unfinished, unacknowledged write, to be dropped.
    pub torn: u64,
    pub(crate) state: State,
    pub(super) chain: Chain,
}

impl fmt::Debug for StoreImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreImage")
            .field("generation", &self.header.generation)
            .field("record_ends", &self.record_ends)
            .field("end", &self.end)
            .field("torn", &self.torn)
            .finish_non_exhaustive()
    }
}

/// Reads a store. Memory is bounded by the bytes' length.
///
/// # Errors
/// [`Damage`]: what is wrong, and where.
pub fn decode_store(
    bytes: &[u8],
    root: &RootKey,
    acknowledged: Option<&Acknowledged>,
) -> Result<StoreImage, Damage> {
    let header = StoreHeader::decode(bytes)?;
    if !bool::from(root.commitment().ct_eq(&header.commitment)) {
        return Err(Damage::WrongKey);
    }
    let acknowledged = acknowledged_len(&header, acknowledged)?;

    let start = u64::try_from(HEADER_LEN).unwrap_or(u64::MAX);
    let snapshot_damage =
        Damage::Snapshot { start, end: start.saturating_add(header.snapshot_len) };
    let (raw_header, rest) = bytes.split_at_checked(HEADER_LEN).ok_or(Damage::Header)?;
    let Some((sealed, journal)) =
        usize::try_from(header.snapshot_len).ok().and_then(|len| rest.split_at_checked(len))
    else {
        return Err(snapshot_damage);
    };
    let Some((ciphertext, tag)) = sealed.split_last_chunk::<TAG_LEN>() else {
        return Err(snapshot_damage);
    };
    let mut body = Zeroizing::new(vec![0; ciphertext.len()]);
    let opened = AeadBackend::default()
        .expand(&root.piece_key(LABEL, &header.salt))
        .open(&NONCE, raw_header, ciphertext, tag, &mut body);
    if opened.is_err() {
        return Err(snapshot_damage);
    }
    let mut state =
        decode_snapshot(&body).map_err(|source| Damage::Body { offset: start, source })?;

    let mut chain = Chain {
        store_salt: header.salt,
        next: 1,
        last_tag: *tag,
        end: start + header.snapshot_len,
    };
    let mut record_ends = Vec::new();
    let torn =
        chain.replay(root, journal, acknowledged, &mut state, |end| record_ends.push(end))?;
    Ok(StoreImage { header, record_ends, end: chain.end, torn, state, chain })
}

/// How much of this store is known to have been acknowledged.
pub(super) fn acknowledged_len(
    header: &StoreHeader,
    acknowledged: Option<&Acknowledged>,
) -> Result<Option<u64>, Damage> {
    match acknowledged {
        // A crash came between a compaction and its note.
        Some(note) if note.generation < header.generation => Ok(None),
        Some(note) if note.generation == header.generation && note.salt == header.salt => {
            Ok(Some(note.len))
        }
        Some(note) => {
            Err(Damage::Replaced { found: header.generation, acknowledged: note.generation })
        }
        None => Ok(None),
    }
}

/// Seals `state` as the whole of a new store. `header` gives the root key's kind and the
/// generation; salt and length are set here.
pub(super) fn seal_store(
    mut header: StoreHeader,
    root: &RootKey,
    entropy: &dyn Entropy,
    state: &State,
) -> Result<(Vec<u8>, StoreHeader, Chain), sealvol_core::Error> {
    let failed =
        |why| sealvol_core::Error::new(sealvol_core::ErrorKind::Internal, "seal a snapshot", why);
    let body =
        encode_snapshot(state).map_err(|e| failed("it does not serialise").with_source(e))?;
    let body = body.as_slice();
    header.version = VERSION;
    header.salt = random(entropy)?;
    header.commitment = root.commitment();
    header.snapshot_len = u64::try_from(body.len() + TAG_LEN).unwrap_or(u64::MAX);
    let raw_header = header.encode();

    let mut bytes = Vec::with_capacity(HEADER_LEN + body.len() + TAG_LEN);
    bytes.extend_from_slice(&raw_header);
    bytes.resize(HEADER_LEN + body.len(), 0);
    let tag = AeadBackend::default()
        .expand(&root.piece_key(LABEL, &header.salt))
        .seal(&NONCE, &raw_header, body, bytes.get_mut(HEADER_LEN..).unwrap_or_default())
        .map_err(|e| failed("the cipher refused").with_source(e))?;
    bytes.extend_from_slice(&tag);
    let chain = Chain {
        store_salt: header.salt,
        next: 1,
        last_tag: tag,
        end: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
    };
    Ok((bytes, header, chain))
}
