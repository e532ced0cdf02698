//! A file system that runs out of space: exit code 6, nothing left behind, nothing lost.

use crate::support::{BINARY, Place, Ran};

/// Runs a script with a tmpfs of so many MiB at `./small`. `None` where mounting is not allowed.
fn on_a_small_disk(place: &Place, mib: u32, script: &str) -> Option<Ran> {
    std::fs::create_dir(place.path("small")).unwrap();
    let script = format!("mount -t tmpfs -o size={mib}m none small || exit 77\n{script}");
    for namespaces in [["-m", "-n"].as_slice(), &["-U", "-r", "-m"]] {
        let mut command = std::process::Command::new("unshare");
        command.args(namespaces).args(["sh", "-e", "-c", &script]);
        command.env("S", BINARY).current_dir(place.dir.path());
        let ran = Ran::from(command.output().unwrap());
        if ran.code != 77 && !ran.err.contains("unshare failed") {
            return Some(ran);
        }
    }
    None
}

#[test]
fn import_and_export_end_with_no_space_and_leave_nothing() {
    let place = Place::new();
    place.image("raw", 40 << 20);
    place.run("volume import raw v").ok();
    let script = "
        code=0; $S volume import raw small/v || code=$?
        echo import $code; ls -A small
        code=0; $S volume export v small/raw || code=$?
        echo export $code; ls -A small
        code=0; $S volume create small/w --size 64MiB --provisioning prewritten || code=$?
        echo create $code; ls -A small";
    let Some(ran) = on_a_small_disk(&place, 24, script) else {
        println!("skipped: mounting a tmpfs is not allowed here");
        return;
    };
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.out, "import 6\nexport 6\ncreate 6\n", "{ran:?}");
    for words in ["No space left on device", "there is no space left; free some"] {
        assert!(ran.err.contains(words), "{words}: {ran:?}");
    }
}

#[test]
fn a_volume_on_a_full_disk_keeps_what_it_acknowledged() {
    let place = Place::new();
    let first = place.image("first", 4 << 20);
    place.image("second", 60 << 20);
    let script = "
        $S volume create small/v --size 64MiB
        $S volume import first small/v
        code=0; $S volume import second small/v || code=$?
        echo second $code
        $S volume verify small/v > /dev/null
        echo verified
        rm -f small/filler
        $S volume export small/v out --force > /dev/null
        echo exported";
    // The open segments of three kinds and those prepared ahead are 4 MiB each: room for the first
    // image whichever of them exist, and not for the second.
    let Some(ran) = on_a_small_disk(&place, 48, script) else {
        println!("skipped: mounting a tmpfs is not allowed here");
        return;
    };
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.ends_with("second 6\nverified\nexported\n"), "{ran:?}");
    // Each block is of the first image, of the second, or zeros: both begin with the same bytes.
    let out = std::fs::read(place.path("out")).unwrap();
    assert!(out[..4 << 20] == first);
}
