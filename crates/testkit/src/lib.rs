//! What tests put in the place of the world: a disk that loses power, a clock, a seeded source of
//! randomness, faults on demand, an auditor of nonces, and the model that says which contents of a
//! volume are right. A dev-dependency only. It knows nothing of the engine or of formats.
//!
//! A crash test runs a workload once through [`Recorder`] on a [`SimStorage`], takes the
//! [`Journal`], walks its [`Cursor`] op by op, opens the engine on the crash images found there, and
//! asks [`Recorder::check`] whether what the device holds is a prefix that the promises allow.

#![forbid(unsafe_code)]

mod clock;
mod entropy;
mod fault;
mod model;
mod nonce;
mod recorder;
mod sim;

pub use clock::SimClock;
pub use entropy::SeededEntropy;
pub use fault::{FaultEffect, FaultKind, FaultPlan, FaultStorage};
pub use model::{
    CrashKind, FlushTicket, ModelVolume, MutationId, Prefix, Tick, Violation, fill_block,
    identify_block, read_versions,
};
pub use nonce::{AuditedKey, NonceAuditor};
pub use recorder::Recorder;
pub use sim::{CrashMode, Cursor, HookPoint, Journal, Op, SimStorage, SyncLoss};
