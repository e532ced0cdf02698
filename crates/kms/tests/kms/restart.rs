//! A restart keeps everything, whatever was done and however often the store was compacted.

use std::sync::Arc;

use sealvol_envelope::{GrantConstraint, GrantTokens, RetireGrantRequest};
use sealvol_kms::{Kms, KmsSettings, RootKeySource};

use crate::support::{
    FARGATE, caller, contents, decrypt, generate, grant, open_with, passphrase, root, settings,
    volume,
};

/// Does one of everything and returns a wrapped key and a token that must work afterwards.
async fn live_a_little(kms: &Arc<Kms>) -> (Vec<u8>, String) {
    let me = kms.root_caller();
    let service = root(kms);
    let key = kms.create_key(&me, "first \"quoted\" \u{1F511}").unwrap();
    let second = kms.create_key(&me, "").unwrap();
    kms.create_alias(&me, "alias/sealvol", &key.key_id).unwrap();
    kms.disable_key(&me, &second.key_id).unwrap();
    let made = service
        .generate_data_key_without_plaintext(generate("alias/sealvol", volume("vol-1")))
        .await
        .unwrap();
    let mut request = grant(&key.arn, FARGATE);
    request.constraint = Some(GrantConstraint::EncryptionContextSubset(volume("vol-1")));
    request.name = Some("n".into());
    let token = service.create_grant(request).await.unwrap().grant_token;
    let ended = service.create_grant(grant(&key.arn, FARGATE)).await.unwrap();
    let ended = GrantTokens(vec![ended.grant_token]);
    service.retire_grant(RetireGrantRequest::Token(ended)).await.unwrap();
    (made.ciphertext, token)
}

async fn restart_keeps_everything(source: RootKeySource, journal_len_min: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/kms");
    let open = || open_with(&path, &source, KmsSettings { journal_len_min, ..settings() }).unwrap();
    let kms = open();
    let (ciphertext, token) = live_a_little(&kms).await;
    let before = contents(&kms);
    drop(kms);
    for _ in 0..3 {
        let kms = open();
        assert_eq!(contents(&kms), before);
        let mut request = decrypt(&ciphertext, volume("vol-1"));
        request.grant_tokens = GrantTokens(vec![token.clone()]);
        let key = kms.handle(caller(FARGATE)).decrypt(request).await.unwrap();
        assert_eq!(key.len(), 64);
    }
}

#[tokio::test]
async fn with_a_key_file() {
    restart_keeps_everything(RootKeySource::KeyFile, u64::MAX).await;
}

#[tokio::test]
async fn with_a_passphrase() {
    restart_keeps_everything(passphrase("correct horse"), u64::MAX).await;
}

#[tokio::test]
async fn with_compaction_at_every_change() {
    restart_keeps_everything(RootKeySource::KeyFile, 0).await;
}

#[tokio::test]
async fn with_compaction_now_and_then() {
    restart_keeps_everything(RootKeySource::KeyFile, 1_000).await;
}

#[tokio::test]
async fn the_journal_does_not_grow_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let settings = KmsSettings { journal_len_min: 4_096, ..settings() };
    let kms = open_with(dir.path(), &RootKeySource::KeyFile, settings).unwrap();
    let me = kms.root_caller();
    let key = kms.create_key(&me, "").unwrap();
    for _ in 0..100 {
        kms.disable_key(&me, &key.key_id).unwrap();
        kms.enable_key(&me, &key.key_id).unwrap();
        let len = std::fs::metadata(dir.path().join("store")).unwrap().len();
        assert!(len < 8_192, "{len} bytes");
    }
}

#[tokio::test]
async fn nothing_secret_is_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let kms = open_with(dir.path(), &RootKeySource::KeyFile, settings()).unwrap();
    kms.create_key(&kms.root_caller(), "a description to look for").unwrap();
    let store = std::fs::read(dir.path().join("store")).unwrap();
    assert!(!store.windows(13).any(|w| w == b"a description"), "the journal is not sealed");
    assert!(!store.windows(6).any(|w| w == b"secret"), "the snapshot is not sealed");
}
