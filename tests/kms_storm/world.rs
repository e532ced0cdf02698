//! What all clients know: the daemon of now, the keys with their states, and ciphertexts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use sealvol_tests::daemon::AccessKey;
use sealvol_tests::tools::Stopwatch;
use serde_json::Value;
use tokio::sync::watch;

/// Ciphertexts that are kept of one key; the first half of them stays for good, so that there are
/// some of its oldest materials.
const SAMPLES: usize = 120;

/// The daemon of now: how many were killed before it, and where it listens unless it is being started.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) epoch: usize,
    pub(crate) address: Option<String>,
}

/// A key's state, as AWS writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Enabled,
    Disabled,
    PendingDeletion,
}

impl State {
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "Enabled" => Self::Enabled,
            "Disabled" => Self::Disabled,
            "PendingDeletion" => Self::PendingDeletion,
            other => panic!("a key is {other}"),
        }
    }

    /// What cryptography with such a key is refused with; nothing if it is not.
    pub(crate) const fn refusal(self) -> &'static str {
        match self {
            Self::Enabled => "",
            Self::Disabled => "DisabledException",
            Self::PendingDeletion => "KMSInvalidStateException",
        }
    }
}

/// A key's state as everybody may rely on it: `None` while a change of it is under way. Counted, so
/// that two equal looks mean that nothing changed between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) looks: u64,
    pub(crate) state: Option<State>,
}

/// A ciphertext that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) key: usize,
    pub(crate) blob: String,
    pub(crate) context: Value,
    pub(crate) plaintext: [u8; 32],
    pub(crate) material: Option<String>,
}

/// What all know of a key.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) arn: String,
    pub(crate) gate: Mutex<Gate>,
    pub(crate) samples: Mutex<Vec<Sample>>,
}

impl Shared {
    pub(crate) fn look(&self) -> Gate {
        *self.gate.lock()
    }

    pub(crate) fn set(&self, state: Option<State>) {
        let mut gate = self.gate.lock();
        *gate = Gate { looks: gate.looks + 1, state };
    }
}

#[derive(Debug)]
pub(crate) struct Storm {
    pub(crate) link: watch::Sender<Link>,
    pub(crate) root: AccessKey,
    pub(crate) keys: Mutex<Vec<Arc<Shared>>>,
    pub(crate) ending: AtomicBool,
    pub(crate) watch: Stopwatch,
    pub(crate) lost: AtomicU64,
    pub(crate) judged: AtomicU64,
    pub(crate) refused: AtomicU64,
}

impl Storm {
    pub(crate) fn goes_on(&self) -> bool {
        !self.ending.load(Ordering::SeqCst)
    }

    pub(crate) fn key(&self, index: usize) -> Arc<Shared> {
        Arc::clone(&self.keys.lock()[index])
    }

    pub(crate) fn any_key(&self, rng: &mut StdRng) -> usize {
        let count = self.keys.lock().len();
        rng.random_range(0..count)
    }

    pub(crate) fn keep(&self, rng: &mut StdRng, sample: Sample) {
        let key = self.key(sample.key);
        let mut samples = key.samples.lock();
        if samples.len() < SAMPLES {
            samples.push(sample);
        } else {
            let place = rng.random_range(SAMPLES / 2..SAMPLES);
            samples[place] = sample;
        }
    }

    pub(crate) fn any_sample(&self, rng: &mut StdRng) -> Option<Sample> {
        let key = self.key(self.any_key(rng));
        let samples = key.samples.lock();
        samples.choose(rng).cloned()
    }
}
