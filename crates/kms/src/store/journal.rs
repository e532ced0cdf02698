//! Journal records: one sealed change each, chained.
//!
//! ```text
//!  offset  len
//!       0    4  magic "SVJR"
//!       4    4  length of the sealed change, tag included
//!       8    8  sequence number since the snapshot, from 1
//!      16   32  salt of this record's key, random
//!      48    8  the first 8 bytes of SHA-256(bytes 0 to 47)
//!      56    n  sealed change
//!    56+n   16  tag
//! ```
//! Associated data: the header, the salt of the store's snapshot and the tag of the record before
//! (of the snapshot, for the first), so that records cannot be left out, reordered, repeated or
//! moved to another store. The salt is the record's own because a record may be written twice with
//! one sequence number: torn by a crash, then again by the next opener.

use sealvol_core::Entropy;
use sealvol_envelope::aead::{AeadBackend, TAG_LEN, Tag};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::error::Damage;
use super::root_key::RootKey;
use crate::ids::random;
use crate::state::{Change, State, decode_change};

const MAGIC: &[u8; 4] = b"SVJR";
const LABEL: &[u8; 8] = b"journal\0";
/// Every key seals one message, so the nonce is constant.
const NONCE: [u8; 12] = [0; 12];

const CHECKED_LEN: usize = 4 + 4 + 8 + 32;
const HEADER_LEN: usize = CHECKED_LEN + 8;
/// Longest sealed change. The largest change is far smaller; what a longer one would be is damage.
const SEALED_LEN_MAX: usize = 256 * 1024;
/// Longest record.
pub const RECORD_LEN_MAX: usize = HEADER_LEN + SEALED_LEN_MAX;

/// Where the journal stands: what the next record must continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// Salt of the store's snapshot.
    pub(super) store_salt: [u8; 32],
    /// Sequence number of the next record.
    pub(super) next: u64,
    /// Tag of the last one.
    pub(super) last_tag: Tag,
    /// Where it ends in the file.
    pub(super) end: u64,
}

impl Chain {
    fn aad(&self, header: &[u8]) -> Vec<u8> {
        [header, &self.store_salt, &self.last_tag].concat()
    }

    /// The record of `change` and the chain after it.
    pub(super) fn seal(
        &self,
        root: &RootKey,
        entropy: &dyn Entropy,
        change: &[u8],
    ) -> Result<(Vec<u8>, Self), sealvol_core::Error> {
        let failed =
            |why| sealvol_core::Error::new(sealvol_core::ErrorKind::Internal, "seal a change", why);
        let sealed_len = change.len() + TAG_LEN;
        if sealed_len > SEALED_LEN_MAX {
            return Err(failed("the change is longer than a record may be"));
        }
        let salt: [u8; 32] = random(entropy)?;
        let mut record = Vec::with_capacity(HEADER_LEN + sealed_len);
        record.extend_from_slice(MAGIC);
        record.extend_from_slice(&u32::try_from(sealed_len).unwrap_or(u32::MAX).to_be_bytes());
        record.extend_from_slice(&self.next.to_be_bytes());
        record.extend_from_slice(&salt);
        record.extend_from_slice(&check(&record));
        let aad = self.aad(&record);
        record.resize(HEADER_LEN + change.len(), 0);
        let tag = AeadBackend::default()
            .expand(&root.piece_key(LABEL, &salt))
            .seal(&NONCE, &aad, change, record.get_mut(HEADER_LEN..).unwrap_or_default())
            .map_err(|e| failed("the cipher refused").with_source(e))?;
        record.extend_from_slice(&tag);
        let end = self.end + u64::try_from(record.len()).unwrap_or(u64::MAX);
        Ok((record, Self { next: self.next + 1, last_tag: tag, end, ..self.clone() }))
    }

    /// Applies the records in `bytes`, which start where the chain ends, and moves the chain on.
    /// Returns how many bytes at the end are an unfinished, unacknowledged write.
    ///
    /// # Errors
    /// [`Damage`]; state and chain then hold what came before the damage.
    pub(super) fn replay(
        &mut self,
        root: &RootKey,
        mut bytes: &[u8],
        acknowledged: Option<u64>,
        state: &mut State,
        mut applied: impl FnMut(u64),
    ) -> Result<u64, Damage> {
        while !bytes.is_empty() {
            let Some(OpenedRecord { body, next, rest }) = self.open_first(root, bytes) else {
                return self.torn_tail(bytes, acknowledged);
            };
            let here = |source| Damage::Body { offset: self.end, source };
            let change: Change = decode_change(&body).map_err(here)?;
            state.apply(change).map_err(|misfit| here(misfit.into()))?;
            *self = next;
            applied(self.end);
            bytes = rest;
        }
        self.all_acknowledged(acknowledged)?;
        Ok(0)
    }

    fn all_acknowledged(&self, acknowledged: Option<u64>) -> Result<(), Damage> {
        match acknowledged {
            Some(acknowledged) if acknowledged > self.end => {
                Err(Damage::Truncated { end: self.end, acknowledged })
            }
            _ => Ok(()),
        }
    }

    /// Opens the record at the start of `bytes`; `None` if it is incomplete or does not
    /// authenticate.
    fn open_first<'a>(&self, root: &RootKey, bytes: &'a [u8]) -> Option<OpenedRecord<'a>> {
        let header = RecordHeader::decode(bytes)?;
        let (raw_header, rest) = bytes.split_at_checked(HEADER_LEN)?;
        let (sealed, rest) = rest.split_at_checked(header.sealed_len)?;
        let (ciphertext, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
        if header.sequence != self.next {
            return None;
        }
        let mut body = Zeroizing::new(vec![0; ciphertext.len()]);
        AeadBackend::default()
            .expand(&root.piece_key(LABEL, &header.salt))
            .open(&NONCE, &self.aad(raw_header), ciphertext, tag, &mut body)
            .ok()?;
        let len = u64::try_from(HEADER_LEN + header.sealed_len).ok()?;
        let next =
            Self { next: self.next + 1, last_tag: *tag, end: self.end + len, ..self.clone() };
        Some(OpenedRecord { body, next, rest })
    }

    /// Whether `tail`, which does not start with a good record, can be what a crash left of the
    /// last, unacknowledged append. A writer appends record n + 1 only after n was synced, so only
    /// the last record may be torn: anything behind it, more bytes than one record has, or an
    /// acknowledgement that reaches into it proves damage.
    fn torn_tail(&self, tail: &[u8], acknowledged: Option<u64>) -> Result<u64, Damage> {
        let damage = Damage::Record { offset: self.end, sequence: self.next };
        if acknowledged.is_some_and(|acknowledged| acknowledged > self.end)
            || tail.len() > RECORD_LEN_MAX
        {
            return Err(damage);
        }
        // A record with a good header: its write was not cut short before its end.
        if let Some(header) = RecordHeader::decode(tail)
            && (header.sequence != self.next || tail.len() > HEADER_LEN + header.sealed_len)
        {
            return Err(damage);
        }
        let later = (1..tail.len()).any(|at| {
            tail.get(at..)
                .is_some_and(|rest| rest.starts_with(MAGIC) && RecordHeader::decode(rest).is_some())
        });
        if later {
            return Err(damage);
        }
        Ok(u64::try_from(tail.len()).unwrap_or(u64::MAX))
    }
}

/// A record that authenticates: its change, the chain after it, and the bytes after it.
struct OpenedRecord<'a> {
    body: Zeroizing<Vec<u8>>,
    next: Chain,
    rest: &'a [u8],
}

struct RecordHeader {
    sealed_len: usize,
    sequence: u64,
    salt: [u8; 32],
}

impl RecordHeader {
    /// `None` if the bytes are too few, or not an undamaged header.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (checked, rest) = bytes.split_first_chunk::<CHECKED_LEN>()?;
        if *rest.first_chunk::<8>()? != check(checked) {
            return None;
        }
        let rest = checked.strip_prefix(MAGIC.as_slice())?;
        let (len, rest) = rest.split_first_chunk()?;
        let (sequence, salt) = rest.split_first_chunk()?;
        let sealed_len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        (TAG_LEN..=SEALED_LEN_MAX).contains(&sealed_len).then_some(Self {
            sealed_len,
            sequence: u64::from_be_bytes(*sequence),
            salt: salt.try_into().ok()?,
        })
    }
}

fn check(header: &[u8]) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(header).into();
    digest.first_chunk().copied().unwrap_or_default()
}
