//! Serves a device in memory over NBD, to measure the server by itself:
//!
//! ```text
//! cargo run --release -p sealvol-nbd --example memory_server -- /tmp/nbd.sock 1GiB 150
//! ```
//!
//! Arguments: socket path, size (default 1GiB), and microseconds of work to burn per MiB read or
//! written (default 0), which stands for a cipher. The device is filled with non-zero bytes. It
//! ends, and removes its socket, when its standard input does.

#![expect(clippy::print_stderr, reason = "a command-line example")]

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use sealvol_core::{
    BlockDevice, ByteLen, Clock, DeviceInfo, Extent, MemoryDevice, Result, SystemClock, WriteFlags,
    ZeroFlags,
};
use sealvol_nbd::{Export, Exports, Server};

/// A memory device that takes a while for every byte.
struct Burning {
    inner: MemoryDevice,
    clock: SystemClock,
    us_per_mib: u64,
}

impl Burning {
    fn burn(&self, len: usize) {
        let time = Duration::from_nanos((self.us_per_mib * 1000 * len as u64) >> 20);
        let end = self.clock.monotonic() + time;
        while self.us_per_mib > 0 && self.clock.monotonic() < end {
            std::hint::spin_loop();
        }
    }
}

impl BlockDevice for Burning {
    fn info(&self) -> DeviceInfo {
        self.inner.info()
    }
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.burn(buf.len());
        self.inner.read(offset, buf)
    }
    fn write(&self, offset: u64, data: &[u8], flags: WriteFlags) -> Result<()> {
        self.burn(data.len());
        self.inner.write(offset, data, flags)
    }
    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }
    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.inner.discard(offset, len)
    }
    fn write_zeroes(&self, offset: u64, len: u64, flags: ZeroFlags) -> Result<()> {
        self.inner.write_zeroes(offset, len, flags)
    }
    fn extents(&self, offset: u64, len: u64, max_extents: usize) -> Result<Vec<Extent>> {
        self.inner.extents(offset, len, max_extents)
    }
    fn prefetch(&self, offset: u64, len: u64) -> Result<()> {
        self.inner.prefetch(offset, len)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: memory_server SOCKET [SIZE] [BURN_US_PER_MIB]")?;
    let size: ByteLen = args.next().as_deref().unwrap_or("1GiB").parse()?;
    let us_per_mib: u64 = args.next().as_deref().unwrap_or("0").parse()?;

    let inner = MemoryDevice::new(size)?;
    let fill: Vec<u8> = (0..1 << 20).map(|i: u32| i.to_be_bytes()[3] | 1).collect();
    for offset in (0..size.0).step_by(fill.len()) {
        let len = usize::try_from((size.0 - offset).min(1 << 20))?;
        inner.write(offset, fill.get(..len).unwrap_or_default(), WriteFlags::default())?;
    }

    let exports = Exports::new();
    let device = Burning { inner, clock: SystemClock::new(), us_per_mib };
    exports.add(Export::new("", Arc::new(device)).with_description("memory"))?;
    let server = Server::builder().exports(exports).build()?;
    server.listen_unix(&path)?;
    eprintln!("serving {size} at {path}; close standard input to end");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    server.shutdown(Duration::from_secs(5))?;
    eprintln!("{:#?}", server.stats());
    Ok(())
}
