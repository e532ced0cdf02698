//! Calls and errors, counted: what a cloud would bill, and what tests assert about when the KMS is
//! called and when it is not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sealvol_envelope::KmsError;

/// An operation, as it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `CreateAlias`
    CreateAlias,
    /// `CreateGrant`
    CreateGrant,
    /// `CreateKey`
    CreateKey,
    /// `Decrypt`
    Decrypt,
    /// `DescribeKey`
    DescribeKey,
    /// `DisableKey`
    DisableKey,
    /// `EnableKey`
    EnableKey,
    /// `GenerateDataKey`
    GenerateDataKey,
    /// `GenerateDataKeyWithoutPlaintext`
    GenerateDataKeyWithoutPlaintext,
    /// `ListAliases`
    ListAliases,
    /// `ListGrants`
    ListGrants,
    /// `ListKeys`
    ListKeys,
    /// `ReEncrypt`
    ReEncrypt,
    /// `RetireGrant`
    RetireGrant,
    /// `RevokeGrant`
    RevokeGrant,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 15] = [
        Self::CreateAlias,
        Self::CreateGrant,
        Self::CreateKey,
        Self::Decrypt,
        Self::DescribeKey,
        Self::DisableKey,
        Self::EnableKey,
        Self::GenerateDataKey,
        Self::GenerateDataKeyWithoutPlaintext,
        Self::ListAliases,
        Self::ListGrants,
        Self::ListKeys,
        Self::ReEncrypt,
        Self::RetireGrant,
        Self::RevokeGrant,
    ];
}

/// Calls and errors since the KMS was opened by this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CounterSnapshot {
    /// Calls by operation, failed ones included.
    pub calls: BTreeMap<Operation, u64>,
    /// Failed calls by AWS exception name.
    pub errors: BTreeMap<&'static str, u64>,
}

impl CounterSnapshot {
    /// Calls of every operation.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: [AtomicU64; Operation::ALL.len()],
    errors: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// Counts one call and its outcome.
    pub(crate) fn count<T>(&self, operation: Operation, result: &Result<T, KmsError>) {
        if let Some(calls) = self.calls.get(operation as usize) {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        if let Err(error) = result {
            *self.errors.lock().entry(error.code()).or_default() += 1;
        }
    }

    pub(crate) fn snapshot(&self) -> CounterSnapshot {
        let calls = Operation::ALL
            .into_iter()
            .zip(&self.calls)
            .map(|(operation, calls)| (operation, calls.load(Ordering::Relaxed)))
            .filter(|(_, calls)| *calls > 0)
            .collect();
        CounterSnapshot { calls, errors: self.errors.lock().clone() }
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
}
