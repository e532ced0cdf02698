//! Goal: a damaged, flipped or swapped piece of a volume file is reported or harmless: never wrong
//! data, never an older version, never a silent rollback; a superblock copy is repaired from its twin.
//!
//! Method: a small volume in three states (closed in order; crashed after a proved flush; crashed in
//! the middle of a checkpoint interval). Every written sector in turn gets one flipped bit, or random
//! bytes; then the volume is opened, read whole, and verified. Slots, segments, superblocks and
//! volumes are swapped.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test: a panic is its way to fail, and its figures go to the terminal"
)]

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealvol_core::{BlockDevice, ErrorKind, WriteFlags};
use sealvol_engine::{Engine, Mode};
use sealvol_format::{DATA_OFFSET, SUPER_LEN, SUPER_OFFSETS};
use sealvol_storage::Storage;
use sealvol_testkit::{ModelVolume, Recorder, SimStorage, identify_block};
use sealvol_tests::{Shape, World, create_volume, data_key};

const SHAPE: Shape = Shape { blocks: 200, slots: 16, percent: 130 };

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Closed,
    Proved,
    ProvedLongLog,
}

/// A volume with a history, and the version that each block must have.
fn aged_volume(seed: u64, end: End) -> (SimStorage, Vec<u64>) {
    let disk = Arc::new(SimStorage::new());
    create_volume(&*disk, SHAPE).unwrap();
    let recorder = Recorder::new(ModelVolume::new(200), Some(Arc::clone(&disk)));
    let world = World::new();
    let engine = world.open(Arc::clone(&disk) as Arc<dyn Storage>, seed).unwrap().0;
    let mut rng = StdRng::seed_from_u64(seed);
    for step in 0..260 {
        let lba = rng.random_range(0..190_u64);
        let count = rng.random_range(1..10);
        match rng.random_range(0..10) {
            0..8 => recorder.write(&engine, lba, count, WriteFlags::default()).unwrap(),
            8 => recorder.discard(&engine, lba, count).unwrap(),
            _ => recorder.flush(&engine).unwrap(),
        }
        let late = step > 200 && end == End::ProvedLongLog;
        if step % 40 == 20 && !late {
            engine.collect().unwrap();
        }
        if step % 50 == 30 && !late {
            engine.checkpoint().unwrap();
        }
    }
    match end {
        End::Closed => engine.close().unwrap(),
        End::Proved | End::ProvedLongLog => {
            recorder.flush(&engine).unwrap();
            engine.maintain().unwrap();
            world.clock.advance(Duration::from_secs(3));
            // The stamp that proves the flush.
            engine.maintain().unwrap();
            drop(engine);
        }
    }
    let bytes = disk.fork();
    (bytes, recorder.model().latest())
}

fn is_super(sector: u64) -> bool {
    let offset = sector * 512;
    SUPER_OFFSETS.iter().any(|start| (*start..start + SUPER_LEN as u64).contains(&offset))
}

/// What became of a damaged volume.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// It did not open, and said that it is damaged.
    Refused,
    /// It opened; reads or verification reported damage, and everything else was right.
    Reported,
    /// A superblock was repaired.
    Repaired,
    /// Everything was right.
    Harmless,
}

/// Opens and reads everything; panics on wrong data.
fn examine(disk: &SimStorage, expected: &[u64], note: &str) -> Outcome {
    let world = World::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.fork());
    // Before the writable open below changes anything: what does verification say?
    let sound = match world
        .builder(Arc::clone(&storage), 77)
        .mode(Mode::ReadOnly)
        .open(vec![(1, data_key())])
    {
        Ok((engine, report)) => {
            let verified = engine.verify(&mut |_, _| true).unwrap();
            report.corruption.is_none() && verified.is_sound()
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{note}: {error:?}");
            false
        }
    };
    let (engine, report) = match world.open(Arc::clone(&storage), 78) {
        Ok(opened) => opened,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{note}: {error:?}");
            assert!(!sound, "{note}: verification found nothing, but it does not open: {error:?}");
            return Outcome::Refused;
        }
    };
    let lost = read_all(&engine, expected, note);
    if report.superblock_repaired.is_some() {
        assert!(lost == 0, "{note}: a superblock copy cost {lost} blocks");
        drop(engine);
        let (_, again) = world.open(storage, 79).unwrap();
        assert_eq!(again.superblock_repaired, None, "{note}: not repaired");
        return Outcome::Repaired;
    }
    if lost > 0 || !sound {
        assert!(!sound, "{note}: {lost} blocks are lost, and verification found nothing");
        return Outcome::Reported;
    }
    Outcome::Harmless
}

/// Reads every block: the expected version, or an error; returns the number of errors.
fn read_all(engine: &Engine, expected: &[u64], note: &str) -> u32 {
    let mut lost = 0;
    for (lba, version) in (0_u64..).zip(expected) {
        let mut block = [0xa5; 4096];
        match engine.read(lba * 4096, &mut block) {
            Ok(()) => assert_eq!(
                identify_block(lba, &block),
                Some(*version),
                "{note}: LBA {lba} is not what was flushed"
            ),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{note}: {error:?}");
                assert!(block.iter().all(|b| *b == 0), "{note}: a failed read gave bytes");
                lost += 1;
            }
        }
    }
    lost
}

fn damage_every_sector(end: End) {
    let mut tally = [0_u32; 4];
    let mut rng = StdRng::seed_from_u64(5);
    for seed in [1, 2] {
        let (disk, expected) = aged_volume(seed, end);
        assert_eq!(examine(&disk, &expected, "undamaged"), Outcome::Harmless);
        for sector in disk.written_sectors() {
            let damaged = disk.fork();
            let flip = rng.random_bool(0.5);
            if flip {
                damaged.flip_bit(sector * 512 + rng.random_range(0..512), rng.random_range(0..8));
            } else {
                damaged.damage_sector(sector, &mut rng);
            }
            let note = format!("seed {seed} {end:?} sector {sector} flip {flip}");
            let outcome = examine(&damaged, &expected, &note);
            if is_super(sector) {
                // Bytes behind the MAC are padding: harmless.
                assert!(
                    matches!(outcome, Outcome::Repaired | Outcome::Harmless),
                    "{note}: {outcome:?}"
                );
            }
            tally[outcome as usize] += 1;
        }
    }
    let [refused, reported, repaired, harmless] = tally;
    println!(
        "{end:?}: {refused} refused, {reported} reported, {repaired} repaired, {harmless} harmless"
    );
    assert!(reported > 100 && repaired >= 2, "the campaign hit nothing: {tally:?}");
}

#[test]
fn every_sector_of_a_closed_volume() {
    damage_every_sector(End::Closed);
}

#[test]
fn every_sector_of_a_crashed_volume() {
    damage_every_sector(End::Proved);
}

#[test]
fn every_sector_of_a_volume_with_a_long_log() {
    damage_every_sector(End::ProvedLongLog);
}

#[test]
fn swapped_slots_and_segments_never_give_other_data() {
    let (disk, expected) = aged_volume(3, End::Closed);
    let mut rng = StdRng::seed_from_u64(6);
    let slots = (disk.len().unwrap() - DATA_OFFSET) / 4096;
    let mut reported = 0;
    for round in 0..300 {
        let swapped = disk.fork();
        let (unit, count) = if round % 4 == 0 { (16 * 4096, slots / 16) } else { (4096, slots) };
        let a = rng.random_range(0..count);
        let b = rng.random_range(0..count);
        if a == b {
            continue;
        }
        swapped.swap_ranges(DATA_OFFSET + a * unit, DATA_OFFSET + b * unit, unit as usize);
        let outcome = examine(&swapped, &expected, &format!("swap {a} and {b} of {unit}"));
        reported += u32::from(outcome == Outcome::Reported);
    }
    assert!(reported > 30, "only {reported} swaps mattered");
}

#[test]
fn an_older_copy_of_a_block_is_never_served() {
    // The attacker keeps every older state of a slot's segment and puts it back.
    let (old, _) = aged_volume(4, End::Closed);
    let newer = Arc::new(old.fork());
    let world = World::new();
    let engine = world.open(Arc::clone(&newer) as Arc<dyn Storage>, 400).unwrap().0;
    let model = Recorder::new(ModelVolume::resumed(&aged_volume(4, End::Closed).1, 10_000), None);
    for lba in 0..190 {
        model.write(&engine, lba, 3, WriteFlags::default()).unwrap();
    }
    for _ in 0..6 {
        engine.collect().unwrap();
    }
    engine.close().unwrap();
    let expected = model.model().latest();
    let len = newer.len().unwrap().min(old.len().unwrap());
    for slot in 0..(len - DATA_OFFSET) / 4096 {
        let offset = DATA_OFFSET + slot * 4096;
        let replayed = newer.fork();
        let mut bytes = [0; 4096];
        old.read_at(offset, &mut bytes).unwrap();
        replayed.write_at(offset, &[std::io::IoSlice::new(&bytes)]).unwrap();
        examine(&replayed, &expected, &format!("slot {slot} put back"));
    }
}

#[test]
fn both_superblocks_of_another_volume_or_an_older_state() {
    let (disk, _) = aged_volume(5, End::Closed);
    let (other, _) = aged_volume(6, End::Closed);
    // The superblocks of another history under the same volume id and key: the log does not fit.
    let grafted = disk.fork();
    for offset in SUPER_OFFSETS {
        let mut bytes = vec![0; 8192];
        other.read_at(offset, &mut bytes).unwrap();
        grafted.write_at(offset, &[std::io::IoSlice::new(&bytes)]).unwrap();
    }
    let world = World::new();
    match world.open(Arc::new(grafted), 9) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
        Ok((engine, _)) => {
            for lba in 0..200 {
                let mut block = [0; 4096];
                if engine.read(lba * 4096, &mut block).is_ok() {
                    assert!(block.iter().all(|b| *b == 0), "LBA {lba} of another history");
                }
            }
        }
    }
}

#[test]
fn a_blanked_superblock_is_refused() {
    let (disk, _) = aged_volume(7, End::Closed);
    let fresh = SimStorage::new();
    create_volume(&fresh, SHAPE).unwrap();
    for offset in SUPER_OFFSETS {
        let mut bytes = vec![0; 4096];
        fresh.read_at(offset, &mut bytes).unwrap();
        disk.write_at(offset, &[std::io::IoSlice::new(&bytes)]).unwrap();
    }
    let error = World::new().open(Arc::new(disk), 9).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("blanked"), "{error}");
}

#[test]
fn truncated_at_every_segment() {
    let (disk, expected) = aged_volume(8, End::Proved);
    let len = disk.len().unwrap();
    let mut at = 0;
    while at < len {
        let mut bytes = vec![0; usize::try_from(at).unwrap()];
        disk.read_at(0, &mut bytes).unwrap();
        let cut = SimStorage::from_bytes(&bytes);
        let world = World::new();
        match world.open(Arc::new(cut), 3) {
            Ok((engine, _)) => {
                for (lba, version) in (0_u64..).zip(&expected) {
                    let mut block = [0; 4096];
                    if engine.read(lba * 4096, &mut block).is_ok() {
                        assert_eq!(identify_block(lba, &block), Some(*version), "cut at {at}");
                    }
                }
            }
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io),
                "cut at {at}: {error:?}"
            ),
        }
        at += 16 * 4096;
    }
}
