//! Keys, states, names, policies, tags and rotation.

use sealvol::{Clock as _, SystemClock};
use serde_json::json;

use super::{ADA, Keyed};

#[test]
fn a_key_is_made_with_everything() {
    let keyed = Keyed::new();
    let policy = keyed.run("policy show default").ok();
    keyed.write("policy.json", policy.as_bytes());
    let made = keyed.json(
        "create --alias alias/b --description backups --policy policy.json --tag team=storage,stage= \
         --multi-region --spec SYMMETRIC_DEFAULT --usage ENCRYPT_DECRYPT",
    );
    assert_eq!(made["aliases"], json!(["alias/b"]));
    let key = keyed.json("describe alias/b")["KeyMetadata"].clone();
    assert_eq!(key["Arn"], made["arn"]);
    assert_eq!(key["MultiRegion"], true);
    assert_eq!(key["Description"], "backups");
    let tags = keyed.json("tags alias/b")["Tags"].clone();
    assert_eq!(tags[0], json!({ "TagKey": "stage", "TagValue": "" }));
    assert_eq!(tags[1], json!({ "TagKey": "team", "TagValue": "storage" }));

    keyed.run("create --spec RSA_2048").fails(2, &["ValidationException", "KeyUsage"]);
    assert!(keyed.run("create --spec RSA_2048 --usage SIGN_VERIFY").ok().contains("created arn:"));
    keyed.run("create --spec ROT_13").fails(2, &["ValidationException", "keySpec"]);
    // A refused alias leaves no key behind.
    let keys = keyed.run("list").ok().lines().count();
    keyed.run("create --alias alias/b").fails(5, &["AlreadyExistsException", "alias update"]);
    keyed.run("create --alias alias/aws/x").fails(4, &["NotAuthorizedException", "another name"]);
    assert_eq!(keyed.run("list").ok().lines().count(), keys);
}

#[test]
fn keys_are_described_in_both_forms() {
    let keyed = Keyed::new();
    let text = keyed.run("describe alias/a").ok();
    for part in [&keyed.arn, "state        Enabled", "SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT", " UTC"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let alias_arn = keyed.arn.replace(&format!("key/{}", keyed.id), "alias/a");
    for which in [keyed.id.as_str(), &keyed.arn, "alias/a", &alias_arn] {
        assert_eq!(keyed.json(&format!("describe {which}"))["KeyMetadata"]["Arn"], keyed.arn);
        assert_eq!(keyed.json(&format!("disable {which}"))["state"], "Disabled");
        assert_eq!(keyed.json(&format!("enable {which}"))["state"], "Enabled");
        // An operation that takes ids alone.
        assert_eq!(keyed.json(&format!("description {which} new")), json!({}));
    }
    assert!(keyed.run("description alias/a words").ok().contains("described alias/a"));
    assert!(keyed.run("list").ok().contains("\"words\""));
    keyed.run("describe alias/none").fails(7, &["NotFoundException", "key list"]);
}

#[test]
fn deletion_is_scheduled_and_cancelled() {
    let keyed = Keyed::new();
    keyed.run("schedule-deletion alias/a").fails(2, &["--days"]);
    keyed.run("schedule-deletion alias/a --days 6").fails(2, &["ValidationException"]);
    let text = keyed.run("schedule-deletion alias/a --days 7").ok();
    assert!(text.contains(&keyed.arn) && text.contains(" UTC"), "{text}");
    assert!(text.contains("sealvol key cancel-deletion"), "{text}");
    keyed.run("schedule-deletion alias/a --days 7").fails(4, &["KMSInvalidStateException"]);
    assert!(keyed.run("describe alias/a").ok().contains("cancel-deletion"));
    keyed.run("enable alias/a").fails(4, &["pending deletion", "cancel-deletion"]);
    let kept = keyed.run("cancel-deletion alias/a").ok();
    assert!(kept.contains("kept arn:") && kept.contains("sealvol key enable"), "{kept}");
    keyed.run("cancel-deletion alias/a").fails(4, &["not pending deletion"]);

    let scheduled = keyed.json("schedule-deletion alias/a --days 30");
    assert_eq!(scheduled["KeyState"], "PendingDeletion");
    assert!(scheduled["DeletionDate"].is_number());
    assert_eq!(keyed.json("cancel-deletion alias/a"), json!({ "KeyId": keyed.arn }));
    keyed.run("encrypt alias/a -").fails(2, &["plaintext"]);
    keyed.write("in", b"x");
    keyed.run("encrypt alias/a in").fails(4, &["DisabledException", "sealvol key enable"]);
}

#[test]
fn aliases_are_made_moved_listed_and_deleted() {
    let keyed = Keyed::new();
    let other = keyed.json("create")["key_id"].as_str().unwrap().to_owned();
    assert!(keyed.run("alias create alias/b alias/a").ok().contains("alias/b names alias/a"));
    assert_eq!(keyed.json(&format!("alias create alias/c {other}")), json!({}));
    keyed.run("alias create alias/b alias/a").fails(5, &["AlreadyExistsException", "alias update"]);
    assert!(keyed.run(&format!("alias update alias/b {other}")).ok().contains("names"));
    assert_eq!(keyed.json("describe alias/b")["KeyMetadata"]["KeyId"], other);
    let of_one = keyed.json("alias list alias/a");
    assert_eq!(of_one["Aliases"].as_array().unwrap().len(), 1);
    assert_eq!(of_one["Truncated"], false);
    assert_eq!(keyed.run("alias list").ok().lines().count(), 3);
    assert!(keyed.run("alias delete alias/b").ok().contains("deleted alias/b"));
    assert_eq!(keyed.json("alias delete alias/c"), json!({}));
    keyed.run("alias delete alias/c").fails(7, &["NotFoundException"]);
    keyed.run("alias create nonsense alias/a").fails(2, &["ValidationException"]);
}

/// More than one page of the KMS's.
#[test]
fn lists_have_every_page() {
    let keyed = Keyed::new();
    for tag in 0..45 {
        keyed
            .run(&format!(
                "grant create alias/a --grantee {ADA} --operations Decrypt --name g{tag}"
            ))
            .ok();
    }
    for name in 0..8 {
        keyed
            .run(&format!(
                "grant create alias/a --grantee {ADA} --operations Encrypt --name e{name}"
            ))
            .ok();
    }
    // The KMS's own default page has 50.
    assert_eq!(keyed.json("grant list alias/a")["Grants"].as_array().unwrap().len(), 53);
}

#[test]
fn policies_are_shown_read_and_replaced() {
    let keyed = Keyed::new();
    let default = keyed.run("policy show default").ok();
    assert!(default.contains("arn:aws:iam::000000000000:root"), "{default}");
    assert_eq!(keyed.run("policy get alias/a").ok(), default);
    assert_eq!(keyed.run("policy list alias/a").ok(), "default\n");
    assert_eq!(keyed.json("policy list alias/a")["PolicyNames"], json!(["default"]));
    assert_eq!(keyed.feed("policy put alias/a -", default.as_bytes()).0, 0);
    let mut policy: serde_json::Value = serde_json::from_str(&default).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({
        "Effect": "Allow", "Principal": { "AWS": ADA }, "Action": "kms:Encrypt", "Resource": "*"
    }));
    keyed.write("wider", policy.to_string().as_bytes());
    keyed.write("in", b"hello");
    keyed.run(&format!("--as {ADA} encrypt alias/a in --out no")).fails(4, &["AccessDenied"]);
    assert_eq!(keyed.json("policy put alias/a wider"), json!({}));
    let text = keyed.json("policy get alias/a")["Policy"].as_str().unwrap().to_owned();
    assert_eq!(text, policy.to_string());
    keyed.run(&format!("--as {ADA} encrypt alias/a in --out yes")).ok();
    keyed.run(&format!("--as {ADA} decrypt yes --out plain")).fails(4, &["AccessDenied"]);

    // A policy that nobody could change again.
    policy["Statement"].as_array_mut().unwrap().remove(0);
    keyed.write("locked", policy.to_string().as_bytes());
    let words = ["MalformedPolicyDocumentException", "--bypass-policy-lockout-check"];
    keyed.run("policy put alias/a locked").fails(2, &words);
    keyed.run("create --policy locked").fails(2, &words);
    keyed.run("policy put alias/a locked --bypass-policy-lockout-check").ok();
    keyed.run("policy get alias/a").fails(4, &["AccessDeniedException", "key policy"]);
}

#[test]
fn tags_come_and_go() {
    let keyed = Keyed::new();
    assert!(keyed.run("tags alias/a").ok().contains("no tags"));
    assert!(keyed.run("tag alias/a team=storage stage=prod").ok().contains("tagged alias/a"));
    assert_eq!(keyed.run("tags alias/a").ok(), "stage=prod\nteam=storage\n");
    assert_eq!(keyed.json("untag alias/a stage none"), json!({}));
    assert_eq!(keyed.json("tag alias/a team=core"), json!({}));
    assert_eq!(keyed.run("tags alias/a").ok(), "team=core\n");
    assert!(keyed.run("untag alias/a team").ok().contains("untagged"));
    keyed.run("tag alias/a aws:x=1").fails(2, &["TagException"]);
    keyed.run("tag alias/a team").fails(2, &["NAME=VALUE"]);
}

#[test]
fn keys_rotate_and_old_ciphertexts_open() {
    let keyed = Keyed::new();
    keyed.write("in", b"before");
    keyed.run("encrypt alias/a in --out old").ok();
    assert!(keyed.run("rotation status alias/a").ok().contains("does not rotate"));
    assert_eq!(keyed.json("rotation enable alias/a --period-days 90"), json!({}));
    let status = keyed.json("rotation status alias/a");
    assert_eq!(
        (&status["KeyRotationEnabled"], &status["RotationPeriodInDays"]),
        (&json!(true), &json!(90))
    );
    assert!(keyed.run("rotation status alias/a").ok().contains("every 90 days, next "));
    assert!(keyed.run("rotation enable alias/a").ok().contains("rotates by itself"));
    keyed.run("rotation enable alias/a --period-days 89").fails(2, &["ValidationException"]);
    assert!(keyed.run("rotation disable alias/a").ok().contains("no longer"));
    assert!(keyed.run("rotation list alias/a").ok().contains("no rotations yet"));

    assert!(keyed.run("rotate alias/a").ok().contains("rotating arn:"));
    let rotations =
        |all: &str| keyed.json(&format!("rotation list alias/a {all}"))["Rotations"].clone();
    // Rotation has a phase of its own, at most a second by default.
    let clock = SystemClock::new();
    let started = clock.monotonic();
    while rotations("").as_array().unwrap().is_empty() {
        assert!((clock.monotonic() - started).as_secs() < 60, "the rotation does not end");
    }
    assert_eq!(rotations("")[0]["RotationType"], "ON_DEMAND");
    assert_eq!(rotations("--all").as_array().unwrap().len(), 2);
    assert!(keyed.run("rotation list alias/a --all").ok().contains("made with the key"));
    keyed.run("decrypt old --out back").ok();
    assert_eq!(keyed.read("back"), b"before");
    assert!(keyed.json("rotate alias/a")["KeyId"].as_str().unwrap().ends_with(&keyed.id));
}
