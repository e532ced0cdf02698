//! Rate limits: an account that calls too often is told so, others are not, and a second later it may
//! call again.

use sealvol_envelope::KmsErrorKind;
use sealvol_kms::model::{CreateKeyRequest, GenerateRandomRequest};
use sealvol_kms::{KmsSettings, RateLimits};

use crate::support::{OTHER, World};

fn limited() -> World {
    let rates = RateLimits {
        cryptographic: Some(3),
        operations: [("CreateKey".to_owned(), 2)].into_iter().collect(),
    };
    World::with(KmsSettings { rates, ..KmsSettings::default() })
}

fn random() -> GenerateRandomRequest {
    GenerateRandomRequest { number_of_bytes: Some(32), ..GenerateRandomRequest::default() }
}

#[test]
fn cryptographic_calls_share_one_limit() {
    let world = limited();
    let root = world.root();
    let key = world.key();
    for _ in 0..3 {
        root.generate_random(&random()).unwrap();
    }
    let refused = root.generate_random(&random()).err().unwrap();
    assert_eq!(refused.kind(), KmsErrorKind::Retry);
    assert_eq!(refused.code(), "ThrottlingException");
    // What is not cryptography has its own limit, or none.
    world.describe(&key);
    // Another account has its own bucket.
    let other = world.unlimited(&format!("arn:aws:iam::{OTHER}:root"));
    other.generate_random(&random()).unwrap();
    // Refusals are recorded as what they are.
    let record = world.records.take().pop().unwrap();
    assert!(record.get("errorCode").is_none(), "{record}");
    world.clock.advance(1_000);
    for _ in 0..3 {
        root.generate_random(&random()).unwrap();
    }
    assert!(root.generate_random(&random()).is_err());
    let record = world.records.take().pop().unwrap();
    assert_eq!(record["errorCode"], "ThrottlingException");
}

#[test]
fn an_operation_has_its_own_limit_and_a_refused_call_changes_nothing() {
    let world = limited();
    let root = world.root();
    let create = || root.create_key(&CreateKeyRequest::default());
    create().unwrap();
    create().unwrap();
    assert_eq!(create().err().unwrap().code(), "ThrottlingException");
    assert_eq!(root.list_keys(&Default::default()).unwrap().keys.len(), 2);
    // Half a second earns one of two calls a second.
    world.clock.advance(500);
    create().unwrap();
    assert!(create().is_err());
}
