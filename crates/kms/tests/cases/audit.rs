//! Audit records (kms.md, section 8): their shape, and what they never hold.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sealvol_kms::model::*;
use sealvol_kms::{Origin, Requester};
use serde_json::{Value, json};

use crate::support::*;

/// The one record of what `call` does.
#[track_caller]
fn record_of<T>(world: &World, call: impl FnOnce() -> T) -> Value {
    world.records.take();
    drop(call());
    let mut records = world.records.take();
    assert_eq!(records.len(), 1, "{records:#?}");
    records.remove(0)
}

fn members(record: &Value) -> Vec<&str> {
    record.as_object().unwrap().keys().map(String::as_str).collect()
}

fn resource(key: &str) -> Value {
    json!({ "accountId": OWN, "type": "AWS::KMS::Key", "ARN": key })
}

/// A call over the network, so that everything is known.
fn from_afar(world: &World) -> sealvol_kms::Session {
    let origin = Origin {
        source_ip: Some("192.0.2.7".parse().unwrap()),
        user_agent: Some("aws-cli/2".to_owned()),
        access_key_id: Some("AKIAIOSFODNN7EXAMPLE".to_owned()),
        request_id: Some("5f5f5f5f-0000-4000-8000-000000000001".to_owned()),
        secure_transport: true,
    };
    let statements = [to_me("Allow", &["kms:*"])];
    let requester = requester_with(&user("u"), &statements);
    world.kms.session(Requester { origin: Some(Arc::new(origin)), ..requester })
}

#[test]
fn a_successful_call() {
    let world = World::new();
    let key = world.key();
    let sealed = world.sealed(&key, &volume("vol-1"));
    let caller = from_afar(&world);
    let mut record =
        record_of(&world, || caller.decrypt(&decrypt(&sealed, &volume("vol-1"))).unwrap());
    let event_id = record["eventID"].take();
    assert_eq!(event_id.as_str().map(str::len), Some(36));
    assert_eq!(
        record,
        json!({
            "eventVersion": "1.08",
            "userIdentity": {
                "type": "IAMUser",
                "principalId": OWN,
                "arn": user("u"),
                "accountId": OWN,
                "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
                "userName": "u",
            },
            "eventTime": "2030-03-17T17:46:40Z",
            "eventSource": "kms.amazonaws.com",
            "eventName": "Decrypt",
            "awsRegion": "us-east-1",
            "sourceIPAddress": "192.0.2.7",
            "userAgent": "aws-cli/2",
            "requestParameters": {
                "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
                "encryptionContext": { "aws:ebs:id": "vol-1" },
            },
            "responseElements": null,
            "requestID": "5f5f5f5f-0000-4000-8000-000000000001",
            "eventID": null,
            "readOnly": true,
            "resources": [resource(&key)],
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": OWN,
            "eventCategory": "Management",
        })
    );
}

#[test]
fn a_denied_call() {
    let world = World::new();
    let key = world.key();
    let caller = world.powerless(&user("u"));
    let record = record_of(&world, || caller.encrypt(&encrypt(&key, b"x", &nothing())));
    assert_eq!(record["errorCode"], "AccessDenied");
    let message = record["errorMessage"].as_str().unwrap();
    assert!(message.starts_with(&format!("User: {} is not authorized", user("u"))), "{message}");
    assert_eq!(record["resources"], json!([resource(&key)]));
    assert_eq!(record["requestParameters"]["keyId"], key.as_str());
    assert_eq!(record["responseElements"], Value::Null);
}

#[test]
fn failures_carry_their_exception() {
    let world = World::new();
    let key = world.key();
    let sealed = world.sealed(&key, &nothing());
    let root = world.root();
    let record = record_of(&world, || root.decrypt(&decrypt(&sealed, &volume("v"))));
    assert_eq!(record["errorCode"], "InvalidCiphertextException");
    assert!(!members(&record).contains(&"errorMessage"));
    let describe = DescribeKeyRequest { key_id: UNKNOWN.to_owned(), grant_tokens: None };
    let record = record_of(&world, || root.describe_key(&describe));
    assert_eq!(record["errorCode"], "NotFoundException");
    assert!(!members(&record).contains(&"resources"));
    // A refused change answers nothing.
    world.disable(&key);
    let record = record_of(&world, || root.rotate_key_on_demand(&KeyRequest::new(&key)));
    assert_eq!(record["errorCode"], "DisabledException");
    assert_eq!((&record["responseElements"], &record["readOnly"]), (&Value::Null, &json!(false)));
}

#[test]
fn a_dry_run_is_recorded_as_one() {
    let world = World::new();
    let key = world.key();
    let dry_run = Some(true);
    let request = GenerateDataKeyRequest { dry_run, ..generate(&key, 64, &volume("vol-1")) };
    let record = record_of(&world, || world.root().generate_data_key_without_plaintext(&request));
    assert_eq!(record["errorCode"], "DryRunOperationException");
    assert_eq!(
        record["requestParameters"],
        json!({
            "keyId": key,
            "numberOfBytes": 64,
            "encryptionContext": { "aws:ebs:id": "vol-1" },
            "dryRun": true,
        })
    );
    let request = CreateGrantRequest { dry_run, ..grant(&key, &user("u"), &["Decrypt"]) };
    let record = record_of(&world, || world.root().create_grant(&request));
    assert_eq!(record["requestParameters"]["dryRun"], true);
    assert_eq!(record["responseElements"], Value::Null);
}

#[test]
fn create_grant_answers_with_ids() {
    let world = World::new();
    let key = world.key();
    let request = CreateGrantRequest {
        constraints: subset(&volume("vol-1")),
        retiring_principal: Some("ec2.us-east-1.amazonaws.com".to_owned()),
        name: Some("attachment".to_owned()),
        ..grant(&key, "fargate.us-east-1.amazonaws.com", &["Decrypt", "RetireGrant"])
    };
    let mut made = None;
    let record = record_of(&world, || made = world.root().create_grant(&request).ok());
    let made = made.unwrap();
    assert_eq!(
        record["requestParameters"],
        json!({
            "keyId": key,
            "granteePrincipal": "fargate.us-east-1.amazonaws.com",
            "retiringPrincipal": "ec2.us-east-1.amazonaws.com",
            "operations": ["Decrypt", "RetireGrant"],
            "constraints": { "encryptionContextSubset": { "aws:ebs:id": "vol-1" } },
            "name": "attachment",
        })
    );
    assert_eq!(record["responseElements"], json!({ "grantId": made.grant_id, "keyId": key }));
    assert_eq!(record["readOnly"], false);
    assert_eq!(record["resources"], json!([resource(&key)]));
}

#[test]
fn retire_grant_names_the_grant_in_the_additional_data() {
    let world = World::new();
    let key = world.key();
    for by_token in [true, false] {
        let made = world.root().create_grant(&grant(&key, &user("u"), &["Decrypt"])).unwrap();
        let request = match by_token {
            true => retire(&made.grant_token),
            false => retire_by_id(&key, &made.grant_id),
        };
        let record = record_of(&world, || world.root().retire_grant(&request).unwrap());
        assert_eq!(record["requestParameters"], Value::Null);
        assert_eq!(record["additionalEventData"], json!({ "grantId": made.grant_id }));
        assert_eq!(record["responseElements"], Value::Null);
        assert_eq!(record["resources"], json!([resource(&key)]));
        assert_eq!(record["readOnly"], false);
    }
}

#[test]
fn re_encrypt_names_two_keys() {
    let world = World::new();
    let (from, to) = (world.key(), world.key());
    let sealed = world.sealed(&from, &volume("vol-1"));
    let request = re_encrypt(&sealed, &volume("vol-1"), (&to, &volume("vol-2")));
    let record = record_of(&world, || world.root().re_encrypt(&request).unwrap());
    assert_eq!(record["resources"], json!([resource(&from), resource(&to)]));
    assert_eq!(
        record["requestParameters"],
        json!({
            "destinationKeyId": to,
            "sourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "destinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "sourceEncryptionContext": { "aws:ebs:id": "vol-1" },
            "destinationEncryptionContext": { "aws:ebs:id": "vol-2" },
        })
    );
    assert_eq!((&record["readOnly"], &record["responseElements"]), (&json!(true), &Value::Null));
}

#[test]
fn services_are_recorded_as_services() {
    let world = World::new();
    let name = "fargate.us-east-1.amazonaws.com";
    let key = world.key();
    let sealed = world.sealed(&key, &nothing());
    world.root().create_grant(&grant(&key, name, &["Decrypt"])).unwrap();
    let caller = world.service(name);
    let record = record_of(&world, || caller.decrypt(&decrypt(&sealed, &nothing())).unwrap());
    assert_eq!(record["userIdentity"], json!({ "type": "AWSService", "invokedBy": name }));
    assert_eq!((&record["sourceIPAddress"], &record["userAgent"]), (&json!(name), &json!(name)));
    assert_eq!(record["sharedEventID"].as_str().map(str::len), Some(36));
    assert_eq!(record["recipientAccountId"], OWN);
    assert_eq!(record["resources"], json!([resource(&key)]));
}

#[test]
fn calls_through_a_service_name_it() {
    let world = World::new();
    let key = world.key();
    let via = "ec2.us-east-1.amazonaws.com".to_owned();
    let caller = world.kms.session(Requester {
        via_service: Some(via.clone()),
        ..requester_with(&user("u"), &[to_me("Allow", &["kms:*"])])
    });
    let record = record_of(&world, || caller.encrypt(&encrypt(&key, b"x", &nothing())).unwrap());
    assert_eq!(record["userIdentity"]["arn"], user("u"));
    assert_eq!(record["userIdentity"]["invokedBy"], via);
    assert_eq!(record["sourceIPAddress"], via);
}

#[test]
fn other_accounts_learn_of_what_succeeded_alone() {
    let world = World::new();
    let key = world.key_with_policy(&[delegation(OWN), delegation(OTHER)]);
    let outsider = world.unlimited(&foreign_user("u"));
    world.records.take();
    outsider.encrypt(&encrypt(&key, b"x", &nothing())).unwrap();
    let records = world.records.take();
    let mut accounts: Vec<_> = records.iter().map(|r| r["recipientAccountId"].clone()).collect();
    accounts.sort_by_key(Value::to_string);
    assert_eq!(accounts, [json!(OWN), json!(OTHER)]);
    assert_eq!(records[0]["sharedEventID"], records[1]["sharedEventID"]);
    assert!(records[0]["sharedEventID"].is_string());
    assert_ne!(records[0]["eventID"], records[1]["eventID"]);
    assert_eq!(records[0]["requestID"], records[1]["requestID"]);
    let closed = world.key();
    let record = record_of(&world, || outsider.encrypt(&encrypt(&closed, b"x", &nothing())));
    assert_eq!(
        (&record["errorCode"], &record["recipientAccountId"]),
        (&json!("AccessDenied"), &json!(OTHER))
    );
}

/// `readOnly` for all cryptography and reading; answers for what answers with more than secrets.
#[test]
fn management_answers_and_reading_does_not() {
    let world = World::new();
    let made = record_of(&world, || world.key());
    assert_eq!(made["eventName"], "CreateKey");
    let metadata = &made["responseElements"]["keyMetadata"];
    assert_eq!(metadata["keyState"], "Enabled");
    assert_eq!(metadata["aWSAccountId"], OWN);
    let key = metadata["arn"].as_str().unwrap().to_owned();
    assert_eq!(made["resources"], json!([resource(&key)]));
    let root = world.root();
    let record = record_of(&world, || {
        let request = GetKeyPolicyRequest { key_id: key.clone(), policy_name: None };
        drop(root.get_key_policy(&request).unwrap());
    });
    assert_eq!((&record["readOnly"], &record["responseElements"]), (&json!(true), &Value::Null));
    let record = record_of(&world, || root.schedule_key_deletion(&deletion(&key, 7)).unwrap());
    assert_eq!(record["readOnly"], false);
    assert_eq!(record["responseElements"]["keyId"], key.as_str());
    assert_eq!(record["responseElements"]["deletionDate"], "2030-03-24T17:46:40Z");
    let record = record_of(&world, || root.cancel_key_deletion(&KeyRequest::new(&key)).unwrap());
    assert_eq!(record["responseElements"], json!({ "keyId": key }));
    let record = record_of(&world, || root.enable_key(&KeyRequest::new(&key)).unwrap());
    assert_eq!((&record["readOnly"], &record["responseElements"]), (&json!(false), &Value::Null));
}

/// Whatever the call and whatever comes of it.
#[test]
fn no_record_holds_a_secret_a_ciphertext_or_a_token() {
    let world = World::new();
    let key = world.key();
    let (root, stranger) = (world.root(), world.powerless(&user("stranger")));
    let plaintext = b"a plaintext that nobody may read in a log";
    let mut secrets: Vec<Vec<u8>> = vec![plaintext.to_vec()];
    let mut texts: Vec<String> = Vec::new();
    for caller in [&root, &stranger] {
        for dry_run in [None, Some(true)] {
            let sealed = world.root().encrypt(&encrypt(&key, plaintext, &nothing())).unwrap();
            let sealed = sealed.ciphertext_blob.0;
            let made = root.create_grant(&grant(&key, &user("g"), &["Decrypt"])).unwrap();
            let tokens = tokens(&made.grant_token);
            texts.push(made.grant_token.clone());
            secrets.push(sealed.clone());
            let request = EncryptRequest {
                dry_run,
                grant_tokens: tokens.clone(),
                ..encrypt(&key, plaintext, &nothing())
            };
            if let Ok(answer) = caller.encrypt(&request) {
                secrets.push(answer.ciphertext_blob.0);
            }
            for context in [nothing(), volume("wrong")] {
                let request = DecryptRequest {
                    dry_run,
                    grant_tokens: tokens.clone(),
                    ..decrypt_by(&key, &sealed, &context)
                };
                drop(caller.decrypt(&request));
                let request = re_encrypt(&sealed, &context, (&key, &nothing()));
                let request = ReEncryptRequest { dry_run, grant_tokens: tokens.clone(), ..request };
                if let Ok(answer) = caller.re_encrypt(&request) {
                    secrets.push(answer.ciphertext_blob.0);
                }
            }
            let request = GenerateDataKeyRequest {
                dry_run,
                grant_tokens: tokens.clone(),
                ..generate(&key, 64, &nothing())
            };
            let generated = [
                caller.generate_data_key(&request),
                caller.generate_data_key_without_plaintext(&request),
            ];
            for answer in generated.into_iter().flatten() {
                secrets.push(answer.ciphertext_blob.0);
                secrets.extend(answer.plaintext.map(|p| p.expose_secret().to_vec()));
            }
            let request = GenerateRandomRequest { number_of_bytes: Some(32), ..Default::default() };
            if let Ok(answer) = caller.generate_random(&request) {
                secrets.push(answer.plaintext.expose_secret().to_vec());
            }
            let request = CreateGrantRequest {
                dry_run,
                grant_tokens: tokens,
                ..grant(&key, &user("h"), &["Decrypt"])
            };
            if let Ok(answer) = caller.create_grant(&request) {
                texts.push(answer.grant_token);
            }
            drop(caller.retire_grant(&RetireGrantRequest { dry_run, ..retire(&made.grant_token) }));
            drop(caller.retire_grant(&retire("not-a-token-but-none-the-less")));
        }
    }
    texts.push("not-a-token-but-none-the-less".to_owned());
    drop(root.encrypt(&encrypt(&key, &[b'q'; 4097], &nothing())));
    texts.push("qqqqqqqq".to_owned());
    for secret in &secrets {
        texts.push(STANDARD.encode(secret));
        texts.push(URL_SAFE_NO_PAD.encode(secret));
        texts.push(hex::encode(secret));
        // As JSON writes bytes.
        texts.push(serde_json::to_string(&secret[..8]).unwrap());
    }
    texts.push(String::from_utf8_lossy(plaintext).into_owned());
    let records = world.records.all();
    assert!(records.len() > 50 && secrets.len() > 10);
    let log = format!("{}{records:?}", serde_json::to_string(&records).unwrap());
    for text in texts {
        assert!(!log.contains(&text), "a record holds {text}");
    }
}

/// AWS keeps RetireGrant's parameters out of its records: a token in the wrong member does not come
/// in by way of the error's message.
#[test]
fn a_token_that_is_given_as_an_id_is_not_recorded() {
    let world = World::new();
    let key = world.key();
    let made = world.root().create_grant(&grant(&key, &user("u"), &["Decrypt"])).unwrap();
    let token = made.grant_token;
    let root = world.root();
    refused(root.retire_grant(&retire_by_id(&token, &"0".repeat(64))), "InvalidArnException");
    refused(root.retire_grant(&retire_by_id(&key, &token)), "ValidationException");
    let log = serde_json::to_string(&world.records.all()).unwrap();
    assert!(!log.contains(&token), "{log}");
}
