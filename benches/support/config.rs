//! Settings from the environment: `SEALVOL_BENCH_QUICK`, `SEALVOL_BENCH_DIR` and their kin.

use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::Criterion;
use sealvol_core::ByteLen;

use crate::Result;

/// How a bench target runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Small sizes and short turns: a smoke test whose figures mean nothing.
    pub quick: bool,
    dir: PathBuf,
}

impl Config {
    /// Reads `SEALVOL_BENCH_QUICK` (anything but `0` or nothing) and `SEALVOL_BENCH_DIR` (default
    /// `target/bench-data`).
    #[must_use]
    pub fn from_env() -> Self {
        let quick =
            std::env::var_os("SEALVOL_BENCH_QUICK").is_some_and(|v| v != "0" && !v.is_empty());
        // `cargo test --benches` runs the targets without `--bench`.
        let quick = quick || !std::env::args().any(|arg| arg == "--bench");
        let dir = std::env::var_os("SEALVOL_BENCH_DIR")
            .map_or_else(|| target_dir().join("bench-data"), PathBuf::from);
        Self { quick, dir }
    }

    /// `full`, or `quick` in a smoke run.
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// A size: the environment variable `name` if it is set, else by the mode.
    ///
    /// # Errors
    /// When the variable holds no size.
    pub fn size(&self, name: &str, full: ByteLen, quick: ByteLen) -> Result<ByteLen> {
        match std::env::var(name) {
            Ok(text) => Ok(text.parse().map_err(|e| format!("{name}: {e}"))?),
            Err(_) => Ok(self.pick(full, quick)),
        }
    }

    /// A number: the environment variable `name` if it is set, else by the mode.
    ///
    /// # Errors
    /// When the variable holds no number.
    pub fn number(&self, name: &str, full: f64, quick: f64) -> Result<f64> {
        match std::env::var(name) {
            Ok(text) => Ok(text.parse().map_err(|e| format!("{name}: {e}"))?),
            Err(_) => Ok(self.pick(full, quick)),
        }
    }

    /// Repeats of each paired turn: `SEALVOL_BENCH_REPEATS`, default 7, quick 2.
    ///
    /// # Errors
    /// When the variable holds no number.
    pub fn repeats(&self) -> Result<usize> {
        match std::env::var("SEALVOL_BENCH_REPEATS") {
            Ok(text) => Ok(text.parse().map_err(|e| format!("SEALVOL_BENCH_REPEATS: {e}"))?),
            Err(_) => Ok(self.pick(7, 2)),
        }
    }

    /// A new directory on the disk under test, removed when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn bench_dir(&self) -> Result<BenchDir> {
        std::fs::create_dir_all(&self.dir)
            .map_err(|e| format!("{}: {e}; set SEALVOL_BENCH_DIR", self.dir.display()))?;
        Ok(BenchDir(tempfile::Builder::new().prefix("run-").tempdir_in(&self.dir)?))
    }

    /// What a run ends with that missed so many bars: an error under `SEALVOL_BENCH_STRICT=1`, unless
    /// it was a quick one, whose figures mean little.
    ///
    /// # Errors
    /// As said.
    pub fn judge(&self, missed: usize) -> Result<()> {
        let is_strict = std::env::var_os("SEALVOL_BENCH_STRICT").is_some_and(|value| value != "0");
        match missed {
            1.. if is_strict && !self.quick => Err(format!("{missed} bars were missed").into()),
            _ => Ok(()),
        }
    }

    /// Where results go: `target/NAME`.
    #[must_use]
    pub fn result_path(&self, name: &str) -> PathBuf {
        target_dir().join(name)
    }
}

/// A directory that goes when it is dropped.
#[derive(Debug)]
pub struct BenchDir(tempfile::TempDir);

impl BenchDir {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Cargo's target directory.
fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
}

/// Criterion as this mode wants it, with the command line's options.
#[must_use]
pub fn criterion(config: &Config) -> Criterion {
    let criterion = Criterion::default();
    let criterion = if config.quick {
        criterion
            .sample_size(10)
            .warm_up_time(Duration::from_millis(20))
            .measurement_time(Duration::from_millis(100))
            .without_plots()
    } else {
        criterion.sample_size(30).measurement_time(Duration::from_secs(4))
    };
    criterion.configure_from_args()
}

/// Whether a test runner only asks for the names of tests: targets without criterion have none.
#[must_use]
pub fn is_listing() -> bool {
    std::env::args().any(|arg| arg == "--list")
}
