//! Servers and tools for tests.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sealvol_core::{BlockDevice, ByteLen, Clock, SystemClock};
use sealvol_nbd::{Export, Exports, Server, Settings};

use crate::device::TestDevice;

/// A server on a Unix socket in a directory of its own, with one default export.
pub(crate) struct Harness {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) server: Server,
    pub(crate) device: Arc<TestDevice>,
}

impl Harness {
    pub(crate) fn new(len: ByteLen) -> Self {
        Self::with(len, Settings::default())
    }

    pub(crate) fn with(len: ByteLen, settings: Settings) -> Self {
        let device = TestDevice::new(len);
        let exports = Exports::new();
        let served: Arc<dyn BlockDevice> = device.clone();
        exports.add(Export::new("", served).with_description("a test")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let server = Server::builder().settings(settings).exports(exports).build().unwrap();
        server.listen_unix(dir.path().join("nbd.sock")).unwrap();
        Self { dir, server, device }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("nbd.sock")
    }

    pub(crate) fn uri(&self) -> String {
        format!("nbd+unix:///?socket={}", self.path().display())
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

/// Runs a tool and returns what it printed. A missing tool fails the test: a skipped interop test
/// proves nothing.
#[track_caller]
pub(crate) fn tool(package: &str, name: &str, args: &[&str]) -> String {
    let output = match Command::new(name).args(args).output() {
        Ok(output) => output,
        Err(e) => panic!("cannot run {name} ({e}): install it with `apt-get install {package}`"),
    };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}

/// Waits for something that other threads bring about.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let clock = SystemClock::new();
    while !condition() {
        assert!(clock.monotonic() < Duration::from_secs(20), "never happened: {what}");
        std::thread::yield_now();
    }
}

/// Bytes that differ from block to block, with holes of whole 4 KiB blocks.
pub(crate) fn sparse_pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut bytes = Vec::with_capacity(len);
    for block in 0..len.div_ceil(4096) {
        // Runs of 32 blocks: of four, the second is empty.
        let empty = (block / 32) % 4 == 1;
        for _ in 0..1024 {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            bytes.extend(if empty { [0; 4] } else { state.to_be_bytes() });
        }
    }
    bytes.truncate(len);
    bytes
}
