//! Decoders on arbitrary and on damaged bytes: no panic, memory bounded by the input, and nothing
//! that was damaged is accepted. (The fuzz targets run the same functions.)

use proptest::prelude::*;
use sealvol_kms::codec::{
    Acknowledged, CiphertextBlob, HEADER_LEN, RootKey, StoreHeader, check_change_body,
    check_snapshot_body, check_token_shape, decode_root_key_file, decode_store,
};

use crate::support::open;

fn sample() -> (Vec<u8>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let kms = open(dir.path()).unwrap();
    let me = kms.root_caller();
    let key = kms.create_key(&me, "k").unwrap();
    kms.create_alias(&me, "alias/a", &key.key_id).unwrap();
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    (read("store"), read("root.key"))
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let root = RootKey::take(&mut [1; 32]);
        prop_assert!(decode_store(&bytes, &root, None).is_err());
        prop_assert!(StoreHeader::decode(&bytes).is_err());
        prop_assert!(CiphertextBlob::parse(&bytes).is_err());
        prop_assert!(decode_root_key_file(&bytes).is_none());
        prop_assert!(Acknowledged::decode(&bytes).is_none());
        prop_assert!(check_snapshot_body(&bytes).is_err());
        prop_assert!(check_change_body(&bytes).is_err());
        prop_assert!(!check_token_shape(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn arbitrary_json(text in r#"\{"(keys|key_created|grant_created|aliases)":[\[\{"0-9a-z:,\}\]]{0,60}\}"#) {
        prop_assert!(check_snapshot_body(text.as_bytes()).is_err());
        prop_assert!(check_change_body(text.as_bytes()).is_err());
    }
}

/// Lengths that a header may claim: none makes the decoder allocate for them.
#[test]
fn absurd_lengths_are_refused() {
    let (store, key) = sample();
    let root = decode_root_key_file(&key).unwrap();
    let good = StoreHeader::decode(&store).unwrap();
    for snapshot_len in [0, 1, 15, u64::from(u32::MAX), u64::MAX - 200, u64::MAX] {
        let header = StoreHeader { snapshot_len, ..good.clone() };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(&store[HEADER_LEN..]);
        assert!(decode_store(&bytes, &root, None).is_err(), "{snapshot_len}");
    }
}

#[test]
fn deep_json_is_refused() {
    let deep = "[".repeat(100_000);
    assert!(check_snapshot_body(deep.as_bytes()).is_err());
    assert!(check_change_body(deep.as_bytes()).is_err());
}

#[test]
fn contradictory_snapshots_are_refused() {
    let secret = "00".repeat(32);
    let id = "0a0a0a0a-1b1b-4c2c-8d3d-4e4e4e4e4e4e";
    let material = format!(r#"{{"id":"{secret}","created":0,"secret":"{secret}"}}"#);
    let key = |current: &str, materials: &str| {
        format!(
            r#"{{"id":"{id}","description":"","status":"enabled","created":0,"current":"{current}","materials":[{materials}]}}"#
        )
    };
    let snapshot = |keys: &str, aliases: &str| {
        format!(
            r#"{{"token_secret":"{secret}","keys":[{keys}],"aliases":[{aliases}],"grants":[]}}"#
        )
    };
    let good = key(&secret, &material);
    check_snapshot_body(snapshot(&good, "").as_bytes()).unwrap();
    let dangling = format!(
        r#"{{"name":"alias/a","target":"{}","created":0,"updated":0}}"#,
        id.replace('a', "b")
    );
    for bad in [
        snapshot(&format!("{good},{good}"), ""),
        snapshot(&key(&"11".repeat(32), &material), ""),
        snapshot(&key(&secret, ""), ""),
        snapshot(&key(&secret, &format!("{material},{material}")), ""),
        snapshot(&good, &dangling),
    ] {
        check_snapshot_body(bad.as_bytes()).unwrap_err();
    }
}
