//! Data keys, plain and wrapped.

use std::fmt;

use sealvol_sys::LockedBytes;
use zeroize::Zeroize;

use crate::context::EncryptionContext;

/// A plaintext data key: in locked, non-dumpable memory, zeroised when dropped, never printed.
pub struct DataKey {
    bytes: LockedBytes,
}

impl DataKey {
    /// Moves key bytes into locked memory and zeroises `source`.
    #[must_use]
    pub fn take(source: &mut [u8]) -> Self {
        let bytes = LockedBytes::copy_from(source);
        source.zeroize();
        Self { bytes }
    }

    /// The same key in locked memory of its own, for callers that share one answer of the KMS.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { bytes: LockedBytes::copy_from(self.expose_secret()) }
    }

    /// The key bytes. Do not copy them anywhere that is not zeroised.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        self.bytes.expose_secret()
    }

    /// Number of key bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.expose_secret().len()
    }

    /// Whether the key has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// A data key as the KMS wrapped it, with what is needed to ask for it back. Public: it is stored
/// in the clear in the volume's superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedDataKey {
    /// ARN of the KMS key that wrapped it.
    pub key_arn: String,
    /// The context it is bound to.
    pub context: EncryptionContext,
    /// The KMS's opaque ciphertext, at most 6144 bytes.
    pub ciphertext: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_outlives_the_original() {
        let key = DataKey::take(&mut [7; 64]);
        let duplicate = key.duplicate();
        drop(key);
        assert!(duplicate.expose_secret() == [7; 64]);
    }
}
