//! Each mistake its exit code and a message that says what to do.

use crate::support::Place;

#[test]
fn a_size_that_is_no_multiple_of_a_block() {
    let place = Place::new();
    place.run("volume create v --size 5000").fails(2, &["v", "use 4096 or 8192"]);
    assert_eq!(place.names(), ["sealvol-data"]);
}

#[test]
fn a_path_that_is_taken() {
    let place = Place::new();
    place.run("volume create v --size 1MiB").ok();
    let before = std::fs::read(place.path("v")).unwrap();
    place.run("volume create v --size 1MiB").fails(5, &["is taken", "cause:", "exists already"]);
    assert!(std::fs::read(place.path("v")).unwrap() == before);
}

#[test]
fn files_that_are_missing_or_no_volume() {
    let place = Place::new();
    place.run("volume create v --size 1MiB").ok();
    place.run("volume info none").fails(7, &["check the path"]);
    place.run("volume verify none").fails(7, &["no such file", "volume create"]);
    place.run("volume export none x").fails(7, &["no such file"]);
    place.run("volume serve none --nbd unix:s").fails(7, &["no such file"]);
    place.run("volume import none w").fails(7, &["import none", "check the path"]);
    std::fs::write(place.path("text"), "hello").unwrap();
    place.run("volume info text").fails(3, &["not a sealvol volume"]);
    place.run("volume verify text").fails(3, &["not a sealvol volume"]);
    place.run("volume create none/v --size 1MiB").fails(7, &["directory does not exist"]);
    assert_eq!(place.names(), ["sealvol-data", "text", "v"]);
}

#[test]
fn keys_that_do_not_exist_are_disabled_or_of_another_kms() {
    let place = Place::new();
    place.run("volume create v --size 1MiB").ok();
    place.run("--key alias/none volume create w --size 1MiB").fails(7, &["alias/none", "key list"]);
    place.run("key disable alias/none").fails(7, &["alias/none", "key list"]);
    place.run("key disable alias/sealvol").ok();
    let told = place.run("volume verify v");
    told.fails(4, &["sealvol key enable arn:aws:kms:", "data is intact", "DisabledException"]);
    place.run("volume create w --size 1MiB").fails(4, &["sealvol key enable"]);
    place.run("key enable alias/sealvol").ok();
    place.run("volume verify v").ok();

    // Another KMS, and none at all: nothing is made for a verb that only opens.
    place.run("--data other key create").ok();
    place.run("--data other volume verify v").fails(4, &["this KMS has no key", "--data"]);
    place.run("--data empty volume verify v").fails(7, &["no KMS in empty/kms", "--data"]);
    assert_eq!(place.names(), ["other", "sealvol-data", "v"]);
}

#[test]
fn passphrases_that_are_wrong_missing_or_not_wanted() {
    let place = Place::new();
    std::fs::write(place.path("right"), "correct horse\n").unwrap();
    std::fs::write(place.path("wrong"), "battery staple\n").unwrap();
    place.run("--passphrase-file right volume create v --size 1MiB").ok();
    place.run("--passphrase-file right volume verify v").ok();
    place.run("--passphrase-file wrong volume verify v").fails(4, &["passphrase", "try again"]);
    place.run("--passphrase-file none volume verify v").fails(7, &["none", "check its path"]);
    place.run("volume verify v").fails(2, &["sealed with a passphrase"]);
}

#[test]
fn a_newer_format() {
    let place = Place::new();
    place.run("volume create v --size 1MiB").ok();
    let mut bytes = std::fs::read(place.path("v")).unwrap();
    for copy in [0, 1 << 20] {
        bytes[copy + 8] = 9;
    }
    std::fs::write(place.path("v"), bytes).unwrap();
    place.run("volume info v").fails(8, &["newer sealvol"]);
    place.run("volume verify v").fails(8, &["format version 9", "newer sealvol"]);
}

#[test]
fn damage_is_found_told_and_gone_round() {
    let place = Place::new();
    let mut image = place.image("raw", 1 << 20);
    place.run("volume import raw v").ok();
    let mut bytes = std::fs::read(place.path("v")).unwrap();
    bytes[(2 << 20) + 50 * 4096] ^= 1;
    std::fs::write(place.path("v"), bytes).unwrap();
    let told = place.run("volume verify v");
    told.fails(3, &["v is damaged", "export --rescue"]);
    assert!(told.out.contains("LBA ") && told.out.contains("byte 2301952 "), "{told:?}");
    let json: serde_json::Value =
        serde_json::from_str(&place.run("volume verify v --json").out).unwrap();
    assert_eq!(json["sound"], false);
    assert_eq!(json["problems"][0]["file_offset"], 2_301_952);
    place.run("volume export v out").fails(3, &["cannot be read", "--rescue"]);
    assert!(!place.path("out").exists());
    place.run("volume export v out --rescue").fails(3, &["not all of it", "LBA "]);
    let lba: usize = json["problems"][0]["what"].as_str().unwrap()[4..].parse().unwrap();
    image[lba * 4096..(lba + 1) * 4096].fill(0);
    assert!(std::fs::read(place.path("out")).unwrap() == image);
}

#[test]
fn pins_that_do_not_hold() {
    let place = Place::new();
    place.run("volume create v --size 1MiB --name vol-1 --context tenant=blue").ok();
    let info: serde_json::Value =
        serde_json::from_str(&place.run("volume info v --json").ok()).unwrap();
    let (id, arn) = (info["id"].as_str().unwrap(), info["keys"][0]["key_arn"].as_str().unwrap());
    let right = format!(
        "--expect-id {id} --expect-key {arn} --expect-context aws:ebs:id=vol-1,tenant=blue"
    );
    place.run(&format!("volume verify v {right}")).ok();
    let zero = "0".repeat(32);
    for wrong in [
        &format!("--expect-id {zero}"),
        "--expect-key arn:aws:kms:x",
        "--expect-context aws:ebs:id=vol-1",
    ] {
        place.run(&format!("volume verify v {wrong}")).fails(3, &["swapped"]);
    }
    place.run("volume verify v --expect-id vol-1").fails(2, &["32 hexadecimal digits"]);
}

#[test]
fn errors_are_json_when_asked() {
    let place = Place::new();
    place.run("volume create v --size 1MiB").ok();
    let told = place.run("--json volume create v --size 1MiB");
    assert_eq!((told.code, told.out.as_str()), (5, ""));
    let json: serde_json::Value = serde_json::from_str(&told.err).unwrap();
    assert_eq!(json["exit_code"], 5);
    assert!(json["error"].as_str().unwrap().contains("is taken"));
    assert!(json["causes"][0].as_str().unwrap().contains("exists already"));
}
