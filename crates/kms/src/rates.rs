//! Rate limits: a token bucket for each account and quota (kms.md, section 7). Off unless set.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use sealvol_envelope::KmsError;
use serde::{Deserialize, Serialize};

use crate::fault;
use crate::operation::Operation;

/// Calls per second and account. AWS's own quotas are in [`aws`](Self::aws); the default has none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// All cryptographic operations on symmetric keys together.
    pub cryptographic: Option<u32>,
    /// By operation name; operations that are not named are not limited.
    pub operations: BTreeMap<String, u32>,
}

impl RateLimits {
    /// The quotas that AWS documents for most Regions.
    #[must_use]
    pub fn aws() -> Self {
        let operations = [
            ("CancelKeyDeletion", 5),
            ("CreateAlias", 5),
            ("CreateGrant", 50),
            ("CreateKey", 5),
            ("DeleteAlias", 15),
            ("DescribeKey", 2000),
            ("DisableKey", 5),
            ("DisableKeyRotation", 5),
            ("EnableKey", 5),
            ("EnableKeyRotation", 15),
            ("GetKeyPolicy", 1000),
            ("GetKeyRotationStatus", 1000),
            ("ListAliases", 500),
            ("ListGrants", 100),
            ("ListKeyPolicies", 100),
            ("ListKeyRotations", 100),
            ("ListKeys", 500),
            ("ListResourceTags", 2000),
            ("ListRetirableGrants", 100),
            ("PutKeyPolicy", 15),
            ("RetireGrant", 50),
            ("RevokeGrant", 50),
            ("RotateKeyOnDemand", 5),
            ("ScheduleKeyDeletion", 15),
            ("TagResource", 10),
            ("UntagResource", 5),
            ("UpdateAlias", 5),
            ("UpdateKeyDescription", 5),
        ];
        Self {
            cryptographic: Some(10_000),
            operations: operations.into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
        }
    }
}

/// A quota: `None` is the shared one of cryptography.
type Quota = Option<Operation>;

/// Accounts whose buckets are kept. More than that are strangers, and share what is forgotten.
const ACCOUNTS_MAX: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Rates {
    cryptographic: Option<u32>,
    operations: HashMap<Operation, u32>,
    buckets: Mutex<HashMap<(String, Quota), Bucket>>,
}

/// Holds at most one second's worth of calls.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Calls that may be made, in thousandths.
    left: u64,
    filled: Duration,
}

impl Rates {
    pub(crate) fn new(limits: &RateLimits) -> Self {
        let operations = limits
            .operations
            .iter()
            .filter_map(|(name, limit)| Some((Operation::from_name(name)?, *limit)))
            .collect();
        Self { cryptographic: limits.cryptographic, operations, buckets: Mutex::default() }
    }

    /// Takes one call from the bucket.
    ///
    /// # Errors
    /// `ThrottlingException`.
    pub(crate) fn admit(
        &self,
        operation: Operation,
        account: impl FnOnce() -> String,
        now: Duration,
    ) -> Result<(), KmsError> {
        let (quota, limit) = match (self.operations.get(&operation), self.cryptographic) {
            (Some(limit), _) => (Some(operation), *limit),
            (None, Some(limit)) if operation.is_cryptographic() => (None, limit),
            _ => return Ok(()),
        };
        let full = u64::from(limit) * 1000;
        let mut buckets = self.buckets.lock();
        if buckets.len() >= ACCOUNTS_MAX * 4 {
            buckets.clear();
        }
        let bucket =
            buckets.entry((account(), quota)).or_insert(Bucket { left: full, filled: now });
        // A call is 1000 thousandths, and a limit of n fills n of them each millisecond.
        let passed =
            u64::try_from(now.saturating_sub(bucket.filled).as_millis()).unwrap_or(u64::MAX);
        if passed > 0 {
            bucket.left =
                bucket.left.saturating_add(passed.saturating_mul(u64::from(limit))).min(full);
            bucket.filled = now;
        }
        match bucket.left.checked_sub(1000) {
            Some(left) => {
                bucket.left = left;
                Ok(())
            }
            None => Err(fault::throttled()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_one_second() {
        let rates = Rates::new(&RateLimits {
            cryptographic: Some(2),
            operations: [("CreateKey".to_owned(), 1)].into(),
        });
        let at = |ms| Duration::from_millis(ms);
        let admit = |operation, account: &str, ms| {
            rates.admit(operation, || account.to_owned(), at(ms)).is_ok()
        };
        assert!(admit(Operation::CreateKey, "a", 0));
        assert!(!admit(Operation::CreateKey, "a", 999));
        assert!(admit(Operation::CreateKey, "b", 999), "accounts do not share");
        assert!(admit(Operation::CreateKey, "a", 1000));
        // Cryptography shares one quota.
        assert!(admit(Operation::Encrypt, "a", 0));
        assert!(admit(Operation::Decrypt, "a", 0));
        assert!(!admit(Operation::ReEncrypt, "a", 0));
        assert!(admit(Operation::ReEncrypt, "a", 500));
        // Operations without a limit are free.
        for _ in 0..100 {
            assert!(admit(Operation::ListKeys, "a", 0));
        }
    }

    #[test]
    fn aws_quotas_name_operations() {
        for name in RateLimits::aws().operations.keys() {
            assert!(Operation::from_name(name).is_some(), "{name}");
        }
    }
}
