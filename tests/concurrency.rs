//! Goal: many threads on one volume see one device. A read returns a version that was begun and none
//! older than the last one acknowledged, or seen, before the read began; no sector of a block that
//! several threads write in parts is lost; and what is promised of a crash holds for all of them: a
//! flush of one thread covers what was acknowledged to another.
//!
//! Method: writers, readers and discarders on a small volume at 110% space, all of it live, so that
//! segments are reused all the time, while another thread runs checkpoints, collection and
//! maintenance; every read is judged against the blocks' histories. Then the same on a simulated
//! disk, with a crash at every operation of its journal.
//!
//! Budget: `SEALVOL_CONCURRENT_OPS` (default 12000) operations of each thread, an eighth of
//! that on a file; `SEALVOL_CONCURRENT_CRASH_POINTS` (default 4000). A long run: 500000 and 500000. Schedules of
//! threads do not replay from a seed: raise the budget to see a rare failure again.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a failed step fails the test, and its figures are printed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealvol_core::{
    BLOCK_LEN_U64, BlockDevice, DeviceInfo, ErrorKind, Extent, Hot, Result, WriteFlags,
    WriteRequest, ZeroFlags,
};
use sealvol_engine::Engine;
use sealvol_storage::{FileStorage, MemoryStorage, Storage};
use sealvol_testkit::{
    CrashMode, HookPoint, ModelVolume, Recorder, SimStorage, fill_block, identify_block,
};
use sealvol_tests::history::History;
use sealvol_tests::tools::{Stopwatch, env_u64};
use sealvol_tests::{Shape, World, create_volume};

const THREADS: u64 = 4;
/// Blocks whose sectors belong to different threads, after the others.
const SHARED_BLOCKS: u64 = 12;
const SECTOR_LEN: u64 = 512;
const SECTORS: u64 = BLOCK_LEN_U64 / SECTOR_LEN;

fn bytes_of(blocks: u64) -> usize {
    usize::try_from(blocks * BLOCK_LEN_U64).unwrap()
}

/// Runs checkpoints, collection and maintenance until told to stop.
fn maintain_all_the_time(engine: &Engine, world: &World, stop: &AtomicBool, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        let outcome = match rng.random_range(0..10) {
            0..3 => engine.checkpoint(),
            3..6 => engine.collect().map(drop),
            _ => {
                world.clock.advance(Duration::from_millis(rng.random_range(1..900)));
                engine.maintain()
            }
        };
        if let Err(error) = outcome {
            panic!("maintenance failed: {error:?}; {:?}", engine.stats());
        }
        for _ in 0..rng.random_range(0..40) {
            std::thread::yield_now();
        }
    }
}

/// Sets a flag when dropped, also by a panic: other threads must not wait for ever.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Stress {
    history: History,
    /// Blocks changed as wholes; the rest is shared by sectors.
    whole: u64,
    reads: AtomicU64,
}

impl Stress {
    fn new(shape: Shape) -> Self {
        let whole = shape.blocks - SHARED_BLOCKS;
        Self { history: History::new(shape.blocks), whole, reads: AtomicU64::new(0) }
    }

    fn write(&self, device: &Engine, lba: u64, count: u64, flags: WriteFlags) {
        let begun = self.history.begin(lba, count, false);
        let data: Vec<u8> =
            (lba..lba + count).flat_map(|lba| fill_block(lba, begun.version)).collect();
        device.write(lba * BLOCK_LEN_U64, &data, flags).unwrap();
        self.history.acknowledge(begun);
    }

    fn write_batch(&self, device: &Engine, lbas: &[u64]) {
        let begun: Vec<_> = lbas.iter().map(|lba| self.history.begin(*lba, 1, false)).collect();
        let data: Vec<_> =
            lbas.iter().zip(&begun).map(|(lba, begun)| fill_block(*lba, begun.version)).collect();
        let batch: Vec<WriteRequest<'_>> = lbas
            .iter()
            .zip(&data)
            .map(|(lba, data)| WriteRequest {
                offset: lba * BLOCK_LEN_U64,
                data,
                flags: WriteFlags::default(),
            })
            .collect();
        for (result, begun) in device.write_batch(&batch).into_iter().zip(begun) {
            result.unwrap();
            self.history.acknowledge(begun);
        }
    }

    fn zero(&self, device: &Engine, lba: u64, count: u64, discard: bool) {
        let begun = self.history.begin(lba, count, true);
        let (offset, len) = (lba * BLOCK_LEN_U64, count * BLOCK_LEN_U64);
        if discard {
            device.discard(offset, len).unwrap();
        } else {
            device.write_zeroes(offset, len, ZeroFlags::default()).unwrap();
        }
        self.history.acknowledge(begun);
    }

    fn read(&self, device: &Engine, lba: u64, count: u64, hot: bool) {
        let started = self.history.tick();
        let mut data = vec![0xa5; bytes_of(count)];
        if hot {
            if device.read_hot(lba * BLOCK_LEN_U64, &mut data).unwrap() == Hot::WouldBlock {
                return;
            }
        } else {
            device.read(lba * BLOCK_LEN_U64, &mut data).unwrap();
        }
        for (block, lba) in data.chunks_exact(bytes_of(1)).zip(lba..) {
            let Some(version) = identify_block(lba, block) else {
                panic!("block {lba} holds bytes that nobody wrote there: {:x?}", &block[..32]);
            };
            if let Err(wrong) = self.history.judge(lba, version, started) {
                panic!("{wrong}");
            }
        }
        self.reads.fetch_add(count, Ordering::Relaxed);
    }

    /// One thread's operations on whole blocks.
    fn run(&self, device: &Engine, seed: u64, ops: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..ops {
            let hot_spot = rng.random_bool(0.3);
            let span = if hot_spot { 8 } else { self.whole };
            let lba = rng.random_range(0..span);
            let longest = if rng.random_bool(0.05) { 40 } else { 4 };
            let count = rng.random_range(1..=longest).min(self.whole - lba);
            match rng.random_range(0..100) {
                0..45 => {
                    self.write(device, lba, count, WriteFlags { fua: rng.random_bool(0.01) });
                }
                45..52 => {
                    let lbas: Vec<u64> = (0..6).map(|_| rng.random_range(0..self.whole)).collect();
                    self.write_batch(device, &lbas);
                }
                52..56 => self.zero(device, lba, count, rng.random_bool(0.7)),
                56..57 => {
                    // Long enough to be kept as a range.
                    let count = rng.random_range(65..200).min(self.whole - lba);
                    self.zero(device, lba, count, true);
                }
                57..59 => device.flush().unwrap(),
                59..64 => self.read(device, lba, count, true),
                64..65 => {
                    drop(device.extents(0, self.whole * BLOCK_LEN_U64, usize::MAX).unwrap());
                }
                _ => self.read(device, lba, count, false),
            }
        }
    }

    /// One thread's operations on its own sectors of blocks that all threads write.
    fn run_sectors(&self, device: &Engine, thread: u64, seed: u64, ops: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let own = SECTORS / THREADS;
        let first = self.whole * SECTORS;
        let sectors: Vec<u64> = (0..SHARED_BLOCKS)
            .flat_map(|block| (0..own).map(move |at| block * SECTORS + thread * own + at))
            .collect();
        let read = |sector: u64| {
            let mut data = [0xa5; 512];
            device.read((first + sector) * SECTOR_LEN, &mut data).unwrap();
            data
        };
        // As the last turn left them.
        let mut stamps: Vec<u8> = sectors.iter().map(|sector| read(*sector)[0]).collect();
        for step in 0..ops {
            let at = rng.random_range(0..sectors.len());
            let sector = sectors[at];
            let offset = (first + sector) * SECTOR_LEN;
            match rng.random_range(0..10) {
                0..6 => {
                    stamps[at] = rng.random_range(1..=255);
                    device.write(offset, &[stamps[at]; 512], WriteFlags::default()).unwrap();
                }
                6 => {
                    stamps[at] = 0;
                    device.discard(offset, SECTOR_LEN).unwrap();
                }
                _ => {
                    let seen = read(sector);
                    assert!(
                        seen == [stamps[at]; 512],
                        "thread {thread} step {step}: its sector {sector} holds {:?}, not {}",
                        &seen[..4],
                        stamps[at]
                    );
                }
            }
        }
        for (sector, stamp) in sectors.iter().zip(&stamps) {
            assert!(read(*sector) == [*stamp; 512], "thread {thread}: sector {sector} at the end");
        }
    }

    fn check_all(&self, device: &Engine) {
        for lba in 0..self.whole {
            self.read(device, lba, 1, false);
        }
    }
}

fn stress(name: &str, shape: Shape, storage: Arc<dyn Storage>, background: bool, ops: u64) {
    let watch = Stopwatch::new();
    create_volume(&*storage, shape).unwrap();
    let world = World::new();
    let stress = Stress::new(shape);
    let open = |seed| {
        let builder = world.builder(Arc::clone(&storage), seed).background(background);
        builder.open(vec![(1, sealvol_tests::data_key())]).unwrap().0
    };
    let engine = open(1);
    for lba in 0..stress.whole {
        stress.write(&engine, lba, 1, WriteFlags::default());
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, stress, engine, world) = (&stop, &stress, &engine, &world);
        let maintenance = scope.spawn(move || {
            let _stop = StopOnDrop(stop);
            maintain_all_the_time(engine, world, stop, 77);
        });
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let seed = thread << 32;
                    // In turns: whole blocks beside parts of blocks beside whole blocks.
                    for round in (0..8).map(|round| round + thread) {
                        if round % 4 == 3 {
                            stress.run_sectors(engine, thread, seed | round, ops / 8);
                        } else {
                            stress.run(engine, seed | round, ops / 8);
                        }
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        stop.store(true, Ordering::Relaxed);
        maintenance.join().unwrap();
        for outcome in outcomes {
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        }
    });
    stress.check_all(&engine);
    let stats = engine.stats();
    let report = engine.verify(&mut |_, _| true).unwrap();
    assert!(report.is_sound(), "{name}: {report:?}");
    assert_eq!(stats.integrity_errors, 0, "{name}");
    assert!(
        stats.segments_collected > 4 * stats.segment_limit,
        "{name}: segments are hardly reused: {stats:?}"
    );
    // As after a crash of the process, then in order.
    drop(engine);
    let engine = open(2);
    stress.check_all(&engine);
    engine.close().unwrap();
    let engine = open(3);
    stress.check_all(&engine);
    println!(
        "{name}: {} block changes, {} block reads, {} of {} segments collected, {} checkpoints, \
         amplification {:.2}, {:.1} s",
        stress.history.changes(),
        stress.reads.load(Ordering::Relaxed),
        stats.segments_collected,
        stats.segment_limit,
        stats.checkpoints,
        stats.write_amplification(),
        watch.elapsed().as_secs_f64(),
    );
}

#[test]
fn threads_see_one_device_in_memory() {
    let ops = env_u64("SEALVOL_CONCURRENT_OPS", 12_000);
    for slots in [16, 64] {
        let shape = Shape { blocks: 600, slots, percent: 110 };
        stress("memory", shape, Arc::new(MemoryStorage::new()), false, ops);
    }
}

#[test]
fn threads_see_one_device_on_a_file() {
    // Checkpoints wait for the disk here.
    let ops = env_u64("SEALVOL_CONCURRENT_OPS", 12_000) / 8;
    let dir = tempfile::tempdir().unwrap();
    for background in [false, true] {
        let path = dir.path().join(format!("volume-{background}"));
        let storage = Arc::new(FileStorage::create_new(path).unwrap());
        let shape = Shape { blocks: 900, slots: 32, percent: 110 };
        stress("file", shape, storage, background, ops);
    }
}

/// A disk that gives other threads a chance in the middle of its operations.
fn jittery_disk(seed: u64) -> SimStorage {
    let draws = AtomicU64::new(seed);
    SimStorage::new().with_hook(move |_| {
        let mixed = draws.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        for _ in 0..(mixed >> 60) {
            std::thread::yield_now();
        }
    })
}

/// Blocks that are never written, so that a discard may go on into them unnoticed.
const UNUSED_BLOCKS: u64 = 100;

/// A device whose discards, where they reach the end of the used blocks, go on to the very end: so
/// long that the engine keeps them as ranges.
struct LongDiscards<'a> {
    engine: &'a Engine,
    used: u64,
}

impl BlockDevice for LongDiscards<'_> {
    fn info(&self) -> DeviceInfo {
        self.engine.info()
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.engine.read(offset, buf)
    }

    fn write(&self, offset: u64, data: &[u8], flags: WriteFlags) -> Result<()> {
        self.engine.write(offset, data, flags)
    }

    fn flush(&self) -> Result<()> {
        self.engine.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        assert_eq!(offset + len, self.used * BLOCK_LEN_U64);
        self.engine.discard(offset, len + UNUSED_BLOCKS * BLOCK_LEN_U64)
    }

    fn write_zeroes(&self, offset: u64, len: u64, flags: ZeroFlags) -> Result<()> {
        self.engine.write_zeroes(offset, len, flags)
    }

    fn extents(&self, offset: u64, len: u64, max_extents: usize) -> Result<Vec<Extent>> {
        self.engine.extents(offset, len, max_extents)
    }

    fn prefetch(&self, offset: u64, len: u64) -> Result<()> {
        self.engine.prefetch(offset, len)
    }
}

/// Runs threads on a simulated disk and returns the number of crash points tried.
fn crash_while_concurrent(seed: u64) -> u64 {
    let mut rng = StdRng::seed_from_u64(seed);
    let used = rng.random_range(24..160_u64);
    let shape = Shape {
        blocks: used + UNUSED_BLOCKS,
        slots: if rng.random_bool(0.5) { 16 } else { 32 },
        percent: 110,
    };
    let disk = Arc::new(jittery_disk(seed));
    create_volume(&*disk, shape).unwrap();
    disk.forget();
    let world = World::new();
    let model = ModelVolume::new(usize::try_from(shape.blocks).unwrap());
    let recorder = Recorder::new(model, Some(Arc::clone(&disk)));
    let engine = world.open(Arc::clone(&disk) as Arc<dyn Storage>, seed).unwrap().0;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, recorder, engine, world) = (&stop, &recorder, &engine, &world);
        let maintenance = scope.spawn(move || maintain_all_the_time(engine, world, stop, seed));
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let mut rng = StdRng::seed_from_u64(seed << 8 | thread);
                    for _ in 0..60 {
                        let lba = rng.random_range(0..used);
                        // More than 16 blocks the model takes as several requests, one after the
                        // other, which is right only where nobody else is at work; and a segment of
                        // 16 slots has no room for more than 14 in one group.
                        let count = rng.random_range(1..=14_u64).min(used - lba);
                        match rng.random_range(0..20) {
                            0..12 => {
                                let flags = WriteFlags { fua: rng.random_bool(0.05) };
                                recorder.write(engine, lba, count.min(6), flags).unwrap();
                            }
                            12..14 => recorder.discard(engine, lba, count).unwrap(),
                            14 => {
                                let (device, lba) = (LongDiscards { engine, used }, used - count);
                                recorder.discard(&device, lba, count).unwrap();
                            }
                            15 => {
                                let flags =
                                    ZeroFlags { fua: rng.random_bool(0.2), keep_allocated: false };
                                recorder.write_zeroes(engine, lba, count, flags).unwrap();
                            }
                            _ => recorder.flush(engine).unwrap(),
                        }
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        stop.store(true, Ordering::Relaxed);
        maintenance.join().unwrap();
        for outcome in outcomes {
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        }
    });
    drop(engine);

    let mut cursor = disk.journal().cursor();
    let mut tried = 0;
    loop {
        let more = cursor.advance_to_crash_point();
        let mode = match tried % 6 {
            0 | 1 => CrashMode::KeepAll,
            2 => CrashMode::DropAll,
            3 => CrashMode::Torn,
            _ => CrashMode::PowerLoss,
        };
        let left = Arc::new(cursor.crash_during_next(&mut rng, mode));
        let place = format!("seed {seed} op {} {mode:?}", cursor.index());
        let world = World { clock: world.clock.clone(), ..World::new() };
        let entropy = seed << 32 ^ cursor.index() as u64 ^ 0x7777 << 48;
        let (engine, _) = world
            .open(left as Arc<dyn Storage>, entropy)
            .unwrap_or_else(|error| panic!("{place}: did not open: {error:?}"));
        if let Err(violation) = recorder.check(cursor.last_mark(), mode, &engine) {
            panic!("{place}: {violation:?}");
        }
        if tried % 32 == 0 {
            let report = engine.verify(&mut |_, _| true).unwrap();
            assert!(report.is_sound(), "{place}: {report:?}");
        }
        tried += 1;
        if !more || cursor.advance().is_none() {
            return tried;
        }
    }
}

#[test]
fn a_crash_under_many_threads_leaves_a_prefix() {
    let points = env_u64("SEALVOL_CONCURRENT_CRASH_POINTS", 4000);
    let (mut tried, mut seed) = (0, env_u64("SEALVOL_CONCURRENT_CRASH_SEED", 1));
    let first = seed;
    let watch = Stopwatch::new();
    while tried < points {
        tried += crash_while_concurrent(seed);
        seed += 1;
    }
    let runs = seed - first;
    println!("{tried} crash points of {runs} runs, {:.1} s", watch.elapsed().as_secs_f64());
}

/// A gate that one thread waits at and another opens.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    /// The first to come waits until the gate is opened; later ones pass.
    fn pass(&self) {
        let mut state = self.state.lock();
        if state.0 {
            return;
        }
        state.0 = true;
        self.changed.notify_all();
        while !state.1 {
            self.changed.wait(&mut state);
        }
    }

    fn wait_for_visitor(&self) {
        let mut state = self.state.lock();
        while !state.0 {
            self.changed.wait(&mut state);
        }
    }

    fn open(&self) {
        self.state.lock().1 = true;
        self.changed.notify_all();
    }
}

/// A flush that joins while a sync is running must not take that sync's success for its own.
#[test]
fn a_flush_is_not_served_by_a_sync_that_started_before_its_write() {
    let gate = Arc::new(Gate::default());
    let armed = Arc::new(AtomicBool::new(false));
    let (at_gate, is_armed) = (Arc::clone(&gate), Arc::clone(&armed));
    let disk = Arc::new(SimStorage::new().with_hook(move |point| {
        if point == HookPoint::SyncStarted && is_armed.load(Ordering::SeqCst) {
            at_gate.pass();
        }
    }));
    create_volume(&*disk, Shape::SMALL).unwrap();
    let world = World::new();
    let engine = world.open(Arc::clone(&disk) as Arc<dyn Storage>, 1).unwrap().0;
    engine.write(0, &fill_block(0, 1), WriteFlags::default()).unwrap();
    armed.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let early = scope.spawn(|| engine.flush().unwrap());
        gate.wait_for_visitor();
        // Acknowledged to this thread while the other one's sync runs.
        engine.write(BLOCK_LEN_U64, &fill_block(1, 2), WriteFlags::default()).unwrap();
        let late = scope.spawn(|| engine.flush().unwrap());
        while engine.stats().flushes < 2 {
            std::thread::yield_now();
        }
        gate.open();
        early.join().unwrap();
        late.join().unwrap();
    });
    let mut rng = StdRng::seed_from_u64(1);
    let left = Arc::new(disk.crash_image(&mut rng, CrashMode::DropAll));
    drop(engine);
    let engine = World::new().open(left as Arc<dyn Storage>, 2).unwrap().0;
    for (lba, version) in [(0, 1), (1, 2)] {
        let mut block = [0; 4096];
        engine.read(lba * BLOCK_LEN_U64, &mut block).unwrap();
        assert_eq!(identify_block(lba, &block), Some(version), "block {lba}");
    }
}

/// Requests at the device's edge fail alike from every thread and disturb nobody.
#[test]
fn bad_requests_beside_good_ones_are_refused() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    create_volume(&*storage, Shape::SMALL).unwrap();
    let engine = World::new().open(storage, 1).unwrap().0;
    let end = Shape::SMALL.blocks * BLOCK_LEN_U64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for version in 1..500 {
                engine.write(0, &fill_block(0, version), WriteFlags::default()).unwrap();
            }
        });
        for (offset, len) in [(end, 4096), (end - 512, 1024), (1, 512), (0, 100)] {
            let engine = &engine;
            scope.spawn(move || {
                for _ in 0..500 {
                    let mut data = vec![1; len];
                    let error = engine.write(offset, &data, WriteFlags::default()).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Invalid);
                    let error = engine.read(offset, &mut data).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Invalid);
                }
            });
        }
    });
    let mut block = [0; 4096];
    engine.read(0, &mut block).unwrap();
    assert_eq!(identify_block(0, &block), Some(499));
    // The neighbour of the refused requests.
    engine.read(end - BLOCK_LEN_U64, &mut block).unwrap();
    assert_eq!(block, [0; 4096]);
}
