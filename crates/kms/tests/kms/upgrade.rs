//! A store of the first version (before policies, rotation and accounts) opens with everything that
//! it held, and is rewritten so that older builds refuse it instead of misreading it.
//!
//! `fixtures/store-v1` was made by that version: two keys, one of them disabled, an alias, a data key
//! and a grant. The root key in it protects nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sealvol_envelope::{GrantTokens, KeyState};
use sealvol_kms::codec::StoreHeader;
use sealvol_kms::model::{GetKeyPolicyRequest, KeyRequest};

use crate::support::{FARGATE, caller, decrypt, open, root, volume};

fn fixture(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-v1");
    fs::read(dir.join(name)).unwrap()
}

#[tokio::test]
async fn a_store_of_version_1_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["store", "root.key", "acknowledged"] {
        fs::write(dir.path().join(name), fixture(name)).unwrap();
        fs::set_permissions(dir.path().join(name), Permissions::from_mode(0o600)).unwrap();
    }
    let version = || StoreHeader::decode(&fs::read(dir.path().join("store")).unwrap()).unwrap();
    assert_eq!(version().version, 1);
    // Opened, changed and opened again.
    for round in 0..3 {
        let kms = open(dir.path()).unwrap();
        assert_eq!(version().version, 2);
        let me = kms.root_caller();
        let keys = kms.list_keys(&me).unwrap();
        let state = |text: &str| {
            keys.iter().find(|key| key.description == text).map(|key| key.state).unwrap()
        };
        assert_eq!(state("made by version 1"), KeyState::Enabled);
        assert_eq!(state("disabled"), KeyState::Disabled);
        let ciphertext = fixture("ciphertext");
        let data_key = root(&kms).decrypt(decrypt(&ciphertext, volume("vol-1"))).await.unwrap();
        assert_eq!(data_key.expose_secret(), fixture("plaintext"));
        let token = String::from_utf8(fixture("token")).unwrap();
        let mut request = decrypt(&ciphertext, volume("vol-1"));
        request.grant_tokens = GrantTokens(vec![token]);
        kms.handle(caller(FARGATE)).decrypt(request).await.unwrap();
        // What version 1 did not know has its defaults.
        let session = kms.session_of(&me);
        let alias = &kms.list_aliases(&me, None).unwrap()[0];
        let key_id = alias.target_key_arn.clone();
        let policy = session
            .get_key_policy(&GetKeyPolicyRequest { key_id: key_id.clone(), policy_name: None })
            .unwrap();
        assert!(policy.policy.contains("Enable IAM User Permissions"));
        if round == 0 {
            session.rotate_key_on_demand(&KeyRequest::new(key_id)).unwrap();
        }
    }
}
