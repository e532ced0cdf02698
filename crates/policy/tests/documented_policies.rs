//! Goal: the policies that AWS documents for Fargate and EBS work as documented, and each of their
//! conditions is needed. Method: the policy as it is printed, a request that passes, and the same
//! request with one thing changed (kms.md, section 6, cases 52 and 53).

#[path = "support/ask.rs"]
mod support;

use sealvol_policy::{Identity, MapContext, Outcome, Policy};
use support::{ACCOUNT, ALICE, FARGATE, KEY, ask, iam_policy, key_policy, who};

fn fargate_policy() -> std::sync::Arc<Policy> {
    key_policy(
        r#"{"Sid": "Allow generate data key access for Fargate tasks.", "Effect": "Allow",
            "Principal": {"Service": "fargate.amazonaws.com"},
            "Action": ["kms:GenerateDataKeyWithoutPlaintext"],
            "Condition": {"StringEquals": {
                "kms:EncryptionContext:aws:ecs:clusterAccount": ["111122223333"],
                "kms:EncryptionContext:aws:ecs:clusterName": ["prod"]}},
            "Resource": ["*"]},
           {"Sid": "Allow grant creation permission for Fargate tasks.", "Effect": "Allow",
            "Principal": {"Service": "fargate.amazonaws.com"},
            "Action": ["kms:CreateGrant"],
            "Condition": {
                "StringEquals": {
                    "kms:EncryptionContext:aws:ecs:clusterAccount": ["111122223333"],
                    "kms:EncryptionContext:aws:ecs:clusterName": ["prod"]},
                "ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt"]}},
            "Resource": ["*"]}"#,
    )
}

fn cluster(account: &str, name: &str) -> MapContext {
    MapContext::default()
        .with("kms:EncryptionContext:aws:ecs:clusterAccount", account)
        .with("kms:EncryptionContext:aws:ecs:clusterName", name)
        .with("kms:EncryptionContext:aws:ebs:id", "vol-1")
}

#[test]
fn fargate_makes_data_keys_for_its_cluster_only() {
    let (policy, fargate) = (fargate_policy(), who(FARGATE));
    let action = "kms:GenerateDataKeyWithoutPlaintext";
    let allowed = |identity: &Identity, context: &MapContext| {
        ask(identity, action, &policy, context).is_allowed()
    };
    assert!(allowed(&fargate, &cluster(ACCOUNT, "prod")));
    assert!(!allowed(&fargate, &cluster("999999999999", "prod")));
    assert!(!allowed(&fargate, &cluster(ACCOUNT, "test")));
    assert!(!allowed(&fargate, &cluster(ACCOUNT, "Prod")));
    assert!(!allowed(&fargate, &MapContext::default()));
    let name_only = MapContext::default().with("kms:EncryptionContext:aws:ecs:clusterName", "prod");
    assert!(!allowed(&fargate, &name_only));
    assert!(!allowed(&who("ecs.amazonaws.com"), &cluster(ACCOUNT, "prod")));
    assert!(!allowed(&who(ALICE).with_everything(), &cluster(ACCOUNT, "prod")));
}

#[test]
fn fargate_grants_decrypt_and_nothing_else() {
    let (policy, fargate) = (fargate_policy(), who(FARGATE));
    let grants = |operations: &[&str], context: MapContext| {
        let context = context.with_many("kms:GrantOperations", operations);
        ask(&fargate, "kms:CreateGrant", &policy, &context).is_allowed()
    };
    assert!(grants(&["Decrypt"], cluster(ACCOUNT, "prod")));
    assert!(!grants(&["Decrypt", "Encrypt"], cluster(ACCOUNT, "prod")));
    assert!(!grants(&["Encrypt"], cluster(ACCOUNT, "prod")));
    assert!(!grants(&["Decrypt"], cluster(ACCOUNT, "test")));
    assert!(!grants(&["Decrypt"], MapContext::default()));
}

#[test]
fn fargate_decrypts_by_grant_only() {
    let (policy, fargate, context) = (fargate_policy(), who(FARGATE), cluster(ACCOUNT, "prod"));
    for action in ["kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey", "kms:Encrypt"] {
        let decision = ask(&fargate, action, &policy, &context);
        // Not an explicit deny: a grant may still allow it.
        assert_eq!(decision.outcome, Outcome::ImplicitDeny, "{action}");
    }
}

#[test]
fn an_ebs_user_has_what_attaching_takes_and_grants_through_aws_only() {
    let key = key_policy(
        r#"{"Sid": "Enable IAM User Permissions", "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
            "Action": "kms:*", "Resource": "*"}"#,
    );
    let user = iam_policy(&format!(
        r#"{{"Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext",
                "kms:ReEncrypt*"],
            "Resource": "{KEY}",
            "Condition": {{"StringLike": {{"kms:ViaService": "ec2.*.amazonaws.com"}}}}}},
           {{"Effect": "Allow", "Action": "kms:CreateGrant", "Resource": "{KEY}",
            "Condition": {{"Bool": {{"kms:GrantIsForAWSResource": "true"}}}}}}"#
    ));
    let alice = who(ALICE).with_policy("ebs", user);
    let via = |name| MapContext::default().with("kms:ViaService", name);
    let allowed =
        |action: &str, context: &MapContext| ask(&alice, action, &key, context).is_allowed();
    let ec2 = via("ec2.us-east-1.amazonaws.com");
    for action in ["Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom"] {
        let action = format!("kms:{action}");
        assert!(allowed(&action, &ec2), "{action}");
        assert!(!allowed(&action, &via("s3.us-east-1.amazonaws.com")), "{action}");
        assert!(!allowed(&action, &MapContext::default()), "{action}");
    }
    assert!(!allowed("kms:GenerateDataKey", &ec2), "the plaintext is not the user's");
    let grant = |value| MapContext::default().with("kms:GrantIsForAWSResource", value);
    assert!(allowed("kms:CreateGrant", &grant("true")));
    assert!(!allowed("kms:CreateGrant", &grant("false")));
    assert!(!allowed("kms:CreateGrant", &ec2));
}
