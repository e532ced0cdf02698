//! What nobody should do.

use super::{Keyed, json};

const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

#[test]
fn inputs_that_are_too_long_or_empty() {
    let keyed = Keyed::new();
    keyed.write("max", &[7; 4096]);
    keyed.write("more", &[7; 4097]);
    keyed.write("empty", b"");
    keyed.run("encrypt alias/a max --out sealed").ok();
    keyed.run("decrypt sealed --out back").ok();
    assert_eq!(keyed.read("back"), [7; 4096]);
    keyed.run("encrypt alias/a more --out no").fails(2, &["4096", "generate-data-key"]);
    keyed.run("encrypt alias/a empty --out no").fails(2, &["ValidationException"]);
    // Endless input is not read to its end.
    keyed.run("encrypt alias/a /dev/zero --out no").fails(2, &["4096"]);
    keyed.run("decrypt /dev/zero --out no").fails(2, &["6144"]);
    keyed.run("policy put alias/a /dev/zero").fails(2, &["too many"]);
    keyed.run("decrypt max --out no").fails(3, &["InvalidCiphertextException"]);
    keyed.run("encrypt alias/a none --out no").fails(7, &["none cannot be read", "check its path"]);
    keyed.run("encrypt alias/a . --out no").fails(1, &["cannot be read"]);
    assert!(!keyed.place.path("no").exists());
}

#[test]
fn pairs_that_are_none() {
    let keyed = Keyed::new();
    keyed.write("in", b"x");
    for line in [
        "encrypt alias/a in --context app",
        "create --tag team",
        "tag alias/a =x",
        "grant create alias/a --grantee arn:aws:iam::000000000000:user/u --operations Decrypt \
         --context-equals a",
    ] {
        keyed.run(line).fails(2, &["NAME=VALUE"]);
    }
    keyed.run("encrypt alias/a in --context a=1 --context a=2 --out no").fails(2, &["once"]);
}

#[test]
fn keys_that_are_not_there() {
    let keyed = Keyed::new();
    keyed.write("in", b"x");
    for which in [UNKNOWN, "alias/none", "no-key"] {
        for line in [
            "describe {}",
            "disable {}",
            "schedule-deletion {} --days 7",
            "cancel-deletion {}",
            "description {} x",
            "alias create alias/z {}",
            "policy get {}",
            "policy put {} in",
            "tag {} a=b",
            "untag {} a",
            "tags {}",
            "rotation enable {}",
            "rotation disable {}",
            "rotation status {}",
            "rotation list {}",
            "rotate {}",
            "grant list {}",
            "encrypt {} in --out no",
            "generate-data-key {} --without-plaintext --ciphertext-out no",
        ] {
            let line = line.replace("{}", which);
            keyed.run(&line).fails(7, &["NotFoundException", "key list"]);
        }
    }
    let told = keyed.run(&format!("--json tags {UNKNOWN}"));
    assert_eq!((json(&told.err)["exit_code"].as_u64(), told.out.as_str()), (Some(7), ""));
    let foreign = keyed.arn.replace("us-east-1", "eu-north-9");
    keyed.run(&format!("describe {foreign}")).fails(7, &["eu-north-9"]);
}

#[test]
fn policies_that_are_none() {
    let keyed = Keyed::new();
    keyed.write("text", b"no policy");
    keyed.write("latin", b"\xe9");
    keyed.write("huge", format!("{{\"Id\":\"{}\"}}", "x".repeat(200_000)).as_bytes());
    keyed.run("policy put alias/a text").fails(2, &["MalformedPolicyDocumentException", "show"]);
    keyed.run("create --policy text").fails(2, &["MalformedPolicyDocumentException"]);
    keyed.run("policy put alias/a latin").fails(2, &["UTF-8"]);
    keyed.run("policy put alias/a huge").fails(4, &["LimitExceededException"]);
    keyed.run("policy show other").fails(2, &["default"]);
    assert_eq!(keyed.run("list").ok().lines().count(), 1);
}
