//! The work that is timed, the same for every device.

use std::time::Duration;

use sealvol_core::{BlockDevice, Clock, WriteFlags, WriteRequest};

use crate::Result;
use crate::rng::{Rng, noise};

/// Bytes of a small request.
const SMALL: usize = 4096;

/// What one turn did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turn {
    /// Requests completed.
    pub ops: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Time taken.
    pub elapsed: Duration,
}

impl Turn {
    /// Requests per second.
    #[must_use]
    pub fn ops_per_s(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// MiB per second.
    #[must_use]
    pub fn mib_per_s(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 20) / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Sequential reading or writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

/// Everything a load needs besides the device.
pub struct Load<'a> {
    /// Time, which the load reads between requests or rounds of them.
    pub clock: &'a dyn Clock,
    /// Which blocks.
    pub rng: Rng,
    /// How long the turn lasts: it ends with the first round that ends later.
    pub duration: Duration,
    data: Vec<u8>,
}

impl std::fmt::Debug for Load<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load").field("duration", &self.duration).finish_non_exhaustive()
    }
}

impl<'a> Load<'a> {
    /// A load of `duration` that draws from `seed`.
    #[must_use]
    pub fn new(clock: &'a dyn Clock, seed: u64, duration: Duration) -> Self {
        Self { clock, rng: Rng::new(seed), duration, data: noise(2 << 20, seed) }
    }

    /// Repeats `round` for the duration. It returns requests and bytes.
    fn repeat(&mut self, mut round: impl FnMut(&mut Self) -> Result<(u64, u64)>) -> Result<Turn> {
        let start = self.clock.monotonic();
        let mut turn = Turn::default();
        while turn.elapsed < self.duration {
            let (ops, bytes) = round(self)?;
            turn.ops += ops;
            turn.bytes += bytes;
            turn.elapsed = self.clock.monotonic() - start;
        }
        Ok(turn)
    }

    /// Some 4 KiB of noise, another one each time.
    fn block<'d>(data: &'d [u8], rng: &mut Rng) -> &'d [u8] {
        let from = usize::try_from(rng.below(512)).unwrap_or(0) * SMALL / 2;
        data.get(from..from + SMALL).unwrap_or_default()
    }
}

/// Random 4 KiB reads, one at a time.
///
/// # Errors
/// As the device.
pub fn random_reads(device: &dyn BlockDevice, load: &mut Load<'_>) -> Result<Turn> {
    let blocks = device.info().len.0 / SMALL as u64;
    let mut buf = vec![0; SMALL];
    load.repeat(|load| {
        for _ in 0..256 {
            device.read(load.rng.below(blocks) * SMALL as u64, &mut buf)?;
        }
        Ok((256, 256 * SMALL as u64))
    })
}

/// Random 4 KiB writes, one per call, with a flush after every `interval` of them.
///
/// # Errors
/// As the device.
pub fn flush_every(device: &dyn BlockDevice, interval: u64, load: &mut Load<'_>) -> Result<Turn> {
    let blocks = device.info().len.0 / SMALL as u64;
    load.repeat(|load| {
        for _ in 0..interval {
            let offset = load.rng.below(blocks) * SMALL as u64;
            device.write(offset, Load::block(&load.data, &mut load.rng), WriteFlags::default())?;
        }
        device.flush()?;
        Ok((interval, interval * SMALL as u64))
    })
}

/// As [`flush_every`], but the writes of a round come in one batch, as an NBD client with that queue
/// depth causes.
///
/// # Errors
/// As the device.
pub fn write_batches(device: &dyn BlockDevice, depth: u64, load: &mut Load<'_>) -> Result<Turn> {
    let blocks = device.info().len.0 / SMALL as u64;
    load.repeat(|load| {
        let batch: Vec<WriteRequest<'_>> = (0..depth)
            .map(|_| WriteRequest {
                offset: load.rng.below(blocks) * SMALL as u64,
                data: Load::block(&load.data, &mut load.rng),
                flags: WriteFlags::default(),
            })
            .collect();
        for result in device.write_batch(&batch) {
            result?;
        }
        device.flush()?;
        Ok((depth, depth * SMALL as u64))
    })
}

/// One pass of 1 MiB requests over `[start, start + len)`; a writing one ends with a flush.
///
/// # Errors
/// As the device.
pub fn sequential(
    device: &dyn BlockDevice,
    pattern: Pattern,
    start: u64,
    len: u64,
    load: &Load<'_>,
) -> Result<Turn> {
    const LARGE: usize = 1 << 20;
    let mut buf = vec![0; LARGE];
    let began = load.clock.monotonic();
    let mut at = start;
    let mut ops = 0;
    while at < start + len {
        match pattern {
            Pattern::Read => device.read(at, &mut buf)?,
            Pattern::Write => {
                let from = usize::try_from((at >> 20) % 256)? * SMALL;
                let data = load.data.get(from..from + LARGE).unwrap_or_default();
                device.write(at, data, WriteFlags::default())?;
            }
        }
        at += LARGE as u64;
        ops += 1;
    }
    if pattern == Pattern::Write {
        device.flush()?;
    }
    Ok(Turn { ops, bytes: at - start, elapsed: load.clock.monotonic() - began })
}
