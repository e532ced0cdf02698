//! A damaged volume image: flipped, overwritten, moved, zeroed and cut. Whatever was done to it, a
//! block reads as what was last flushed to it or as an error; what a reader may lose, it is told;
//! and a volume that opens for writing takes writes and keeps them.
//!
//! What no file alone can show is allowed for: where every trace of the volume's life is gone (both
//! superblocks blank again and no segment left), it reads as a new volume.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sealvol_core::{BlockDevice, Error, ErrorKind, WriteFlags};
use sealvol_engine::{Engine, Mode, read_public};
use sealvol_envelope::checksum;
use sealvol_format::{
    DATA_OFFSET, SLOT_LEN, SUPER_LEN, SUPER_OFFSETS, Superblock, VolumeState, signed_part,
};
use sealvol_storage::{MemoryStorage, Storage};
use sealvol_testkit::{ModelVolume, Recorder, fill_block, identify_block};

use crate::input::Input;
use crate::memory::bounded;
use crate::volume::{Shape, World, create_volume, data_key};

/// Blocks of the volume.
const BLOCKS: u64 = 64;
const SHAPE: Shape = Shape { blocks: BLOCKS, slots: 16, percent: 130 };
/// Most memory of one run.
const BUDGET: usize = 96 << 20;

/// How a base image was left.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Created, never opened.
    Blank,
    /// Closed in order.
    Closed,
    /// Crashed, after a flush that later groups prove.
    Crashed,
}

struct Base {
    bytes: Vec<u8>,
    /// The version of each block that was flushed last.
    flushed: Vec<u64>,
    /// Every version of each block.
    model: ModelVolume,
}

fn bases() -> &'static [Base; 3] {
    static BASES: OnceLock<[Base; 3]> = OnceLock::new();
    BASES.get_or_init(|| [End::Blank, End::Closed, End::Crashed].map(make))
}

fn make(end: End) -> Base {
    let storage = Arc::new(MemoryStorage::new());
    create_volume(&*storage, SHAPE).expect("a possible shape");
    let recorder = Recorder::new(ModelVolume::new(BLOCKS as usize), None);
    if !matches!(end, End::Blank) {
        let mut world = World::default();
        let engine = world.open(Arc::clone(&storage) as Arc<dyn Storage>).expect("opens");
        // Enough to go round the log, with every kind of segment and record in it.
        for step in 0..120_u64 {
            let lba = step * 7 % (BLOCKS - 6);
            let flags = WriteFlags::default();
            let done = match step % 12 {
                5 => recorder.discard(&engine, lba, 3),
                8 => recorder.flush(&engine),
                _ => recorder.write(&engine, lba, step % 5 + 1, flags),
            };
            done.expect("the engine works");
            if step % 30 == 20 {
                engine.collect().expect("collects");
            }
            if step % 50 == 35 {
                engine.checkpoint().expect("checkpoints");
            }
        }
        recorder.flush(&engine).expect("flushes");
        engine.maintain().expect("maintains");
        world.clock.advance(Duration::from_secs(3));
        // The stamp that proves the flush.
        engine.maintain().expect("maintains");
        if matches!(end, End::Closed) {
            engine.close().expect("closes");
        }
    }
    let mut bytes = vec![0; storage.len().expect("has a length") as usize];
    storage.read_at(0, &mut bytes).expect("reads");
    let model = recorder.model();
    Base { bytes, flushed: model.latest(), model }
}

/// The target's body: which image and how to open it, then the damage.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (which, flags) = (input.u8(), input.u8());
    let base = &bases()[usize::from(which % 3)];
    bounded(BUDGET, || {
        let mut bytes = base.bytes.clone();
        damage(&mut input, &mut bytes);
        if flags & 1 != 0 {
            fix_checksums(&mut bytes);
        }
        Trial { base, bytes }.run(flags & 2 != 0);
    });
}

/// Damages an image. Places are counted over the parts that hold anything: one slot of each
/// superblock, then the segments.
fn damage(input: &mut Input<'_>, bytes: &mut Vec<u8>) {
    const SUPERS: usize = 2 * SLOT_LEN;
    let place = |at: u32, len: usize| {
        let data_start = DATA_OFFSET as usize;
        let at = at as usize % (SUPERS + len.saturating_sub(data_start).max(1));
        match at {
            0..SLOT_LEN => at,
            SLOT_LEN..SUPERS => SUPER_OFFSETS[1] as usize + at - SLOT_LEN,
            _ => data_start + at - SUPERS,
        }
    };
    while !input.is_empty() {
        let kind = input.u8();
        // Whole sectors or slots, where finer places are pointless.
        let unit = if kind & 0x80 == 0 { SLOT_LEN } else { 512 };
        let at = place(input.u24(), bytes.len()).min(bytes.len());
        let aligned = at - at % unit;
        match kind % 6 {
            0 => {
                let flip = input.u8();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= flip;
                }
            }
            1 => {
                let len = usize::from(input.u8());
                for (to, from) in bytes[at..].iter_mut().zip(input.bytes(len)) {
                    *to = *from;
                }
            }
            2 => {
                let from = place(input.u24(), bytes.len()).min(bytes.len());
                let from = from - from % unit;
                let len = unit * (usize::from(input.u8() % 20) + 1);
                let len = len.min(bytes.len() - from.max(aligned));
                bytes.copy_within(from..from + len, aligned);
            }
            3 => {
                let len = unit * (usize::from(input.u8() % 20) + 1);
                let end = bytes.len().min(aligned + len);
                bytes[aligned..end].fill(0);
            }
            4 => bytes.truncate(aligned),
            _ => {
                let more = usize::from(input.u8()) * unit;
                bytes.resize(bytes.len() + more, 0);
            }
        }
    }
}

/// Gives blank superblocks, whose only guard is a checksum, a right one: anybody could.
fn fix_checksums(bytes: &mut [u8]) {
    for start in SUPER_OFFSETS {
        let Some(copy) = bytes.get_mut(start as usize..) else { continue };
        let end = copy.len().min(SUPER_LEN);
        let copy = &mut copy[..end];
        let blank = Superblock::decode(copy).is_ok_and(|b| b.volume_state == VolumeState::Blank);
        if !blank {
            continue;
        }
        let Ok((body, _)) = signed_part(copy) else { continue };
        let (len, sum) = (body.len(), checksum(&[body]));
        copy[len..len + sum.len()].copy_from_slice(&sum);
    }
}

struct Trial<'a> {
    base: &'a Base,
    bytes: Vec<u8>,
}

impl Trial<'_> {
    fn storage(&self) -> Arc<dyn Storage> {
        let storage = MemoryStorage::new();
        let whole = [std::io::IoSlice::new(&self.bytes)];
        storage.write_at(0, &whole).expect("fits into memory");
        Arc::new(storage)
    }

    fn run(&self, accept_truncation: bool) {
        // Was the volume's identity taken back to before its first opening?
        let blank = read_public(&*self.storage())
            .is_ok_and(|block| block.volume_state == VolumeState::Blank);
        let sound = self.read(blank);
        self.write(blank, sound, accept_truncation);
    }

    /// Opens for reading: whatever is lost is told by the report, the scan, or an error. Tells
    /// whether nothing was.
    fn read(&self, blank: bool) -> bool {
        let storage = self.storage();
        let opened = World::default()
            .builder(Arc::clone(&storage))
            .mode(Mode::ReadOnly)
            .open(vec![(1, data_key())]);
        let (engine, report) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.refusal(&error);
                return false;
            }
        };
        let verified = engine.verify(&mut |_, _| true).expect("the scan runs");
        let told = report.corruption.is_some();
        let lost = self.contents(&engine, blank || told);
        assert!(lost == 0 || !verified.is_sound(), "{lost} blocks lost, and the scan is content");
        drop(engine);
        let len = storage.len().expect("has a length");
        assert_eq!(len, self.bytes.len() as u64, "a reader changed the file's length");
        let mut after = vec![0; self.bytes.len()];
        storage.read_at(0, &mut after).expect("reads");
        assert!(after == self.bytes, "a reader changed the file");
        verified.is_sound() && !told
    }

    /// Opens for writing: right or refused, and what is written from now on stays.
    fn write(&self, blank: bool, sound: bool, accept_truncation: bool) {
        let mut world = World::default();
        let storage = self.storage();
        let opened = world
            .builder(Arc::clone(&storage))
            .accept_truncation(accept_truncation)
            .open(vec![(1, data_key())]);
        let engine = match opened {
            Ok((engine, _)) => engine,
            Err(error) => {
                self.refusal(&error);
                assert!(!sound, "sound to a reader, but it does not open: {error:?}");
                return;
            }
        };
        let size = engine.info().len.0;
        let lost = self.contents(&engine, blank || accept_truncation);
        assert!(lost == 0 || !sound, "{lost} blocks lost of a sound volume");

        // Damage under the map may fail this write; a write that succeeded is there afterwards.
        let lba = size / 4096 - 1;
        let block = fill_block(lba, 1 << 40);
        let written = engine
            .write(lba * 4096, &block, WriteFlags::default())
            .and_then(|()| engine.flush())
            .and_then(|()| engine.checkpoint());
        let grown = storage.len().expect("has a length").saturating_sub(self.bytes.len() as u64);
        assert!(grown <= 32 << 20, "one write made the file grow by {grown} bytes");
        let written = written.and_then(|()| engine.close());
        match written {
            Ok(()) => {
                let engine = match world.open(storage) {
                    Ok(engine) => engine,
                    Err(error) => panic!("closed in order, but does not open: {error:?}"),
                };
                let mut found = [0xa5; 4096];
                engine.read(lba * 4096, &mut found).expect("the new block reads");
                assert!(found.as_slice() == block.as_slice(), "the new block is another");
            }
            Err(error) => {
                self.refusal(&error);
                assert!(!sound, "a sound volume takes no write: {error:?}");
            }
        }
    }

    /// Reads every block: what was flushed last, or an error. Where the volume has owned up to a loss
    /// (`older`), any version that the block ever had. Returns the number of errors.
    fn contents(&self, engine: &Engine, older: bool) -> u64 {
        let mut lost = 0;
        // A forged blank superblock may claim another size.
        let blocks = (engine.info().len.0 / 4096).min(2 * BLOCKS);
        for lba in 0..blocks {
            let mut block = [0xa5; 4096];
            let flushed = self.base.flushed.get(lba as usize).copied().unwrap_or(0);
            match engine.read(lba * 4096, &mut block) {
                Ok(()) => {
                    let version = identify_block(lba, &block);
                    let right = version == Some(flushed)
                        || (older && version.is_some_and(|v| v < self.base.model.next_version()));
                    assert!(right, "LBA {lba} reads as version {version:?}, not {flushed}");
                }
                Err(error) => {
                    self.refusal(&error);
                    assert!(block.iter().all(|b| *b == 0), "LBA {lba}: a failed read gave bytes");
                    lost += 1;
                }
            }
        }
        lost
    }

    /// An error of a damaged volume is of a kind that says so, and only a damaged one has any.
    fn refusal(&self, error: &Error) {
        assert!(self.bytes != self.base.bytes, "an undamaged volume: {error:?}");
        let kind = error.kind();
        let fitting = matches!(
            kind,
            ErrorKind::Corrupt
                | ErrorKind::Denied
                | ErrorKind::Invalid
                | ErrorKind::Io
                | ErrorKind::NoSpace
                | ErrorKind::Poisoned
                | ErrorKind::Unsupported
        );
        assert!(fitting, "{kind:?}: {error:?}");
    }
}
