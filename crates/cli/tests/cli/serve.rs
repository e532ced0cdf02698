//! Serving: real clients, orderly and disorderly ends.

use crate::support::{Place, Ran, tool};

const LIBNBD: &str = "libnbd-bin";
const LEN: usize = 8 << 20;

fn state(place: &Place, name: &str) -> String {
    let info: serde_json::Value =
        serde_json::from_str(&place.run(&format!("volume info {name} --json")).ok()).unwrap();
    info["state"].as_str().unwrap().to_owned()
}

#[test]
fn create_serve_copy_verify_export() {
    let place = Place::new();
    let image = place.image("raw", LEN);
    place.run("volume create v --size 8MiB").ok();
    let served = place.serve("v --nbd unix:sock");
    for part in ["serving v (vol-", "nbdinfo '", "nbdcopy", "qemu-img", "qemu-system"] {
        assert!(served.said.contains(part), "{part} is missing: {}", served.said);
    }
    assert!(served.uri.starts_with("nbd+unix:///?socket=/"), "{}", served.uri);
    let raw = place.path("raw").display().to_string();
    tool(LIBNBD, "nbdcopy", &["--flush", &raw, &served.uri]);
    let info = tool(LIBNBD, "nbdinfo", &["--json", &served.uri]);
    assert!(info.contains(r#""export-size": 8388608"#), "{info}");
    let copy = place.path("copy").display().to_string();
    tool(LIBNBD, "nbdcopy", &[&served.uri, &copy]);
    assert!(std::fs::read(&copy).unwrap() == image);

    // While it is open: the second opener, and what needs no lock.
    place.run("volume verify v").fails(5, &["in use", "stop `sealvol volume serve`"]);
    place.run("volume serve v --nbd unix:sock2").fails(5, &["in use"]);
    assert_eq!(state(&place, "v"), "open");
    // A disabled key does not end it.
    place.run("key disable alias/sealvol").ok();
    tool(LIBNBD, "nbdcopy", &["--flush", &raw, &served.uri]);
    place.run("key enable alias/sealvol").ok();

    served.signal("TERM");
    let (code, err) = served.wait();
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(!place.path("sock").exists(), "the socket file is removed");
    assert_eq!(state(&place, "v"), "clean");
    place.run("volume verify v").ok();
    place.run("volume export v out").ok();
    assert!(std::fs::read(place.path("out")).unwrap() == image);
}

#[test]
fn what_was_flushed_survives_kill_9() {
    let place = Place::new();
    let image = place.image("raw", LEN);
    place.run("volume create v --size 8MiB").ok();
    let served = place.serve("v --nbd unix:sock");
    let raw = place.path("raw").display().to_string();
    tool(LIBNBD, "nbdcopy", &["--flush", &raw, &served.uri]);
    served.signal("KILL");
    assert_eq!(served.wait().0, -9);
    assert_eq!(state(&place, "v"), "open");
    let report = place.run("volume verify v").ok();
    assert!(report.contains("sound") && report.contains("left by a crash"), "{report}");
    place.run("volume export v out").ok();
    assert!(std::fs::read(place.path("out")).unwrap() == image);
    // The stale socket file is no obstacle.
    let served = place.serve("v --nbd unix:sock");
    assert!(served.said.contains("recovered from a crash"), "{}", served.said);
    served.signal("INT");
    assert_eq!(served.wait().0, 0);
    assert_eq!(state(&place, "v"), "clean");
}

#[test]
fn read_only_and_tcp_and_several_addresses() {
    let place = Place::new();
    let image = place.image("raw", LEN);
    place.run("volume import raw v").ok();
    let before = std::fs::read(place.path("v")).unwrap();
    let served = place.serve("v --read-only --nbd tcp:127.0.0.1:0 --nbd unix:sock");
    assert!(served.uri.starts_with("nbd://127.0.0.1:"), "{}", served.uri);
    assert!(served.said.contains("read-only"), "{}", served.said);
    let info = tool(LIBNBD, "nbdinfo", &["--json", &served.uri]);
    assert!(info.contains(r#""is_read_only": true"#), "{info}");
    let copy = place.path("copy").display().to_string();
    tool(LIBNBD, "nbdcopy", &[&served.uri, &copy]);
    assert!(std::fs::read(&copy).unwrap() == image);
    served.signal("TERM");
    assert_eq!(served.wait().0, 0);
    assert!(std::fs::read(place.path("v")).unwrap() == before, "the file is untouched");
}

#[test]
fn a_named_export_and_json() {
    let place = Place::new();
    place.run("volume create v --size 8MiB").ok();
    let served = place.serve("v --nbd unix:sock --export-name disk/1");
    assert!(served.uri.starts_with("nbd+unix:///disk%2F1?socket="), "{}", served.uri);
    let info = tool(LIBNBD, "nbdinfo", &["--json", &served.uri]);
    assert!(info.contains("disk/1"), "{info}");
    served.signal("TERM");
    assert_eq!(served.wait().0, 0);
}

#[test]
fn addresses_that_cannot_be_used() {
    let place = Place::new();
    place.run("volume create v --size 8MiB").ok();
    let told = place.run("volume serve v --nbd tcp:0.0.0.0:0");
    told.fails(2, &["reachable from other machines", "TLS", "--insecure-tcp"]);
    let told: Ran = place.run("volume serve v --nbd unix:none/sock");
    told.fails(7, &["cannot listen on none/sock", "choose another address"]);
    std::fs::write(place.path("file"), "x").unwrap();
    place.run("volume serve v --nbd unix:file").fails(5, &["cannot listen on file"]);
    // It was opened and closed in order each time.
    place.run("volume verify v").ok();
    assert_eq!(state(&place, "v"), "clean");
}
