//! One turn: one cell on one device.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use sealvol::{BlockDevice, Clock, SystemClock, WriteFlags};

use super::histogram::Histogram;
use super::noise::Rng;
use super::plan::{BLOCK_MAX, Cell, State};

/// What a turn did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn {
    pub(crate) ops: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    /// Of all threads of the process, those of the volume included. The kernel's own writing back
    /// is not in it.
    pub(crate) cpu: Duration,
    pub(crate) latencies: Histogram,
}

impl Turn {
    pub(crate) fn iops(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// What every turn needs.
pub(crate) struct Stage<'a> {
    pub(crate) clock: &'a SystemClock,
    pub(crate) cancelled: &'a AtomicBool,
    pub(crate) duration: Duration,
    /// Writes between two flushes; 0 for none.
    pub(crate) flush_every: u64,
    /// Bytes of the device that are used.
    pub(crate) len: u64,
    /// What is written: longer than the longest request.
    pub(crate) data: &'a [u8],
}

/// What the threads of a turn share.
struct Shared<'a> {
    stage: &'a Stage<'a>,
    device: &'a dyn BlockDevice,
    cell: Cell,
    seed: u64,
    barrier: Barrier,
    failed: AtomicBool,
    /// Requests begun, which is also the sequential patterns' place.
    begun: AtomicU64,
}

/// CPU time of this process.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Runs `cell` on `device`, with a thread for each request under way.
pub(crate) fn run(
    stage: &Stage<'_>,
    device: &dyn BlockDevice,
    cell: Cell,
    seed: u64,
) -> anyhow::Result<Turn> {
    let shared = Shared {
        stage,
        device,
        cell,
        seed,
        barrier: Barrier::new(usize::from(cell.depth) + 1),
        failed: AtomicBool::new(false),
        begun: AtomicU64::new(0),
    };
    let mut turn = Turn::default();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let shared = &shared;
        let threads: Vec<_> = (0..cell.depth)
            .map(|thread| scope.spawn(move || shared.work(u64::from(thread))))
            .collect();
        shared.barrier.wait();
        let (start, cpu) = (stage.clock.monotonic(), cpu_time());
        for thread in threads {
            let latencies = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread of the benchmark panicked"))?
                .with_context(|| format!("{} of {}", cell.pattern.as_str(), cell.block_name()))?;
            turn.latencies.merge(&latencies.histogram);
            turn.ops += latencies.ops;
        }
        turn.elapsed = stage.clock.monotonic() - start;
        turn.cpu = cpu_time().saturating_sub(cpu);
        Ok(())
    })?;
    turn.bytes = turn.ops * cell.block as u64;
    Ok(turn)
}

#[derive(Default)]
struct Latencies {
    histogram: Histogram,
    ops: u64,
}

impl Shared<'_> {
    fn work(&self, thread: u64) -> Result<Latencies, sealvol::DeviceError> {
        let mut out = Latencies::default();
        let mut buf = vec![0; self.cell.block];
        let mut rng = Rng::new(self.seed ^ (thread << 32));
        self.barrier.wait();
        let clock = self.stage.clock;
        let end = clock.monotonic() + self.stage.duration;
        let mut before = clock.monotonic();
        while before < end && !self.failed.load(Ordering::Relaxed) {
            if self.stage.cancelled.load(Ordering::Relaxed) {
                break;
            }
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            let Some(offset) = self.place(number, &mut rng) else { break };
            if let Err(error) = self.request(number, offset, &mut buf, &mut rng) {
                self.failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
            let after = clock.monotonic();
            let ns = (after - before).as_nanos();
            out.histogram.record(u64::try_from(ns).unwrap_or(u64::MAX));
            out.ops += 1;
            before = after;
        }
        Ok(out)
    }

    /// Where the request goes; `None` when a cold pass is over and would go on from memory.
    fn place(&self, number: u64, rng: &mut Rng) -> Option<u64> {
        let block = self.cell.block as u64;
        let blocks = self.stage.len / block;
        if !self.cell.pattern.is_sequential() {
            return Some(rng.below(blocks) * block);
        }
        (self.cell.state == State::Warm || number < blocks).then_some(number % blocks * block)
    }

    fn request(
        &self,
        number: u64,
        offset: u64,
        buf: &mut [u8],
        rng: &mut Rng,
    ) -> Result<(), sealvol::DeviceError> {
        if !self.cell.pattern.writes() {
            return self.device.read(offset, buf);
        }
        let from = usize::try_from(rng.below(BLOCK_MAX / 512) * 512).unwrap_or(0);
        let data = self.stage.data.get(from..from + buf.len()).unwrap_or(buf);
        self.device.write(offset, data, WriteFlags::default())?;
        let every = self.stage.flush_every;
        if every > 0 && number % every == every - 1 { self.device.flush() } else { Ok(()) }
    }
}
