//! What the cases share: a KMS with a clock that is set, callers with policies, and short ways to
//! write requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sealvol_core::{Clock, SystemEntropy, UnixMillis};
use sealvol_envelope::{EncryptionContext, KmsError};
use sealvol_kms::audit::{AuditEvent, AuditSink};
use sealvol_kms::model::*;
use sealvol_kms::{
    Argon2Settings, Kms, KmsParts, KmsSettings, OpenDirectory, PrincipalDirectory, Requester,
    RootKeySource, Session,
};
use sealvol_policy::{Identity, Limits, Policy, PolicyKind, Principal};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// The KMS's own account.
pub(crate) const OWN: &str = "000000000000";
/// Another account.
pub(crate) const OTHER: &str = "111122223333";
pub(crate) const DAY: u64 = 24 * 60 * 60 * 1000;
/// Later than AWS, so that a time that was taken for seconds is noticed.
pub(crate) const START: u64 = 1_900_000_000_000;
/// Well-formed, and of no key.
pub(crate) const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
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

/// Keeps every record.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<AuditEvent>>);

impl AuditSink for Recorder {
    fn record(&self, event: AuditEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Recorder {
    pub(crate) fn all(&self) -> Vec<AuditEvent> {
        self.0.lock().unwrap().clone()
    }

    /// What was recorded since the last call, as JSON.
    pub(crate) fn take(&self) -> Vec<Value> {
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        events.iter().map(|event| serde_json::to_value(event).unwrap()).collect()
    }
}

/// Knows everybody but those who are called `nobody`.
struct Directory(OpenDirectory);

impl PrincipalDirectory for Directory {
    fn identity(&self, principal: &str) -> Identity {
        self.0.identity(principal)
    }

    fn exists(&self, principal: &str) -> bool {
        self.0.exists(principal) && !principal.contains("nobody")
    }
}

/// A KMS with what surrounds it.
pub(crate) struct World {
    pub(crate) kms: Arc<Kms>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) records: Arc<Recorder>,
    _dir: Option<tempfile::TempDir>,
}

impl World {
    /// In memory, with the default settings.
    pub(crate) fn new() -> Self {
        Self::with(KmsSettings::default())
    }

    /// In memory.
    pub(crate) fn with(settings: KmsSettings) -> Self {
        Self::make(settings, None)
    }

    /// In a directory.
    pub(crate) fn in_directory(settings: KmsSettings) -> Self {
        Self::make(settings, Some(tempfile::tempdir().unwrap()))
    }

    /// One of each.
    pub(crate) fn both() -> [Self; 2] {
        [Self::new(), Self::in_directory(KmsSettings::default())]
    }

    fn make(settings: KmsSettings, dir: Option<tempfile::TempDir>) -> Self {
        let argon2 = Argon2Settings { memory_kib: 64, passes: 1, lanes: 1 };
        let settings = KmsSettings { argon2, ..settings };
        let clock = Arc::new(TestClock(AtomicU64::new(START)));
        let records = Arc::new(Recorder::default());
        let parts = KmsParts {
            directory: Some(Arc::new(Directory(OpenDirectory::new(&settings)))),
            audit: Some(Arc::<Recorder>::clone(&records)),
        };
        let entropy = Arc::new(SystemEntropy);
        let kms = match &dir {
            None => Kms::in_memory_with(settings, clock.clone(), entropy, parts).unwrap(),
            Some(dir) => {
                let source = RootKeySource::KeyFile;
                let path = dir.path();
                Kms::open_dir_with(path, &source, settings, clock.clone(), entropy, parts).unwrap()
            }
        };
        Self { kms, clock, records, _dir: dir }
    }

    /// The account's root, who may do everything that key policies delegate.
    pub(crate) fn root(&self) -> Session {
        self.kms.session_of(&self.kms.root_caller())
    }

    /// A principal whom no identity policy allows anything.
    pub(crate) fn powerless(&self, principal: &str) -> Session {
        self.kms.session(requester(principal))
    }

    /// A principal with identity policies made of these statements.
    pub(crate) fn with_policy(&self, principal: &str, statements: &[Value]) -> Session {
        self.kms.session(requester_with(principal, statements))
    }

    /// A principal to whom IAM allows everything.
    pub(crate) fn unlimited(&self, principal: &str) -> Session {
        self.kms.session(Requester::new(Identity::unlimited(principal).unwrap()))
    }

    /// A service that acts for the KMS's account.
    pub(crate) fn service(&self, name: &str) -> Session {
        self.kms.session(service(name))
    }

    /// A symmetric key with the default policy; its ARN.
    pub(crate) fn key(&self) -> String {
        self.key_of(CreateKeyRequest::default())
    }

    pub(crate) fn key_of(&self, request: CreateKeyRequest) -> String {
        self.root().create_key(&request).unwrap().key_metadata.arn
    }

    /// A key of another kind.
    pub(crate) fn key_of_kind(&self, spec: &str, usage: &str) -> String {
        self.key_of(CreateKeyRequest {
            key_spec: Some(spec.to_owned()),
            key_usage: Some(usage.to_owned()),
            ..CreateKeyRequest::default()
        })
    }

    /// A key whose policy is made of these statements, whether or not they lock the root out.
    pub(crate) fn key_with_policy(&self, statements: &[Value]) -> String {
        self.key_of(CreateKeyRequest {
            policy: Some(document(statements)),
            bypass_policy_lockout_safety_check: Some(true),
            ..CreateKeyRequest::default()
        })
    }

    pub(crate) fn disable(&self, key: &str) {
        self.root().disable_key(&KeyRequest::new(key)).unwrap();
    }

    pub(crate) fn enable(&self, key: &str) {
        self.root().enable_key(&KeyRequest::new(key)).unwrap();
    }

    pub(crate) fn schedule_deletion(&self, key: &str) {
        self.root().schedule_key_deletion(&deletion(key, 7)).unwrap();
    }

    pub(crate) fn describe(&self, key: &str) -> KeyDescription {
        let request = DescribeKeyRequest { key_id: key.to_owned(), grant_tokens: None };
        self.root().describe_key(&request).unwrap().key_metadata
    }

    /// What the root encrypts.
    pub(crate) fn sealed(&self, key: &str, context: &EncryptionContext) -> Vec<u8> {
        self.root().encrypt(&encrypt(key, b"plaintext", context)).unwrap().ciphertext_blob.0
    }
}

pub(crate) fn requester(principal: &str) -> Requester {
    Requester::new(Identity::new(Principal::parse(principal).unwrap()))
}

pub(crate) fn requester_with(principal: &str, statements: &[Value]) -> Requester {
    let policy = Policy::parse(&document(statements), PolicyKind::Identity, &Limits::DEFAULT);
    let identity = Identity::new(Principal::parse(principal).unwrap());
    Requester::new(identity.with_policy("inline", Arc::new(policy.unwrap())))
}

pub(crate) fn service(name: &str) -> Requester {
    Requester {
        acting_account: Some(OWN.to_owned()),
        source_account: Some(OWN.to_owned()),
        ..requester(name)
    }
}

pub(crate) fn user(name: &str) -> String {
    format!("arn:aws:iam::{OWN}:user/{name}")
}

pub(crate) fn foreign_user(name: &str) -> String {
    format!("arn:aws:iam::{OTHER}:user/{name}")
}

pub(crate) fn root_of(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// The id at the end of a key's ARN.
pub(crate) fn id_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap()
}

/// A policy document.
pub(crate) fn document(statements: &[Value]) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

/// The statement that delegates to an account's identity policies.
pub(crate) fn delegation(account: &str) -> Value {
    json!({
        "Effect": "Allow", "Principal": { "AWS": root_of(account) }, "Action": "kms:*",
        "Resource": "*",
    })
}

/// A statement of a key policy about a principal.
pub(crate) fn to_principal(effect: &str, principal: &str, actions: &[&str]) -> Value {
    json!({
        "Effect": effect, "Principal": { "AWS": principal }, "Action": actions, "Resource": "*",
    })
}

/// A statement of an identity policy.
pub(crate) fn to_me(effect: &str, actions: &[&str]) -> Value {
    json!({ "Effect": effect, "Action": actions, "Resource": "*" })
}

pub(crate) fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    EncryptionContext::from_pairs(pairs.iter().copied()).unwrap()
}

pub(crate) fn nothing() -> EncryptionContext {
    EncryptionContext::new()
}

pub(crate) fn volume(name: &str) -> EncryptionContext {
    EncryptionContext::for_volume(name).unwrap()
}

pub(crate) fn secret(bytes: &[u8]) -> SecretBlob {
    SecretBlob::new(Zeroizing::new(bytes.to_vec()))
}

pub(crate) fn encrypt(key: &str, plaintext: &[u8], context: &EncryptionContext) -> EncryptRequest {
    EncryptRequest {
        key_id: key.to_owned(),
        plaintext: Some(secret(plaintext)),
        encryption_context: context.clone(),
        ..EncryptRequest::default()
    }
}

/// Without a key id.
pub(crate) fn decrypt(blob: &[u8], context: &EncryptionContext) -> DecryptRequest {
    DecryptRequest {
        ciphertext_blob: Some(Blob(blob.to_vec())),
        encryption_context: context.clone(),
        ..DecryptRequest::default()
    }
}

pub(crate) fn decrypt_by(key: &str, blob: &[u8], context: &EncryptionContext) -> DecryptRequest {
    DecryptRequest { key_id: Some(key.to_owned()), ..decrypt(blob, context) }
}

pub(crate) fn generate(
    key: &str,
    bytes: i64,
    context: &EncryptionContext,
) -> GenerateDataKeyRequest {
    GenerateDataKeyRequest {
        key_id: key.to_owned(),
        number_of_bytes: Some(bytes),
        encryption_context: context.clone(),
        ..GenerateDataKeyRequest::default()
    }
}

pub(crate) fn re_encrypt(
    blob: &[u8],
    from: &EncryptionContext,
    to: (&str, &EncryptionContext),
) -> ReEncryptRequest {
    ReEncryptRequest {
        ciphertext_blob: Some(Blob(blob.to_vec())),
        source_encryption_context: from.clone(),
        destination_key_id: to.0.to_owned(),
        destination_encryption_context: to.1.clone(),
        ..ReEncryptRequest::default()
    }
}

pub(crate) fn grant(key: &str, grantee: &str, operations: &[&str]) -> CreateGrantRequest {
    CreateGrantRequest {
        key_id: key.to_owned(),
        grantee_principal: Some(grantee.to_owned()),
        operations: operations.iter().map(|name| (*name).to_owned()).collect(),
        ..CreateGrantRequest::default()
    }
}

pub(crate) fn equals(pairs: &EncryptionContext) -> Option<GrantConstraints> {
    Some(GrantConstraints {
        encryption_context_equals: Some(pairs.clone()),
        ..GrantConstraints::default()
    })
}

pub(crate) fn subset(pairs: &EncryptionContext) -> Option<GrantConstraints> {
    Some(GrantConstraints {
        encryption_context_subset: Some(pairs.clone()),
        ..GrantConstraints::default()
    })
}

pub(crate) fn tokens(token: &str) -> Option<Vec<GrantToken>> {
    Some(vec![GrantToken(token.to_owned())])
}

pub(crate) fn retire(token: &str) -> RetireGrantRequest {
    let grant_token = Some(GrantToken(token.to_owned()));
    RetireGrantRequest { grant_token, ..RetireGrantRequest::default() }
}

pub(crate) fn retire_by_id(key: &str, grant: &str) -> RetireGrantRequest {
    RetireGrantRequest {
        key_id: Some(key.to_owned()),
        grant_id: Some(grant.to_owned()),
        ..RetireGrantRequest::default()
    }
}

pub(crate) fn revoke(key: &str, grant: &str) -> RevokeGrantRequest {
    RevokeGrantRequest {
        key_id: key.to_owned(),
        grant_id: grant.to_owned(),
        ..RevokeGrantRequest::default()
    }
}

pub(crate) fn deletion(key: &str, days: i64) -> ScheduleKeyDeletionRequest {
    ScheduleKeyDeletionRequest { key_id: key.to_owned(), pending_window_in_days: Some(days) }
}

pub(crate) fn alias(name: &str, key: &str) -> AliasRequest {
    AliasRequest { alias_name: name.to_owned(), target_key_id: key.to_owned() }
}

pub(crate) fn put_policy(key: &str, policy: &str) -> PutKeyPolicyRequest {
    PutKeyPolicyRequest {
        key_id: key.to_owned(),
        policy: policy.to_owned(),
        ..PutKeyPolicyRequest::default()
    }
}

pub(crate) fn tag(key: &str, value: &str) -> Tag {
    Tag { tag_key: key.to_owned(), tag_value: value.to_owned() }
}

pub(crate) fn tag_key(key: &str, tags: &[Tag]) -> TagResourceRequest {
    TagResourceRequest { key_id: key.to_owned(), tags: Some(tags.to_vec()) }
}

/// The pairs of a map, for comparing.
pub(crate) fn tags_of(world: &World, key: &str) -> BTreeMap<String, String> {
    let request = ListResourceTagsRequest { key_id: key.to_owned(), ..Default::default() };
    let listed = world.root().list_resource_tags(&request).unwrap().tags;
    listed.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect()
}

/// The exception of a call that must fail, and its message where it has one: `Name: message`.
#[track_caller]
pub(crate) fn said<T>(result: Result<T, KmsError>) -> String {
    match result {
        Ok(_) => panic!("the call succeeded"),
        Err(error) => error.to_string(),
    }
}

/// The exception of a call that must fail.
#[track_caller]
pub(crate) fn code<T>(result: Result<T, KmsError>) -> &'static str {
    match result {
        Ok(_) => panic!("the call succeeded"),
        Err(error) => error.code(),
    }
}

/// The call must fail with this exception.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T, KmsError>, exception: &str) {
    match result {
        Ok(_) => panic!("the call succeeded; it should have failed with {exception}"),
        Err(error) => assert_eq!(error.code(), exception, "{error}"),
    }
}

/// The call must fail with this exception and without a message.
#[track_caller]
pub(crate) fn refused_silently<T>(result: Result<T, KmsError>, exception: &str) {
    match result {
        Ok(_) => panic!("the call succeeded; it should have failed with {exception}"),
        Err(error) => assert_eq!((error.code(), error.message()), (exception, None)),
    }
}
