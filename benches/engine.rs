//! The engine beside a plain file: random 4 KiB and sequential 1 MiB, hot, and random 4 KiB writes
//! with a flush every 1, 32 and 256. Criterion measures one after the other; the `ratios` target
//! interleaves, and is the one to quote ratios from.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use sealvol_benches::{
    Config, PlainFile, Result, Rng, SealedVolume, VolumeShape, criterion, fill, noise,
};
use sealvol_core::{BlockDevice, ByteLen, Clock, SystemClock, WriteFlags};

const BLOCK: usize = 4096;
const LARGE: usize = 1 << 20;

/// The devices under test. `renew` is called before each batch of timed writes.
struct Device<'a> {
    name: &'static str,
    device: &'a dyn BlockDevice,
    renew: &'a dyn Fn() -> Result<()>,
}

fn reads(c: &mut Criterion, devices: &[Device<'_>]) {
    let mut group = c.benchmark_group("engine/read");
    for Device { name, device, .. } in devices {
        let len = device.info().len.0;
        group.throughput(Throughput::Bytes(BLOCK as u64));
        group.bench_function(BenchmarkId::new("hot random 4 KiB", name), |b| {
            let (mut rng, mut buf) = (Rng::new(1), vec![0; BLOCK]);
            b.iter(|| {
                let offset = rng.below(len / BLOCK as u64) * BLOCK as u64;
                device.read(offset, &mut buf).expect("the device reads");
            });
        });
        group.throughput(Throughput::Bytes(LARGE as u64));
        group.bench_function(BenchmarkId::new("hot sequential 1 MiB", name), |b| {
            let (mut at, mut buf) = (0, vec![0; LARGE]);
            b.iter(|| {
                device.read(at, &mut buf).expect("the device reads");
                at = (at + LARGE as u64) % (len / LARGE as u64 * LARGE as u64);
            });
        });
    }
    group.finish();
}

fn writes(c: &mut Criterion, clock: &dyn Clock, devices: &[Device<'_>]) {
    let mut group = c.benchmark_group("engine/write");
    let data = noise(2 * LARGE, 9);
    for Device { name, device, renew } in devices {
        let len = device.info().len.0;
        for interval in [1_u64, 32, 256] {
            group.throughput(Throughput::Bytes(interval * BLOCK as u64));
            let id = BenchmarkId::new(format!("random 4 KiB, flush every {interval}"), name);
            let mut rng = Rng::new(2);
            group.bench_function(id, |b| {
                b.iter_custom(|rounds| {
                    in_parts(clock, rounds, len / 2 / (interval * BLOCK as u64), renew, || {
                        for _ in 0..interval {
                            let offset = rng.below(len / BLOCK as u64) * BLOCK as u64;
                            let from = usize::try_from(offset % LARGE as u64).unwrap_or(0);
                            let block = data.get(from..from + BLOCK).unwrap_or_default();
                            device.write(offset, block, WriteFlags::default())?;
                        }
                        device.flush()
                    })
                });
            });
        }
        group.throughput(Throughput::Bytes(16 * LARGE as u64));
        let mut at = 0;
        group.bench_function(BenchmarkId::new("sequential 1 MiB, flush every 16", name), |b| {
            b.iter_custom(|rounds| {
                in_parts(clock, rounds, len / 2 / (16 * LARGE as u64), renew, || {
                    for _ in 0..16 {
                        let piece = data.get(..LARGE).unwrap_or_default();
                        device.write(at, piece, WriteFlags::default())?;
                        at = (at + LARGE as u64) % (len / LARGE as u64 * LARGE as u64);
                    }
                    device.flush()
                })
            });
        });
    }
    group.finish();
}

/// Times `rounds` of `work`, renewing the device (untimed) before every `part` of them, so that a
/// fresh volume stays fresh.
fn in_parts(
    clock: &dyn Clock,
    rounds: u64,
    part: u64,
    renew: &dyn Fn() -> Result<()>,
    mut work: impl FnMut() -> sealvol_core::Result<()>,
) -> Duration {
    let mut left = rounds;
    let mut elapsed = Duration::ZERO;
    while left > 0 {
        renew().expect("the device can be renewed");
        let now = left.min(part.max(1));
        let start = clock.monotonic();
        for _ in 0..now {
            work().expect("the device writes");
        }
        elapsed += clock.monotonic() - start;
        left -= now;
    }
    elapsed
}

fn run() -> Result<()> {
    let config = Config::from_env();
    let mut c = criterion(&config);
    let clock = SystemClock::new();
    let dir = config.bench_dir()?;

    // Hot: everything fits into memory, and has been written once.
    let len = config.size("SEALVOL_BENCH_HOT_SIZE", ByteLen::gib(1), ByteLen::mib(32))?;
    {
        let plain = PlainFile::create(&dir.path().join("hot.raw"), len)?;
        let shape = VolumeShape { prewritten: false, ..VolumeShape::prewritten(len) };
        let sealed = SealedVolume::create(&dir.path().join("hot.sealvol"), shape)?;
        fill(&plain)?;
        fill(sealed.engine())?;
        let nothing = || Ok(());
        let devices = [
            Device { name: "plain file", device: &plain, renew: &nothing },
            Device { name: "sealed", device: sealed.engine(), renew: &nothing },
        ];
        reads(&mut c, &devices);
    }

    // Fresh: a pre-written volume against an initialised file.
    let len = config.size("SEALVOL_BENCH_SIZE", ByteLen::gib(4), ByteLen::mib(64))?;
    let plain = PlainFile::create(&dir.path().join("fresh.raw"), len)?;
    let path = dir.path().join("fresh.sealvol");
    let sealed = SealedVolume::create(&path, VolumeShape::prewritten(len))?;
    fill(&plain)?;
    let devices = [
        Device { name: "plain file", device: &plain, renew: &|| Ok(()) },
        Device { name: "sealed", device: sealed.engine(), renew: &|| sealed.renew() },
    ];
    writes(&mut c, &clock, &devices);
    c.final_summary();
    Ok(())
}

fn main() -> Result<()> {
    run()
}
