//! Goal: when the disk refuses an operation, at any moment, once or for good, a volume loses nothing
//! that it acknowledged, never retries a failed sync, and says clearly what happened.
//!
//! Method: a seeded workload runs with the n-th operation of a kind failing, n rising until the
//! workload completes without meeting the fault; after each run the volume is opened again on a
//! healthy disk, after a process death and after a power loss, and held against the model.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test: a panic is its way to fail, and its figures go to the terminal"
)]

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealvol_core::{BlockDevice, ErrorKind, Result, WriteFlags};
use sealvol_engine::Engine;
use sealvol_storage::Storage;
use sealvol_testkit::{
    CrashMode, FaultEffect, FaultKind, FaultPlan, FaultStorage, ModelVolume, Recorder, SimStorage,
    SyncLoss,
};
use sealvol_tests::{Shape, World, create_volume};

const SHAPE: Shape = Shape { blocks: 120, slots: 16, percent: 130 };
const STEPS: u32 = 90;

struct Run {
    disk: Arc<SimStorage>,
    recorder: Recorder,
    /// The first error that a user saw.
    first_error: Option<ErrorKind>,
    hits: u64,
}

fn step(rng: &mut StdRng, recorder: &Recorder, engine: &Engine, world: &World) -> Result<()> {
    let lba = rng.random_range(0..110_u64);
    let count = rng.random_range(1..9);
    match rng.random_range(0..20) {
        0..12 => recorder.write(engine, lba, count, WriteFlags { fua: count == 3 }),
        12 => recorder.discard(engine, lba, count),
        13..16 => recorder.flush(engine),
        16 => {
            world.clock.advance(std::time::Duration::from_millis(1500));
            engine.maintain()
        }
        17 => engine.checkpoint(),
        18 => engine.collect().map(drop),
        _ => match recorder.read(engine, lba) {
            Ok(_) | Err(sealvol_testkit::Violation::Unreadable(_)) => Ok(()),
            Err(violation) => panic!("a read gave {violation:?}"),
        },
    }
}

/// Runs the workload with one fault planned. `lossy`: a failed sync loses what it should have kept.
fn run(seed: u64, plan: FaultPlan, lossy: bool) -> Run {
    let disk = Arc::new(SimStorage::new());
    create_volume(&*disk, SHAPE).unwrap();
    let recorder = Recorder::new(ModelVolume::new(120), Some(Arc::clone(&disk)));
    let below = Arc::clone(&disk);
    let faulty = FaultStorage::new(Arc::clone(&disk)).on_sync_failure(move || {
        if lossy {
            below.lose_pending(SyncLoss::Part(seed));
        }
    });
    faulty.add_plan(plan);
    let faulty = Arc::new(faulty);
    let world = World::new();
    let mut first_error = None;
    let mut rng = StdRng::seed_from_u64(seed);
    match world.open(Arc::clone(&faulty) as Arc<dyn Storage>, seed) {
        Err(error) => first_error = Some(error.kind()),
        Ok((engine, _)) => {
            for _ in 0..STEPS {
                let outcome = step(&mut rng, &recorder, &engine, &world);
                if let Err(error) = outcome {
                    let kind = error.kind();
                    if first_error.is_some() {
                        assert!(
                            matches!(
                                kind,
                                ErrorKind::Poisoned | ErrorKind::NoSpace | ErrorKind::Io
                            ),
                            "seed {seed} {plan:?}: {error:?}"
                        );
                    }
                    first_error.get_or_insert(kind);
                }
            }
        }
    }
    let hits = faulty.hits();
    Run { disk, recorder, first_error, hits }
}

/// Reopens on a healthy disk after the process died, and after power was lost.
fn judge(run: &Run, seed: u64, note: &str) {
    let mut rng = StdRng::seed_from_u64(seed ^ 99);
    for (mode, salt) in
        [(CrashMode::KeepAll, 1_u64), (CrashMode::PowerLoss, 2), (CrashMode::DropAll, 3)]
    {
        let left: Arc<dyn Storage> = Arc::new(run.disk.crash_image(&mut rng, mode));
        let world = World::new();
        let (engine, _) = world
            .open(left, seed ^ (salt << 40))
            .unwrap_or_else(|error| panic!("{note} {mode:?}: {error:?}"));
        let last = Some(run.recorder.model().now().0);
        run.recorder
            .check(last, mode, &engine)
            .unwrap_or_else(|violation| panic!("{note} {mode:?}: {violation:?}"));
        let report = engine.verify(&mut |_, _| true).unwrap();
        assert!(report.is_sound(), "{note} {mode:?}: {report:?}");
    }
}

fn loop_over(kind: FaultKind, effect: FaultEffect, sticky: bool) {
    for seed in 0..3 {
        let mut met = 0;
        for after in 0.. {
            let plan = FaultPlan { kind, after, effect, sticky };
            let run = run(seed, plan, false);
            let note = format!("seed {seed} {plan:?}");
            if run.hits == 0 {
                break;
            }
            met += 1;
            if matches!(kind, FaultKind::Write | FaultKind::Sync) {
                assert!(run.first_error.is_some(), "{note}: a failed write went unnoticed");
            }
            judge(&run, seed, &note);
        }
        assert!(met > 3, "the fault {kind:?} was met only {met} times");
    }
}

#[test]
fn failing_writes() {
    loop_over(FaultKind::Write, FaultEffect::Eio, false);
    loop_over(FaultKind::Write, FaultEffect::Eio, true);
}

#[test]
fn short_writes() {
    loop_over(FaultKind::Write, FaultEffect::ShortWrite, false);
}

#[test]
fn failing_syncs() {
    loop_over(FaultKind::Sync, FaultEffect::Eio, false);
    loop_over(FaultKind::Sync, FaultEffect::Eio, true);
}

#[test]
fn failing_reads() {
    loop_over(FaultKind::Read, FaultEffect::Eio, false);
    loop_over(FaultKind::Read, FaultEffect::Eio, true);
}

#[test]
fn host_without_space() {
    loop_over(FaultKind::Allocate, FaultEffect::Enospc, false);
    loop_over(FaultKind::Allocate, FaultEffect::Enospc, true);
}

/// After a failed fdatasync Linux may keep showing what it never wrote. Whatever was flushed before
/// must survive, and nothing may be promised on the strength of the page cache alone.
#[test]
fn a_failed_sync_that_loses_data_is_never_retried() {
    for seed in 0..4 {
        for after in 0..60 {
            let plan =
                FaultPlan { kind: FaultKind::Sync, after, effect: FaultEffect::Eio, sticky: false };
            let run = run(seed, plan, true);
            if run.hits == 0 {
                break;
            }
            let note = format!("seed {seed} lossy sync {after}");
            // The machine stays up: the volume is opened again over the page cache, flushed, and
            // only then does the power fail.
            let world = World::new();
            let disk = Arc::new(run.disk.fork());
            let reopened = world.open(Arc::clone(&disk) as Arc<dyn Storage>, seed ^ 0xff00);
            let versions = match reopened {
                Ok((engine, _)) => {
                    engine.flush().unwrap();
                    let versions = sealvol_testkit::read_versions(&engine).unwrap();
                    drop(engine);
                    versions
                }
                // Refusing is right where the superblocks themselves were lost.
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{note}: {error:?}");
                    continue;
                }
            };
            let mut rng = StdRng::seed_from_u64(seed);
            for mode in [CrashMode::DropAll, CrashMode::PowerLoss] {
                let left: Arc<dyn Storage> = Arc::new(disk.crash_image(&mut rng, mode));
                let (engine, _) = World::new()
                    .open(left, seed ^ 0xee00)
                    .unwrap_or_else(|error| panic!("{note} {mode:?}: {error:?}"));
                let after_loss = sealvol_testkit::read_versions(&engine)
                    .unwrap_or_else(|violation| panic!("{note} {mode:?}: {violation:?}"));
                assert_eq!(after_loss, versions, "{note} {mode:?}: shown, flushed, and lost");
            }
        }
    }
}
