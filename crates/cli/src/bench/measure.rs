//! The whole run: setting up, pairing the turns, and what is measured beside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sealvol::kms::{Kms, KmsSettings};
use sealvol::{
    AeadBackend, BlockDevice as _, Clock as _, DeviceError, KeyService, OpenOptions, Provisioning,
    SystemClock, SystemEntropy, Volume, VolumeSpec,
};
use tokio::runtime::Runtime;

use super::BenchArgs;
use super::devices::{PlainFile, Scratch, data_len, drop_caches, initialise};
use super::figures::{Attach, CellFigures, Cipher, Report, SettingsUsed, median, ratio_at_16_kib};
use super::machine::Machine;
use super::noise::noise;
use super::plan::{BLOCK_MAX, Cell, Plan, State};
use super::turn::{self, Stage, Turn};
use crate::global::{Global, IfMissing};
use crate::signals;

/// A signal came.
#[derive(Debug)]
pub(crate) struct Cancelled;

impl std::fmt::Display for Cancelled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped by a signal")
    }
}

impl std::error::Error for Cancelled {}

/// Attaches that are timed.
const ATTACHES: usize = 9;

/// The sealed side: its file, its KMS and how it is opened.
struct Sealed {
    runtime: Runtime,
    kms: Arc<Kms>,
    keys: Arc<dyn KeyService>,
    kms_name: &'static str,
    path: PathBuf,
    options: OpenOptions,
}

impl Sealed {
    /// A temporary volume under a KMS that exists only in memory.
    fn temporary(args: &BenchArgs, path: PathBuf) -> anyhow::Result<Self> {
        let runtime = signals::runtime()?;
        let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
        let kms = Kms::in_memory(KmsSettings::default(), clock, entropy)
            .map_err(DeviceError::from)
            .context("make a KMS in memory")?;
        let root = kms.root_caller();
        let key = kms.create_key(&root, "benchmark").context("make a key")?;
        let keys = kms.handle(root);
        let mut options = OpenOptions::new();
        let mut spec = VolumeSpec::new(args.size, key.key_id).space_percent(args.space);
        if args.prewritten {
            spec = spec.provisioning(Provisioning::Prewritten);
            options = options.keep_space();
        }
        runtime.block_on(Volume::create(&path, spec, &*keys))?;
        Ok(Self { runtime, kms, keys, kms_name: "embedded, in memory", path, options })
    }

    /// A volume that is there, which is only read.
    fn existing(path: &Path, global: &Global) -> anyhow::Result<Self> {
        let keys = global.keys(IfMissing::Fail)?;
        Ok(Self {
            runtime: signals::runtime()?,
            kms: Arc::clone(&keys.embedded("`sealvol bench` of a volume")?.kms),
            keys: keys.service,
            kms_name: "embedded, in a directory",
            path: path.to_owned(),
            options: OpenOptions::new().read_only(true),
        })
    }

    fn attach(&self) -> anyhow::Result<Volume> {
        let open = Volume::open(&self.path, self.options.clone(), &*self.keys);
        Ok(self.runtime.block_on(open)?)
    }

    fn kms_calls(&self) -> u64 {
        self.kms.counters().total_calls()
    }
}

/// Tells how far the run is, on stderr.
struct Steps(ProgressBar);

impl Steps {
    fn new(total: u64, global: &Global) -> Self {
        let target = if global.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(5)
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:24} {pos}/{len} turns, about {eta} left  {msg}")
        {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn say(&self, text: impl Into<String>) {
        self.0.set_message(text.into());
        self.0.tick();
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Measures everything.
pub(crate) fn all(
    plan: &Plan,
    args: &BenchArgs,
    global: &Global,
    cancelled: &AtomicBool,
) -> anyhow::Result<Report> {
    let steps = Steps::new(plan.cells.len() as u64 * u64::from(plan.repeats) * 2, global);
    steps.say("setting up");
    let clock = SystemClock::new();
    let machine = Machine::probe(&args.dir);

    // The volume at its fullest, what it needs for itself, and the plain file.
    let most = args.size.0 / 100 * u64::from(args.space) + (256 << 20);
    let need = args.size.0 + if args.path.is_none() { most } else { 0 };
    let scratch = Scratch::new(&args.dir, need)?;
    let sealed = match &args.path {
        Some(path) => Sealed::existing(path, global)?,
        None => Sealed::temporary(args, scratch.join("sealed.vol"))?,
    };
    let cipher = cipher_rates(&clock, sealed.options.aead, if args.quick { 0.05 } else { 0.2 })?;
    let volume = sealed.attach()?;
    let len = match &args.path {
        Some(_) => volume.info().len.0.min(args.size.0),
        None => args.size.0,
    };
    let plain_path = scratch.join("plain.raw");
    let plain = PlainFile::create(&plain_path, len)?;
    steps.say("initialising the plain file");
    initialise(&plain, cancelled)?;
    if args.path.is_none() {
        steps.say("initialising the sealed volume");
        initialise(&volume, cancelled)?;
    }
    let initialised = data_len(&volume, len)? as f64 / len as f64;

    steps.say("attaching");
    volume.close()?;
    let attach = attach_times(&sealed, &clock)?;
    let volume = sealed.attach()?;

    let calls_before = sealed.kms_calls();
    let data = noise(usize::try_from(2 * BLOCK_MAX)?, 7);
    let stage = Stage {
        clock: &clock,
        cancelled,
        duration: plan.duration,
        flush_every: plan.flush_every,
        len,
        data: &data,
    };
    let sides = Sides { stage, plain, plain_path, volume, sealed_path: sealed.path.clone() };
    let mut cells = Vec::new();
    for cell in &plan.cells {
        let pairs = sides.pairs(*cell, plan.repeats, &steps)?;
        cells.push(CellFigures::of(*cell, &pairs));
    }
    let kms_calls_during_io = sealed.kms_calls() - calls_before;
    let write_amplification = sides.volume.stats().write_amplification();
    sides.volume.close()?;

    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        quick: args.quick,
        machine,
        settings: SettingsUsed {
            volume: match &args.path {
                Some(path) => format!("{} (read only)", path.display()),
                None => "temporary".to_owned(),
            },
            size_bytes: len,
            initialised,
            space_percent: args.path.is_none().then_some(args.space),
            prewritten: args.prewritten && args.path.is_none(),
            seconds: args.seconds,
            repeats: plan.repeats,
            flush_every: plan.flush_every,
            queue_depth_is: "threads, each with one request under way",
        },
        cipher,
        attach,
        kms_calls_during_io,
        iops_ratio_at_16_kib: ratio_at_16_kib(&cells),
        write_amplification,
        cells,
    })
}

/// Both sides, ready for turns.
struct Sides<'a> {
    stage: Stage<'a>,
    plain: PlainFile,
    plain_path: PathBuf,
    volume: Volume,
    sealed_path: PathBuf,
}

impl Sides<'_> {
    /// The cell on both sides, in ABBA order.
    fn pairs(&self, cell: Cell, repeats: u32, steps: &Steps) -> anyhow::Result<Vec<(Turn, Turn)>> {
        let mut pairs = Vec::new();
        for repeat in 0..repeats {
            let seed = u64::from(repeat) + 1;
            steps.say(format!(
                "{} {} {} qd {}",
                cell.state.as_str(),
                cell.pattern.as_str(),
                cell.block_name(),
                cell.depth
            ));
            let pair = if repeat % 2 == 0 {
                let plain = self.plain_turn(cell, seed, steps)?;
                (plain, self.sealed_turn(cell, seed, steps)?)
            } else {
                let sealed = self.sealed_turn(cell, seed, steps)?;
                (self.plain_turn(cell, seed, steps)?, sealed)
            };
            pairs.push(pair);
        }
        Ok(pairs)
    }

    fn plain_turn(&self, cell: Cell, seed: u64, steps: &Steps) -> anyhow::Result<Turn> {
        if cell.state == State::Cold {
            drop_caches(&self.plain_path)?;
        }
        let turn = turn::run(&self.stage, &self.plain, cell, seed).context("plain file")?;
        if cell.pattern.writes() {
            // What is left dirty is not the other side's to write back.
            self.plain.flush().context("plain file")?;
        }
        self.done(turn, steps)
    }

    fn sealed_turn(&self, cell: Cell, seed: u64, steps: &Steps) -> anyhow::Result<Turn> {
        if cell.state == State::Cold {
            drop_caches(&self.sealed_path)?;
        }
        let turn = turn::run(&self.stage, &self.volume, cell, seed).context("sealed volume")?;
        if cell.pattern.writes() {
            self.volume.flush().context("sealed volume")?;
            self.volume.engine().checkpoint().context("sealed volume")?;
        }
        self.done(turn, steps)
    }

    fn done(&self, turn: Turn, steps: &Steps) -> anyhow::Result<Turn> {
        if self.stage.cancelled.load(Ordering::Relaxed) {
            return Err(Cancelled.into());
        }
        steps.0.inc(1);
        Ok(turn)
    }
}

fn attach_times(sealed: &Sealed, clock: &SystemClock) -> anyhow::Result<Attach> {
    let calls_before = sealed.kms_calls();
    let mut times_ms = Vec::new();
    for _ in 0..ATTACHES {
        let start = clock.monotonic();
        let volume = sealed.attach()?;
        times_ms.push((clock.monotonic() - start).as_secs_f64() * 1000.0);
        volume.close()?;
    }
    Ok(Attach {
        median_ms: median(&times_ms),
        times_ms,
        kms_calls_per_attach: (sealed.kms_calls() - calls_before) as f64 / ATTACHES as f64,
        kms: sealed.kms_name,
    })
}

/// The bare cipher on one core, 4 KiB at a time, out of place, from 1 MiB of memory.
/// The best of a few rounds, as it is to be a ceiling.
fn cipher_rates(clock: &SystemClock, backend: AeadBackend, seconds: f64) -> anyhow::Result<Cipher> {
    const BLOCK: usize = 4096;
    const ROUNDS: usize = 5;
    let key = backend.expand(&[7; 32]);
    let plain = noise(1 << 20, 1);
    let mut sealed = vec![0; plain.len()];
    let mut opened = vec![0; plain.len()];
    let mut tags = vec![[0; 16]; plain.len() / BLOCK];
    let aad = [3; 48];
    let nonce_of = |index: usize| {
        let mut nonce = [0; 12];
        for (to, from) in nonce.iter_mut().zip((index as u64).to_le_bytes()) {
            *to = from;
        }
        nonce
    };
    let rate = |pass: &mut dyn FnMut() -> anyhow::Result<()>| {
        let mut best = 0.0_f64;
        for _ in 0..ROUNDS {
            let start = clock.monotonic();
            let mut passes = 0_u32;
            let mut elapsed = Duration::ZERO;
            while elapsed.as_secs_f64() < seconds {
                pass()?;
                passes += 1;
                elapsed = clock.monotonic() - start;
            }
            best = best.max(f64::from(passes) / 1024.0 / elapsed.as_secs_f64());
        }
        anyhow::Ok(best)
    };
    let seal = rate(&mut || {
        let blocks = plain.chunks(BLOCK).zip(sealed.chunks_mut(BLOCK)).zip(&mut tags);
        for (index, ((from, to), tag)) in blocks.enumerate() {
            *tag = key.seal(&nonce_of(index), &aad, from, to)?;
        }
        Ok(())
    })?;
    let open = rate(&mut || {
        let blocks = sealed.chunks(BLOCK).zip(opened.chunks_mut(BLOCK)).zip(&tags);
        for (index, ((from, to), tag)) in blocks.enumerate() {
            key.open(&nonce_of(index), &aad, from, tag, to)?;
        }
        Ok(())
    })?;
    Ok(Cipher {
        name: backend.as_str(),
        seal_gib_per_s_per_core: seal,
        open_gib_per_s_per_core: open,
    })
}
