//! What goes well: making, opening, closing, and the KMS calls of each.

use std::os::unix::fs::PermissionsExt;

use sealvol::kms::Operation;
use sealvol::{
    Backend, BlockDevice, ByteLen, EncryptionContext, InfoState, OpenOptions, Provisioning, Volume,
    VolumeId, VolumeInfo, VolumeSpec, WriteFlags,
};

use crate::support::{KEY, SIZE, World, pattern, read_all, run};

#[test]
fn a_new_volume_is_private_blank_and_bound_to_its_name() {
    let world = World::new();
    let made = world.create("v");
    assert_eq!(world.names(), ["v"]);
    let mode = std::fs::metadata(world.path("v")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(made.size, SIZE);
    assert_eq!(made.state, InfoState::Blank);
    assert_eq!(made.name, format!("vol-{}", &made.id.to_string()[..17]));
    let key = made.current_key().unwrap();
    assert_eq!(key.key_arn, world.key_arn);
    let expected = EncryptionContext::from_pairs([("aws:ebs:id", made.name.as_str())]).unwrap();
    assert_eq!(key.context, expected);
    assert!(made.file_allocated < ByteLen::mib(1), "{made:?}");

    let volume = world.open("v");
    assert!(read_all(&volume).iter().all(|byte| *byte == 0));
    volume.close().unwrap();
    assert_eq!(VolumeInfo::read(world.path("v")).unwrap().state, InfoState::Clean);
}

#[test]
fn name_identity_and_context_may_be_given() {
    let world = World::new();
    let more = EncryptionContext::from_pairs([("aws:ecs:clusterName", "blue")]).unwrap();
    let spec = World::spec().id(VolumeId([7; 16])).name("vol-0123456789abcdef0").context(more);
    let made = run(Volume::create(world.path("v"), spec, &*world.keys)).unwrap();
    assert_eq!(made.id, VolumeId([7; 16]));
    assert_eq!(made.name, "vol-0123456789abcdef0");
    let context = made.current_key().unwrap().context.clone();
    assert_eq!(context.get("aws:ebs:id"), Some("vol-0123456789abcdef0"));
    assert_eq!(context.get("aws:ecs:clusterName"), Some("blue"));
    let pinned = OpenOptions::new()
        .expect_id(made.id)
        .expect_key_arn(&world.key_arn)
        .expect_context(context);
    world.try_open("v", pinned).unwrap().close().unwrap();
}

#[test]
fn content_survives_close_crash_and_backends() {
    let world = World::new();
    let content = world.filled("v");
    for backend in [Backend::File, Backend::Mmap] {
        let volume = world.try_open("v", OpenOptions::new().backend(backend)).unwrap();
        assert!(volume.report().clean);
        assert!(read_all(&volume) == content);
        volume.close().unwrap();
    }
    // Dropped without a close: a crash.
    let volume = world.open("v");
    volume.write(0, &[5; 8192], WriteFlags { fua: true }).unwrap();
    drop(volume);
    assert_eq!(VolumeInfo::read(world.path("v")).unwrap().state, InfoState::Open);
    let reader = world.try_open("v", OpenOptions::new().read_only(true)).unwrap();
    assert!(!reader.report().clean);
    let mut block = [0; 8192];
    reader.read(0, &mut block).unwrap();
    assert_eq!(block, [5; 8192]);
    reader.write(0, &block, WriteFlags::default()).unwrap_err();
    drop(reader);
    let volume = world.open("v");
    assert!(!volume.report().clean, "reading only must not have recovered it");
    volume.read(0, &mut block).unwrap();
    assert_eq!(block, [5; 8192]);
}

#[test]
fn the_kms_is_called_once_to_create_once_to_open_and_never_for_io() {
    let world = World::new();
    let before = world.kms.counters();
    world.create("v");
    let created = world.kms.counters();
    assert_eq!(created.total_calls(), before.total_calls() + 1);
    assert_eq!(created.calls.get(&Operation::GenerateDataKeyWithoutPlaintext), Some(&1));

    let volume = world.open("v");
    let opened = world.kms.counters();
    assert_eq!(opened.total_calls(), created.total_calls() + 1);
    assert_eq!(opened.calls.get(&Operation::Decrypt), Some(&1));

    let content = pattern(usize::try_from(SIZE.0).unwrap());
    for round in 0..3 {
        volume.write(0, &content, WriteFlags { fua: round == 1 }).unwrap();
        volume.flush().unwrap();
        assert!(read_all(&volume) == content);
        volume.discard(0, SIZE.0 / 2).unwrap();
        volume.engine().checkpoint().unwrap();
        volume.engine().collect().unwrap();
    }
    volume.extents(0, SIZE.0, 1000).unwrap();
    volume.close().unwrap();
    assert_eq!(world.kms.counters(), opened);
}

#[test]
fn io_goes_on_while_the_key_is_disabled() {
    let world = World::new();
    world.create("v");
    let volume = world.open("v");
    world.set_enabled(false);
    volume.write(0, &[3; 4096], WriteFlags::default()).unwrap();
    volume.flush().unwrap();
    volume.close().unwrap();
    world.try_open("v", OpenOptions::new()).unwrap_err();
    world.set_enabled(true);
    let volume = world.open("v");
    let mut block = [0; 4096];
    volume.read(0, &mut block).unwrap();
    assert_eq!(block, [3; 4096]);
}

#[test]
fn a_prewritten_volume_holds_its_space_from_the_start() {
    let world = World::new();
    let spec = VolumeSpec::new(ByteLen::mib(4), KEY).provisioning(Provisioning::Prewritten);
    let made = run(Volume::create(world.path("v"), spec, &*world.keys)).unwrap();
    assert_eq!(made.file_len, made.file_limit);
    assert!(made.file_allocated.0 + (2 << 20) >= made.file_limit.0, "{made:?}");
    let volume = world.try_open("v", OpenOptions::new().keep_space()).unwrap();
    for _ in 0..5 {
        volume.write(0, &vec![1; 4 << 20], WriteFlags::default()).unwrap();
        volume.flush().unwrap();
        volume.discard(0, 4 << 20).unwrap();
    }
    volume.write(0, &vec![9; 4 << 20], WriteFlags::default()).unwrap();
    volume.close().unwrap();
    let after = VolumeInfo::read(world.path("v")).unwrap();
    assert_eq!(after.file_len, made.file_len);
    assert!(after.file_allocated >= made.file_allocated, "{after:?}");
    assert!(read_all(&world.open("v")).iter().all(|byte| *byte == 9));
}

#[test]
fn information_needs_neither_key_nor_lock() {
    let world = World::new();
    world.filled("v");
    let volume = world.open("v");
    let info = VolumeInfo::read(world.path("v")).unwrap();
    assert_eq!((info.id, info.state), (volume.details().id, InfoState::Open));
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!(json["id"], info.id.to_string());
    assert_eq!(json["size"], SIZE.0);
    assert_eq!(json["state"], "open");
    assert_eq!(json["keys"][0]["context"]["aws:ebs:id"], info.name);
}
