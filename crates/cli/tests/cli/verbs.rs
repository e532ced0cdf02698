//! What each verb does when all is well.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{Place, Ran, signal};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn create_info_verify() {
    let place = Place::new();
    let made = place.run("volume create v --size 64MiB").ok();
    assert!(made.contains("created v") && made.contains("next: sealvol volume serve v"), "{made}");
    let info = place.run("volume info v").ok();
    assert!(info.contains("64.00 MiB (67108864 bytes)") && info.contains("never opened"), "{info}");
    let info = json(&place.run("volume info v --json").ok());
    assert_eq!(info["size"], 64 << 20);
    assert_eq!(info["state"], "blank");
    let report = json(&place.run("volume verify v --json").ok());
    assert_eq!(report["sound"], true);
    assert_eq!(report["volume"]["id"], info["id"]);
    let mode = std::fs::metadata(place.path("v")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
}

#[test]
fn import_and_export_round_trip() {
    let place = Place::new();
    let image = place.image("raw", 3_000_000);
    let told = place.run("volume import raw v").ok();
    assert!(told.contains("2368 zero bytes fill it up"), "{told}");
    let told = place.run("volume export v out").ok();
    assert!(told.contains("exported 2.86 MiB"), "{told}");
    let out = std::fs::read(place.path("out")).unwrap();
    assert!(out[..3_000_000] == image && out.len() == 3_002_368);

    // Into an existing volume, and over an existing file only with --force.
    place.run("volume create big --size 8MiB").ok();
    place.run("volume import raw big").ok();
    place.run("volume import raw big --size 9MiB").fails(2, &["--size has no meaning"]);
    place.run("volume export big out").fails(5, &["not empty", "--force"]);
    let report = json(&place.run("volume export big out --force --json").ok());
    assert_eq!(report["len"], 8 << 20);
    let out = std::fs::read(place.path("out")).unwrap();
    assert!(out[..3_000_000] == image && out.len() == 8 << 20);
    assert!(out[3_000_000..].iter().all(|byte| *byte == 0));

    place.run("volume create small --size 1MiB").ok();
    place.run("volume import raw small").fails(2, &["3000000 bytes", "1048576"]);
    place.run("volume verify small").ok();
}

#[test]
fn import_reads_standard_input() {
    let place = Place::new();
    let image = place.image("raw", 1 << 20);
    let feed = |line: &str| -> Ran {
        let mut command = place.command(line);
        command.stdin(std::fs::File::open(place.path("raw")).unwrap());
        command.output().unwrap().into()
    };
    // A file as standard input tells its size.
    feed("volume import - v").ok();
    let mut command = place.command("volume import - w");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    Ran::from(child.wait_with_output().unwrap()).fails(2, &["pipe does not tell its size"]);
    let mut command = place.command("volume import - w --size 2MiB");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&image).unwrap();
    Ran::from(child.wait_with_output().unwrap()).ok();
    for (name, len) in [("v", 1 << 20), ("w", 2 << 20)] {
        place.run(&format!("volume export {name} {name}.raw")).ok();
        let out = std::fs::read(place.path(&format!("{name}.raw"))).unwrap();
        assert!(out[..1 << 20] == image && out.len() == len);
    }
}

#[test]
fn an_interrupted_import_exits_with_130_and_leaves_nothing() {
    let place = Place::new();
    let mut command = place.command("volume import - v --size 1TiB");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut signalled = false;
    // Zeros take no space; it ends when the reader is gone.
    while stdin.write_all(&[0; 1 << 16]).is_ok() {
        if !signalled && place.names().iter().any(|name| name.ends_with(".new")) {
            signal(&child, "INT");
            signalled = true;
        }
    }
    drop(stdin);
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.fails(130, &["ended by a signal", "cancelled"]);
    assert_eq!(place.names(), ["sealvol-data"]);
}

#[test]
fn progress_is_told_only_when_asked() {
    let place = Place::new();
    place.image("raw", 5 << 20);
    let quiet = place.run("volume import raw v");
    assert_eq!((quiet.code, quiet.err.as_str()), (0, ""));
    let told = place.run("--progress volume export v out");
    assert!(told.err.contains("export: 100% of 5.00 MiB"), "{told:?}");
    let logged = place.run("-v volume verify v");
    assert!(logged.err.contains("volume opened"), "{logged:?}");
}

#[test]
fn keys_are_made_listed_disabled_and_enabled() {
    let place = Place::new();
    place.run("key list").fails(7, &["no KMS in ./sealvol-data/kms"]);
    let made = json(&place.run("key create --alias alias/a --description mine --json").ok());
    let (id, arn) = (made["key_id"].as_str().unwrap(), made["arn"].as_str().unwrap());
    assert!(arn.ends_with(id));
    place.run("key create --alias alias/a").fails(5, &["names a key already"]);
    place.run("key create --alias nonsense").fails(2, &["alias/"]);
    assert!(place.run("key create").ok().contains("created arn:aws:kms:"));
    let list = json(&place.run("key list --json").ok());
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    for which in [id, arn, "alias/a"] {
        assert!(place.run(&format!("key disable {which}")).ok().contains("disabled arn:"));
        assert!(place.run("key list").ok().contains("Disabled"));
        assert!(place.run(&format!("key enable {which}")).ok().contains("enabled arn:"));
    }
    assert!(!place.run("key list").ok().contains("Disabled"));
    place.run("--key alias/a volume create v --size 1MiB").ok();
    let info = json(&place.run("volume info v --json").ok());
    assert_eq!(info["keys"][0]["key_arn"], arn);
    // The default key was not needed, hence not made.
    assert_eq!(json(&place.run("key list --json").ok()).as_array().unwrap().len(), 2);
    place.run("volume create w --size 1MiB").ok();
    assert!(place.run("key list").ok().contains("alias/sealvol"));
}

#[test]
fn the_environment_sets_options() {
    let place = Place::new();
    let run = |line: &str, vars: &[(&str, &str)]| -> Ran {
        place.command(line).envs(vars.iter().copied()).output().unwrap().into()
    };
    let vars = [("SEALVOL_DATA", "elsewhere"), ("SEALVOL_SIZE", "2MiB"), ("SEALVOL_JSON", "1")];
    let made = json(&run("volume create v", &vars).ok());
    assert_eq!(made["size"], 2 << 20);
    assert_eq!(place.names(), ["elsewhere", "v"]);
    place.run("volume verify v").fails(7, &["no KMS"]);
    run("volume verify v", &[("SEALVOL_KMS", "file:elsewhere/kms")]).ok();
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let mut command = place.command("completions bash");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

/// A block device holds other bytes where the volume has holes: they must not show through.
#[test]
fn block_devices_are_imported_from_and_exported_to() {
    let place = Place::new();
    let image = place.image("raw", 4 << 20);
    place.run("volume create v --size 16MiB").ok();
    place.run("volume import raw v").ok();
    std::fs::write(place.path("disk"), vec![0xee; 20 << 20]).unwrap();
    let losetup = |args: &[&str]| -> Option<String> {
        let mut command = std::process::Command::new("losetup");
        let output = command.args(args).current_dir(place.dir.path()).output().ok()?;
        let ran = Ran::from(output);
        (ran.code == 0).then(|| ran.out.trim().to_owned())
    };
    let Some(device) = losetup(&["-f", "--show", "disk"]) else {
        println!("skipped: loop devices are not allowed here");
        return;
    };
    let exported = place.run(&format!("volume export v {device}"));
    let imported = place.run(&format!("volume import {device} w"));
    losetup(&["-d", &device]);
    exported.ok();
    imported.ok();
    let disk = std::fs::read(place.path("disk")).unwrap();
    assert!(disk[..4 << 20] == image);
    assert!(disk[4 << 20..16 << 20].iter().all(|byte| *byte == 0), "old bytes show through");
    assert!(disk[16 << 20..].iter().all(|byte| *byte == 0xee), "behind the volume");
    place.run("volume export w back").ok();
    assert!(std::fs::read(place.path("back")).unwrap() == disk);
}
