//! Which cells are measured: the matrix of AWS's method.

use std::time::Duration;

use sealvol::ByteLen;
use serde::{Serialize, Serializer};

use super::BenchArgs;
use crate::exit::{self, Fail};

/// How the requests of a cell lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub(crate) enum Pattern {
    RandRead,
    RandWrite,
    SeqRead,
    SeqWrite,
}

impl Pattern {
    pub(crate) const fn writes(self) -> bool {
        matches!(self, Self::RandWrite | Self::SeqWrite)
    }

    pub(crate) const fn is_sequential(self) -> bool {
        matches!(self, Self::SeqRead | Self::SeqWrite)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RandRead => "randread",
            Self::RandWrite => "randwrite",
            Self::SeqRead => "seqread",
            Self::SeqWrite => "seqwrite",
        }
    }
}

/// What is in memory when a turn begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Written once in full, and whatever fits is in the page cache.
    Warm,
    /// The same, with the page cache dropped.
    Cold,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    pub(crate) state: State,
    pub(crate) pattern: Pattern,
    #[serde(rename = "block_bytes", serialize_with = "bytes")]
    pub(crate) block: usize,
    pub(crate) depth: u16,
}

fn bytes<S: Serializer>(value: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(*value as u64)
}

impl Cell {
    pub(crate) fn block_name(&self) -> String {
        ByteLen(self.block as u64).to_string()
    }
}

/// Everything that is measured, and how.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) cells: Vec<Cell>,
    pub(crate) repeats: u32,
    pub(crate) duration: Duration,
    pub(crate) flush_every: u64,
}

/// Most bytes of one request.
pub(crate) const BLOCK_MAX: u64 = 4 << 20;

impl Plan {
    pub(super) fn new(args: &BenchArgs) -> anyhow::Result<Self> {
        let refuse = |text: String| Err(Fail::error(exit::USAGE, text));
        if args.size.blocks().is_none() || args.size.0 < 4 * BLOCK_MAX {
            return refuse(format!(
                "the size {} must be a multiple of 4096, from 16MiB",
                args.size
            ));
        }
        if let Some(bad) = args.depth.iter().find(|d| !(1..=256).contains(*d)) {
            return refuse(format!("the queue depth {bad} must be from 1 to 256"));
        }
        let mut blocks = Vec::new();
        for block in &args.block_size {
            match usize::try_from(block.0) {
                Ok(len) if block.0 <= BLOCK_MAX && len > 0 && len.is_multiple_of(512) => {
                    blocks.push(len);
                }
                _ => return refuse(format!("the block size {block} must be from 512 to 4MiB")),
            }
        }
        let mut cells = Vec::new();
        for state in [State::Warm, State::Cold] {
            for pattern in &args.pattern {
                // What is in memory does not matter to a write of whole blocks, and an existing
                // volume is not written.
                if pattern.writes() && (state == State::Cold || args.path.is_some()) {
                    continue;
                }
                for block in &blocks {
                    cells.extend(args.depth.iter().map(|depth| Cell {
                        state,
                        pattern: *pattern,
                        block: *block,
                        depth: *depth,
                    }));
                }
            }
        }
        if cells.is_empty() {
            return refuse("nothing to measure: an existing volume is only read".into());
        }
        Ok(Self {
            cells,
            repeats: args.repeats,
            duration: Duration::from_secs_f64(args.seconds),
            flush_every: args.flush_every,
        })
    }
}
