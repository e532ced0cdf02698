//! An NBD server over any [`BlockDevice`](sealvol_core::BlockDevice).
//!
//! Two halves that meet at plain values:
//! - [`proto`]: the protocol as pure state machines over bytes (handshake, request framing, reply
//!   encoding). No sockets, no threads, no clock, bounded memory whatever the peer sends.
//! - the server ([`Server`], [`Exports`]): sockets, one thread per connection, a small pool for
//!   requests that wait for the disk, counters, and shutdown.
//!
//! It knows nothing of the engine, of keys or of files: only of the `BlockDevice` it serves.

#![forbid(unsafe_code)]
// NBD is big-endian on the wire; a little-endian conversion in this crate is a bug.
#![deny(clippy::little_endian_bytes)]

pub mod proto;
mod server;

pub use server::{
    Command, CommandStats, Export, Exports, Server, ServerBuilder, ServerStats, Settings,
};
