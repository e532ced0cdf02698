//! The keys of an open volume: one pseudorandom key for each data key, the MACs of headers and
//! superblocks, and the expanded keys of the segments in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;
use sealvol_core::{Error, ErrorKind, Result, VolumeId};
use sealvol_envelope::aead::{AeadBackend, AeadKey};
use sealvol_envelope::{DataKey, Mac, Prk, Purpose};
use sealvol_format::SegmentIndex;

/// Makes an AEAD key of 32 bytes. Tests pass one that records every nonce.
pub type ExpandKey = Arc<dyn Fn(&[u8; 32]) -> Box<dyn AeadKey> + Send + Sync>;

/// An [`ExpandKey`] for one of the built-in implementations.
#[must_use]
pub fn expand_with(backend: AeadBackend) -> ExpandKey {
    Arc::new(move |key| backend.expand(key))
}

/// The pseudorandom keys of a volume.
pub(crate) struct Keyring {
    prks: Vec<(u16, Prk)>,
    expand: ExpandKey,
    header_mac: Mac,
    super_mac: Mac,
}

impl Keyring {
    /// Derives everything from the data keys (id and key), the last of which seals new segments.
    pub(crate) fn new(
        volume: VolumeId,
        keys: &[(u16, &DataKey)],
        expand: ExpandKey,
    ) -> Result<Self> {
        let prks: Vec<(u16, Prk)> =
            keys.iter().map(|(id, key)| (*id, Prk::extract(&volume.0, key))).collect();
        let Some((_, first)) = prks.first() else {
            return Err(Error::new(ErrorKind::Invalid, "open volume", "no data key was given"));
        };
        let (header_mac, super_mac) = (first.mac(Purpose::Header), first.mac(Purpose::Superblock));
        Ok(Self { prks, expand, header_mac, super_mac })
    }

    /// Whether all of it is locked in RAM.
    pub(crate) fn is_locked(&self) -> bool {
        self.prks.iter().all(|(_, prk)| prk.is_locked())
    }

    /// The key that seals new segments.
    pub(crate) fn current_id(&self) -> u16 {
        self.prks.last().map_or(0, |(id, _)| *id)
    }

    /// The public value that commits to key `id`.
    pub(crate) fn commitment(&self, id: u16) -> Option<[u8; 32]> {
        self.prk(id).map(Prk::commitment)
    }

    fn prk(&self, id: u16) -> Option<&Prk> {
        self.prks.iter().find(|(known, _)| *known == id).map(|(_, prk)| prk)
    }

    pub(crate) const fn header_mac(&self) -> &Mac {
        &self.header_mac
    }

    pub(crate) const fn super_mac(&self) -> &Mac {
        &self.super_mac
    }

    /// Expands the key of a segment.
    pub(crate) fn segment_key(&self, seq: u64, key_id: u16, salt: &[u8; 32]) -> Result<SegmentKey> {
        let Some(prk) = self.prk(key_id) else {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "derive segment key",
                format!("segment {seq:#x} names data key {key_id}, which the volume does not have"),
            ));
        };
        let subkey = prk.subkey(Purpose::Segment, salt);
        Ok(SegmentKey { seq, aead: (self.expand)(&subkey) })
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({} keys)", self.prks.len())
    }
}

/// The expanded key of one segment, and the sequence number that its slots are bound to.
pub(crate) struct SegmentKey {
    pub(crate) seq: u64,
    pub(crate) aead: Box<dyn AeadKey>,
}

impl std::fmt::Debug for SegmentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SegmentKey(seq {:#x})", self.seq)
    }
}

const SHARDS: usize = 16;
/// About 1 KiB of key schedule each: 8 MiB at most.
const CACHED_KEYS: usize = 8192;

/// Expanded keys by segment, bounded. Entries of a reused segment are replaced under the segment
/// table's lock, so that a key is never older than the table.
pub(crate) struct KeyCache {
    shards: [RwLock<HashMap<u64, CachedKey>>; SHARDS],
}

struct CachedKey {
    key: Arc<SegmentKey>,
    used: AtomicBool,
}

impl KeyCache {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()) }
    }

    fn shard(&self, segment: SegmentIndex) -> &RwLock<HashMap<u64, CachedKey>> {
        let at = usize::try_from(segment.0 % SHARDS as u64).unwrap_or(0);
        self.shards.get(at).unwrap_or(&self.shards[0])
    }

    pub(crate) fn get(&self, segment: SegmentIndex) -> Option<Arc<SegmentKey>> {
        let shard = self.shard(segment).read();
        let cached = shard.get(&segment.0)?;
        if !cached.used.load(Ordering::Relaxed) {
            cached.used.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(&cached.key))
    }

    pub(crate) fn insert(&self, segment: SegmentIndex, key: Arc<SegmentKey>) {
        let mut shard = self.shard(segment).write();
        if shard.len() >= CACHED_KEYS / SHARDS {
            // Second chance: what was used since the last sweep stays once more.
            shard.retain(|_, cached| cached.used.swap(false, Ordering::Relaxed));
            if shard.len() >= CACHED_KEYS / SHARDS {
                shard.clear();
            }
        }
        shard.insert(segment.0, CachedKey { key, used: AtomicBool::new(true) });
    }

    pub(crate) fn remove(&self, segment: SegmentIndex) {
        self.shard(segment).write().remove(&segment.0);
    }
}

impl std::fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyCache(..)")
    }
}
