//! Calls, errors and times, counted: what a cloud would bill, and what tests assert about when the
//! KMS is called and when it is not.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sealvol_envelope::KmsError;

use crate::ids::KeyId;
use crate::operation::Operation;
use crate::trail::Trail;

/// Upper bounds of the latency buckets, microseconds. Longer calls are in a last one without bound.
pub const LATENCY_BOUNDS_US: [u64; 14] =
    [5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 200_000, 1_000_000];
const BUCKETS: usize = LATENCY_BOUNDS_US.len() + 1;

/// Keys that are counted one by one. Calls of the others are counted under no key.
const KEYS_MAX: usize = 10_000;
/// Locks that the counters of keys are spread over.
const SHARDS: usize = 16;

/// Calls and errors since the KMS was opened by this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CounterSnapshot {
    /// Calls by operation, failed ones included.
    pub calls: BTreeMap<Operation, u64>,
    /// Calls by operation and key id; of ReEncrypt, by each of its keys.
    pub calls_by_key: BTreeMap<(Operation, String), u64>,
    /// Failed calls by operation and AWS exception name.
    pub errors_by_operation: BTreeMap<(Operation, &'static str), u64>,
    /// Failed calls by AWS exception name.
    pub errors: BTreeMap<&'static str, u64>,
    /// How long calls took.
    pub latencies: BTreeMap<Operation, LatencySnapshot>,
}

/// How long the calls of one operation took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencySnapshot {
    /// Calls in each bucket (not those below it); see [`LATENCY_BOUNDS_US`].
    pub buckets: Vec<u64>,
    /// All of them together, nanoseconds.
    pub sum_ns: u64,
}

impl CounterSnapshot {
    /// Calls of every operation.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

#[derive(Debug, Default)]
struct OfOperation {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Counters {
    operations: Vec<OfOperation>,
    errors: Mutex<BTreeMap<(Operation, &'static str), u64>>,
    keys: [Mutex<HashMap<(KeyId, Operation), u64>>; SHARDS],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            operations: Operation::ALL.iter().map(|_| OfOperation::default()).collect(),
            errors: Mutex::default(),
            keys: Default::default(),
        }
    }
}

impl Counters {
    /// Counts one call.
    pub(crate) fn count(
        &self,
        operation: Operation,
        trail: &Trail,
        took: Duration,
        error: Option<&KmsError>,
    ) {
        if let Some(of) = self.operations.get(operation as usize) {
            let micros = took.as_nanos().div_ceil(1000);
            let place = LATENCY_BOUNDS_US.iter().position(|bound| micros <= u128::from(*bound));
            if let Some(bucket) = of.buckets.get(place.unwrap_or(BUCKETS - 1)) {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            of.sum_ns.fetch_add(nanos, Ordering::Relaxed);
        }
        for used in &trail.keys {
            let shard = usize::from(used.id.as_bytes().first().copied().unwrap_or(0)) % SHARDS;
            let Some(keys) = self.keys.get(shard) else { continue };
            let mut keys = keys.lock();
            if keys.len() < KEYS_MAX / SHARDS * Operation::ALL.len()
                || keys.contains_key(&(used.id, operation))
            {
                *keys.entry((used.id, operation)).or_default() += 1;
            }
        }
        if let Some(error) = error {
            *self.errors.lock().entry((operation, error.code())).or_default() += 1;
        }
    }

    pub(crate) fn snapshot(&self) -> CounterSnapshot {
        let mut snapshot = CounterSnapshot::default();
        for (operation, of) in Operation::ALL.iter().zip(&self.operations) {
            let buckets: Vec<u64> =
                of.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            let calls = buckets.iter().sum();
            if calls > 0 {
                let sum_ns = of.sum_ns.load(Ordering::Relaxed);
                snapshot.calls.insert(*operation, calls);
                snapshot.latencies.insert(*operation, LatencySnapshot { buckets, sum_ns });
            }
        }
        for shard in &self.keys {
            for ((key, operation), count) in shard.lock().iter() {
                snapshot.calls_by_key.insert((*operation, key.to_string()), *count);
            }
        }
        snapshot.errors_by_operation.clone_from(&self.errors.lock());
        for ((_, code), count) in &snapshot.errors_by_operation {
            *snapshot.errors.entry(code).or_default() += count;
        }
        snapshot
    }
}
