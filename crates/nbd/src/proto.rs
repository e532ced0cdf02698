//! The NBD protocol as values and pure state machines: bytes in, decisions and bytes out.
//!
//! - [`Handshake`] answers everything a client says before transmission.
//! - [`Inbox`] is the receive buffer of the transmission phase; it yields whole requests.
//! - [`Session`] is what was negotiated; [`Session::check`] judges one request header.
//! - [`reply`] encodes what goes back.
//!
//! Nothing in here owns a socket or a clock, panics on input, or holds more memory than its limits
//! say, so each type can be fuzzed as it stands.

mod errno;
mod handshake;
mod inbox;
mod options;
pub mod reply;
mod request;
pub mod wire;

pub use errno::Errno;
pub use handshake::{Close, Handshake, Limits, Progress};
pub use inbox::{Inbox, Item, WriteItem};
pub use options::{ExportDirectory, ExportInfo};
pub use request::{BadMagic, Header, Reject, Request, Session};
