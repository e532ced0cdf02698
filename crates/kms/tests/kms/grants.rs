//! What the conformance suite cannot express about grants: quota, propagation, many grants.

use sealvol_envelope::{
    EncryptionContext, GrantConstraint, GrantOperation, GrantTokens, RetireGrantRequest,
};
use sealvol_kms::{Kms, KmsSettings};

use crate::support::{
    FARGATE, TestClock, caller, decrypt, entropy, generate, grant, in_memory, root, settings,
    volume,
};

#[tokio::test]
async fn a_key_has_a_quota_of_grants() {
    let kms = in_memory(KmsSettings { grants_per_key_max: 3, ..settings() });
    let key = kms.create_key(&kms.root_caller(), "").unwrap();
    let service = root(&kms);
    let mut named = grant(&key.arn, FARGATE);
    named.name = Some("n".into());
    let first = service.create_grant(named.clone()).await.unwrap();
    for _ in 0..2 {
        service.create_grant(grant(&key.arn, FARGATE)).await.unwrap();
    }
    let refused = service.create_grant(grant(&key.arn, FARGATE)).await.unwrap_err();
    assert_eq!(refused.code(), "LimitExceededException");
    // A grant that exists is still found.
    assert_eq!(service.create_grant(named).await.unwrap().grant_id, first.grant_id);
    kms.revoke_grant(&kms.root_caller(), &key.arn, &first.grant_id).unwrap();
    service.create_grant(grant(&key.arn, FARGATE)).await.unwrap();
}

/// Case 42.
#[tokio::test]
async fn a_grant_needs_its_token_until_it_has_propagated() {
    let clock = TestClock::at(1_000);
    let delay = std::time::Duration::from_secs(5);
    let settings = KmsSettings { grant_propagation_delay: delay, ..settings() };
    let kms = Kms::in_memory(settings, clock.clone(), entropy()).unwrap();
    let key = kms.create_key(&kms.root_caller(), "").unwrap();
    let service = root(&kms);
    let made = service
        .generate_data_key_without_plaintext(generate(&key.arn, volume("vol-1")))
        .await
        .unwrap();
    let created = service.create_grant(grant(&key.arn, FARGATE)).await.unwrap();
    let fargate = kms.handle(caller(FARGATE));
    let without = decrypt(&made.ciphertext, volume("vol-1"));
    let mut with = without.clone();
    with.grant_tokens = GrantTokens(vec![created.grant_token]);
    let refused = fargate.decrypt(without.clone()).await.unwrap_err();
    assert_eq!(refused.code(), "AccessDeniedException");
    fargate.decrypt(with).await.unwrap();
    clock.advance(4_999);
    fargate.decrypt(without.clone()).await.unwrap_err();
    clock.advance(1);
    fargate.decrypt(without).await.unwrap();
}

/// What an attachment does: one grant each, for one volume of one cluster.
#[tokio::test]
async fn many_attachments_share_a_key() {
    let kms = in_memory(settings());
    let key = kms.create_key(&kms.root_caller(), "").unwrap();
    let service = root(&kms);
    let fargate = kms.handle(caller(FARGATE));
    let context = |n: usize| {
        let volume = format!("vol-{n}");
        EncryptionContext::from_pairs([
            ("aws:ebs:id", volume.as_str()),
            ("aws:ecs:clusterName", "c"),
        ])
        .unwrap()
    };
    let mut grants = Vec::new();
    for n in 0..2_000 {
        let mut request = grant(&key.arn, FARGATE);
        request.constraint = Some(GrantConstraint::EncryptionContextSubset(context(n)));
        grants.push(service.create_grant(request).await.unwrap());
    }
    for n in [0, 999, 1_999] {
        let made = service
            .generate_data_key_without_plaintext(generate(&key.arn, context(n)))
            .await
            .unwrap();
        fargate.decrypt(decrypt(&made.ciphertext, context(n))).await.unwrap();
        let token = GrantTokens(vec![grants[n].grant_token.clone()]);
        service.retire_grant(RetireGrantRequest::Token(token)).await.unwrap();
        fargate.decrypt(decrypt(&made.ciphertext, context(n))).await.unwrap_err();
    }
    let listed = kms.list_grants(&kms.root_caller(), &key.key_id).unwrap();
    assert_eq!(listed.len(), 1_997);
    assert!(listed.is_sorted_by(|a, b| a.grant_id < b.grant_id));
}

#[tokio::test]
async fn grants_are_listed_as_they_were_asked_for() {
    let kms = in_memory(settings());
    let key = kms.create_key(&kms.root_caller(), "").unwrap();
    let mut request = grant(&key.arn, FARGATE);
    request.operations = vec![GrantOperation::DescribeKey, GrantOperation::Decrypt];
    request.retiring_principal = Some("ec2.us-east-1.amazonaws.com".into());
    request.constraint = Some(GrantConstraint::EncryptionContextEquals(volume("vol-1")));
    request.name = Some("attachment".into());
    let created = root(&kms).create_grant(request.clone()).await.unwrap();
    let listed = kms.list_grants(&kms.root_caller(), &key.arn).unwrap();
    let [listed] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(listed.grant_id, created.grant_id);
    assert_eq!(listed.issuing_account, kms.root_caller().principal);
    let constraints = listed.constraints.clone().unwrap();
    assert_eq!(constraints.encryption_context_equals, Some(volume("vol-1")));
    assert_eq!(constraints.encryption_context_subset, None);
    assert_eq!(listed.retiring_principal, request.retiring_principal);
    assert_eq!(listed.operations, ["Decrypt", "DescribeKey"]);
    assert!(!format!("{listed:?}{created:?}").contains(&created.grant_token));
}

#[test]
fn only_admins_revoke_and_list() {
    let kms = in_memory(settings());
    let key = kms.create_key(&kms.root_caller(), "").unwrap();
    let other = caller(FARGATE);
    let id = "0".repeat(64);
    for error in [
        kms.revoke_grant(&other, &key.arn, &id).unwrap_err(),
        kms.list_grants(&other, &key.arn).unwrap_err(),
    ] {
        assert_eq!(error.code(), "AccessDeniedException");
    }
    let me = kms.root_caller();
    assert_eq!(kms.revoke_grant(&me, &key.arn, &id).unwrap_err().code(), "NotFoundException");
    let malformed = kms.revoke_grant(&me, &key.arn, "x").unwrap_err();
    assert_eq!(malformed.code(), "InvalidGrantIdException");
}
