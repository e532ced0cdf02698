//! Goal: after a power loss at any moment, during anything, a volume opens and holds a prefix of the
//! accepted writes, at least up to the last flush; after the death of the process it holds every
//! acknowledged write. Live counts equal a full scan, and no (key, nonce) pair is ever used twice.
//!
//! Method: a seeded workload runs once on a simulated disk; then a crash is tried at *every* write
//! and sync of its journal (unsynced writes dropped, reordered, torn at 512 bytes), the volume is
//! opened on what is left, and the oracle compares. A share of the recoveries is itself crashed at
//! every operation.
//!
//! Budget: `SEALVOL_CRASH_POINTS` (default 60000) crash points over as many seeds as that takes, from
//! `SEALVOL_CRASH_SEED` on. A failure names its seed and operation; run it alone with
//! `SEALVOL_CRASH_SEED=<seed> SEALVOL_CRASH_POINTS=1`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test: a panic is its way to fail, and its figures go to the terminal"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealvol_core::{WriteFlags, ZeroFlags};
use sealvol_engine::Engine;
use sealvol_storage::Storage;
use sealvol_testkit::{CrashMode, Cursor, ModelVolume, Recorder, SimStorage};
use sealvol_tests::{Shape, World, create_volume};

/// Operations of one workload.
const STEPS: u32 = 220;
/// Every how-many-th recovery is crashed itself.
const NESTED_EVERY: u64 = 97;

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

struct Workload {
    seed: u64,
    shape: Shape,
    world: World,
    recorder: Recorder,
    disk: Arc<SimStorage>,
    recoveries: AtomicU64,
}

impl Workload {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let shape = Shape {
            blocks: rng.random_range(40..400),
            slots: if rng.random_bool(0.7) { 16 } else { 32 },
            percent: *[110, 130, 200].get(rng.random_range(0..3)).unwrap(),
        };
        let disk = Arc::new(SimStorage::new());
        create_volume(&*disk, shape).unwrap();
        disk.forget();
        let model = ModelVolume::new(usize::try_from(shape.blocks).unwrap());
        let recorder = Recorder::new(model, Some(Arc::clone(&disk)));
        Self { seed, shape, world: World::new(), recorder, disk, recoveries: AtomicU64::new(0) }
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.disk) as Arc<dyn Storage>
    }

    fn run(&self) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0xabcd);
        let mut opens = 1;
        let mut engine = Some(self.world.open(self.storage(), self.seed).unwrap().0);
        let hot = rng.random_bool(0.5);
        for _ in 0..STEPS {
            let device: &Engine = engine.as_ref().unwrap();
            let span = if hot { self.shape.blocks.min(24) } else { self.shape.blocks };
            let lba = rng.random_range(0..span);
            let longest = if rng.random_bool(0.1) { 60 } else { 6 };
            let mut count = rng.random_range(1..=longest).min(self.shape.blocks - lba);
            // A segment of 16 slots has no room for the 16 blocks that share a group elsewhere.
            if (15..=16).contains(&count) {
                count = 14;
            }
            match rng.random_range(0..100) {
                0..52 => {
                    let flags = WriteFlags { fua: rng.random_bool(0.05) };
                    self.recorder.write(device, lba, count, flags).unwrap();
                }
                52..58 => self.recorder.discard(device, lba, count).unwrap(),
                58..62 => {
                    let flags = ZeroFlags { fua: rng.random_bool(0.2), keep_allocated: false };
                    self.recorder.write_zeroes(device, lba, count, flags).unwrap();
                }
                62..63 => self.recorder.discard(device, 0, self.shape.blocks).unwrap(),
                63..78 => self.recorder.flush(device).unwrap(),
                78..86 => {
                    self.world.clock.advance(Duration::from_millis(rng.random_range(1..2500)));
                    device.maintain().unwrap();
                }
                86..92 => device.checkpoint().unwrap(),
                92..96 => drop(device.collect().unwrap()),
                _ => {
                    let old = engine.take().unwrap();
                    if rng.random_bool(0.6) {
                        old.close().unwrap();
                    } else {
                        drop(old);
                    }
                    opens += 1;
                    let reopened = self.world.open(self.storage(), self.seed ^ (opens << 32));
                    engine = Some(reopened.unwrap().0);
                }
            }
        }
        drop(engine);
    }

    /// Opens what a crash left and holds it against the model.
    ///
    /// The auditor is the run's: no recovery may seal under a key and nonce that anything before the
    /// crash, or a recovery that crashed itself, has sealed under.
    fn judge(&self, disk: &Arc<SimStorage>, at: &Cursor, mode: CrashMode, note: &str) -> Engine {
        let place = format!("seed {} op {} {mode:?}{note}", self.seed, at.index());
        let recovery = self.recoveries.fetch_add(1, Ordering::Relaxed);
        let entropy = self.seed ^ recovery << 20 ^ 0x5555 << 48;
        let (engine, _) = self
            .world
            .open(Arc::clone(disk) as Arc<dyn Storage>, entropy)
            .unwrap_or_else(|error| panic!("{place}: did not open: {error:?}"));
        if let Err(violation) = self.recorder.check(at.last_mark(), mode, &engine) {
            panic!("{place}: {violation:?}");
        }
        engine
    }

    /// Tries a crash at every operation; returns how many were tried.
    fn crash_everywhere(&self, budget: &AtomicU64) -> u64 {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0x1234);
        let mut cursor = self.disk.journal().cursor();
        let mut tried = 0;
        loop {
            let more = cursor.advance_to_crash_point();
            let mode = match tried % 8 {
                0 => CrashMode::KeepAll,
                1 => CrashMode::DropAll,
                2 => CrashMode::Torn,
                _ => CrashMode::PowerLoss,
            };
            let left = Arc::new(cursor.crash_during_next(&mut rng, mode));
            let engine = self.judge(&left, &cursor, mode, "");
            tried += 1;
            if tried % 16 == 0 {
                let report = engine.verify(&mut |_, _| true).unwrap();
                assert!(report.is_sound(), "seed {} op {}: {report:?}", self.seed, cursor.index());
            }
            drop(engine);
            if tried % NESTED_EVERY == 0 {
                // The recovery that just ran is a workload of its own.
                let mut inner = left.journal().cursor();
                loop {
                    let more = inner.advance_to_crash_point();
                    let again = Arc::new(inner.crash_during_next(&mut rng, CrashMode::PowerLoss));
                    let note = format!(", then in recovery at op {}", inner.index());
                    let mode = if mode == CrashMode::KeepAll { CrashMode::PowerLoss } else { mode };
                    drop(self.judge(&again, &cursor, mode, &note));
                    tried += 1;
                    if !more || inner.advance().is_none() {
                        break;
                    }
                }
            }
            if budget.load(Ordering::Relaxed) == 0 {
                break;
            }
            if !more || cursor.advance().is_none() {
                break;
            }
        }
        tried
    }
}

#[test]
fn every_crash_point_leaves_a_prefix() {
    let budget = AtomicU64::new(env("SEALVOL_CRASH_POINTS", 60_000));
    let seeds = AtomicU64::new(env("SEALVOL_CRASH_SEED", 1));
    let tried = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while budget.load(Ordering::Relaxed) > 0 {
                    let seed = seeds.fetch_add(1, Ordering::Relaxed);
                    let workload = Workload::new(seed);
                    workload.run();
                    let count = workload.crash_everywhere(&AtomicU64::new(1));
                    tried.fetch_add(count, Ordering::Relaxed);
                    let left = budget.load(Ordering::Relaxed).saturating_sub(count);
                    budget.store(left, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} crash points", tried.load(Ordering::Relaxed));
}

#[test]
fn a_run_replays_from_its_seed() {
    let run = |seed| {
        let workload = Workload::new(seed);
        workload.run();
        let ops: Vec<_> = workload.disk.journal().ops().collect();
        (ops, workload.recorder.model().latest())
    };
    assert_eq!(run(7), run(7));
}
