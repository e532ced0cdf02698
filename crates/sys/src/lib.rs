//! The unsafe corner: memory for secrets that is locked, left out of core dumps, wiped in forked
//! children, and zeroised when dropped. It knows nothing of what the bytes mean.

#![expect(unsafe_code, reason = "mmap, mlock and madvise have no safe form")]

mod buffer;
mod locked;
mod wiped;

pub use buffer::WipedBuffer;
pub use locked::LockedBytes;
pub use wiped::WipedBox;
