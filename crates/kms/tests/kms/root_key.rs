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
