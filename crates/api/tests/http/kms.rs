//! KMS in JSON 1.1: targets, bodies, statuses, and what every answer carries.

use std::collections::HashSet;

use sealvol_kms::Operation;

use crate::support::{Key, Wire, World};

#[tokio::test]
async fn a_data_key_goes_out_and_comes_back() {
    let world = World::new().await;
    let key = world.key().await;
    let root = Key::root();
    let context = r#""EncryptionContext":{"aws:ebs:id":"vol-1"}"#;
    let body = format!(r#"{{"KeyId":"{key}","NumberOfBytes":64,{context}}}"#);
    let made = world.done(&root, "GenerateDataKey", &body).await;
    let blob = made["CiphertextBlob"].as_str().unwrap();
    let body = format!(r#"{{"CiphertextBlob":"{blob}",{context}}}"#);
    let opened = world.done(&root, "Decrypt", &body).await;
    assert_eq!(opened["Plaintext"], made["Plaintext"]);
    assert_eq!(opened["KeyId"], made["KeyId"]);

    // A foreign context: no message at all.
    let body = format!(r#"{{"CiphertextBlob":"{blob}"}}"#);
    let answer = world.call(&root, "Decrypt", &body).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (400, r#"{"__type":"InvalidCiphertextException"}"#)
    );
}

#[tokio::test]
async fn every_operation_is_reached() {
    let world = World::new().await;
    for operation in Operation::ALL {
        let answer = world.call(&Key::root(), operation.as_str(), "{}").await;
        let code = if answer.status == 200 { String::new() } else { answer.fault() };
        assert!(
            !code.contains("UnknownOperation") && !code.contains("Serialization"),
            "{answer:?}"
        );
        assert!(answer.status == 200 || answer.status == 400, "{answer:?}");
    }
}

#[tokio::test]
async fn targets_that_are_none_are_told() {
    let world = World::new().await;
    let (root, now) = (Key::root(), world.now());
    for target in [
        "TrentService.Nonsense",
        "TrentService.decrypt",
        "TrentService.",
        "ListKeys",
        "Other.ListKeys",
    ] {
        let wire = Wire::kms("", "{}").with("x-amz-target", target).signed(&root, now);
        let answer = world.send(&wire).await;
        let told = r#"{"__type":"UnknownOperationException"}"#;
        assert_eq!((answer.status, answer.body.as_str()), (400, told), "{target}");
    }
    for operation in Operation::UNSUPPORTED {
        let answer = world.call(&root, operation, "{").await;
        assert_eq!(
            (answer.status, answer.fault().as_str()),
            (400, "UnsupportedOperationException")
        );
        assert!(answer.message().unwrap().contains(operation));
    }
    // No target, another path, another method.
    let no_target =
        Wire::new("POST", "/", b"{}").with("content-type", "application/x-amz-json-1.1");
    let elsewhere = Wire { uri: "/keys".to_owned(), ..Wire::kms("ListKeys", "{}") };
    let put = Wire { method: "PUT", ..Wire::kms("ListKeys", "{}") };
    for wire in [no_target, elsewhere, put, Wire::new("GET", "/", b"")] {
        let answer = world.send(&wire.signed(&root, now)).await;
        assert_eq!((answer.status, answer.fault().as_str()), (400, "UnknownOperationException"));
    }
    // Twice: which one is meant?
    let mut wire = Wire::kms("ListKeys", "{}").signed(&root, now);
    wire.headers.push(("x-amz-target".to_owned(), "TrentService.ListKeys".to_owned()));
    assert_eq!(world.send(&wire).await.status, 400);
}

#[tokio::test]
async fn bodies_that_are_none_are_told() {
    let world = World::new().await;
    let nest = |member: &str| format!("{{\"{member}\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    // In a member that may be anything, and in one that nobody knows.
    let deep = world.call(&Key::root(), "Decrypt", &nest("Recipient")).await;
    assert_eq!((deep.fault().as_str(), deep.message()), ("SerializationException", None));
    assert_eq!(world.call(&Key::root(), "ListKeys", &nest("Unknown")).await.status, 200);
    for (body, message) in [
        ("{", None),
        ("nonsense", None),
        ("{\"KeyId\":\"\u{1}\"}", None),
        ("{}{}", None),
        ("[]", Some("Start of list found where not expected")),
        (r#"{"KeyId":5}"#, Some("NUMBER_VALUE can not be converted to a String")),
        (r#"{"KeyId":"a","Plaintext":true}"#, Some("TRUE_VALUE can not be converted to a Blob")),
        (r#"{"KeyId":"a","Plaintext":"!"}"#, Some("Blob is not valid base64")),
        (r#"{"GrantTokens":{}}"#, Some("Start of structure or map found where not expected.")),
        (r#"{"EncryptionContext":[]}"#, Some("Start of list found where not expected")),
        (r#"{"DryRun":"yes"}"#, Some("STRING_VALUE can not be converted to a Boolean")),
    ] {
        let answer = world.call(&Key::root(), "Encrypt", body).await;
        let code = (answer.status, answer.fault());
        assert_eq!(code, (400, "SerializationException".to_owned()), "{body:.100}");
        assert_eq!(answer.message().as_deref(), message, "{body:.100}");
    }
    // Members that nobody knows are passed over, and an empty body is an empty object.
    assert_eq!(world.call(&Key::root(), "ListKeys", r#"{"New":[{}]}"#).await.status, 200);
    assert_eq!(world.call(&Key::root(), "ListKeys", "").await.status, 200);
}

#[tokio::test]
async fn answers_have_statuses_types_and_ids() {
    let world = World::new().await;
    let key = world.key().await;
    let root = Key::root();
    let body = format!(r#"{{"KeyId":"{key}"}}"#);
    // Nothing to say: no bytes.
    for operation in ["DisableKey", "EnableKey", "EnableKeyRotation", "DisableKeyRotation"] {
        let answer = world.call(&root, operation, &body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{operation}");
        assert_eq!(answer.headers["content-length"], "0");
    }
    // AWS's models say 404 and 409; the service answers 400.
    let alias = format!(r#"{{"AliasName":"alias/a","TargetKeyId":"{key}"}}"#);
    assert_eq!(world.call(&root, "CreateAlias", &alias).await.status, 200);
    let again = world.call(&root, "CreateAlias", &alias).await;
    assert_eq!((again.status, again.fault().as_str()), (400, "AlreadyExistsException"));
    let none = r#"{"KeyId":"11111111-2222-4333-8444-555555555555"}"#;
    let none = world.call(&root, "DescribeKey", none).await;
    assert_eq!((none.status, none.fault().as_str()), (400, "NotFoundException"));
    let wrong = world.call(&root, "GenerateRandom", r#"{"NumberOfBytes":1025}"#).await;
    assert_eq!((wrong.status, wrong.fault().as_str()), (400, "ValidationException"));
    let dry = format!(r#"{{"KeyId":"{key}","KeySpec":"AES_256","DryRun":true}}"#);
    let dry = world.call(&root, "GenerateDataKey", &dry).await;
    assert_eq!((dry.status, dry.fault().as_str()), (400, "DryRunOperationException"));

    let mut ids = HashSet::new();
    let unauthenticated = world.send(&Wire::kms("ListKeys", "{}")).await;
    let found = world.call(&root, "ListKeys", "{}").await;
    let health = world.send(&Wire::new("GET", "/healthz", b"")).await;
    for answer in [again, none, wrong, dry, unauthenticated, found, health] {
        let id = answer.headers["x-amzn-requestid"].clone();
        assert!(uuid::Uuid::parse_str(&id).is_ok_and(|id| id.get_version_num() == 4), "{id}");
        assert!(ids.insert(id));
    }
}
