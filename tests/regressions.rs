//! One test for each defect that a review found: what went wrong, and the smallest way to show it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test: a panic is its way to fail, and its figures go to the terminal"
)]

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand::SeedableRng;
use rand::rngs::StdRng;
use sealvol_core::{BlockCount, BlockDevice, ErrorKind, Result, VolumeId, WriteFlags};
use sealvol_engine::{CreateOptions, Engine, Settings, create};
use sealvol_format::{DATA_OFFSET, Geometry, SUPER_OFFSETS, StoredKey};
use sealvol_storage::{MemoryStorage, Storage};
use sealvol_testkit::{
    CrashMode, FaultEffect, FaultKind, FaultPlan, FaultStorage, HookPoint, SimStorage, SyncLoss,
};
use sealvol_tests::{Shape, World, create_volume, data_key, stored_key};

const SHAPE: Shape = Shape { blocks: 400, slots: 16, percent: 130 };

fn put(engine: &Engine, lba: u64, byte: u8, blocks: usize) -> Result<()> {
    engine.write(lba * 4096, &vec![byte; 4096 * blocks], WriteFlags::default())
}

fn first_byte(engine: &Engine, lba: u64) -> Result<u8> {
    let mut block = [9; 4096];
    engine.read(lba * 4096, &mut block)?;
    Ok(block[0])
}

fn new_disk() -> Arc<SimStorage> {
    let disk = Arc::new(SimStorage::new());
    create_volume(&*disk, SHAPE).unwrap();
    disk
}

/// A header that did not authenticate once counted as "never opened", and replay ended before it.
#[test]
fn a_flipped_segment_header_is_not_a_rollback() {
    let disk = new_disk();
    let engine = World::new().open(disk.clone(), 1).unwrap().0;
    put(&engine, 0, 1, 1).unwrap();
    engine.checkpoint().unwrap();
    for round in 0..20 {
        put(&engine, 0, 10 + round, 5).unwrap();
        engine.flush().unwrap();
    }
    drop(engine);
    let segments = (disk.len().unwrap() - DATA_OFFSET) / 65536;
    let mut refused = 0;
    for segment in 0..segments {
        let damaged = disk.fork();
        damaged.flip_bit(DATA_OFFSET + segment * 65536 + 30, 1);
        match World::new().open(Arc::new(damaged), 2) {
            Ok((engine, _)) => assert_eq!(first_byte(&engine, 0).unwrap(), 29, "segment {segment}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                refused += 1;
            }
        }
    }
    assert!(refused > 3, "only {refused} of {segments} mattered");
}

/// Superblock A was once always written first, also when B was the damaged one.
#[test]
fn a_crash_while_repairing_a_superblock_keeps_the_good_one() {
    let disk = Arc::new(SimStorage::new());
    // Two sectors long, so that it can be torn.
    let key = StoredKey { blob: vec![5; 600], ..stored_key() };
    let options = CreateOptions {
        volume: VolumeId([9; 16]),
        blocks: BlockCount(100),
        key,
        geometry: Geometry::new(16).unwrap(),
        space_percent: 130,
    };
    create(&*disk, &options).unwrap();
    let engine = World::new().open(disk.clone(), 1).unwrap().0;
    put(&engine, 0, 1, 5).unwrap();
    engine.flush().unwrap();
    drop(engine);
    for torn in SUPER_OFFSETS {
        let disk = Arc::new(disk.fork());
        disk.flip_bit(torn + 700, 1);
        disk.sync().unwrap();
        disk.forget();
        drop(World::new().open(disk.clone(), 2).unwrap());
        let mut rng = StdRng::seed_from_u64(1);
        let mut cursor = disk.journal().cursor();
        loop {
            let more = cursor.advance_to_crash_point();
            for _ in 0..10 {
                let left = Arc::new(cursor.crash_during_next(&mut rng, CrashMode::Torn));
                let (engine, _) = World::new().open(left, 3).unwrap();
                assert_eq!(first_byte(&engine, 0).unwrap(), 1);
            }
            if !more || cursor.advance().is_none() {
                break;
            }
        }
    }
}

/// ENOSPC from a superblock write once dropped the frozen delta, and with it acknowledged writes.
#[test]
fn no_space_at_any_write_loses_nothing() {
    for after in 0..400 {
        let disk = new_disk();
        let faulty = Arc::new(FaultStorage::new(disk.clone()));
        let engine = World::new().open(faulty.clone(), 1).unwrap().0;
        let effect = FaultEffect::Enospc;
        faulty.add_plan(FaultPlan { kind: FaultKind::Write, after, effect, sticky: false });
        let mut model = [0_u8; 400];
        for round in 0..12_u8 {
            for lba in (0..40_u8).step_by(3) {
                let byte = round * 17 + lba + 1;
                if put(&engine, lba.into(), byte, 1).is_ok() {
                    model[usize::from(lba)] = byte;
                }
            }
            let _outcome = engine.checkpoint();
            for lba in (0..40_u64).step_by(3) {
                assert_eq!(first_byte(&engine, lba).unwrap(), model[lba as usize], "after {after}");
            }
        }
        drop(engine);
        let engine = World::new().open(disk, 2).unwrap().0;
        for lba in (0..40_u64).step_by(3) {
            assert_eq!(first_byte(&engine, lba).unwrap(), model[lba as usize], "after {after}");
        }
        if faulty.hits() == 0 {
            return;
        }
    }
    panic!("the workload never completed");
}

/// Discards once took the segments that reclaiming needs.
#[test]
fn a_flood_of_discards_does_not_wedge_a_full_volume() {
    let disk = new_disk();
    let engine = World::new().open(disk, 1).unwrap().0;
    for lba in 0..400 {
        put(&engine, lba, 1, 1).unwrap();
    }
    for round in 0..600 {
        put(&engine, (round * 7) % 400, 2, 1).unwrap();
    }
    for round in 0..3000_u64 {
        engine.discard(((round * 37) % 400) * 4096, 4096).unwrap();
    }
    put(&engine, 0, 3, 10).unwrap();
    engine.checkpoint().unwrap();
    assert!(engine.verify(&mut |_, _| true).unwrap().is_sound());
}

/// The position of the accepted end was once not written, so the next crash met the old damage.
#[test]
fn an_accepted_truncation_stays_accepted() {
    let disk = new_disk();
    let engine = World::new().open(disk.clone(), 1).unwrap().0;
    put(&engine, 0, 1, 5).unwrap();
    engine.checkpoint().unwrap();
    put(&engine, 0, 2, 5).unwrap();
    engine.flush().unwrap();
    put(&engine, 6, 2, 1).unwrap();
    engine.flush().unwrap();
    drop(engine);
    let mut met = 0;
    for slot in 0..(disk.len().unwrap() - DATA_OFFSET) / 4096 {
        let damaged = disk.fork();
        damaged.flip_bit(DATA_OFFSET + slot * 4096 + 4090, 1);
        let damaged = Arc::new(damaged);
        if World::new().open(damaged.clone(), 2).is_ok() {
            continue;
        }
        let builder = World::new().builder(damaged.clone(), 3).accept_truncation(true);
        let Ok((engine, _)) = builder.open(vec![(1, data_key())]) else { continue };
        put(&engine, 7, 3, 1).unwrap();
        engine.flush().unwrap();
        drop(engine);
        met += 1;
        let engine = World::new().open(damaged, 4).unwrap().0;
        assert_eq!(first_byte(&engine, 7).unwrap(), 3);
    }
    assert!(met > 0, "no damage needed a truncation");
}

/// While a checkpoint settled a long discard, a shard that had not been updated yet once served its
/// old cached leaf: data from before an acknowledged discard.
#[test]
fn a_discard_stays_discarded_while_it_settles() {
    let storage = Arc::new(MemoryStorage::new());
    let blocks = 64 * 128 * 4_u64;
    create_volume(&*storage, Shape { blocks, slots: 1024, percent: 300 }).unwrap();
    let settings = Settings { prewrite_segments: 0, ..Settings::default() };
    let builder = Engine::builder(storage).background(false).settings(settings);
    let engine = builder.open(vec![(1, data_key())]).unwrap().0;
    // Odd while everything must read as zeros.
    let phase = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let lbas: Vec<u64> = (0..256_u64).rev().step_by(9).map(|leaf| leaf * 128 + 5).collect();
    std::thread::scope(|scope| {
        let reader = || {
            while !stop.load(Ordering::Relaxed) {
                for lba in &lbas {
                    let before = phase.load(Ordering::SeqCst);
                    let byte = first_byte(&engine, *lba).unwrap();
                    let after = phase.load(Ordering::SeqCst);
                    assert!(
                        before != after || before.is_multiple_of(2) || byte == 0,
                        "LBA {lba}: {byte}"
                    );
                }
            }
        };
        scope.spawn(reader);
        scope.spawn(reader);
        for _ in 0..150 {
            for lba in &lbas {
                put(&engine, *lba, 7, 1).unwrap();
            }
            engine.checkpoint().unwrap();
            engine.discard(0, blocks * 4096).unwrap();
            phase.fetch_add(1, Ordering::SeqCst);
            engine.checkpoint().unwrap();
            phase.fetch_add(1, Ordering::SeqCst);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// The reserve once forgot the frozen delta and the other writers on their way: a full volume under
/// random overwrites ended in NoSpace for everything.
#[test]
fn a_full_volume_takes_overwrites_from_many_writers() {
    for (slots, blocks, count) in [(64_u32, 20_000_u64, 60_usize), (256, 65_536, 1)] {
        let storage = Arc::new(MemoryStorage::new());
        create_volume(&*storage, Shape { blocks, slots, percent: 130 }).unwrap();
        let settings = Settings { prewrite_segments: 0, ..Settings::default() };
        let builder = Engine::builder(storage).settings(settings);
        let engine = builder.open(vec![(1, data_key())]).unwrap().0;
        for lba in (0..blocks - 63).step_by(64) {
            put(&engine, lba, 1, 64).unwrap();
        }
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let engine = &engine;
                scope.spawn(move || {
                    let mut x = thread * 7919 + 1;
                    for _ in 0..(if count == 1 { 12_000 } else { 300 }) {
                        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        put(engine, (x >> 20) % (blocks - count as u64), 2, count).unwrap();
                    }
                });
            }
        });
        assert!(engine.stats().write_amplification() < 20.0, "{:?}", engine.stats());
    }
}

/// The kernel's word for whether a thread waits.
fn sleeps(thread: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    stat.rsplit(") ").next().is_some_and(|state| state.starts_with('S'))
}

/// While one writer rolled to the next segment, another whose blocks still fitted the old one opened
/// a group there; its length was then added to the new segment's position, and replay stopped at
/// the gap that this left: everything behind it was lost.
#[test]
fn a_writer_beside_a_roll_leaves_no_gap_in_the_log() {
    #[derive(Default)]
    struct Gate {
        armed: AtomicBool,
        reached: AtomicBool,
        open: AtomicBool,
    }
    let gate = Arc::new(Gate::default());
    let at_gate = Arc::clone(&gate);
    let disk = Arc::new(SimStorage::new().with_hook(move |point| {
        if point == HookPoint::ChangeStarting && at_gate.armed.swap(false, Ordering::SeqCst) {
            at_gate.reached.store(true, Ordering::SeqCst);
            while !at_gate.open.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        }
    }));
    create_volume(&*disk, SHAPE).unwrap();
    let engine = World::new().open(Arc::clone(&disk) as Arc<dyn Storage>, 1).unwrap().0;
    // 13 of the 15 slots: room for one block, not for four.
    put(&engine, 0, 1, 12).unwrap();
    gate.armed.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| put(&engine, 20, 2, 4).unwrap());
        while !gate.reached.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        let engine = &engine;
        scope.spawn(move || {
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            sender.send(thread.file_name().unwrap().to_str().unwrap().to_owned()).unwrap();
            put(engine, 30, 3, 1).unwrap();
        });
        let thread = receiver.recv().unwrap();
        while !sleeps(&thread) {
            std::thread::yield_now();
        }
        gate.open.store(true, Ordering::SeqCst);
    });
    put(&engine, 40, 4, 1).unwrap();
    drop(engine);
    let left = Arc::new(disk.fork());
    let engine = World::new().open(left, 2).unwrap().0;
    for (lba, byte) in [(0, 1), (20, 2), (30, 3), (40, 4)] {
        assert_eq!(first_byte(&engine, lba).unwrap(), byte, "block {lba}");
    }
}

/// A disk whose sync fails and loses what was pending, while the superblocks are being written; a sync
/// that somebody else calls meanwhile succeeds after it, as the kernel tells a failure only once.
#[derive(Default)]
struct FailsAtSuperblock {
    disk: Arc<SimStorage>,
    enabled: AtomicBool,
    /// A superblock was written since.
    armed: AtomicBool,
    syncing: AtomicBool,
    second: AtomicBool,
    go_on: AtomicBool,
    failed: AtomicBool,
}

impl FailsAtSuperblock {
    fn wait_for(flag: &AtomicBool) {
        while !flag.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    }
}

impl Storage for FailsAtSuperblock {
    fn len(&self) -> Result<u64> {
        self.disk.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.disk.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[IoSlice<'_>]) -> Result<()> {
        if SUPER_OFFSETS.contains(&offset) && self.enabled.load(Ordering::SeqCst) {
            self.armed.store(true, Ordering::SeqCst);
        }
        self.disk.write_at(offset, data)
    }

    fn sync(&self) -> Result<()> {
        if !self.armed.load(Ordering::SeqCst) {
            return self.disk.sync();
        }
        if self.syncing.swap(true, Ordering::SeqCst) {
            self.second.store(true, Ordering::SeqCst);
            Self::wait_for(&self.failed);
            return self.disk.sync();
        }
        Self::wait_for(&self.go_on);
        self.disk.fail_next_sync_and_lose_pending(SyncLoss::All);
        let outcome = self.disk.sync();
        self.failed.store(true, Ordering::SeqCst);
        outcome
    }

    fn allocate(&self, offset: u64, len: u64, prewrite: bool) -> Result<()> {
        self.disk.allocate(offset, len, prewrite)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.disk.punch(offset, len)
    }
}

/// A sync of the superblocks that failed took the error that a flush beside it should have met: the
/// flush synced again, had no error, and promised a block that the disk had lost.
#[test]
fn a_flush_beside_a_failing_superblock_sync_promises_nothing() {
    let failing = Arc::new(FailsAtSuperblock { disk: new_disk(), ..FailsAtSuperblock::default() });
    let engine = World::new().open(Arc::clone(&failing) as Arc<dyn Storage>, 1).unwrap().0;
    put(&engine, 0, 1, 1).unwrap();
    failing.enabled.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let engine = &engine;
        let checkpoint = scope.spawn(|| engine.checkpoint());
        FailsAtSuperblock::wait_for(&failing.syncing);
        // Acknowledged while the superblock is being synced, and then flushed.
        put(engine, 1, 2, 1).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let flush = scope.spawn(move || {
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            sender.send(thread.file_name().unwrap().to_str().unwrap().to_owned()).unwrap();
            engine.flush()
        });
        let thread = receiver.recv().unwrap();
        // It waits for its turn, or it syncs beside the other.
        while !failing.second.load(Ordering::SeqCst) && !sleeps(&thread) {
            std::thread::yield_now();
        }
        failing.go_on.store(true, Ordering::SeqCst);
        assert_eq!(checkpoint.join().unwrap().unwrap_err().kind(), ErrorKind::Io);
        let error = flush.join().unwrap().expect_err("the flush promised what the disk has lost");
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{error:?}");
    });
}
