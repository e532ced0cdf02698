//! Counters: what was asked, how it went, and how long it took. No names, no keys.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::codes::{self, CODES};

/// An operation of KMS that this crate calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `CreateGrant`
    CreateGrant,
    /// `Decrypt`
    Decrypt,
    /// `DescribeKey`
    DescribeKey,
    /// `GenerateDataKey`
    GenerateDataKey,
    /// `GenerateDataKeyWithoutPlaintext`
    GenerateDataKeyWithoutPlaintext,
    /// `ReEncrypt`
    ReEncrypt,
    /// `RetireGrant`
    RetireGrant,
}

impl Operation {
    /// Every operation, in the order of the enum.
    pub const ALL: [Self; 7] = [
        Self::CreateGrant,
        Self::Decrypt,
        Self::DescribeKey,
        Self::GenerateDataKey,
        Self::GenerateDataKeyWithoutPlaintext,
        Self::ReEncrypt,
        Self::RetireGrant,
    ];

    /// The name that AWS gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreateGrant => "CreateGrant",
            Self::Decrypt => "Decrypt",
            Self::DescribeKey => "DescribeKey",
            Self::GenerateDataKey => "GenerateDataKey",
            Self::GenerateDataKeyWithoutPlaintext => "GenerateDataKeyWithoutPlaintext",
            Self::ReEncrypt => "ReEncrypt",
            Self::RetireGrant => "RetireGrant",
        }
    }
}

/// Upper bounds of the latency histogram's buckets, in milliseconds; one more bucket has the rest.
pub const LATENCY_BOUNDS_MS: [u64; 14] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000];

/// What one operation counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationMetrics {
    /// Calls that were made and answered; those that joined another's are not among them.
    pub calls: u64,
    /// Calls that succeeded.
    pub succeeded: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Requests sent, repetitions included.
    pub attempts: u64,
    /// Requests that repeated a failed one.
    pub retries: u64,
    /// Requests that were refused for their rate.
    pub throttled: u64,
    /// Calls that were answered by another's.
    pub coalesced: u64,
    /// Failed calls by exception name.
    pub errors: BTreeMap<&'static str, u64>,
    /// Calls by duration: see [`LATENCY_BOUNDS_MS`].
    pub latency: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// The durations of all calls together.
    pub latency_total: Duration,
}

/// Counters at one moment, by operation; operations that were never called are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// By operation.
    pub operations: BTreeMap<Operation, OperationMetrics>,
}

impl MetricsSnapshot {
    /// The counters of one operation.
    #[must_use]
    pub fn of(&self, operation: Operation) -> OperationMetrics {
        self.operations.get(&operation).cloned().unwrap_or_default()
    }
}

/// Names of failures that are not in [`CODES`].
const OWN_CODES: [&str; 3] = [codes::CONNECTION_FAILURE, codes::INVALID_RESPONSE, codes::UNKNOWN];

#[derive(Debug)]
struct Cell {
    calls: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    attempts: AtomicU64,
    retries: AtomicU64,
    throttled: AtomicU64,
    coalesced: AtomicU64,
    errors: [AtomicU64; CODES.len() + OWN_CODES.len()],
    latency: [AtomicU64; LATENCY_BOUNDS_MS.len() + 1],
    latency_total_us: AtomicU64,
}

impl Default for Cell {
    fn default() -> Self {
        let zeros = || AtomicU64::new(0);
        Self {
            calls: zeros(),
            succeeded: zeros(),
            failed: zeros(),
            attempts: zeros(),
            retries: zeros(),
            throttled: zeros(),
            coalesced: zeros(),
            errors: [const { AtomicU64::new(0) }; CODES.len() + OWN_CODES.len()],
            latency: [const { AtomicU64::new(0) }; LATENCY_BOUNDS_MS.len() + 1],
            latency_total_us: zeros(),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn error_names() -> impl Iterator<Item = &'static str> {
    CODES.iter().map(|code| code.name).chain(OWN_CODES)
}

impl Cell {
    fn snapshot(&self) -> OperationMetrics {
        let errors = error_names().zip(&self.errors).map(|(name, counter)| (name, read(counter)));
        let mut latency = [0; LATENCY_BOUNDS_MS.len() + 1];
        for (out, counter) in latency.iter_mut().zip(&self.latency) {
            *out = read(counter);
        }
        OperationMetrics {
            calls: read(&self.calls),
            succeeded: read(&self.succeeded),
            failed: read(&self.failed),
            attempts: read(&self.attempts),
            retries: read(&self.retries),
            throttled: read(&self.throttled),
            coalesced: read(&self.coalesced),
            errors: errors.filter(|(_, count)| *count > 0).collect(),
            latency,
            latency_total: Duration::from_micros(read(&self.latency_total_us)),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    cells: [Cell; Operation::ALL.len()],
}

impl Metrics {
    fn with(&self, operation: Operation, count: impl FnOnce(&Cell)) {
        if let Some(cell) = self.cells.get(operation as usize) {
            count(cell);
        }
    }

    /// A request is sent; `first` or again.
    pub(crate) fn attempt(&self, operation: Operation, first: bool) {
        self.with(operation, |cell| {
            count(&cell.attempts);
            if !first {
                count(&cell.retries);
            }
        });
    }

    pub(crate) fn throttled(&self, operation: Operation) {
        self.with(operation, |cell| count(&cell.throttled));
    }

    pub(crate) fn coalesced(&self, operation: Operation) {
        self.with(operation, |cell| count(&cell.coalesced));
    }

    /// A call is over, with the exception name if it failed.
    pub(crate) fn call(&self, operation: Operation, took: Duration, failed: Option<&str>) {
        self.with(operation, |cell| {
            count(&cell.calls);
            count(if failed.is_some() { &cell.failed } else { &cell.succeeded });
            if let Some(failed) = failed
                && let Some(counter) =
                    error_names().position(|name| name == failed).and_then(|at| cell.errors.get(at))
            {
                count(counter);
            }
            let bucket = LATENCY_BOUNDS_MS
                .iter()
                .position(|bound| took <= Duration::from_millis(*bound))
                .unwrap_or(LATENCY_BOUNDS_MS.len());
            if let Some(counter) = cell.latency.get(bucket) {
                count(counter);
            }
            let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            cell.latency_total_us.fetch_add(took_us, Ordering::Relaxed);
        });
    }

    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        let all = Operation::ALL.into_iter().zip(&self.cells);
        let all = all.map(|(operation, cell)| (operation, cell.snapshot()));
        let operations = all.filter(|(_, cell)| *cell != OperationMetrics::default()).collect();
        MetricsSnapshot { operations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_the_order_of_the_enum() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
    }

    #[test]
    fn calls_fall_into_their_cells_and_buckets() {
        let metrics = Metrics::default();
        assert_eq!(metrics.snapshot(), MetricsSnapshot::default());
        metrics.attempt(Operation::Decrypt, true);
        metrics.throttled(Operation::Decrypt);
        metrics.attempt(Operation::Decrypt, false);
        metrics.call(Operation::Decrypt, Duration::from_millis(5), None);
        let slow = Duration::from_secs(31);
        metrics.call(Operation::Decrypt, slow, Some("DisabledException"));
        metrics.call(Operation::Decrypt, Duration::ZERO, Some("ConnectionFailure"));
        metrics.coalesced(Operation::Decrypt);
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.operations.len(), 1);
        let told = snapshot.of(Operation::Decrypt);
        assert_eq!((told.calls, told.succeeded, told.failed), (3, 1, 2));
        assert_eq!((told.attempts, told.retries, told.throttled), (2, 1, 1));
        assert_eq!(told.coalesced, 1);
        assert_eq!(told.errors, [("ConnectionFailure", 1), ("DisabledException", 1)].into());
        assert_eq!((told.latency[0], told.latency[2], told.latency[14]), (1, 1, 1));
        assert_eq!(told.latency_total, slow + Duration::from_millis(5));
    }
}
