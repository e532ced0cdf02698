//! The speed that the project promises, as ratios of neighbours: each repeat runs the plain file and
//! the sealed volume one after the other, in ABBA order, and the verdict is on the median ratio.
//!
//! Prints a table and writes `target/sealvol-ratios.json`. Arguments that are not options select
//! rows whose name contains one of them. `SEALVOL_BENCH_STRICT=1` makes a missed bar an error;
//! `SEALVOL_BENCH_SHARE=2` shares long requests between two cores (`Settings::share_from_cores`).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench target reports")]

use std::time::Duration;

use sealvol_benches::{
    Bar, BenchDir, Config, Load, Machine, Pattern, PlainFile, Report, Result, Row, SealedVolume,
    StorageKind, Turn, VolumeShape, ab_order, drop_caches, fill, flush_every, is_listing, noise,
    random_reads, sequential, write_batches,
};
use sealvol_core::{BlockDevice, ByteLen, Clock, SystemClock};
use sealvol_envelope::aead::{AeadBackend, AeadKey, Nonce, Tag};

struct Bench {
    config: Config,
    clock: SystemClock,
    dir: BenchDir,
    wanted: Vec<String>,
    rows: Vec<Row>,
    failed: bool,
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|w| name.contains(w.as_str()))
    }

    fn wants_any(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.wants(name))
    }

    fn finish(&mut self, row: Row) {
        println!("{}", row.line());
        self.rows.push(row);
    }

    fn load(&self, seed: usize, duration: Duration) -> Load<'_> {
        Load::new(&self.clock, seed as u64, duration)
    }

    fn turn_length(&self) -> Result<Duration> {
        let seconds = self.config.number("SEALVOL_BENCH_SECONDS", 2.0, 0.15)?;
        Ok(Duration::from_secs_f64(seconds))
    }

    /// A plain file written once and a sealed volume, side by side.
    fn pair(&self, name: &str, shape: VolumeShape) -> Result<(PlainFile, SealedVolume)> {
        let plain = PlainFile::create(&self.dir.path().join(format!("{name}.raw")), shape.len)?;
        fill(&plain)?;
        let path = self.dir.path().join(format!("{name}.sealvol"));
        let sealed = SealedVolume::create(&path, shape)?;
        Ok((plain, sealed))
    }

    fn drop_pair(&self, name: &str, pair: (PlainFile, SealedVolume)) -> Result<()> {
        drop(pair);
        self.remove_pair(name)
    }

    fn remove_pair(&self, name: &str) -> Result<()> {
        for suffix in ["raw", "sealvol"] {
            std::fs::remove_file(self.dir.path().join(format!("{name}.{suffix}")))?;
        }
        Ok(())
    }

    /// Random 4 KiB writes on a fresh volume, flushed every 1, 32 and 256.
    fn fresh_writes(&mut self) -> Result<()> {
        let len = self.config.size("SEALVOL_BENCH_SIZE", ByteLen::gib(4), ByteLen::mib(64))?;
        let cases = [
            (32, false, Bar::AtLeast(5.0)),
            (32, true, Bar::AtLeast(5.0)),
            (1, false, Bar::None),
            (256, false, Bar::None),
            (256, true, Bar::None),
        ];
        let name = |(interval, batched, _): &(u64, bool, Bar)| {
            let how = if *batched { " in one batch" } else { "" };
            format!("fresh random 4 KiB writes, flush/{interval}{how}")
        };
        if !self.wants_any(&cases.each_ref().map(name)) {
            return Ok(());
        }
        let pair = self.pair("fresh", VolumeShape::prewritten(len))?;
        let (plain, sealed) = &pair;
        let duration = self.turn_length()?;
        for case in &cases {
            let (interval, batched, bar) = *case;
            if !self.wants(&name(case)) {
                continue;
            }
            let mut row = Row::new(name(case), "op/s", bar);
            let turn = |device: &dyn BlockDevice, repeat| -> Result<Turn> {
                let mut load = self.load(repeat, duration);
                if batched {
                    write_batches(device, interval, &mut load)
                } else {
                    flush_every(device, interval, &mut load)
                }
            };
            ab_order(
                self.config.repeats()?,
                |repeat| turn(plain, repeat),
                |repeat| {
                    sealed.renew()?;
                    let turn = turn(sealed.engine(), repeat);
                    // What is left to do in the background is not the plain file's to pay.
                    sealed.engine().checkpoint()?;
                    turn
                },
                |plain, sealed| row.push(plain.ops_per_s(), sealed.ops_per_s()),
            )?;
            self.finish(row);
        }
        self.drop_pair("fresh", pair)
    }

    /// Reads and sequential work on a volume that fits into memory.
    fn hot_and_cold(&mut self) -> Result<()> {
        let file = "hot random 4 KiB read + verify (pread)".to_owned();
        let mmap = "hot random 4 KiB read + verify (mmap)".to_owned();
        let names = [
            "cold sequential 1 MiB read, one thread",
            "flushed sequential 1 MiB write, one thread",
            "cold sequential 1 MiB read, all cores",
            "flushed sequential 1 MiB write, all cores",
            "hot sequential 1 MiB read, all cores",
            "hot sequential 1 MiB write, all cores",
        ]
        .map(str::to_owned);
        let len = self.config.size("SEALVOL_BENCH_HOT_SIZE", ByteLen::gib(1), ByteLen::mib(32))?;
        let shape = VolumeShape::prewritten(len);
        if self.wants(&mmap) {
            let pair = self.pair("mmap", VolumeShape { storage: StorageKind::Mmap, ..shape })?;
            fill(pair.1.engine())?;
            let row = self.hot_reads(mmap, &pair)?;
            self.finish(row);
            self.drop_pair("mmap", pair)?;
        }
        if !self.wants(&file) && !self.wants_any(&names) {
            return Ok(());
        }
        let pair = self.pair("hot", shape)?;
        fill(pair.1.engine())?;
        if self.wants(&file) {
            let row = self.hot_reads(file, &pair)?;
            self.finish(row);
        }
        let [cold, flushed, cold_all, flushed_all, read, write] = names;
        for (name, pattern) in [(read, Pattern::Read), (write, Pattern::Write)] {
            if self.wants(&name) {
                let row = self.hot_sequential(name, pattern, &pair)?;
                self.finish(row);
            }
        }
        let disk_bound = [
            (flushed, Pattern::Write, 1),
            (flushed_all, Pattern::Write, cores()),
            (cold, Pattern::Read, 1),
            (cold_all, Pattern::Read, cores()),
        ];
        for (name, pattern, threads) in disk_bound {
            if self.wants(&name) {
                let row = self.disk_bound(name, pattern, threads, &pair)?;
                self.finish(row);
            }
        }
        self.drop_pair("hot", pair)
    }

    fn hot_reads(&self, name: String, pair: &(PlainFile, SealedVolume)) -> Result<Row> {
        let mut row = Row::new(name, "op/s", Bar::AtMost(1.6));
        "ratio of times".clone_into(&mut row.note);
        let duration = self.turn_length()? / 2;
        let turn = |device: &dyn BlockDevice, repeat| {
            random_reads(device, &mut self.load(repeat, duration))
        };
        // Once unseen, to warm both.
        turn(&pair.0, 0)?;
        turn(pair.1.engine(), 0)?;
        ab_order(
            self.config.repeats()?,
            |repeat| turn(&pair.0, repeat),
            |repeat| turn(pair.1.engine(), repeat),
            |plain, sealed| row.push_times(plain.ops_per_s(), sealed.ops_per_s()),
        )?;
        Ok(row)
    }

    /// A pass over the device where the disk is the limit.
    fn disk_bound(
        &self,
        name: String,
        pattern: Pattern,
        threads: usize,
        pair: &(PlainFile, SealedVolume),
    ) -> Result<Row> {
        let (plain, sealed) = pair;
        let mut row = Row::new(name, "MiB/s", Bar::AtLeast(0.95));
        let len = plain.info().len.0;
        let load = self.load(1, Duration::ZERO);
        let plain_path = self.dir.path().join("hot.raw");
        let settle = |path| match pattern {
            Pattern::Read => drop_caches(path),
            Pattern::Write => Ok(()),
        };
        let part = len / threads as u64 / (1 << 20) * (1 << 20);
        // Each writing thread ends with its own flush; the last one to end decides.
        let turn = |device: &dyn BlockDevice| {
            self.on_all_cores(threads, |thread| {
                Ok(sequential(device, pattern, thread as u64 * part, part, &load)?.bytes)
            })
        };
        let cipher = AeadBackend::fastest().expand(&[7; 32]);
        let cipher_turn = || {
            self.on_all_cores(threads, |thread| {
                cipher_pass(&*cipher, pattern, thread as u64, part)?;
                Ok(part)
            })
        };
        ab_order(
            self.config.repeats()?,
            |_| {
                settle(&plain_path)?;
                turn(plain)
            },
            |_| {
                if pattern == Pattern::Write {
                    // Room for a pass without collection: "fresh", as the plain file always is.
                    sealed.renew()?;
                }
                settle(sealed.path())?;
                let turn = turn(sealed.engine());
                sealed.engine().checkpoint()?;
                turn
            },
            |plain, sealed| row.push(plain.mib_per_s(), sealed.mib_per_s()),
        )?;
        let cipher = cipher_turn()?.mib_per_s();
        let plain = sealvol_benches::median(&row.plain);
        let limit = if cipher > 2.0 * plain { "the disk" } else { "NOT the disk alone" };
        row.note = format!("limit: {limit} (bare cipher {cipher:.0} MiB/s on {threads} threads)");
        Ok(row)
    }

    /// All cores at once, from memory: what is left of the harmonic sum of plain file and cipher.
    fn hot_sequential(
        &self,
        name: String,
        pattern: Pattern,
        pair: &(PlainFile, SealedVolume),
    ) -> Result<Row> {
        let bar = match pattern {
            Pattern::Read => Bar::AtLeast(0.85),
            // The engine bounds what is unsynced, the kernel does not: the disk is in this one.
            Pattern::Write => Bar::None,
        };
        let mut row = Row::new(name, "MiB/s", bar);
        let threads = cores();
        let passes = self.config.pick(4, 1);
        let cipher = AeadBackend::fastest().expand(&[7; 32]);
        let mut ceilings = Vec::new();
        let part = pair.0.info().len.0 / threads as u64 / (1 << 20) * (1 << 20);
        let device_turn = |device: &dyn BlockDevice| {
            self.on_all_cores(threads, |thread| {
                let load = self.load(thread, Duration::ZERO);
                for _ in 0..passes {
                    match pattern {
                        Pattern::Read => {
                            sequential(device, pattern, thread as u64 * part, part, &load)?;
                        }
                        Pattern::Write => write_pass(device, thread as u64 * part, part)?,
                    }
                }
                Ok(passes * part)
            })
        };
        let cipher_turn = || {
            self.on_all_cores(threads, |thread| {
                cipher_pass(&*cipher, pattern, thread as u64, passes * part)?;
                Ok(passes * part)
            })
        };
        ab_order(
            self.config.repeats()?,
            |_| {
                let turn = device_turn(&pair.0)?;
                if pattern == Pattern::Write {
                    pair.0.flush()?;
                }
                Ok((turn.mib_per_s(), cipher_turn()?.mib_per_s()))
            },
            |_| {
                if pattern == Pattern::Write {
                    pair.1.renew()?;
                }
                let turn = device_turn(pair.1.engine())?;
                if pattern == Pattern::Write {
                    pair.1.engine().checkpoint()?;
                }
                Ok((turn.mib_per_s(), 0.0))
            },
            |(plain, cipher), (sealed, _)| {
                let expected = 1.0 / (1.0 / plain + 1.0 / cipher);
                ceilings.push(cipher);
                row.push_ratio(plain, sealed, sealed / expected);
            },
        )?;
        let cipher = sealvol_benches::median(&ceilings);
        row.note =
            format!("of 1/(1/plain + 1/cipher); cipher {cipher:.0} MiB/s on {threads} threads");
        Ok(row)
    }

    fn on_all_cores(
        &self,
        threads: usize,
        work: impl Fn(usize) -> Result<u64> + Sync,
    ) -> Result<Turn> {
        let start = self.clock.monotonic();
        let bytes = std::thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> =
                (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
            running.into_iter().try_fold(0, |sum, thread| match thread.join() {
                Ok(bytes) => Ok(sum + bytes?),
                Err(_) => Err(sealvol_benches::Error::from("a bench thread panicked")),
            })
        })?;
        Ok(Turn { ops: bytes >> 20, bytes, elapsed: self.clock.monotonic() - start })
    }

    /// A full volume, overwritten at random, with collection running.
    fn steady_state(&mut self, space_percent: u32) -> Result<()> {
        let name = steady_name(space_percent);
        if !self.wants(&name) {
            return Ok(());
        }
        let mut row = Row::new(name, "op/s", Bar::None);
        if let Err(error) = self.steady_turns(space_percent, &mut row) {
            // The other rows are still worth having.
            row.note = format!("FAILED: {error}");
            self.failed = true;
        }
        self.finish(row);
        self.remove_pair("steady")
    }

    fn steady_turns(&self, space_percent: u32, row: &mut Row) -> Result<()> {
        let len =
            self.config.size("SEALVOL_BENCH_STEADY_SIZE", ByteLen::gib(2), ByteLen::mib(64))?;
        let shape = VolumeShape { space_percent, ..VolumeShape::prewritten(len) };
        let pair = self.pair("steady", shape)?;
        let (plain, sealed) = &pair;
        fill(sealed.engine())?;
        let blocks = len.0 / 4096;
        // The first overwrite leads into the steady state and is not counted.
        let mut seed = 0;
        let overwrite = |writes: u64, seed: &mut usize| -> Result<Turn> {
            let mut total = Turn::default();
            while total.ops < writes {
                *seed += 1;
                let turn = flush_every(
                    sealed.engine(),
                    32,
                    &mut self.load(*seed, Duration::from_millis(20)),
                )?;
                total.ops += turn.ops;
                total.elapsed += turn.elapsed;
            }
            Ok(total)
        };
        overwrite(blocks, &mut seed)?;
        let before = sealed.engine().stats();
        let parts = self.config.pick(8, 2);
        let plain_time = self.turn_length()?;
        ab_order(
            parts,
            |part| flush_every(plain, 32, &mut self.load(part, plain_time)),
            |_| overwrite(blocks / parts as u64, &mut seed),
            |plain, sealed| row.push(plain.ops_per_s(), sealed.ops_per_s()),
        )?;
        let after = sealed.engine().stats();
        let written = (after.blocks_written - before.blocks_written) * 4096;
        let amplification = (after.log_bytes - before.log_bytes) as f64 / (written as f64).max(1.0);
        row.note = format!(
            "write amplification {amplification:.2}, {} blocks moved, {} segments collected, {} \
             waits, {} of {} segments",
            after.blocks_moved - before.blocks_moved,
            after.segments_collected - before.segments_collected,
            after.space_waits - before.space_waits,
            after.segments - after.free_segments,
            after.segment_limit,
        );
        Ok(())
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn steady_name(space_percent: u32) -> String {
    let (whole, tenth) = (space_percent / 100, space_percent / 10 % 10);
    format!("full, overwritten 2x, random 4 KiB, flush/32, {whole}.{tenth}x")
}

/// Writes `[start, start + len)` in 1 MiB requests, without a flush.
fn write_pass(device: &dyn BlockDevice, start: u64, len: u64) -> Result<()> {
    let data = noise(1 << 20, start);
    for at in (start..start + len).step_by(1 << 20) {
        device.write(at, &data, sealvol_core::WriteFlags::default())?;
    }
    Ok(())
}

/// The bare cipher over `len` bytes, block by block, out of place, 1 MiB at a time.
fn cipher_pass(key: &dyn AeadKey, pattern: Pattern, thread: u64, len: u64) -> Result<()> {
    let plain = noise(1 << 20, thread);
    let aad = [3; 48];
    let nonce_of = |index: usize| {
        let mut nonce: Nonce = [0; 12];
        nonce[..8].copy_from_slice(&(index as u64).to_le_bytes());
        nonce
    };
    let mut sealed = vec![0; plain.len()];
    let mut tags: Vec<Tag> = Vec::new();
    for (index, (from, to)) in plain.chunks(4096).zip(sealed.chunks_mut(4096)).enumerate() {
        tags.push(key.seal(&nonce_of(index), &aad, from, to)?);
    }
    let mut out = vec![0; plain.len()];
    for _ in 0..len >> 20 {
        for (index, ((from, tag), to)) in
            sealed.chunks(4096).zip(&tags).zip(out.chunks_mut(4096)).enumerate()
        {
            match pattern {
                Pattern::Read => key.open(&nonce_of(index), &aad, from, tag, to)?,
                Pattern::Write => {
                    std::hint::black_box(key.seal(&nonce_of(index), &aad, from, to)?);
                }
            }
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    if is_listing() {
        return Ok(());
    }
    let config = Config::from_env();
    let dir = config.bench_dir()?;
    let machine = Machine::probe(dir.path());
    let quick = config.quick;
    println!("{machine}{}", if quick { "; QUICK: a smoke run, figures mean nothing" } else { "" });
    println!("{}", Row::heading());
    let wanted = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut bench =
        Bench { config, clock: SystemClock::new(), dir, wanted, rows: Vec::new(), failed: false };
    bench.hot_and_cold()?;
    bench.fresh_writes()?;
    bench.steady_state(130)?;
    bench.steady_state(150)?;
    let report = Report { machine, quick, rows: bench.rows };
    let path = bench.config.result_path("sealvol-ratios.json");
    std::fs::write(&path, report.to_json()?)?;
    println!("written to {}", path.display());
    if bench.failed {
        return Err("a row failed".into());
    }
    let missed = report.missed();
    if !missed.is_empty() {
        eprintln!("missed: {}", missed.join("; "));
    }
    bench.config.judge(missed.len())
}
