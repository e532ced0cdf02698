//! Randomness that a seed determines, so that every failing run replays.

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sealvol_core::{Entropy, Result};

/// Deterministic bytes from a seed. Never for keys that protect anything.
///
/// Two runs that continue one history (a crash image and its original, two crash images of one
/// moment) need different seeds: the same seed draws the same salts and nonces, which real machines
/// never do.
#[derive(Debug)]
pub struct SeededEntropy {
    rng: Mutex<StdRng>,
}

impl SeededEntropy {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: Mutex::new(StdRng::seed_from_u64(seed)) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<()> {
        self.rng.lock().fill_bytes(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(entropy: &SeededEntropy) -> [u8; 32] {
        let mut out = [0; 32];
        entropy.fill(&mut out).unwrap();
        out
    }

    #[test]
    fn a_seed_gives_one_sequence() {
        let (a, b, c) = (SeededEntropy::new(1), SeededEntropy::new(1), SeededEntropy::new(2));
        let first = draw(&a);
        assert_eq!(first, draw(&b));
        assert_ne!(first, draw(&c));
        assert_ne!(first, draw(&a));
        assert_eq!(draw(&b), {
            draw(&SeededEntropy::new(1));
            draw_second(1)
        });
    }

    fn draw_second(seed: u64) -> [u8; 32] {
        let entropy = SeededEntropy::new(seed);
        draw(&entropy);
        draw(&entropy)
    }
}
