//! What goes wrong, one by one: each a clear error of the right kind, and nothing lost or left behind.

use sealvol::{
    ByteLen, EncryptionContext, Error, ErrorKind, KmsErrorKind, OpenOptions, Volume, VolumeId,
    VolumeInfo, VolumeSpec, verify,
};

use crate::support::{Failing, KEY, World, new_kms, read_all, run};

/// The error is of this kind and tells a person all of these.
#[track_caller]
fn check(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = format!("{error:?}");
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is missing in: {text}");
    }
}

#[test]
fn sizes_that_cannot_be_are_refused_before_the_kms_is_asked() {
    let world = World::new();
    let before = world.kms.counters();
    for (size, word) in [(5000, "use 4096 or 8192"), (0, "from 4KiB"), (1 << 60, "128TiB")] {
        let spec = VolumeSpec::new(ByteLen(size), KEY);
        let error = run(Volume::create(world.path("v"), spec, &*world.keys)).unwrap_err();
        check(&error, ErrorKind::Invalid, &["create volume", word]);
    }
    let spec = World::spec().name("a").context(EncryptionContext::for_volume("b").unwrap());
    let error = run(Volume::create(world.path("v"), spec, &*world.keys)).unwrap_err();
    check(&error, ErrorKind::Invalid, &["differ"]);
    assert_eq!(world.kms.counters(), before);
    assert!(world.names().is_empty());
}

#[test]
fn a_kms_that_fails_at_create_leaves_nothing() {
    let world = World::new();
    for (kind, expected) in [
        (KmsErrorKind::Retry, ErrorKind::Retry),
        (KmsErrorKind::Denied, ErrorKind::Denied),
        (KmsErrorKind::KeyUnusable, ErrorKind::Denied),
        (KmsErrorKind::NotFound, ErrorKind::NotFound),
        (KmsErrorKind::Internal, ErrorKind::Io),
    ] {
        let keys = Failing(kind, "TestException");
        let error = run(Volume::create(world.path("v"), World::spec(), &keys)).unwrap_err();
        check(&error, expected, &["create volume", "TestException: as told"]);
        assert_eq!(error.kms().unwrap().code(), "TestException");
    }
    world.set_enabled(false);
    let error = run(Volume::create(world.path("v"), World::spec(), &*world.keys)).unwrap_err();
    check(&error, ErrorKind::Denied, &["sealvol key enable alias/test"]);
    let missing = VolumeSpec::new(ByteLen::mib(1), "alias/none");
    let error = run(Volume::create(world.path("v"), missing, &*world.keys)).unwrap_err();
    check(&error, ErrorKind::NotFound, &["alias/none", "sealvol key list"]);
    assert!(world.names().is_empty());
}

#[test]
fn failures_after_the_kms_leave_nothing_either() {
    let world = World::new();
    // The wrapped key's context makes the superblock too large.
    let huge = EncryptionContext::from_pairs([("a", "x".repeat(8100))]).unwrap();
    let spec = World::spec().context(huge);
    let outcome = run(Volume::create(world.path("v"), spec, &*world.keys));
    if let Err(error) = outcome {
        check(&error, ErrorKind::Invalid, &["create volume"]);
        assert!(world.names().is_empty());
    }
    let inside = world.path("none").join("v");
    let error = run(Volume::create(inside, World::spec(), &*world.keys)).unwrap_err();
    check(&error, ErrorKind::NotFound, &["directory does not exist"]);
    let spec = VolumeSpec::new(ByteLen::mib(1), KEY).space_percent(5000);
    let error = run(Volume::create(world.path("w"), spec, &*world.keys)).unwrap_err();
    check(&error, ErrorKind::Invalid, &["110 to 1000"]);
    assert!(!world.path("w").exists());
}

#[test]
fn an_existing_file_is_never_replaced() {
    let world = World::new();
    let content = world.filled("v");
    let error = run(Volume::create(world.path("v"), World::spec(), &*world.keys)).unwrap_err();
    check(&error, ErrorKind::Conflict, &["taken", "exists already"]);
    assert_eq!(world.names(), ["v"]);
    assert!(read_all(&world.open("v")) == content);
    std::os::unix::fs::symlink("nowhere", world.path("dangling")).unwrap();
    let error = run(Volume::create(world.path("dangling"), World::spec(), &*world.keys));
    check(&error.unwrap_err(), ErrorKind::Conflict, &["taken"]);
}

#[test]
fn a_second_opener_is_refused_and_readers_share() {
    let world = World::new();
    world.filled("v");
    let writer = world.open("v");
    for read_only in [false, true] {
        let error = world.try_open("v", OpenOptions::new().read_only(read_only)).unwrap_err();
        check(&error, ErrorKind::Conflict, &["in use", "another process has the volume open"]);
    }
    writer.close().unwrap();
    let first = world.try_open("v", OpenOptions::new().read_only(true)).unwrap();
    let second = world.try_open("v", OpenOptions::new().read_only(true)).unwrap();
    world.try_open("v", OpenOptions::new()).unwrap_err();
    drop((first, second));
    world.open("v").close().unwrap();
}

#[test]
fn another_kms_cannot_open_it() {
    let world = World::new();
    let content = world.filled("v");
    let (_, others, _) = new_kms();
    let error = run(Volume::open(world.path("v"), OpenOptions::new(), &*others)).unwrap_err();
    check(&error, ErrorKind::Denied, &["this KMS has no key", "--data", "data is intact"]);
    assert!(error.kms().is_some());
    assert!(read_all(&world.open("v")) == content);
}

#[test]
fn a_disabled_key_and_a_refusing_kms_say_what_to_do() {
    let world = World::new();
    world.filled("v");
    world.set_enabled(false);
    let error = world.try_open("v", OpenOptions::new()).unwrap_err();
    let command = format!("sealvol key enable {}", world.key_arn);
    check(&error, ErrorKind::Denied, &[&command, "data is intact", "DisabledException"]);
    for (kind, expected, word) in [
        (KmsErrorKind::Denied, ErrorKind::Denied, "allow kms:Decrypt"),
        (KmsErrorKind::Retry, ErrorKind::Retry, "try again"),
        (KmsErrorKind::LimitExceeded, ErrorKind::Denied, "quota"),
        (KmsErrorKind::Corrupt, ErrorKind::Corrupt, "restore the file"),
    ] {
        let keys = Failing(kind, "TestException");
        let error = run(Volume::open(world.path("v"), OpenOptions::new(), &keys)).unwrap_err();
        check(&error, expected, &["open volume", word, "TestException"]);
    }
}

#[test]
fn a_swapped_file_is_noticed_by_any_pin() {
    let world = World::new();
    let mine = world.create("mine");
    world.create("other");
    std::fs::rename(world.path("other"), world.path("mine")).unwrap();
    let context = mine.current_key().unwrap().context.clone();
    for (options, word) in [
        (OpenOptions::new().expect_id(mine.id), "volume id"),
        (OpenOptions::new().expect_context(context), "encryption context"),
        (OpenOptions::new().expect_key_arn("arn:aws:kms:x:1:key/2"), "KMS key"),
    ] {
        let error = world.try_open("mine", options).unwrap_err();
        check(&error, ErrorKind::Corrupt, &["swapped", word]);
    }
    // Without a pin it is a volume like any other.
    world.open("mine").close().unwrap();
}

#[test]
fn a_changed_context_does_not_open() {
    let world = World::new();
    let made = world.create("v");
    // In both copies, so that no twin helps. The checksum of a blank superblock is public: redo it
    // by opening once, which replaces it by a MAC that only the data key verifies.
    world.open("v").close().unwrap();
    let mut bytes = std::fs::read(world.path("v")).unwrap();
    let (from, to) = (made.name.as_bytes(), b"vol-00000000000000000");
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert_eq!(places.len(), 2);
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    std::fs::write(world.path("v"), &bytes).unwrap();
    let error = world.try_open("v", OpenOptions::new()).unwrap_err();
    check(&error, ErrorKind::Corrupt, &["do not open under", "InvalidCiphertextException"]);
    let options = OpenOptions::new().expect_context(made.current_key().unwrap().context.clone());
    check(&world.try_open("v", options).unwrap_err(), ErrorKind::Corrupt, &["swapped"]);
}

#[test]
fn what_is_no_volume_is_told_apart() {
    let world = World::new();
    let open = |name: &str| world.try_open(name, OpenOptions::new()).unwrap_err();
    check(&open("none"), ErrorKind::NotFound, &["check the path", "No such file"]);
    std::fs::create_dir(world.path("dir")).unwrap();
    check(&open("dir"), ErrorKind::Invalid, &["a directory"]);
    std::fs::write(world.path("text"), "hello").unwrap();
    check(&open("text"), ErrorKind::Corrupt, &["not a sealvol volume"]);
    std::fs::write(world.path("empty"), "").unwrap();
    check(&open("empty"), ErrorKind::Corrupt, &["not a sealvol volume"]);
    let error = VolumeInfo::read(world.path("text")).unwrap_err();
    check(&error, ErrorKind::Corrupt, &["not a sealvol volume"]);
    check(&VolumeInfo::read(world.path("none")).unwrap_err(), ErrorKind::NotFound, &["no such"]);
}

#[test]
fn a_newer_format_is_named() {
    let world = World::new();
    world.filled("v");
    let mut bytes = std::fs::read(world.path("v")).unwrap();
    for copy in [0, 1 << 20] {
        bytes[copy + 8] = 2;
    }
    std::fs::write(world.path("v"), &bytes).unwrap();
    let error = world.try_open("v", OpenOptions::new()).unwrap_err();
    check(&error, ErrorKind::Unsupported, &["format version 2", "newer sealvol"]);
    let error = VolumeInfo::read(world.path("v")).unwrap_err();
    check(&error, ErrorKind::Unsupported, &["newer sealvol"]);
    let job = sealvol::Job::new();
    let error = run(verify(world.path("v"), OpenOptions::new(), &*world.keys, job)).unwrap_err();
    check(&error, ErrorKind::Unsupported, &["newer"]);
}

#[test]
fn identities_are_not_mixed_up() {
    let world = World::new();
    let made = world.create("v");
    let wrong = OpenOptions::new().expect_id(VolumeId([1; 16]));
    let error = world.try_open("v", wrong).unwrap_err();
    check(&error, ErrorKind::Corrupt, &[&made.id.to_string(), &"01".repeat(16)]);
}
