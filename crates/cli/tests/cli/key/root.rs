//! The root key, both ways.

use serde_json::json;

use super::Keyed;

#[test]
fn the_root_key_is_rotated_both_ways() {
    let keyed = Keyed::new();
    let place = &keyed.place;
    keyed.write("in", b"hello");
    keyed.run("encrypt alias/a in --out sealed").ok();
    let file = || std::fs::read(place.path("sealvol-data/kms/root.key")).unwrap();
    let old = file();
    assert!(keyed.run("rotate-root").ok().contains("fresh key file"));
    assert_ne!(file(), old);

    keyed.write("words", b"correct horse\n");
    let told = keyed.run("rotate-root --to-passphrase-file words").ok();
    assert!(told.contains("give --passphrase-file words"), "{told}");
    assert!(!place.path("sealvol-data/kms/root.key").exists());
    keyed.run("describe alias/a").fails(2, &["sealed with a passphrase"]);
    let with = |line: &str| place.run(&format!("--passphrase-file words key {line}"));
    with("decrypt sealed --out p1").ok();
    with("rotate-root").fails(2, &["--to-passphrase-file", "--to-key-file"]);
    assert_eq!(with("rotate-root --to-key-file --json").ok(), "{}\n");
    with("describe alias/a").fails(2, &["sealed with a key file"]);
    keyed.run("decrypt sealed --out p2").ok();
    assert_eq!((keyed.read("p1"), keyed.read("p2")), (b"hello".to_vec(), b"hello".to_vec()));

    keyed.run("rotate-root --to-passphrase-file none").fails(7, &["none", "check its path"]);
    keyed.write("empty", b"\n");
    keyed.run("rotate-root --to-passphrase-file empty").fails(2, &["empty"]);
    keyed.run("rotate-root --to-key-file --to-passphrase-file words").fails(2, &["cannot be used"]);
    keyed.run(&format!("--as {} rotate-root", super::ADA)).fails(2, &["leave --as"]);
    assert_eq!(keyed.json("describe alias/a")["KeyMetadata"]["KeyState"], json!("Enabled"));
}
