//! Damaged files: superblock copies are repaired from their twin, everything else is reported with
//! its place.

use sealvol::{
    ByteLen, ErrorKind, ExportOptions, Geometry, Job, OpenOptions, Settings, VerifyReport,
    VolumeSpec, export_raw, verify,
};

use crate::support::{KEY, World, read_all, run};

const COPIES: [usize; 2] = [0, 1 << 20];

fn check(world: &World, name: &str) -> VerifyReport {
    run(verify(world.path(name), OpenOptions::new(), &*world.keys, Job::new())).unwrap()
}

/// Bytes of a superblock up to and with its MAC.
fn used_len(file: &[u8]) -> usize {
    usize::try_from(u32::from_le_bytes(file[56..60].try_into().unwrap())).unwrap() + 32
}

#[test]
fn any_flipped_byte_of_one_superblock_copy_is_repaired() {
    let world = World::new();
    let mut spec = VolumeSpec::new(ByteLen::mib(1), KEY);
    spec.geometry = Geometry::new(64).unwrap();
    let content = world.filled_as("v", spec);
    let len = used_len(&std::fs::read(world.path("v")).unwrap());
    let settings = Settings { prewrite_segments: 0, ..Settings::default() };
    let options = OpenOptions::new().settings(settings);
    for copy in COPIES {
        for at in (0..len).step_by(31).chain([8, 11, 16, len - 1]) {
            let mut bytes = std::fs::read(world.path("v")).unwrap();
            bytes[copy + at] ^= 0x10;
            std::fs::write(world.path("v"), &bytes).unwrap();
            // Read-only first: verification tells, and changes nothing.
            let report = check(&world, "v");
            assert!(report.sound && report.superblock.is_some(), "{copy} {at}: {report:?}");
            assert!(std::fs::read(world.path("v")).unwrap() == bytes);
            let volume = world.try_open("v", options.clone()).unwrap();
            assert!(volume.report().superblock_repaired.is_some(), "copy {copy}, byte {at}");
            assert!(read_all(&volume) == content, "copy {copy}, byte {at}");
            volume.close().unwrap();
            let volume = world.try_open("v", OpenOptions::new().read_only(true)).unwrap();
            assert_eq!(volume.report().superblock_repaired, None, "copy {copy}, byte {at}");
        }
    }
}

#[test]
fn both_copies_damaged_is_an_error() {
    let world = World::new();
    world.filled("v");
    let intact = std::fs::read(world.path("v")).unwrap();
    for at in [0, 30, 300, used_len(&intact) - 1] {
        let mut bytes = intact.clone();
        for copy in COPIES {
            bytes[copy + at] ^= 1;
        }
        std::fs::write(world.path("v"), &bytes).unwrap();
        let error = world.try_open("v", OpenOptions::new()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Denied), "{at}: {error:?}");
        assert!(std::fs::read(world.path("v")).unwrap() == bytes, "nothing was changed");
    }
}

#[test]
fn damaged_blocks_are_listed_with_their_place_and_the_rest_is_rescued() {
    let world = World::new();
    let content = world.filled("v");
    let sound = check(&world, "v");
    assert!(sound.sound && sound.clean && sound.blocks_checked > 1000, "{sound:?}");
    // Somewhere in the middle of the first data segment: some block's ciphertext.
    let place = (2 << 20) + 100 * 4096;
    let mut bytes = std::fs::read(world.path("v")).unwrap();
    bytes[place + 17] ^= 1;
    std::fs::write(world.path("v"), &bytes).unwrap();
    let report = check(&world, "v");
    assert!(!report.sound);
    assert_eq!(report.problem_count, 1, "{report:?}");
    let problem = &report.problems[0];
    assert!(problem.what.starts_with("LBA "), "{problem:?}");
    assert_eq!(problem.file_offset, Some(place as u64));
    let lba: usize = problem.what[4..].parse().unwrap();

    let volume = world.try_open("v", OpenOptions::new().read_only(true)).unwrap();
    let target = world.path("raw");
    let error = export_raw(&volume, &target, ExportOptions::new(), Job::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.to_string().contains("--rescue"), "{error}");
    assert!(!target.exists(), "a failed export leaves nothing");
    let rescue = ExportOptions::new().rescue(true);
    let report = export_raw(&volume, &target, rescue, Job::new()).unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!((report.damage[0].lba, report.damage[0].blocks), (lba as u64, 1));
    let mut expected = content;
    expected[lba * 4096..(lba + 1) * 4096].fill(0);
    assert!(std::fs::read(&target).unwrap() == expected);
}

#[test]
fn a_truncated_file_is_reported_and_never_read_as_something_else() {
    let world = World::new();
    let content = world.filled("v");
    let intact = std::fs::read(world.path("v")).unwrap();
    // From far too short to a segment short; preallocated, unused space at the end may go.
    let mut refused = 0;
    for len in [0, 4096, 1 << 20, (1 << 20) + 4096, 2 << 20, (2 << 20) + 4096, 7 << 20, 10 << 20] {
        std::fs::write(world.path("v"), &intact[..len]).unwrap();
        let verified = run(verify(world.path("v"), OpenOptions::new(), &*world.keys, Job::new()));
        match world.try_open("v", OpenOptions::new().read_only(true)) {
            Err(error) => {
                refused += 1;
                assert!(
                    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io),
                    "{len}: {error:?}"
                );
                verified.unwrap_err();
            }
            Ok(volume) => {
                let mut buf = vec![0; content.len()];
                let read = sealvol::BlockDevice::read(&volume, 0, &mut buf);
                assert!(read.is_err() || buf == content, "{len}: wrong data");
                assert_eq!(read.is_ok(), verified.unwrap().sound, "{len}");
            }
        }
    }
    assert!(refused >= 3);
}

#[test]
fn a_volume_that_a_crash_left_is_sound() {
    let world = World::new();
    let content = world.filled("v");
    let volume = world.open("v");
    sealvol::BlockDevice::write(&volume, 0, &content[..1 << 20], Default::default()).unwrap();
    drop(volume);
    let report = check(&world, "v");
    assert!(report.sound && !report.clean, "{report:?}");
    assert!(report.replayed_groups > 0);
}
