//! Reading, choosing and writing the two superblock copies.
//!
//! Both copies name the same state: a write goes to A, fdatasync, B, fdatasync. A reader takes the
//! valid copy of the higher generation. That is never a rollback: segments that the older state
//! needs are released only after both copies are durable, so replay from the older copy reaches
//! the same groups.

use std::io::IoSlice;

use sealvol_core::{Error, ErrorKind, Result};
use sealvol_envelope::{Mac, checksum};
use sealvol_format::{FormatError, SUPER_LEN, SUPER_OFFSETS, Superblock, VolumeState, signed_part};
use sealvol_storage::Storage;

const OP: &str = "read superblock";

/// What one copy holds.
#[derive(Debug)]
pub(crate) enum Copy {
    /// Well-formed; authenticity not yet checked unless blank.
    Parsed { block: Box<Superblock>, raw: Vec<u8> },
    /// Not a superblock of this version, or damaged.
    Bad(FormatError),
}

/// Reads both copies, A first. A copy past the end of the file counts as bad.
pub(crate) fn read_copies(storage: &dyn Storage) -> Result<[Copy; 2]> {
    let len = storage.len()?;
    let read = |offset: u64| -> Result<Copy> {
        let available = len.saturating_sub(offset).min(SUPER_LEN as u64);
        let mut raw = vec![0; usize::try_from(available).unwrap_or(0)];
        storage.read_at(offset, &mut raw)?;
        let parsed = Superblock::decode(&raw).and_then(|block| {
            if block.volume_state == VolumeState::Blank {
                let (body, sum) = signed_part(&raw)?;
                if checksum(&[body]) != sum {
                    return Err(FormatError::Field {
                        what: "superblock",
                        field: "checksum",
                        found: 0,
                    });
                }
            }
            Ok(block)
        });
        Ok(match parsed {
            Ok(block) => Copy::Parsed { block: Box::new(block), raw },
            Err(error) => Copy::Bad(error),
        })
    };
    let [a, b] = SUPER_OFFSETS;
    Ok([read(a)?, read(b)?])
}

/// The public part that a volume is identified by: from whichever copy parses, the keyed one and
/// the newer one preferred. Nothing in it is authenticated yet.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a newer format, [`ErrorKind::Corrupt`] when neither copy parses.
pub fn read_public(storage: &dyn Storage) -> Result<Superblock> {
    preferred(storage).map(|(first, _)| first)
}

/// What to open the volume by: what [`read_public`] gives, then the other copy's public part, if it
/// is another. What a data key is unwrapped with (key ARN, context, wrapped key) can be authenticated
/// only with that key: if the first copy is damaged there, the second is tried.
///
/// # Errors
/// As [`read_public`].
pub fn read_candidates(storage: &dyn Storage) -> Result<Vec<Superblock>> {
    let (first, second) = preferred(storage)?;
    let twin = second.filter(|twin| {
        (twin.volume, &twin.keys, twin.volume_state)
            != (first.volume, &first.keys, first.volume_state)
    });
    Ok([first].into_iter().chain(twin).collect())
}

/// The parsed copies: the keyed one and the newer one preferred.
fn preferred(storage: &dyn Storage) -> Result<(Superblock, Option<Superblock>)> {
    let [a, b] = read_copies(storage)?;
    let rank =
        |block: &Superblock| (block.volume_state == VolumeState::Keyed, block.state.generation);
    match (a, b) {
        (Copy::Parsed { block: a, .. }, Copy::Parsed { block: b, .. }) => {
            Ok(if rank(&b) > rank(&a) { (*b, Some(*a)) } else { (*a, Some(*b)) })
        }
        (Copy::Parsed { block, .. }, _) | (_, Copy::Parsed { block, .. }) => Ok((*block, None)),
        (Copy::Bad(a), Copy::Bad(b)) => Err(neither(&a, &b)),
    }
}

pub(crate) fn neither(a: &FormatError, b: &FormatError) -> Error {
    for error in [a, b] {
        if let FormatError::Unsupported { .. } = error {
            return Error::new(ErrorKind::Unsupported, OP, error.to_string());
        }
    }
    let both_magic = matches!(
        (a, b),
        (
            FormatError::Magic { .. } | FormatError::Truncated { .. },
            FormatError::Magic { .. } | FormatError::Truncated { .. }
        )
    );
    let advice = if both_magic {
        "this is not a sealvol volume, or both superblocks were wiped"
    } else {
        "both superblocks are damaged; restore the file from a copy"
    };
    Error::new(ErrorKind::Corrupt, OP, format!("copy A: {a}; copy B: {b}; {advice}"))
}

/// Whether a parsed keyed copy is authentic.
pub(crate) fn is_authentic(mac: &Mac, raw: &[u8]) -> bool {
    signed_part(raw).is_ok_and(|(body, tag)| mac.verify(&[body], &tag))
}

/// Writes one copy.
pub(crate) fn write_copy(storage: &dyn Storage, copy: usize, bytes: &[u8]) -> Result<()> {
    let offset = SUPER_OFFSETS.get(copy).copied().unwrap_or(0);
    storage.write_at(offset, &[IoSlice::new(bytes)])
}

/// Encodes and authenticates a superblock; without a MAC (a blank one) a checksum takes its place.
pub(crate) fn seal(block: &Superblock, mac: Option<&Mac>) -> Result<Vec<u8>> {
    let body = block.encode().map_err(|source| {
        Error::new(
            ErrorKind::Invalid,
            "write superblock",
            "the wrapped keys do not fit into a superblock; use fewer keys or shorter contexts",
        )
        .with_source(source)
    })?;
    let tag = match mac {
        Some(mac) => mac.tag(&[&body]),
        None => checksum(&[&body]),
    };
    Ok(Superblock::seal(body, &tag))
}
