//! The sealed log: an authenticated, crash-consistent block device over any [`sealvol_storage::Storage`] and the
//! data keys of one volume. It knows no KMS, no socket and no cluster; it never reads a clock or
//! random bytes except through its parameters.
//!
//! `FORMAT.md` in the `format` crate describes the bytes and argues the commit protocol; each module
//! here opens with the argument for its own part.

#![forbid(unsafe_code)]

mod append;
mod cache;
mod checkpoint;
mod core;
mod delta;
mod device;
mod engine;
mod gc;
mod index;
mod keyring;
mod log;
mod lookup;
mod maintain;
mod meta;
mod ranges;
mod read;
mod recovery;
mod replay;
mod segments;
mod settings;
mod space;
mod stats;
mod superblocks;
mod verify;

pub use engine::{Builder, CreateOptions, Engine, Mode, OpenReport, create};
pub use keyring::{ExpandKey, expand_with};
pub use settings::Settings;
pub use stats::Stats;
pub use superblocks::{read_candidates, read_public};
pub use verify::{Problem, VerifyReport};
