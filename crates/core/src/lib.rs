//! The vocabulary every other crate shares: units, ids, the [`BlockDevice`] trait, and the two
//! ambient inputs (time and randomness) as parameters. It knows nothing of keys, files or sockets.

#![forbid(unsafe_code)]

mod clock;
mod device;
mod entropy;
mod error;
mod units;

pub use clock::{Clock, SystemClock, UnixMillis};
pub use device::{
    BlockDevice, DeviceInfo, Extent, ExtentKind, Hot, MemoryDevice, SECTOR_LEN, WriteFlags,
    WriteRequest, ZeroFlags,
};
pub use entropy::{Entropy, SystemEntropy};
pub use error::{Error, ErrorKind, Result};
pub use units::{BLOCK_LEN, BLOCK_LEN_U64, BlockCount, ByteLen, Lba, ParseByteLenError, VolumeId};
