//! Raw images in and out: sparse, odd-sized, larger, smaller, cancelled, damaged.

use std::io::Write as _;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sealvol::{
    BlockDevice, ByteLen, ErrorKind, ExportOptions, ImportReport, Job, MemoryDevice, OpenOptions,
    VolumeSpec, WriteFlags, export_raw, import_new, import_raw, import_reader, raw_len,
};

use crate::support::{KEY, World, pattern, read_all, run};

const MIB: u64 = 1 << 20;

fn import(world: &World, raw: &Path, name: &str) -> Result<ImportReport, sealvol::Error> {
    let spec = VolumeSpec::new(ByteLen(0), KEY);
    let job = Job::new();
    run(import_new(raw, world.path(name), spec, OpenOptions::new(), &*world.keys, job))
        .map(|(_, report)| report)
}

fn export(world: &World, name: &str, raw: &str) {
    let volume = world.try_open(name, OpenOptions::new().read_only(true)).unwrap();
    export_raw(&volume, world.path(raw), ExportOptions::new(), Job::new()).unwrap();
}

#[test]
fn images_of_any_size_come_back_the_same() {
    let world = World::new();
    for len in [1, 511, 4096, 4097, MIB - 1, MIB, MIB + 512, 5 * MIB + 12_345] {
        let content = pattern(usize::try_from(len).unwrap());
        std::fs::write(world.path("in"), &content).unwrap();
        assert_eq!(raw_len(world.path("in")).unwrap(), Some(ByteLen(len)));
        let report = import(&world, &world.path("in"), "v").unwrap();
        let padded = len.next_multiple_of(4096);
        assert_eq!((report.source_len, report.padding_len), (len, padded - len));
        assert_eq!(report.data_len + report.zero_len, padded);
        export(&world, "v", "out");
        let mut expected = content;
        expected.resize(usize::try_from(padded).unwrap(), 0);
        assert!(std::fs::read(world.path("out")).unwrap() == expected, "{len}");
        assert_eq!(world.names(), ["in", "out", "v"], "nothing is left behind");
        for name in ["in", "out", "v"] {
            std::fs::remove_file(world.path(name)).unwrap();
        }
    }
}

#[test]
fn holes_stay_holes() {
    let world = World::new();
    let sparse = std::fs::File::create(world.path("in")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let data = pattern(200_000);
    for offset in [0, 100 * MIB + 3000, 700 * MIB, (1 << 30) - 200_000] {
        sparse.write_all_at(&data, offset).unwrap();
    }
    let report = import(&world, &world.path("in"), "v").unwrap();
    assert!(report.data_len < 2 * MIB, "{report:?}");
    let volume = std::fs::metadata(world.path("v")).unwrap();
    assert!(volume.blocks() * 512 < 64 * MIB, "the volume holds {} KiB", volume.blocks() / 2);
    export(&world, "v", "out");
    let out = std::fs::metadata(world.path("out")).unwrap();
    assert_eq!(out.len(), 1 << 30);
    assert!(out.blocks() * 512 < 2 * MIB, "the export holds {} KiB", out.blocks() / 2);
    assert_eq!(out.mode() & 0o777, 0o600, "plaintext is private");
    let mut cmp = std::process::Command::new("cmp");
    assert!(cmp.arg(world.path("in")).arg(world.path("out")).status().unwrap().success());
}

#[test]
fn zeros_of_the_image_replace_what_the_volume_held() {
    let device = MemoryDevice::new(ByteLen(8 * MIB)).unwrap();
    device.write(0, &vec![9; 8 << 20], WriteFlags::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("raw");
    // Data, a hole, zeros that are stored, data; and shorter than the device.
    let file = std::fs::File::create(&raw).unwrap();
    file.set_len(6 * MIB).unwrap();
    file.write_all_at(&vec![1; 1 << 20], 0).unwrap();
    file.write_all_at(&vec![0; 1 << 20], 4 * MIB).unwrap();
    file.write_all_at(&[2; 4096], 5 * MIB).unwrap();
    import_raw(&raw, &device, Job::new()).unwrap();
    let (inside, behind) = {
        let bytes = read_all(&device);
        (bytes[..6 << 20].to_vec(), bytes[6 << 20..].to_vec())
    };
    assert!(inside == std::fs::read(&raw).unwrap());
    assert!(behind.iter().all(|byte| *byte == 9), "what lies behind the image stays");
}

#[test]
fn an_image_that_does_not_fit_is_refused_untouched() {
    let device = MemoryDevice::new(ByteLen(4096)).unwrap();
    device.write(0, &[7; 4096], WriteFlags::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("raw"), [1; 4097]).unwrap();
    let error = import_raw(dir.path().join("raw"), &device, Job::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("4097") && error.to_string().contains("4096"), "{error}");
    assert_eq!(read_all(&device), [7; 4096]);
    // A stream tells only when it is too late, and says so.
    let error = import_reader(&mut &[1; 9000][..], None, &device, Job::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    import_reader(&mut &[1; 4096][..], None, &device, Job::new()).unwrap();
    assert_eq!(read_all(&device), [1; 4096]);
}

#[test]
fn streams_and_pipes_are_imported() {
    let content = pattern(3_000_000);
    let device = MemoryDevice::new(ByteLen(4 * MIB)).unwrap();
    let report = import_reader(&mut &content[..], None, &device, Job::new()).unwrap();
    assert_eq!((report.source_len, report.padding_len), (3_000_000, 2368));
    assert!(read_all(&device)[..3_000_000] == content);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    let sender = std::thread::spawn(move || writer.write_all(&content).unwrap());
    let device = MemoryDevice::new(ByteLen(4 * MIB)).unwrap();
    let report = import_raw(&path, &device, Job::new()).unwrap();
    assert_eq!(report.source_len, 3_000_000);
    sender.join().unwrap();
}

#[test]
fn a_target_is_overwritten_only_when_told() {
    let world = World::new();
    let content = world.filled("v");
    let volume = world.try_open("v", OpenOptions::new().read_only(true)).unwrap();
    let export = |raw: &str, how| export_raw(&volume, world.path(raw), how, Job::new());
    // A longer file full of other bytes: none of them may show through.
    std::fs::write(world.path("raw"), vec![0xee; content.len() + 100_000]).unwrap();
    let error = export("raw", ExportOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("--force"), "{error}");
    export("raw", ExportOptions::new().overwrite(true)).unwrap();
    assert!(std::fs::read(world.path("raw")).unwrap() == content);
    std::fs::write(world.path("empty"), "").unwrap();
    export("empty", ExportOptions::new()).unwrap();
    assert!(std::fs::read(world.path("empty")).unwrap() == content);
    // Neither the volume itself nor another open one.
    let error = export("v", ExportOptions::new().overwrite(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(read_all(&volume) == content);
    let error = export("none/raw", ExportOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(export(".", ExportOptions::new()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn progress_ends_at_the_total_and_a_cancelled_job_leaves_nothing() {
    let world = World::new();
    std::fs::write(world.path("in"), pattern(20 << 20)).unwrap();
    let (cancel, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let watch = |progress: sealvol::Progress| {
        assert!(progress.done <= progress.total.unwrap());
        most.fetch_max(progress.done, Ordering::Relaxed);
        if progress.done > 4 * MIB {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let job = Job::new().on_progress(&watch).cancelled_by(&cancel);
    let spec = VolumeSpec::new(ByteLen(0), KEY);
    let made = import_new(
        world.path("in"),
        world.path("v"),
        spec.clone(),
        OpenOptions::new(),
        &*world.keys,
        job,
    );
    let error = run(made).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains("cancelled"), "{error}");
    assert_eq!(world.names(), ["in"]);
    assert!(most.load(Ordering::Relaxed) < 20 * MIB);

    import(&world, &world.path("in"), "v").unwrap();
    let volume = world.try_open("v", OpenOptions::new().read_only(true)).unwrap();
    let done = AtomicU64::new(0);
    let watch = |progress: sealvol::Progress| done.store(progress.done, Ordering::Relaxed);
    let job = Job::new().on_progress(&watch);
    export_raw(&volume, world.path("out"), ExportOptions::new(), job).unwrap();
    assert_eq!(done.load(Ordering::Relaxed), 20 * MIB);
    let cancelled = AtomicBool::new(true);
    let job = Job::new().cancelled_by(&cancelled);
    export_raw(&volume, world.path("out2"), ExportOptions::new(), job).unwrap_err();
    assert!(!world.path("out2").exists());
    assert_eq!(volume.verify(job).unwrap_err().kind(), ErrorKind::Retry);
}

#[test]
fn a_failed_import_leaves_no_volume() {
    let world = World::new();
    let missing = import(&world, &world.path("none"), "v").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    std::fs::write(world.path("empty"), "").unwrap();
    let empty = import(&world, &world.path("empty"), "v").unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::Invalid, "{empty}");
    std::fs::write(world.path("in"), pattern(100_000)).unwrap();
    world.set_enabled(false);
    let denied = import(&world, &world.path("in"), "v").unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied, "{denied}");
    assert!(denied.to_string().contains(&world.path("v").display().to_string()), "{denied}");
    world.set_enabled(true);
    std::fs::write(world.path("taken"), "x").unwrap();
    let taken = import(&world, &world.path("in"), "taken").unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict, "{taken}");
    assert_eq!(world.names(), ["empty", "in", "taken"]);
}

#[test]
fn an_open_volume_is_not_imported_as_an_image() {
    let world = World::new();
    world.filled("v");
    let volume = world.open("v");
    let error = import_raw(world.path("v"), &volume, Job::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}
