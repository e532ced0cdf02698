//! The nonce auditor: proof that no (key, nonce) pair seals twice, across crashes, restores, clones
//! and forks of one history.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use sealvol_envelope::aead::{AeadBackend, AeadKey, AuthError, NONCE_LEN, Nonce, SealError, Tag};

/// A shared set of the (key fingerprint, nonce) pairs that sealed something.
#[derive(Debug, Default)]
pub struct NonceAuditor {
    seen: Mutex<HashSet<([u8; 32], [u8; NONCE_LEN])>>,
}

impl NonceAuditor {
    /// An auditor that has seen nothing.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The auditor of this whole process.
    #[must_use]
    pub fn global() -> Arc<Self> {
        static GLOBAL: OnceLock<Arc<NonceAuditor>> = OnceLock::new();
        Arc::clone(GLOBAL.get_or_init(Self::new))
    }

    /// Notes a seal. `false` when this key sealed under this nonce before.
    #[must_use]
    pub fn record(&self, key: [u8; 32], nonce: [u8; NONCE_LEN]) -> bool {
        self.seen.lock().insert((key, nonce))
    }

    /// Notes a seal.
    ///
    /// # Panics
    /// When this key sealed under this nonce before.
    pub fn assert_fresh(&self, key: [u8; 32], nonce: [u8; NONCE_LEN]) {
        assert!(
            self.record(key, nonce),
            "nonce reuse: key fingerprint {key:02x?} sealed twice under nonce {nonce:02x?}"
        );
    }

    /// How many distinct pairs were seen: a test checks that it is not zero, lest it audit nothing.
    #[must_use]
    pub fn seals(&self) -> usize {
        self.seen.lock().len()
    }

    /// Forgets everything, to bound memory between histories that share nothing.
    pub fn clear(&self) {
        self.seen.lock().clear();
    }
}

/// A key that reports each seal to an auditor, which panics on a repeat.
pub struct AuditedKey {
    inner: Box<dyn AeadKey>,
    fingerprint: [u8; 32],
    auditor: Arc<NonceAuditor>,
}

impl AuditedKey {
    /// Wraps `inner`. `fingerprint` is equal for equal keys and different for different ones.
    #[must_use]
    pub fn new(inner: Box<dyn AeadKey>, fingerprint: [u8; 32], auditor: Arc<NonceAuditor>) -> Self {
        Self { inner, fingerprint, auditor }
    }

    /// Expands `key` under audit. The test key is its own fingerprint.
    #[must_use]
    pub fn expand(backend: AeadBackend, key: &[u8; 32], auditor: Arc<NonceAuditor>) -> Self {
        Self::new(backend.expand(key), *key, auditor)
    }
}

impl std::fmt::Debug for AuditedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditedKey").finish_non_exhaustive()
    }
}

impl AeadKey for AuditedKey {
    fn seal(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<Tag, SealError> {
        // Before sealing: a seal that fails half-way may have used its key stream.
        self.auditor.assert_fresh(self.fingerprint, *nonce);
        self.inner.seal(nonce, aad, plaintext, ciphertext)
    }

    fn open(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        ciphertext: &[u8],
        tag: &Tag,
        plaintext: &mut [u8],
    ) -> Result<(), AuthError> {
        self.inner.open(nonce, aad, ciphertext, tag, plaintext)
    }

    fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        tag: &Tag,
        in_out: &mut [u8],
    ) -> Result<(), AuthError> {
        self.inner.open_in_place(nonce, aad, tag, in_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_found() {
        let auditor = NonceAuditor::new();
        assert!(auditor.record([1; 32], [1; 12]));
        assert!(auditor.record([1; 32], [2; 12]));
        assert!(auditor.record([2; 32], [1; 12]));
        assert!(!auditor.record([1; 32], [1; 12]));
        assert_eq!(auditor.seals(), 3);
        auditor.clear();
        assert!(auditor.record([1; 32], [1; 12]));
    }

    #[test]
    fn an_audited_key_works_as_the_key() {
        let auditor = NonceAuditor::new();
        let key = AuditedKey::expand(AeadBackend::RustCrypto, &[7; 32], Arc::clone(&auditor));
        let mut sealed = [0; 16];
        let tag = key.seal(&[1; 12], b"aad", &[9; 16], &mut sealed).unwrap();
        let mut opened = [0; 16];
        // Opening twice is no reuse.
        for _ in 0..2 {
            key.open(&[1; 12], b"aad", &sealed, &tag, &mut opened).unwrap();
            assert_eq!(opened, [9; 16]);
        }
        key.open_in_place(&[1; 12], b"aad", &tag, &mut sealed).unwrap();
        assert_eq!(sealed, [9; 16]);
        assert_eq!(auditor.seals(), 1);
    }

    #[test]
    #[should_panic(expected = "nonce reuse")]
    fn sealing_twice_under_one_nonce_panics() {
        let auditor = NonceAuditor::new();
        // Two handles of one key, as before and after a restart.
        for _ in 0..2 {
            let key = AuditedKey::expand(AeadBackend::AwsLc, &[7; 32], Arc::clone(&auditor));
            key.seal(&[1; 12], b"", &[9; 16], &mut [0; 16]).unwrap();
        }
    }
}
