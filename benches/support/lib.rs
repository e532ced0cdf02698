//! What the bench targets share: settings from the environment, the two devices that are compared
//! (a sealed volume and a plain file), paired measuring with its statistics, and the tables.
//!
//! Targets take turns on one machine: plain and sealed alternate (ABBA), and what counts is the
//! median of the ratios of neighbours, because neighbours share the machine's mood.

#![forbid(unsafe_code)]

mod config;
mod load;
mod machine;
mod moto;
mod paired;
mod plain;
mod rng;
mod stats;
mod volume;

pub use config::{BenchDir, Config, criterion, is_listing};
pub use load::{Load, Pattern, Turn, flush_every, random_reads, sequential, write_batches};
pub use machine::Machine;
pub use moto::Moto;
pub use paired::{Bar, Report, Row, ab_order};
pub use plain::PlainFile;
pub use rng::{Rng, noise};
pub use stats::{Spread, median};
pub use volume::{
    SealedVolume, StorageKind, VolumeShape, bench_key, drop_caches, fill, stored_key,
};

/// Whatever went wrong: a bench has one answer to it, which is to stop and say so.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of a step of a bench.
pub type Result<T> = std::result::Result<T, Error>;
