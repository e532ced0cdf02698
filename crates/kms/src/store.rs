//! Where changes become durable: one file, a sealed snapshot followed by a journal of sealed
//! changes, under a root key. It knows of states and changes only that they have bytes.
//!
//! # Files
//! | file | what |
//! |---|---|
//! | `store` | public header, sealed snapshot, journal records ([`StoreHeader`], [`decode_store`]) |
//! | `store.new` | a store being written; renamed over `store` when it is durable |
//! | `root.key` | the root key, unless it comes from a passphrase ([`decode_root_key_file`]) |
//! | `lock` | nothing; `flock(2)` on it orders the changes of all processes |
//! | `acknowledged` | how long the store was at the last acknowledged change ([`Acknowledged`]) |
//!
//! # Durability
//! A change is acknowledged after its record is in `store` and `fdatasync` returned. Its length is
//! then written to `acknowledged`, without sync: after `kill -9` the note is exact; after power loss
//! it may be older, never newer, than the store. The next opener may drop a damaged record only if
//! it is the last one, no longer than one record can be, and not covered by the note. All else is
//! damage, and the store is refused with the place. A compaction writes `store.new`, syncs it,
//! renames it over `store` and syncs the directory, so that every moment has one complete store.
//!
//! # Assumptions
//! `fdatasync` tells the truth; `rename(2)` within a directory is atomic; a file's length and data
//! reach the disk in any order until it is synced.

mod acknowledged;
mod dir;
mod error;
mod files;
mod header;
mod image;
mod journal;
mod lock;
mod place;
mod root_key;

pub use acknowledged::Acknowledged;
#[cfg(test)]
pub(crate) use dir::TestFault;
pub(crate) use dir::{DirStore, Prober, Stamp, StoreFault};
pub use error::{Damage, OpenError};
pub use header::{HEADER_LEN, StoreHeader};
pub use image::{StoreImage, decode_store};
pub use journal::RECORD_LEN_MAX;
pub(crate) use lock::Held;
pub use root_key::{RootKey, RootKeyKind, RootKeySource, decode_root_key_file};
