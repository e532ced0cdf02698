//! Randomness as a parameter. Keys, salts and nonces come from the operating system in production
//! and from a seed in tests, so any failing run replays.

use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::{Error, ErrorKind, Result};

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the source fails; the caller must then not seal anything.
    fn fill(&self, out: &mut [u8]) -> Result<()>;
}

/// The operating system's generator (`getrandom(2)`).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<()> {
        SysRng.try_fill_bytes(out).map_err(|source| {
            Error::new(ErrorKind::Io, "read randomness", "the operating system's generator failed")
                .with_source(source)
        })
    }
}
