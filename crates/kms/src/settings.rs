//! What an embedder chooses: plain data, with AWS's limits as defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rates::RateLimits;

/// Settings of the embedded KMS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KmsSettings {
    /// The account that owns the keys: twelve digits.
    pub account: String,
    /// The region in the keys' ARNs.
    pub region: String,
    /// Principals that may do everything, besides the account root.
    pub admins: Vec<String>,
    /// How long a new grant needs a token to be used. AWS: seconds, less than five minutes.
    #[serde(with = "crate::lapse")]
    pub grant_propagation_delay: Duration,
    /// How long a rotation on demand is in progress: the old material makes ciphertexts until then.
    #[serde(with = "crate::lapse")]
    pub rotation_delay: Duration,
    /// Rotations on demand of one key.
    pub on_demand_rotations_max: usize,
    /// Length of a key policy's document, bytes.
    pub policy_bytes_max: usize,
    /// Length of an encryption context in its canonical form, bytes. AWS documents no limit.
    pub encryption_context_bytes_max: usize,
    /// Tags of one key.
    pub tags_per_key_max: usize,
    /// Calls per second; off unless set.
    pub rates: RateLimits,
    /// Grants on one key.
    pub grants_per_key_max: usize,
    /// Aliases of one key.
    pub aliases_per_key_max: usize,
    /// Keys.
    pub keys_max: usize,
    /// The journal is folded into a new snapshot when it has grown past this and past the
    /// snapshot's own length.
    pub journal_len_min: u64,
    /// How a passphrase becomes a root key, for a store that is made now. An existing store keeps
    /// what it was made with.
    pub argon2: Argon2Settings,
}

impl Default for KmsSettings {
    fn default() -> Self {
        Self {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            admins: Vec::new(),
            grant_propagation_delay: Duration::ZERO,
            rotation_delay: Duration::from_millis(500),
            on_demand_rotations_max: 25,
            policy_bytes_max: 32 * 1024,
            encryption_context_bytes_max: 8192,
            tags_per_key_max: 50,
            rates: RateLimits::default(),
            grants_per_key_max: 50_000,
            aliases_per_key_max: 50,
            keys_max: 100_000,
            journal_len_min: 1024 * 1024,
            argon2: Argon2Settings::default(),
        }
    }
}

impl KmsSettings {
    /// The ARN of the account root, which may do everything.
    #[must_use]
    pub fn root_principal(&self) -> String {
        format!("arn:aws:iam::{}:root", self.account)
    }
}

/// Cost of Argon2id (RFC 9106). The default is the RFC's choice for memory-constrained machines,
/// with one lane, because a store is opened by one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Argon2Settings {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Argon2Settings {
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 }
    }
}

impl Argon2Settings {
    /// Most memory that a store's header may ask for: 1 GiB.
    pub const MEMORY_KIB_MAX: u32 = 1024 * 1024;
    /// Most passes.
    pub const PASSES_MAX: u32 = 64;
    /// Most lanes.
    pub const LANES_MAX: u32 = 16;
    /// Most memory times passes: the work of 4 GiB in one pass, several seconds.
    const WORK_KIB_MAX: u64 = 4 * 1024 * 1024;

    /// Whether the cost is one that Argon2 defines and that this build is willing to pay. Checked
    /// before use: the values come from a file's public header.
    #[must_use]
    pub fn is_acceptable(&self) -> bool {
        (1..=Self::LANES_MAX).contains(&self.lanes)
            && (8 * self.lanes..=Self::MEMORY_KIB_MAX).contains(&self.memory_kib)
            && (1..=Self::PASSES_MAX).contains(&self.passes)
            && u64::from(self.memory_kib) * u64::from(self.passes) <= Self::WORK_KIB_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argon2_costs_are_bounded() {
        let good = Argon2Settings::default();
        assert!(good.is_acceptable());
        for bad in [
            Argon2Settings { memory_kib: u32::MAX, ..good },
            Argon2Settings { memory_kib: 7, ..good },
            Argon2Settings { passes: 0, ..good },
            Argon2Settings { passes: 65, ..good },
            Argon2Settings { lanes: 0, ..good },
            Argon2Settings { lanes: u32::MAX, ..good },
            Argon2Settings { memory_kib: Argon2Settings::MEMORY_KIB_MAX, passes: 5, ..good },
        ] {
            assert!(!bad.is_acceptable(), "{bad:?}");
        }
    }
}
