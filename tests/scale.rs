//! Goal: what a volume costs depends on what it holds, not on how large it is. A 1 TiB volume with
//! writes spread over its whole range opens and serves within 256 MiB of memory; opening reads as
//! much of a 16 TiB volume as of one of 1 GiB that holds the same; discarding a whole 2 TiB device
//! costs a few groups, and its space comes back.
//!
//! Method: sparse files. Memory is the peak resident size (`VmHWM`) of a child process that does one
//! thing. Work is compared by counting storage operations, not by the clock.
//!
//! Budget: `SEALVOL_SCALE_WRITES` (default 300000) writes to the 1 TiB volume; a long run: 2000000.
//! Needs about 10 KiB of disk for each, under cargo's target directory.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed step fails the test, and its figures are printed"
)]

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealvol_core::{BLOCK_LEN_U64, BlockDevice, ByteLen, Clock, WriteFlags, WriteRequest};
use sealvol_engine::{Engine, Settings};
use sealvol_storage::{FileStorage, OpenMode, Storage};
use sealvol_testkit::{SimClock, fill_block, identify_block};
use sealvol_tests::counting::{CountingStorage, Work};
use sealvol_tests::tools::{Stopwatch, env_u64, run};
use sealvol_tests::{Shape, create_volume, data_key};

/// The memory that a process serving one volume may take.
const MEMORY_MAX: ByteLen = ByteLen::mib(256);
const TIB: u64 = 1 << 40;

fn shape(len: u64) -> Shape {
    Shape { blocks: len / BLOCK_LEN_U64, slots: 1024, percent: 130 }
}

fn temp_dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The same blocks each time, spread over the whole device.
fn spread(seed: u64, count: u64, blocks: u64) -> impl Iterator<Item = u64> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(move |_| rng.random_range(0..blocks))
}

/// A block's one version: so that it does not matter how often it was written.
fn content(lba: u64) -> [u8; 4096] {
    fill_block(lba, lba + 1)
}

fn write_all(engine: &Engine, lbas: &[u64]) {
    for chunk in lbas.chunks(64) {
        let data: Vec<_> = chunk.iter().map(|lba| content(*lba)).collect();
        let batch: Vec<WriteRequest<'_>> = chunk
            .iter()
            .zip(&data)
            .map(|(lba, data)| WriteRequest {
                offset: lba * BLOCK_LEN_U64,
                data,
                flags: WriteFlags::default(),
            })
            .collect();
        for result in engine.write_batch(&batch) {
            result.unwrap();
        }
    }
}

fn version_of(engine: &Engine, lba: u64) -> Option<u64> {
    let mut block = [0xa5; 4096];
    engine.read(lba * BLOCK_LEN_U64, &mut block).unwrap();
    identify_block(lba, &block)
}

/// Peak resident memory of this process.
fn peak_memory() -> ByteLen {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib = line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    ByteLen::kib(kib)
}

/// Runs one of the tests below that are marked as processes of their own.
fn in_child(test: &str, volume: &Path) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads", "1"]);
    let output = run(command.env("SEALVOL_SCALE_VOLUME", volume));
    let text = String::from_utf8(output.stdout).unwrap();
    let figure = text.lines().find_map(|line| line.split_once("figure: "));
    figure.unwrap_or_else(|| panic!("the child said only {text}")).1.to_owned()
}

fn childs_volume() -> Arc<FileStorage> {
    let path = std::env::var_os("SEALVOL_SCALE_VOLUME").unwrap();
    Arc::new(FileStorage::open(path, OpenMode::ReadWrite).unwrap())
}

fn scale_writes() -> u64 {
    env_u64("SEALVOL_SCALE_WRITES", 300_000)
}

fn assert_memory(what: &str) {
    let peak = peak_memory();
    println!("figure: {what}, peak memory {} MiB", peak.0 >> 20);
    assert!(peak < MEMORY_MAX, "{what}: {} MiB of memory", peak.0 >> 20);
}

#[test]
fn a_terabyte_with_writes_all_over_stays_within_its_memory() {
    let dir = temp_dir();
    let path = dir.path().join("volume");
    let storage = FileStorage::create_new(&path).unwrap();
    create_volume(&storage, shape(TIB)).unwrap();
    drop(storage);
    for process in ["process_that_fills", "process_that_reads", "process_that_recovers"] {
        println!("{}", in_child(process, &path));
    }
}

#[test]
#[ignore = "a process of its own, run by a_terabyte_with_writes_all_over_stays_within_its_memory"]
fn process_that_fills() {
    let watch = Stopwatch::new();
    let storage = childs_volume();
    let engine = Engine::builder(storage).open(vec![(1, data_key())]).unwrap().0;
    let mut lbas = spread(1, scale_writes(), TIB / BLOCK_LEN_U64);
    loop {
        let some: Vec<u64> = lbas.by_ref().take(1024).collect();
        if some.is_empty() {
            break;
        }
        write_all(&engine, &some);
    }
    engine.flush().unwrap();
    let stats = engine.stats();
    engine.close().unwrap();
    assert_memory(&format!(
        "{} writes over 1 TiB, {} checkpoints, {} map pages, {:.1} s",
        stats.blocks_written,
        stats.checkpoints,
        stats.pages_written,
        watch.elapsed().as_secs_f64()
    ));
}

#[test]
#[ignore = "a process of its own, run by a_terabyte_with_writes_all_over_stays_within_its_memory"]
fn process_that_reads() {
    let watch = Stopwatch::new();
    let engine = Engine::builder(childs_volume()).open(vec![(1, data_key())]).unwrap().0;
    let opened = watch.elapsed();
    for lba in spread(1, scale_writes(), TIB / BLOCK_LEN_U64) {
        assert_eq!(version_of(&engine, lba), Some(lba + 1), "block {lba}");
    }
    // Most others were never written.
    let mut written = 0;
    for lba in spread(2, scale_writes() / 10, TIB / BLOCK_LEN_U64) {
        match version_of(&engine, lba) {
            Some(0) => {}
            found => {
                assert_eq!(found, Some(lba + 1), "block {lba}");
                written += 1;
            }
        }
    }
    assert!(written < scale_writes() / 1000 + 10, "{written}");
    // More writes, and a crash, for the next process to recover from.
    write_all(&engine, &spread(3, scale_writes() / 10, TIB / BLOCK_LEN_U64).collect::<Vec<_>>());
    assert_memory(&format!(
        "opened in {:.1} ms and read all back in {:.1} s",
        opened.as_secs_f64() * 1000.0,
        watch.elapsed().as_secs_f64()
    ));
    drop(engine);
}

#[test]
#[ignore = "a process of its own, run by a_terabyte_with_writes_all_over_stays_within_its_memory"]
fn process_that_recovers() {
    let watch = Stopwatch::new();
    let (engine, report) = Engine::builder(childs_volume()).open(vec![(1, data_key())]).unwrap();
    let opened = watch.elapsed();
    assert!(!report.clean);
    for lba in spread(3, scale_writes() / 10, TIB / BLOCK_LEN_U64) {
        assert_eq!(version_of(&engine, lba), Some(lba + 1), "block {lba}");
    }
    for lba in spread(1, 1000, TIB / BLOCK_LEN_U64) {
        assert_eq!(version_of(&engine, lba), Some(lba + 1), "block {lba}");
    }
    engine.close().unwrap();
    assert_memory(&format!(
        "recovered {} groups in {:.2} s",
        report.replayed_groups,
        opened.as_secs_f64()
    ));
}

/// A volume of `len` bytes that holds `lbas`, closed in order or not, and the work of opening it.
fn work_of_opening(len: u64, lbas: &[u64], close: bool) -> Work {
    let dir = temp_dir();
    let file = FileStorage::create_new(dir.path().join("volume")).unwrap();
    let storage = Arc::new(CountingStorage::new(file));
    create_volume(&*storage, shape(len)).unwrap();
    let open = || {
        let storage = Arc::clone(&storage) as Arc<dyn Storage>;
        let settings = Settings { prewrite_segments: 0, ..Settings::default() };
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
        let builder = Engine::builder(storage).settings(settings).clock(clock).background(false);
        builder.open(vec![(1, data_key())]).unwrap()
    };
    let engine = open().0;
    let (early, late) = lbas.split_at(lbas.len() / 2);
    write_all(&engine, early);
    engine.checkpoint().unwrap();
    write_all(&engine, late);
    if close {
        engine.close().unwrap();
    } else {
        engine.flush().unwrap();
        drop(engine);
    }
    let before = storage.work();
    let (engine, report) = open();
    let work = storage.work() - before;
    assert_eq!(report.clean, close);
    let first = lbas.first().copied().unwrap();
    assert_eq!(version_of(&engine, first), Some(first + 1));
    work
}

#[test]
fn opening_costs_the_same_at_every_size() {
    let lens = [1 << 30, TIB, 16 * TIB];
    for close in [true, false] {
        // The same blocks, so that recovery has the same pages to write.
        let lbas: Vec<u64> = spread(4, 3000, lens[0] / BLOCK_LEN_U64).collect();
        let works = lens.map(|len| work_of_opening(len, &lbas, close));
        println!("opening after {}: {works:?}", if close { "a close" } else { "a crash" });
        assert!(works.iter().all(|work| *work == works[0]), "{works:?}");
    }
    // As much data, spread over each whole device: then there are more map pages, but opening after
    // a close reads none of them, only what is left of the three open segments.
    let works = lens.map(|len| {
        let lbas: Vec<u64> = spread(5, 3000, len / BLOCK_LEN_U64).collect();
        work_of_opening(len, &lbas, true)
    });
    println!("opening after a close, data spread out: {works:?}");
    for work in works {
        assert!(work.reads <= 3 * 32 + 16, "{works:?}");
        assert!(work.read_bytes <= 3 * (4 << 20) + (1 << 20), "{works:?}");
    }
}

#[test]
fn discarding_two_terabytes_costs_a_few_groups() {
    const BLOCKS: u64 = 100_000;
    let dir = temp_dir();
    let path = dir.path().join("volume");
    let storage = Arc::new(CountingStorage::new(FileStorage::create_new(&path).unwrap()));
    let len = 2 * TIB;
    create_volume(&*storage, shape(len)).unwrap();
    let settings = Settings { prewrite_segments: 0, keep_free_segments: 2, ..Settings::default() };
    let clock = SimClock::new();
    let open = || {
        Engine::builder(Arc::clone(&storage) as Arc<dyn Storage>)
            .settings(settings.clone())
            .clock(Arc::new(clock.clone()))
            .background(false)
            .open(vec![(1, data_key())])
            .unwrap()
            .0
    };
    let allocated = || ByteLen(std::fs::metadata(&path).unwrap().blocks() * 512);
    let engine = open();
    let lbas: Vec<u64> = spread(6, BLOCKS, len / BLOCK_LEN_U64).collect();
    for chunk in lbas.chunks(10_000) {
        write_all(&engine, chunk);
        engine.maintain().unwrap();
    }
    engine.checkpoint().unwrap();
    engine.close().unwrap();
    let full = allocated();
    // Nothing of the map is in memory.
    let engine = open();
    let (before, groups) = (storage.work(), engine.stats().groups);
    engine.discard(0, len).unwrap();
    engine.flush().unwrap();
    let work = storage.work() - before;
    let groups = engine.stats().groups - groups;
    println!("discard of 2 TiB: {work:?}, {groups} groups");
    // The table pages that tell of a free segment, and nothing of the map.
    assert!(work.reads <= 8 && work.read_bytes <= 8 * BLOCK_LEN_U64, "{work:?}");
    assert!(groups <= 4, "{groups}");
    assert!(work.written_bytes <= 64 << 10, "{work:?}");
    // It reads as zeros at once, is one hole, and takes new writes.
    for lba in lbas.iter().take(1000) {
        assert_eq!(version_of(&engine, *lba), Some(0));
    }
    assert_eq!(engine.extents(0, len, 10).unwrap().len(), 1);
    let again: Vec<u64> = lbas.iter().copied().step_by(1000).collect();
    write_all(&engine, &again);
    let fresh: HashMap<u64, u64> = again.iter().map(|lba| (*lba, lba + 1)).collect();

    let (mut rounds, watch) = (0, Stopwatch::new());
    while allocated().0 > full.0 / 20 {
        rounds += 1;
        assert!(rounds < 200, "space does not come back: {:?} of {full:?}", allocated());
        clock.advance(Duration::from_secs(2));
        engine.maintain().unwrap();
        engine.checkpoint().unwrap();
    }
    println!(
        "{} MiB of {} MiB came back in {rounds} rounds of maintenance, {:.1} s",
        (full.0 - allocated().0) >> 20,
        full.0 >> 20,
        watch.elapsed().as_secs_f64()
    );
    for lba in &lbas {
        let expected = fresh.get(lba).copied().unwrap_or(0);
        assert_eq!(version_of(&engine, *lba), Some(expected), "block {lba}");
    }
    assert!(engine.verify(&mut |_, _| true).unwrap().is_sound());
    engine.close().unwrap();
}
