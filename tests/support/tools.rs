//! The world around a test: its settings from the environment, other programs, and a stopwatch.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use sealvol_core::{Clock as _, SystemClock};

/// A number from the environment, for tests whose length can be chosen.
///
/// # Panics
/// When the variable is set to something else than a number.
#[must_use]
pub fn env_u64(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// Real time since it was made, for figures that a test prints.
#[derive(Debug, Default)]
pub struct Stopwatch(SystemClock);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The time since.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.monotonic()
    }
}

/// Programs that tests run, and the Debian packages that have them.
const PACKAGES: [(&str, &str); 7] = [
    ("qemu-img", "qemu-utils"),
    ("nbdcopy", "libnbd-bin"),
    ("nbdinfo", "libnbd-bin"),
    ("nbdkit", "nbdkit"),
    ("fio", "fio"),
    ("mke2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
];

/// A command of another program, which must be installed.
///
/// # Panics
/// When it is not, naming the Debian package that has it.
#[must_use]
pub fn program(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    let Some(file) = found else {
        let package = PACKAGES.iter().find(|(program, _)| *program == name);
        let package = package.map_or(name, |(_, package)| package);
        panic!("this test needs the program {name}: install the Debian package {package}");
    };
    Command::new(file)
}

/// Runs a command to its end and returns its output.
///
/// # Panics
/// When it cannot be run or fails, with all that it said.
pub fn run(command: &mut Command) -> Output {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// The path as text, for programs whose arguments are URIs.
///
/// # Panics
/// When it is not UTF-8.
#[must_use]
pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
