//! The superblock: public fields that a volume can be identified and its key unwrapped by, and the
//! authenticated state that everything else hangs from.

use sealvol_core::VolumeId;

use crate::bytes::{Reader, Writer};
use crate::{
    Entry, FORMAT_VERSION, FormatError, Geometry, MAX_LOGICAL_BLOCKS, SLOT_LEN, SegmentIndex, Suite,
};

const WHAT: &str = "superblock";
const MAGIC: [u8; 8] = *b"SEALVOL\x01";
/// Bytes reserved for a superblock. Only the used part, in whole slots, is written.
pub const SUPER_LEN: usize = 64 << 10;
/// Where the two copies are.
pub const SUPER_OFFSETS: [u64; 2] = [0, 1 << 20];
/// Most wrapped keys of a volume.
pub const MAX_KEYS: usize = 16;
const MAC_LEN: usize = 32;
const BODY_LEN_AT: usize = 56;
const MAX_ARN: usize = 2048;
const MAX_CONTEXT: usize = 8192;
const MAX_BLOB: usize = 6144;

/// A wrapped data key as the superblock holds it. All of it is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The id that segments refer to.
    pub id: u16,
    /// The snapshots that share this data key carry the same lineage.
    pub lineage: [u8; 16],
    /// Commits to the data key; zeros until the volume is first opened with it.
    pub commitment: [u8; 32],
    /// ARN of the KMS key.
    pub key_arn: String,
    /// Canonical encryption context.
    pub context: Vec<u8>,
    /// The KMS's ciphertext.
    pub blob: Vec<u8>,
}

/// Whether the volume was ever opened with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeState {
    /// Created, never opened: public fields only, with a checksum in place of the MAC.
    Blank,
    /// Opened at least once.
    Keyed,
}

/// Where the next group of one segment kind would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The segment.
    pub segment: SegmentIndex,
    /// Its sequence number, whether or not its header has been written yet.
    pub seq: u64,
    /// The slot after the last group.
    pub slot: u32,
}

/// The authenticated state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SuperblockState {
    /// Counts superblock writes.
    pub generation: u64,
    /// Counts writable opens.
    pub open_epoch: u64,
    /// The kernel's boot id at the open.
    pub boot_id: [u8; 16],
    /// Whether the volume was closed in order: nothing is to be replayed.
    pub clean: bool,
    /// The snapshot generation in which blocks are born now.
    pub snapshot_generation: u32,
    /// Segments that the file has room for; those past it were never used.
    pub segments: u64,
    /// Most segments that the file may grow to.
    pub segment_limit: u64,
    /// The last group whose changes the map below contains.
    pub checkpoint_seq: u64,
    /// The chain tag of that group.
    pub checkpoint_tag: [u8; 16],
    /// Every group up to this one is durable.
    pub durable_seq: u64,
    /// The map's root page.
    pub root: Entry,
    /// The segment table's root page.
    pub table: Entry,
    /// The snapshot catalog's root page.
    pub catalog: Entry,
    /// Where replay starts, by segment kind.
    pub cursors: [Cursor; 3],
    /// The group and chain tag last handed to an anchor.
    pub anchored: (u64, [u8; 16]),
}

/// A superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The cipher suite.
    pub suite: Suite,
    /// Blank or keyed.
    pub volume_state: VolumeState,
    /// The volume.
    pub volume: VolumeId,
    /// Logical size in blocks.
    pub logical_blocks: u64,
    /// Segment size.
    pub geometry: Geometry,
    /// Wrapped keys; the last one seals new segments.
    pub keys: Vec<StoredKey>,
    /// Authenticated once the volume is keyed.
    pub state: SuperblockState,
}

impl Superblock {
    /// Writes everything but the MAC (or checksum), which goes behind the returned bytes.
    ///
    /// # Errors
    /// [`FormatError::Field`] when the keys do not fit: refused at create, not at the first crash.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let field =
            |field, found: usize| FormatError::Field { what: WHAT, field, found: found as u64 };
        if self.keys.is_empty() || self.keys.len() > MAX_KEYS {
            return Err(field("key count", self.keys.len()));
        }
        check_ids(&self.keys)?;
        let mut w = Writer::default();
        w.put(&MAGIC)
            .u16(FORMAT_VERSION)
            .u16(self.suite.id())
            .u8(match self.volume_state {
                VolumeState::Blank => 0,
                VolumeState::Keyed => 1,
            })
            .put(&[0; 3])
            .put(&self.volume.0)
            .u64(self.logical_blocks)
            .u32(self.geometry.slots_per_segment())
            .u16(u16::try_from(self.keys.len()).unwrap_or(0))
            .u16(0)
            .u64(0);
        debug_assert_eq!(w.len(), BODY_LEN_AT);
        w.u32(0).u32(0);
        for key in &self.keys {
            check_lengths(key.key_arn.len(), key.context.len(), key.blob.len())?;
            let len = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or(0);
            w.u16(key.id)
                .u16(len(key.key_arn.as_bytes()))
                .u16(len(&key.context))
                .u16(len(&key.blob))
                .put(&key.lineage)
                .put(&key.commitment)
                .put(key.key_arn.as_bytes())
                .put(&key.context)
                .put(&key.blob);
        }
        let s = &self.state;
        w.u64(s.generation)
            .u64(s.open_epoch)
            .put(&s.boot_id)
            .u32(u32::from(s.clean))
            .u32(s.snapshot_generation)
            .u64(s.segments)
            .u64(s.segment_limit)
            .u64(s.checkpoint_seq)
            .put(&s.checkpoint_tag)
            .u64(s.durable_seq)
            .put(&s.root.encode())
            .put(&s.table.encode())
            .put(&s.catalog.encode());
        for cursor in &s.cursors {
            w.u64(cursor.segment.0).u64(cursor.seq).u32(cursor.slot).u32(0);
        }
        w.u64(s.anchored.0).put(&s.anchored.1);
        if w.len() + MAC_LEN > SUPER_LEN {
            return Err(field("total length", w.len()));
        }
        let len = u32::try_from(w.len()).unwrap_or(0);
        w.patch_u32(BODY_LEN_AT, len);
        Ok(w.finish())
    }

    /// Pads a body and its MAC to whole slots, ready to be written.
    #[must_use]
    pub fn seal(mut body: Vec<u8>, mac: &[u8; MAC_LEN]) -> Vec<u8> {
        body.extend_from_slice(mac);
        body.resize(body.len().next_multiple_of(SLOT_LEN), 0);
        body
    }

    /// Reads a superblock. The caller must verify its MAC (see [`signed_part`]) before believing
    /// the state; the public part may be used to ask the KMS for the key.
    ///
    /// # Errors
    /// [`FormatError`] for another structure, a newer version, or impossible fields.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (body, _) = signed_part(bytes)?;
        let mut r = Reader::new(WHAT, body);
        r.bytes(10)?;
        let suite = Suite::from_id(r.u16()?)?;
        let volume_state = match r.u8()? {
            0 => VolumeState::Blank,
            1 => VolumeState::Keyed,
            other => {
                return Err(FormatError::Field { what: WHAT, field: "state", found: other.into() });
            }
        };
        r.bytes(3)?;
        let volume = VolumeId(r.array()?);
        let logical_blocks = r.u64()?;
        if logical_blocks == 0 || logical_blocks > MAX_LOGICAL_BLOCKS {
            return Err(FormatError::Field {
                what: WHAT,
                field: "logical blocks",
                found: logical_blocks,
            });
        }
        let geometry = Geometry::new(r.u32()?)?;
        let count = usize::from(r.u16()?);
        r.u16()?;
        let features = r.u64()?;
        if features != 0 {
            return Err(FormatError::Unsupported { what: "feature set", found: features });
        }
        r.bytes(8)?;
        if count == 0 || count > MAX_KEYS {
            return Err(FormatError::Field { what: WHAT, field: "key count", found: count as u64 });
        }
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            let id = r.u16()?;
            let [arn, context, blob] = [r.u16()?, r.u16()?, r.u16()?].map(usize::from);
            check_lengths(arn, context, blob)?;
            let lineage = r.array()?;
            let commitment = r.array()?;
            let key_arn = std::str::from_utf8(r.bytes(arn)?)
                .map_err(|_| FormatError::Field { what: WHAT, field: "key ARN", found: 0 })?
                .to_owned();
            let context = r.bytes(context)?.to_vec();
            let blob = r.bytes(blob)?.to_vec();
            keys.push(StoredKey { id, lineage, commitment, key_arn, context, blob });
        }
        check_ids(&keys)?;
        let state = Self::decode_state(&mut r)?;
        check_state(&state, volume_state, geometry)?;
        Ok(Self { suite, volume_state, volume, logical_blocks, geometry, keys, state })
    }

    fn decode_state(r: &mut Reader<'_>) -> Result<SuperblockState, FormatError> {
        let mut state = SuperblockState {
            generation: r.u64()?,
            open_epoch: r.u64()?,
            boot_id: r.array()?,
            clean: r.u32()? != 0,
            snapshot_generation: r.u32()?,
            segments: r.u64()?,
            segment_limit: r.u64()?,
            checkpoint_seq: r.u64()?,
            checkpoint_tag: r.array()?,
            durable_seq: r.u64()?,
            root: Entry::decode(&r.array()?),
            table: Entry::decode(&r.array()?),
            catalog: Entry::decode(&r.array()?),
            ..SuperblockState::default()
        };
        for cursor in &mut state.cursors {
            *cursor = Cursor { segment: SegmentIndex(r.u64()?), seq: r.u64()?, slot: r.u32()? };
            r.u32()?;
        }
        state.anchored = (r.u64()?, r.array()?);
        Ok(state)
    }
}

fn refused(field: &'static str, found: u64) -> FormatError {
    FormatError::Field { what: WHAT, field, found }
}

fn check_lengths(arn: usize, context: usize, blob: usize) -> Result<(), FormatError> {
    for (field, found, most) in [
        ("key ARN length", arn, MAX_ARN),
        ("encryption context length", context, MAX_CONTEXT),
        ("wrapped key length", blob, MAX_BLOB),
    ] {
        if found > most {
            return Err(refused(field, found as u64));
        }
    }
    Ok(())
}

/// Segments name their key by its id: each names one.
fn check_ids(keys: &[StoredKey]) -> Result<(), FormatError> {
    for (at, key) in keys.iter().enumerate() {
        if keys.iter().take(at).any(|other| other.id == key.id) {
            return Err(refused("key id", key.id.into()));
        }
    }
    Ok(())
}

/// A blank superblock, which anybody could have written, has no state but the limit; and no
/// superblock makes its reader allocate or seek past what a volume of its shape can have.
fn check_state(
    state: &SuperblockState,
    volume_state: VolumeState,
    geometry: Geometry,
) -> Result<(), FormatError> {
    if state.segment_limit > geometry.max_segments() {
        return Err(refused("segment limit", state.segment_limit));
    }
    if state.segments > state.segment_limit {
        return Err(refused("segments", state.segments));
    }
    let blank =
        SuperblockState { segment_limit: state.segment_limit, ..SuperblockState::default() };
    if volume_state == VolumeState::Blank && *state != blank {
        return Err(refused("state of a blank volume", state.generation));
    }
    for cursor in state.cursors.iter().filter(|cursor| cursor.seq != 0) {
        if !(1..=geometry.slots_per_segment()).contains(&cursor.slot) {
            return Err(refused("cursor slot", cursor.slot.into()));
        }
    }
    Ok(())
}

/// The part of a superblock that its MAC covers, and the MAC.
///
/// # Errors
/// [`FormatError`] when this is no superblock, is of a newer version, or is truncated.
pub fn signed_part(bytes: &[u8]) -> Result<(&[u8], [u8; MAC_LEN]), FormatError> {
    let mut r = Reader::new(WHAT, bytes);
    if r.array::<8>()? != MAGIC {
        return Err(FormatError::Magic { what: WHAT });
    }
    let version = r.u16()?;
    if version != FORMAT_VERSION {
        return Err(FormatError::Unsupported { what: "format version", found: version.into() });
    }
    r.bytes(BODY_LEN_AT - 10)?;
    let len = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
    if len > SUPER_LEN - MAC_LEN {
        return Err(FormatError::Truncated { what: WHAT });
    }
    let mut whole = Reader::new(WHAT, bytes);
    let body = whole.bytes(len)?;
    Ok((body, whole.array()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Birth, Phys};

    fn sample() -> Superblock {
        Superblock {
            suite: Suite::Aes256Gcm,
            volume_state: VolumeState::Keyed,
            volume: VolumeId([3; 16]),
            logical_blocks: 1000,
            geometry: Geometry::DEFAULT,
            keys: vec![StoredKey {
                id: 1,
                lineage: [4; 16],
                commitment: [5; 32],
                key_arn: "arn:aws:kms:us-east-1:000000000000:key/x".into(),
                context: vec![0, 0, 0, 1, b'a', 0, 0, 0, 1, b'b'],
                blob: vec![7; 200],
            }],
            state: SuperblockState {
                generation: 9,
                root: Entry::data(Phys(600), Birth(1), 2, [3; 16]),
                cursors: [Cursor { segment: SegmentIndex(4), seq: 5, slot: 6 }; 3],
                anchored: (7, [8; 16]),
                clean: true,
                ..SuperblockState::default()
            },
        }
    }

    #[test]
    fn superblocks_round_trip() {
        let body = sample().encode().unwrap();
        let sealed = Superblock::seal(body.clone(), &[1; 32]);
        assert_eq!(sealed.len() % SLOT_LEN, 0);
        assert_eq!(signed_part(&sealed).unwrap(), (body.as_slice(), [1; 32]));
        assert_eq!(Superblock::decode(&sealed).unwrap(), sample());
    }

    #[test]
    fn newer_versions_and_features_are_named() {
        let mut body = sample().encode().unwrap();
        body[8] = 2;
        let sealed = Superblock::seal(body, &[0; 32]);
        let error = Superblock::decode(&sealed).unwrap_err();
        assert!(error.to_string().contains("newer"), "{error}");
        let mut body = sample().encode().unwrap();
        body[48] = 1;
        let sealed = Superblock::seal(body, &[0; 32]);
        assert!(matches!(Superblock::decode(&sealed), Err(FormatError::Unsupported { .. })));
    }

    #[test]
    fn oversize_key_lists_are_refused_at_encode() {
        let mut big = sample();
        big.keys = vec![big.keys[0].clone(); MAX_KEYS + 1];
        assert!(big.encode().is_err());
        big.keys = vec![StoredKey { blob: vec![0; 6144], ..sample().keys[0].clone() }; MAX_KEYS];
        assert!(big.encode().is_err(), "16 keys of 6 KiB exceed 64 KiB");
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000), len in 0_u32..4000, fix: bool) {
            if fix && bytes.len() > 60 {
                let head = sample().encode().unwrap();
                bytes[..56].copy_from_slice(&head[..56]);
                bytes[56..60].copy_from_slice(&len.to_le_bytes());
            }
            let _outcome = Superblock::decode(&bytes);
        }
    }
}
