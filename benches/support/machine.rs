//! What the figures were measured on.

use std::path::Path;

use sealvol_core::{Clock, SystemClock};
use serde::Serialize;

/// The machine, as far as it explains a figure.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Logical processors this process may use.
    pub cpus: usize,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// File system of the directory under test.
    pub file_system: String,
    /// Load average over one minute when the run began: above 0.5, somebody else is working too.
    pub load: String,
    /// When the run began, milliseconds since 1970.
    pub unix_ms: u64,
}

impl Machine {
    /// This machine, and the file system of `dir`.
    #[must_use]
    pub fn probe(dir: &Path) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let field = |text: &str, name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
                .unwrap_or_default()
        };
        let total = field(&meminfo, "MemTotal");
        let kib = total.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpu: field(&cpuinfo, "model name"),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_mib: kib / 1024,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            file_system: file_system_of(dir),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            unix_ms: SystemClock::new().now().0,
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} x {}, {} MiB, Linux {}, {}, load {}",
            self.cpus, self.cpu, self.memory_mib, self.kernel, self.file_system, self.load
        )
    }
}

/// Type and source of the mount that `dir` is on.
fn file_system_of(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (source, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
            dir.starts_with(at).then(|| (at.len(), format!("{kind} on {source}")))
        })
        .max_by_key(|(len, _)| *len)
        .map_or_else(|| "unknown".to_owned(), |(_, text)| text)
}
