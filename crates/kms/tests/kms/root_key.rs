//! Root keys and passphrases: what is refused, and that each refusal says what it is.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use sealvol_core::ErrorKind;
use sealvol_kms::OpenError;
use tempfile::tempdir;

use crate::support::{open, open_with, passphrase, settings};

#[test]
fn files_are_for_their_owner_only() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("kms");
    drop(open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    for name in ["root.key", "store", "lock", "acknowledged"] {
        let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn an_exposed_root_key_is_refused() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    for mode in [0o640, 0o604, 0o660, 0o620] {
        fs::set_permissions(dir.path().join("root.key"), Permissions::from_mode(mode)).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::RootKeyExposed { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("chmod 600"), "{error}");
        assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
    }
    fs::set_permissions(dir.path().join("root.key"), Permissions::from_mode(0o400)).unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn a_malformed_root_key_is_refused() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let path = dir.path().join("root.key");
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    for bad in [&good[..good.len() - 1], &[&good[..], b"\n"].concat(), b"", &flipped] {
        fs::write(&path, bad).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::RootKeyMalformed { .. }), "{error}");
    }
    fs::write(&path, good).unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn another_root_key_is_told_from_damage() {
    let (dir, other) = (tempdir().unwrap(), tempdir().unwrap());
    drop((open(dir.path()).unwrap(), open(other.path()).unwrap()));
    fs::copy(other.path().join("root.key"), dir.path().join("root.key")).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::WrongRootKey { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Denied);
}

#[test]
fn missing_files_are_never_made_anew() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let aside = dir.path().join("aside");
    fs::rename(dir.path().join("root.key"), &aside).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::RootKeyMissing { .. }), "{error}");
    assert!(!dir.path().join("root.key").exists());
    fs::rename(&aside, dir.path().join("root.key")).unwrap();

    fs::rename(dir.path().join("store"), &aside).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::StoreMissing { .. }), "{error}");
    fs::remove_file(dir.path().join("acknowledged")).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::StoreMissing { .. }), "{error}");
    fs::rename(&aside, dir.path().join("store")).unwrap();
    open(dir.path()).unwrap();
}

/// The first creation, cut short before the last rename, is finished by the next opener.
#[test]
fn a_creation_that_was_cut_short_is_finished() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    fs::rename(dir.path().join("store"), dir.path().join("store.new")).unwrap();
    fs::remove_file(dir.path().join("acknowledged")).unwrap();
    drop(open(dir.path()).unwrap());
    // Before the root key was written, there was nothing.
    fs::rename(dir.path().join("store"), dir.path().join("store.new")).unwrap();
    fs::remove_file(dir.path().join("acknowledged")).unwrap();
    fs::remove_file(dir.path().join("root.key")).unwrap();
    drop(open(dir.path()).unwrap());
    assert!(!dir.path().join("store.new").exists());
}

#[test]
fn passphrases_are_told_apart() {
    let dir = tempdir().unwrap();
    drop(open_with(dir.path(), &passphrase("right"), settings()).unwrap());
    assert!(!dir.path().join("root.key").exists());
    let error = open_with(dir.path(), &passphrase("wrong"), settings()).unwrap_err();
    assert!(matches!(error, OpenError::WrongPassphrase { .. }), "{error}");
    assert!(!error.to_string().contains("right") && !error.to_string().contains("wrong"));
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::OtherRootKeyKind { .. }), "{error}");
    assert!(error.to_string().contains("passphrase"), "{error}");
    let error = open_with(dir.path(), &passphrase(""), settings()).unwrap_err();
    assert!(matches!(error, OpenError::EmptyPassphrase), "{error}");
    drop(open_with(dir.path(), &passphrase("right"), settings()).unwrap());
    assert!(!format!("{:?}", passphrase("right")).contains("right"));

    let file_dir = tempdir().unwrap();
    drop(open(file_dir.path()).unwrap());
    let error = open_with(file_dir.path(), &passphrase("p"), settings()).unwrap_err();
    assert!(matches!(error, OpenError::OtherRootKeyKind { .. }), "{error}");
}

#[test]
fn the_cost_is_the_stores_not_the_settings() {
    let dir = tempdir().unwrap();
    drop(open_with(dir.path(), &passphrase("p"), settings()).unwrap());
    let mut other = settings();
    other.argon2.passes = 2;
    drop(open_with(dir.path(), &passphrase("p"), other).unwrap());
    let mut absurd = settings();
    absurd.argon2.memory_kib = u32::MAX;
    let fresh = tempdir().unwrap();
    let error = open_with(fresh.path(), &passphrase("p"), absurd).unwrap_err();
    assert!(matches!(error, OpenError::Setting(_)), "{error}");
    assert!(!fresh.path().join("store").exists());
}

#[test]
fn errors_convert_to_the_workspaces() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    fs::remove_file(dir.path().join("root.key")).unwrap();
    let error: sealvol_core::Error = open(dir.path()).unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("root.key"), "{error}");
}

/// The store and the files beside it, copied as a crash would leave them.
fn copy(from: &std::path::Path, to: &std::path::Path, names: &[&str]) {
    for name in names {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

const FILES: &[&str] = &["store", "root.key", "root.key.next", "acknowledged"];

#[test]
fn the_root_key_rotates_and_the_old_one_opens_nothing_new() {
    let (dir, old) = (tempdir().unwrap(), tempdir().unwrap());
    let kms = open(dir.path()).unwrap();
    let me = kms.root_caller();
    let key = kms.create_key(&me, "before").unwrap();
    // Another process that has it open.
    let other = open(dir.path()).unwrap();
    copy(dir.path(), old.path(), FILES);
    kms.rotate_root_key(&sealvol_kms::RootKeySource::KeyFile).unwrap();
    let changed = |name: &str| {
        fs::read(dir.path().join(name)).unwrap() != fs::read(old.path().join(name)).unwrap()
    };
    assert!(changed("root.key") && changed("store"));
    assert!(!dir.path().join("root.key.next").exists());
    // Both handles go on, and see each other.
    kms.create_key(&me, "after").unwrap();
    assert_eq!(other.list_keys(&me).unwrap().len(), 2);
    other.disable_key(&me, &key.key_id).unwrap();
    kms.rotate_root_key(&sealvol_kms::RootKeySource::KeyFile).unwrap();
    drop((kms, other));
    assert_eq!(open(dir.path()).unwrap().list_keys(&me).unwrap().len(), 2);
    // The old key does not open the new store; the old copy opens with it.
    let new_store = tempdir().unwrap();
    copy(dir.path(), new_store.path(), &["store"]);
    copy(old.path(), new_store.path(), &["root.key"]);
    let error = open(new_store.path()).unwrap_err();
    assert!(matches!(error, OpenError::WrongRootKey { .. }), "{error}");
    assert_eq!(open(old.path()).unwrap().list_keys(&me).unwrap().len(), 1);
}

/// Every moment of a rotation, as a crash leaves it.
#[test]
fn a_rotation_that_was_cut_short_is_finished_or_forgotten() {
    let (before, after) = (tempdir().unwrap(), tempdir().unwrap());
    let kms = open(before.path()).unwrap();
    let me = kms.root_caller();
    kms.create_key(&me, "kept").unwrap();
    copy(before.path(), after.path(), FILES);
    drop(kms);
    open(after.path()).unwrap().rotate_root_key(&sealvol_kms::RootKeySource::KeyFile).unwrap();
    // (store, root.key, root.key.next) at each step.
    for (store, current, next) in
        [(&before, &before, true), (&after, &before, true), (&after, &after, false)]
    {
        let dir = tempdir().unwrap();
        copy(store.path(), dir.path(), &["store"]);
        copy(current.path(), dir.path(), &["root.key"]);
        if next {
            fs::copy(after.path().join("root.key"), dir.path().join("root.key.next")).unwrap();
        }
        for _ in 0..2 {
            let kms = open(dir.path()).unwrap();
            assert_eq!(kms.list_keys(&me).unwrap().len(), 1);
            kms.rotate_root_key(&sealvol_kms::RootKeySource::KeyFile).unwrap();
            assert!(!dir.path().join("root.key.next").exists());
        }
    }
}

#[test]
fn a_key_file_and_a_passphrase_take_each_others_place() {
    let dir = tempdir().unwrap();
    let kms = open(dir.path()).unwrap();
    let me = kms.root_caller();
    kms.create_key(&me, "").unwrap();
    let follower = open(dir.path()).unwrap();
    kms.rotate_root_key(&passphrase("first")).unwrap();
    assert!(!dir.path().join("root.key").exists());
    kms.create_key(&me, "").unwrap();
    // It cannot know the passphrase, and says so.
    let error = follower.list_keys(&me).unwrap_err();
    assert!(error.message().unwrap().contains("changed the KMS's root key"), "{error}");
    drop((kms, follower));
    assert!(matches!(open(dir.path()).unwrap_err(), OpenError::OtherRootKeyKind { .. }));
    let kms = open_with(dir.path(), &passphrase("first"), settings()).unwrap();
    kms.rotate_root_key(&passphrase("second")).unwrap();
    drop(kms);
    let wrong = open_with(dir.path(), &passphrase("first"), settings()).unwrap_err();
    assert!(matches!(wrong, OpenError::WrongPassphrase { .. }), "{wrong}");
    let kms = open_with(dir.path(), &passphrase("second"), settings()).unwrap();
    assert!(matches!(kms.rotate_root_key(&passphrase("")), Err(OpenError::EmptyPassphrase)));
    kms.rotate_root_key(&sealvol_kms::RootKeySource::KeyFile).unwrap();
    drop(kms);
    assert_eq!(open(dir.path()).unwrap().list_keys(&me).unwrap().len(), 2);
}
