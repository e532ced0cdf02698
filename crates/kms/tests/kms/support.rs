//! What the tests share: a clock that is set, a seeded entropy source, and ways to open a KMS.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sealvol_core::{Clock, Entropy, SystemEntropy, UnixMillis};
use sealvol_envelope::{
    Caller, CreateGrantRequest, DecryptRequest, EncryptionContext, GenerateDataKeyRequest,
    GrantOperation, GrantTokens, KeyService,
};
use sealvol_kms::{Argon2Settings, Kms, KmsSettings, OpenError, RootKeySource};
use zeroize::Zeroizing;

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn at(millis: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(millis)))
    }

    pub(crate) fn advance(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now().0)
    }
}

pub(crate) fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy)
}

/// Settings with an Argon2id cost that tests can pay.
pub(crate) fn settings() -> KmsSettings {
    KmsSettings {
        argon2: Argon2Settings { memory_kib: 64, passes: 1, lanes: 1 },
        ..KmsSettings::default()
    }
}

pub(crate) fn in_memory(settings: KmsSettings) -> Arc<Kms> {
    Kms::in_memory(settings, TestClock::at(1_000), entropy()).unwrap()
}

pub(crate) fn open(dir: &Path) -> Result<Arc<Kms>, OpenError> {
    open_with(dir, &RootKeySource::KeyFile, settings())
}

pub(crate) fn open_with(
    dir: &Path,
    source: &RootKeySource,
    settings: KmsSettings,
) -> Result<Arc<Kms>, OpenError> {
    Kms::open_dir(dir, source, settings, TestClock::at(1_000), entropy())
}

pub(crate) fn passphrase(text: &str) -> RootKeySource {
    RootKeySource::Passphrase(Zeroizing::new(text.to_owned()))
}

pub(crate) fn root(kms: &Arc<Kms>) -> Arc<dyn KeyService> {
    kms.handle(kms.root_caller())
}

pub(crate) fn caller(principal: &str) -> Caller {
    Caller { principal: principal.to_owned(), via_service: None }
}

pub(crate) const FARGATE: &str = "fargate.us-east-1.amazonaws.com";

pub(crate) fn volume(name: &str) -> EncryptionContext {
    EncryptionContext::for_volume(name).unwrap()
}

pub(crate) fn generate(key_id: &str, context: EncryptionContext) -> GenerateDataKeyRequest {
    GenerateDataKeyRequest {
        key_id: key_id.to_owned(),
        context,
        number_of_bytes: 64,
        grant_tokens: GrantTokens::default(),
    }
}

pub(crate) fn decrypt(ciphertext: &[u8], context: EncryptionContext) -> DecryptRequest {
    DecryptRequest {
        ciphertext: ciphertext.to_vec(),
        context,
        key_id: None,
        grant_tokens: GrantTokens::default(),
    }
}

pub(crate) fn grant(key_id: &str, grantee: &str) -> CreateGrantRequest {
    CreateGrantRequest {
        key_id: key_id.to_owned(),
        grantee_principal: grantee.to_owned(),
        retiring_principal: None,
        operations: vec![GrantOperation::Decrypt],
        constraint: None,
        name: None,
        grant_tokens: GrantTokens::default(),
    }
}

/// Everything that a caller can list, for comparing two KMSs.
pub(crate) fn contents(kms: &Arc<Kms>) -> String {
    let root = kms.root_caller();
    let keys = kms.list_keys(&root).unwrap();
    let grants: Vec<_> =
        keys.iter().map(|key| kms.list_grants(&root, &key.key_id).unwrap()).collect();
    format!("{keys:#?}\n{:#?}\n{grants:#?}", kms.list_aliases(&root, None).unwrap())
}
