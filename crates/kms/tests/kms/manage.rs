//! Keys and aliases as people manage them.

use std::sync::{Arc, Mutex};

use sealvol_envelope::{KeyState, KmsError, KmsErrorKind};
use sealvol_kms::audit::{AuditEvent, AuditSink};
use sealvol_kms::model::CreateKeyRequest;
use sealvol_kms::{Kms, KmsParts, KmsSettings, Operation};

use crate::support::{
    TestClock, caller, decrypt, entropy, generate, in_memory, root, settings, volume,
};

#[track_caller]
fn said<T: std::fmt::Debug>(result: Result<T, KmsError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn keys_and_aliases_are_listed_in_order() {
    let kms = in_memory(settings());
    let me = kms.root_caller();
    let mut made: Vec<_> =
        (0..5).map(|n| kms.create_key(&me, &format!("key {n}")).unwrap()).collect();
    made.sort_by(|a, b| a.key_id.cmp(&b.key_id));
    assert_eq!(kms.list_keys(&me).unwrap(), made);
    let key = &made[0];
    for name in ["alias/b", "alias/a"] {
        kms.create_alias(&me, name, &key.arn).unwrap();
    }
    kms.create_alias(&me, "alias/c", &made[1].key_id).unwrap();
    let names = |of: Option<&str>| -> Vec<String> {
        kms.list_aliases(&me, of).unwrap().into_iter().map(|alias| alias.name).collect()
    };
    assert_eq!(names(None), ["alias/a", "alias/b", "alias/c"]);
    assert_eq!(names(Some(&key.key_id)), ["alias/a", "alias/b"]);
    assert_eq!(kms.list_aliases(&me, None).unwrap()[0].target_key_arn, key.arn);
}

#[test]
fn errors_are_awss() {
    let kms = in_memory(settings());
    let me = kms.root_caller();
    let key = kms.create_key(&me, "").unwrap();
    kms.create_alias(&me, "alias/a", &key.key_id).unwrap();
    let unknown = "00000000-0000-4000-8000-000000000000";
    let unknown_arn = format!("arn:aws:kms:us-east-1:000000000000:key/{unknown}");
    assert_eq!(
        said(kms.disable_key(&me, unknown)),
        format!("NotFoundException: Key '{unknown_arn}' does not exist")
    );
    // Case 16: management operations take no aliases.
    assert_eq!(said(kms.disable_key(&me, "alias/a")), "NotFoundException: Invalid keyId 'alias/a'");
    assert_eq!(
        said(kms.create_alias(&me, "alias/a", &key.key_id)),
        "AlreadyExistsException: An alias with the name \
         arn:aws:kms:us-east-1:000000000000:alias/a already exists"
    );
    let denied = kms.create_key(&caller("arn:aws:iam::000000000000:user/u"), "");
    assert_eq!(
        said(denied),
        "AccessDeniedException: User: arn:aws:iam::000000000000:user/u is not authorized to \
         perform: kms:CreateKey on resource: * because no identity-based policy allows the \
         kms:CreateKey action"
    );
    let long = "x".repeat(8193);
    assert_eq!(kms.create_key(&me, &long).unwrap_err().kind(), KmsErrorKind::Invalid);
}

#[tokio::test]
async fn states_change_and_repeat() {
    let kms = in_memory(settings());
    let me = kms.root_caller();
    let key = kms.create_key(&me, "").unwrap();
    let service = root(&kms);
    let made = service
        .generate_data_key_without_plaintext(generate(&key.key_id, volume("vol-1")))
        .await
        .unwrap();
    // Case 25: both are idempotent.
    for _ in 0..2 {
        kms.disable_key(&me, &key.key_id).unwrap();
    }
    assert_eq!(service.describe_key(&key.arn).await.unwrap().state, KeyState::Disabled);
    let error = service.decrypt(decrypt(&made.ciphertext, volume("vol-1"))).await.unwrap_err();
    assert_eq!(error.to_string(), format!("DisabledException: {} is disabled.", key.arn));
    for _ in 0..2 {
        kms.enable_key(&me, &key.key_id).unwrap();
    }
    service.decrypt(decrypt(&made.ciphertext, volume("vol-1"))).await.unwrap();
}

#[test]
fn admins_may_do_what_the_root_may() {
    let admin = "arn:aws:iam::111122223333:role/admin";
    let kms = in_memory(KmsSettings {
        account: "111122223333".into(),
        region: "eu-west-1".into(),
        admins: vec![admin.into()],
        ..settings()
    });
    let key = kms.create_key(&caller(admin), "").unwrap();
    assert_eq!(key.arn, format!("arn:aws:kms:eu-west-1:111122223333:key/{}", key.key_id));
    assert_eq!(kms.root_caller().principal, "arn:aws:iam::111122223333:root");
    kms.disable_key(&kms.root_caller(), &key.key_id).unwrap();
}

#[test]
fn limits_are_settings() {
    let kms = in_memory(KmsSettings { keys_max: 1, aliases_per_key_max: 1, ..settings() });
    let me = kms.root_caller();
    let key = kms.create_key(&me, "").unwrap();
    assert_eq!(kms.create_key(&me, "").unwrap_err().code(), "LimitExceededException");
    kms.create_alias(&me, "alias/a", &key.key_id).unwrap();
    let second = kms.create_alias(&me, "alias/b", &key.key_id);
    assert_eq!(second.unwrap_err().code(), "LimitExceededException");
}

#[test]
fn impossible_settings_are_refused() {
    for bad in [
        KmsSettings { account: "12".into(), ..settings() },
        KmsSettings { region: "us east".into(), ..settings() },
    ] {
        let clock = TestClock::at(0);
        let error = Kms::in_memory(bad, clock, entropy()).unwrap_err();
        assert_eq!(error.kind(), sealvol_core::ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn calls_and_errors_are_counted() {
    let kms = in_memory(settings());
    let me = kms.root_caller();
    let key = kms.create_key(&me, "").unwrap();
    let service = root(&kms);
    let before = kms.counters();
    let made = service.generate_data_key(generate(&key.key_id, volume("v"))).await.unwrap();
    for _ in 0..2 {
        service.decrypt(decrypt(&made.wrapped.ciphertext, volume("v"))).await.unwrap();
    }
    service.decrypt(decrypt(&made.wrapped.ciphertext, volume("w"))).await.unwrap_err();
    let after = kms.counters();
    assert_eq!(after.total_calls() - before.total_calls(), 4);
    assert_eq!(after.calls[&Operation::Decrypt], 3);
    assert_eq!(after.calls[&Operation::GenerateDataKey], 1);
    assert_eq!(after.errors["InvalidCiphertextException"], 1);
}

#[derive(Default)]
struct Heard(Mutex<Vec<AuditEvent>>);

impl AuditSink for Heard {
    fn record(&self, event: AuditEvent) {
        self.0.lock().unwrap().push(event);
    }
}

/// The alias of a key that was made with one was in neither the counts nor the records.
#[test]
fn a_key_and_its_alias_are_one_change_and_two_records() {
    let heard = Arc::new(Heard::default());
    let parts = KmsParts { audit: Some(Arc::clone(&heard) as _), ..KmsParts::default() };
    let kms = Kms::in_memory_with(settings(), TestClock::at(1_000), entropy(), parts).unwrap();
    let me = kms.root_caller();
    let names = || -> Vec<_> {
        let mut heard = heard.0.lock().unwrap();
        heard.drain(..).map(|event| (event.event_name, event.error_code)).collect()
    };
    kms.ensure_key(&me, "alias/a", "").unwrap();
    assert_eq!(names(), [("CreateKey", None), ("CreateAlias", None)]);
    kms.ensure_key(&me, "alias/a", "").unwrap();
    assert_eq!(names(), [("DescribeKey", None)]);

    let session = kms.session_of(&me);
    let request = CreateKeyRequest::default();
    assert_eq!(
        said(session.create_key_with_alias(&request, "alias/a")),
        "AlreadyExistsException: An alias with the name \
         arn:aws:kms:us-east-1:000000000000:alias/a already exists"
    );
    let code = Some("AlreadyExistsException");
    assert_eq!(names(), [("CreateKey", code), ("CreateAlias", code)]);
    assert!(session.create_key_with_alias(&request, "nonsense").is_err());
    // A policy that does not let its maker give the key a name.
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":
        {"AWS":"arn:aws:iam::000000000000:root"},"Action":"kms:PutKeyPolicy","Resource":"*"}]}"#;
    let request = CreateKeyRequest { policy: Some(policy.into()), ..CreateKeyRequest::default() };
    let denied = session.create_key_with_alias(&request, "alias/b").unwrap_err();
    assert_eq!(denied.code(), "AccessDeniedException");
    assert_eq!(kms.list_keys(&me).unwrap().len(), 1);
    assert_eq!(kms.list_aliases(&me, None).unwrap().len(), 1);
}
