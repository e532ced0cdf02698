//! What the figures were measured on.

use std::path::Path;

use sealvol::{Clock as _, SystemClock};
use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    /// Over one minute, when the run began.
    pub(crate) load: String,
    pub(crate) unix_ms: u64,
}

impl Machine {
    pub(crate) fn probe(dir: &Path) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_start_matches([' ', '\t', ':']).to_owned()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_mib: kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system_of(dir, &read("/proc/self/mounts")),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            unix_ms: SystemClock::new().now().0,
        }
    }
}

/// Type and source of the mount that `dir` is on.
fn file_system_of(dir: &Path, mounts: &str) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let found = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (source, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
        dir.starts_with(at).then(|| (at.len(), format!("{kind} on {source}")))
    });
    found.max_by_key(|(len, _)| *len).map_or_else(|| "unknown".to_owned(), |(_, text)| text)
}
