//! States and changes as the JSON that the store seals. The formats are pure: bytes in, values
//! out. Buffers that hold key bytes are zeroised.

use std::io;

use sealvol_sys::WipedBuffer;
use serde::{Deserialize, Serialize};

use super::{AliasRecord, Change, GrantRecord, KeyRecord, Misfit, State};
use crate::ids::KeyId;
use crate::secret::Secret;

/// A sealed body that authenticates and yet is not what this build writes.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Not the JSON of a body.
    #[error("not a body of this version")]
    Json(#[source] serde_json::Error),
    /// The parts contradict each other.
    #[error("{0}")]
    Inconsistent(String),
}

impl From<serde_json::Error> for BodyError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl From<Misfit> for BodyError {
    fn from(misfit: Misfit) -> Self {
        Self::Inconsistent(misfit.to_string())
    }
}

#[derive(Serialize)]
struct SnapshotRef<'a> {
    token_secret: &'a Secret,
    keys: Vec<&'a KeyRecord>,
    aliases: Vec<&'a AliasRecord>,
    grants: Vec<(KeyId, &'a GrantRecord)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    token_secret: Secret,
    keys: Vec<KeyRecord>,
    aliases: Vec<AliasRecord>,
    grants: Vec<(KeyId, GrantRecord)>,
}

pub(crate) fn encode_snapshot(state: &State) -> io::Result<WipedBuffer> {
    let snapshot = SnapshotRef {
        token_secret: &state.token_secret,
        keys: state.keys().map(|key| &key.record).collect(),
        aliases: state.aliases().collect(),
        grants: state
            .keys()
            .flat_map(|key| key.grants.iter().map(|grant| (key.record.id, &**grant)))
            .collect(),
    };
    let mut buffer = WipedBuffer::with_capacity(4096);
    serde_json::to_writer(&mut buffer, &snapshot)?;
    Ok(buffer)
}

pub(crate) fn decode_snapshot(body: &[u8]) -> Result<State, BodyError> {
    let snapshot: Snapshot = serde_json::from_slice(body)?;
    let mut state = State::new(snapshot.token_secret);
    for record in snapshot.keys {
        state.apply(Change::KeyCreated(record))?;
    }
    for alias in snapshot.aliases {
        state.apply(Change::AliasCreated(alias))?;
    }
    for (key, grant) in snapshot.grants {
        state.apply(Change::GrantCreated { key, grant })?;
    }
    Ok(state)
}

pub(crate) fn encode_change(change: &Change) -> io::Result<WipedBuffer> {
    let mut buffer = WipedBuffer::with_capacity(1024);
    serde_json::to_writer(&mut buffer, change)?;
    Ok(buffer)
}

pub(crate) fn decode_change(body: &[u8]) -> Result<Change, BodyError> {
    Ok(serde_json::from_slice(body)?)
}

/// Reads a snapshot's body and drops it: the decoder that a fuzzer reaches without a key.
///
/// # Errors
/// [`BodyError`].
pub fn check_snapshot_body(body: &[u8]) -> Result<(), BodyError> {
    decode_snapshot(body).map(drop)
}

/// Reads a journal record's body and drops it.
///
/// # Errors
/// [`BodyError`].
pub fn check_change_body(body: &[u8]) -> Result<(), BodyError> {
    decode_change(body).map(drop)
}
