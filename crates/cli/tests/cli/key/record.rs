//! Every call is recorded in DATA/audit, without what must not be told.

use std::time::Duration;

use sealvol::{Clock as _, SystemClock};
use serde_json::Value;

use super::{ADA, Keyed};
use crate::support::Place;

/// The files of the record, and all their lines.
fn records(place: &Place, data: &str) -> (Vec<String>, Vec<Value>) {
    let mut names: Vec<String> = std::fs::read_dir(place.path(data).join("audit"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let text =
        |name: &String| std::fs::read_to_string(place.path(data).join("audit").join(name)).unwrap();
    let lines: String = names.iter().map(text).collect();
    (names, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn names(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["eventName"].as_str().unwrap()).collect()
}

#[test]
fn every_call_is_recorded_without_secrets() {
    let keyed = Keyed::new();
    let (_, made) = records(&keyed.place, "sealvol-data");
    // The alias is made with the key, in one step, and recorded all the same.
    assert_eq!(names(&made), ["CreateKey", "CreateAlias"]);
    assert_eq!(made[1]["requestParameters"]["aliasName"], "alias/a");
    assert_eq!(made[1]["requestParameters"]["targetKeyId"], keyed.arn);
    assert_eq!(made[1]["resources"][0]["ARN"], keyed.arn);

    keyed.write("in", b"PLAINTEXT-of-the-test");
    keyed.run("encrypt alias/a in --out sealed --context app=web").ok();
    keyed.run("decrypt sealed --out plain --context app=web").ok();
    keyed
        .run(&format!("--as {ADA} decrypt sealed --out no --context app=web"))
        .fails(4, &["AccessDenied"]);
    let grant = format!("grant create alias/a --grantee {ADA} --operations Decrypt");
    let token = keyed.json(&grant)["GrantToken"].as_str().unwrap().to_owned();
    keyed.run("encrypt alias/a in --dry-run").ok();

    let (files, all) = records(&keyed.place, "sealvol-data");
    assert_eq!(files.len(), 1, "each command goes on with the newest file");
    let last = ["Encrypt", "Decrypt", "Decrypt", "DescribeKey", "CreateGrant", "Encrypt"];
    assert_eq!(names(&all)[2..], last);
    assert_eq!(all[3]["requestParameters"]["encryptionContext"]["app"], "web");
    assert_eq!(
        (&all[4]["errorCode"], &all[4]["userIdentity"]["arn"]),
        (&"AccessDenied".into(), &ADA.into())
    );
    assert_eq!(all[7]["errorCode"], "DryRunOperationException");
    let text = serde_json::to_string(&all).unwrap();
    for secret in ["PLAINTEXT-of", "UExBSU5URVhU", token.as_str()] {
        assert!(!text.contains(secret), "{secret} is in the record");
    }
}

#[test]
fn volumes_are_recorded_too_and_in_the_state_directory() {
    let place = Place::new();
    place.run("volume create v --size 1MiB").ok();
    place.run("volume verify v").ok();
    let (_, all) = records(&place, "sealvol-data");
    let want = ["CreateKey", "CreateAlias", "GenerateDataKeyWithoutPlaintext", "Decrypt"];
    for name in want {
        assert!(names(&all).contains(&name), "{name}: {:?}", names(&all));
    }
    // The KMS of elsewhere, the record of here.
    place.run("--data here --kms file:sealvol-data/kms key list").ok();
    assert_eq!(records(&place, "sealvol-data").1.len(), all.len());
    assert!(names(&records(&place, "here").1).contains(&"ListKeys"));
    // Nothing is made for a KMS that is not there.
    place.run("--data none key list").fails(7, &["no KMS"]);
    assert!(!place.path("none").exists());
}

#[test]
fn no_call_goes_unrecorded() {
    let keyed = Keyed::new();
    let audit = keyed.place.path("sealvol-data").join("audit");
    std::fs::remove_dir_all(&audit).unwrap();
    std::fs::write(&audit, "a file in its place").unwrap();
    keyed.run("disable alias/a").fails(1, &["sealvol-data/audit", "cannot be written", "--data"]);
    std::fs::remove_file(&audit).unwrap();
    assert_eq!(keyed.json("describe alias/a")["KeyMetadata"]["Enabled"], true);
}

/// Records wait for others to be written with, but not when the command ends.
#[test]
fn the_record_does_not_keep_commands_waiting() {
    let keyed = Keyed::new();
    let clock = SystemClock::new();
    let shortest = (0..20)
        .map(|_| {
            let started = clock.monotonic();
            keyed.run("describe alias/a").ok();
            clock.monotonic() - started
        })
        .min()
        .unwrap();
    assert!(shortest < Duration::from_millis(150), "{shortest:?}");
}
