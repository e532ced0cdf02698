//! Cases 52 and 53, and the two policies of kms.md, section 6: Fargate's documented key policy, and what
//! a user of EBS needs. Each condition is shown to deny when it is not met.

use sealvol_kms::model::*;
use sealvol_kms::{Requester, Session};
use serde_json::{Value, json};

use crate::support::*;

const FARGATE: &str = "fargate.amazonaws.com";
const DENIED: &str = "AccessDeniedException";
const CLUSTER: [(&str, &str); 2] =
    [("aws:ecs:clusterAccount", OWN), ("aws:ecs:clusterName", "blue")];

fn with_volume(pairs: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let volume = [("aws:ebs:id", "vol-00fa4e00fa4e00fa4")];
    pairs.iter().copied().chain(volume).collect()
}

/// As documented: data keys for the cluster, and grants of Decrypt for it.
fn fargate_policy() -> [Value; 3] {
    let cluster = json!({
        "kms:EncryptionContext:aws:ecs:clusterAccount": [OWN],
        "kms:EncryptionContext:aws:ecs:clusterName": ["blue"],
    });
    [
        delegation(OWN),
        json!({
            "Sid": "Allow generate data key access for Fargate tasks.",
            "Effect": "Allow", "Principal": { "Service": FARGATE },
            "Action": ["kms:GenerateDataKeyWithoutPlaintext"], "Resource": "*",
            "Condition": { "StringEquals": cluster },
        }),
        json!({
            "Sid": "Allow grant creation permission for Fargate tasks.",
            "Effect": "Allow", "Principal": { "Service": FARGATE },
            "Action": ["kms:CreateGrant"], "Resource": "*",
            "Condition": {
                "StringEquals": cluster,
                "ForAllValues:StringEquals": { "kms:GrantOperations": ["Decrypt"] },
            },
        }),
    ]
}

/// A world with a key of that policy, and the service.
fn fargate() -> (World, String, Session) {
    let world = World::new();
    let key = world.key_with_policy(&fargate_policy());
    let session = world.service(FARGATE);
    (world, key, session)
}

fn cluster_grant(key: &str, operations: &[&str], pairs: &[(&str, &str)]) -> CreateGrantRequest {
    CreateGrantRequest {
        retiring_principal: Some("ec2.us-east-1.amazonaws.com".to_owned()),
        constraints: subset(&context(pairs)),
        ..grant(key, "fargate.us-east-1.amazonaws.com", operations)
    }
}

/// Case 52 \[D\].
#[test]
fn case_52_fargate_grants_decrypt_and_nothing_else() {
    let (_world, key, fargate) = fargate();
    for operations in [&["Decrypt", "Encrypt"][..], &["Encrypt"], &["Decrypt", "CreateGrant"]] {
        let request = cluster_grant(&key, operations, &CLUSTER);
        refused(fargate.create_grant(&request), DENIED);
        let request = CreateGrantRequest { dry_run: Some(true), ..request };
        refused(fargate.create_grant(&request), DENIED);
    }
    fargate.create_grant(&cluster_grant(&key, &["Decrypt"], &CLUSTER)).unwrap();
}

/// Case 53 \[D\].
#[test]
fn case_53_fargate_decrypts_by_a_grant_alone() {
    let (world, key, fargate) = fargate();
    let request = generate(&key, 64, &context(&CLUSTER));
    let made = fargate.generate_data_key_without_plaintext(&request).unwrap().ciphertext_blob.0;
    let request = decrypt(&made, &context(&CLUSTER));
    refused(fargate.decrypt(&request), DENIED);
    refused(fargate.decrypt(&decrypt_by(&key, &made, &context(&CLUSTER))), DENIED);
    fargate.create_grant(&cluster_grant(&key, &["Decrypt"], &CLUSTER)).unwrap();
    let regional = world.service("fargate.us-east-1.amazonaws.com");
    assert_eq!(regional.decrypt(&request).unwrap().plaintext.expose_secret().len(), 64);
    refused(fargate.decrypt(&request), DENIED);
}

/// Every condition of the policy denies what it is there to deny.
#[test]
fn fargates_conditions_bind() {
    let (world, key, fargate) = fargate();
    let wrong: [&[(&str, &str)]; 6] = [
        &[],
        &[("aws:ecs:clusterAccount", OTHER), ("aws:ecs:clusterName", "blue")],
        &[("aws:ecs:clusterAccount", OWN), ("aws:ecs:clusterName", "green")],
        &[("aws:ecs:clusterAccount", OWN), ("aws:ecs:clusterName", "Blue")],
        &[("aws:ecs:clusterAccount", OWN)],
        &[("aws:ecs:clusterName", "blue")],
    ];
    for pairs in wrong {
        let request = generate(&key, 64, &context(pairs));
        refused(fargate.generate_data_key_without_plaintext(&request), DENIED);
        refused(fargate.create_grant(&cluster_grant(&key, &["Decrypt"], pairs)), DENIED);
    }
    // Without any constraint.
    let request =
        CreateGrantRequest { constraints: None, ..cluster_grant(&key, &["Decrypt"], &CLUSTER) };
    refused(fargate.create_grant(&request), DENIED);
    // No other service, and nothing else.
    let request = generate(&key, 64, &context(&CLUSTER));
    let ecs = world.service("ecs.amazonaws.com");
    refused(ecs.generate_data_key_without_plaintext(&request), DENIED);
    refused(fargate.generate_data_key(&request), DENIED);
    refused(fargate.encrypt(&encrypt(&key, b"x", &context(&CLUSTER))), DENIED);
    let describe = DescribeKeyRequest { key_id: key, grant_tokens: None };
    refused(fargate.describe_key(&describe), DENIED);
}

/// The sequence of kms.md, section 7, from the dry runs to the end of the grant.
#[test]
fn fargates_sequence() {
    let (world, key, fargate) = fargate();
    let dry = |request| GenerateDataKeyRequest { dry_run: Some(true), ..request };
    let request = dry(generate(&key, 64, &context(&CLUSTER)));
    let answer = fargate.generate_data_key_without_plaintext(&request);
    refused(answer, "DryRunOperationException");
    let request = cluster_grant(&key, &["Decrypt"], &CLUSTER);
    let request = CreateGrantRequest { dry_run: Some(true), ..request };
    refused(fargate.create_grant(&request), "DryRunOperationException");

    // The real calls are EC2's, on Fargate's behalf, with the volume in the context.
    let pairs = with_volume(&CLUSTER);
    let through_ec2 = world.kms.session(Requester {
        via_service: Some("ec2-frontend-api.amazonaws.com".to_owned()),
        ..service(FARGATE)
    });
    let request = generate(&key, 64, &context(&pairs));
    let made = through_ec2.generate_data_key_without_plaintext(&request).unwrap();
    let made = made.ciphertext_blob.0;
    let granted = through_ec2.create_grant(&cluster_grant(&key, &["Decrypt"], &pairs)).unwrap();

    let regional = world.service("fargate.us-east-1.amazonaws.com");
    let request = DecryptRequest {
        grant_tokens: tokens(&granted.grant_token),
        ..decrypt(&made, &context(&pairs))
    };
    assert_eq!(regional.decrypt(&request).unwrap().plaintext.expose_secret().len(), 64);
    // Bound to this volume: another one's data key does not open.
    let other = [CLUSTER[0], CLUSTER[1], ("aws:ebs:id", "vol-0fffffffffffffff")];
    let request = generate(&key, 64, &context(&other));
    let other_key = through_ec2.generate_data_key_without_plaintext(&request).unwrap();
    let request = decrypt(&other_key.ciphertext_blob.0, &context(&other));
    refused(regional.decrypt(&request), DENIED);

    let ec2 = world.service("ec2.us-east-1.amazonaws.com");
    ec2.retire_grant(&retire(&granted.grant_token)).unwrap();
    refused(regional.decrypt(&decrypt(&made, &context(&pairs))), DENIED);
}

/// Confused deputies: a service calls for an account and a resource, and a policy can ask which.
#[test]
fn a_service_is_held_to_its_source() {
    let world = World::new();
    let source = format!("arn:aws:ecs:us-east-1:{OWN}:cluster/blue");
    let key = world.key_with_policy(&[
        delegation(OWN),
        json!({
            "Effect": "Allow", "Principal": { "Service": FARGATE }, "Action": "kms:Encrypt",
            "Resource": "*",
            "Condition": {
                "StringEquals": { "aws:SourceAccount": OWN },
                "ArnLike": { "aws:SourceArn": format!("arn:aws:ecs:*:{OWN}:cluster/*") },
            },
        }),
    ]);
    let tries = |account: Option<&str>, arn: Option<&str>| {
        let requester = Requester {
            source_account: account.map(str::to_owned),
            source_arn: arn.map(str::to_owned),
            ..service(FARGATE)
        };
        world.kms.session(requester).encrypt(&encrypt(&key, b"x", &nothing()))
    };
    tries(Some(OWN), Some(&source)).unwrap();
    refused(tries(Some(OTHER), Some(&source)), DENIED);
    refused(tries(None, Some(&source)), DENIED);
    refused(tries(Some(OWN), None), DENIED);
    refused(tries(Some(OWN), Some(&source.replace(":cluster/", ":task/"))), DENIED);
}

/// What a user of EBS needs, as an identity policy: grants only for AWS resources.
fn ebs_user(world: &World, through: Option<&str>) -> Session {
    let statements = [
        to_me(
            "Allow",
            &[
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:GenerateDataKeyWithoutPlaintext",
                "kms:ReEncrypt*",
            ],
        ),
        json!({
            "Effect": "Allow", "Action": "kms:CreateGrant", "Resource": "*",
            "Condition": { "Bool": { "kms:GrantIsForAWSResource": "true" } },
        }),
    ];
    let via_service = through.map(str::to_owned);
    world.kms.session(Requester { via_service, ..requester_with(&user("u"), &statements) })
}

#[test]
fn a_user_of_ebs_has_what_it_takes() {
    let world = World::new();
    let (key, other) = (world.key(), world.key());
    let ec2 = "ec2.us-east-1.amazonaws.com";
    let through = ebs_user(&world, Some(ec2));
    let request = generate(&key, 64, &volume("vol-1"));
    let made = through.generate_data_key_without_plaintext(&request).unwrap().ciphertext_blob.0;
    through.decrypt(&decrypt(&made, &volume("vol-1"))).unwrap();
    through.describe_key(&DescribeKeyRequest { key_id: key.clone(), grant_tokens: None }).unwrap();
    let copied = re_encrypt(&made, &volume("vol-1"), (&other, &volume("snap-1")));
    through.re_encrypt(&copied).unwrap();
    let attach = CreateGrantRequest {
        constraints: subset(&volume("vol-1")),
        ..grant(&key, ec2, &["Decrypt"])
    };
    let made_grant = through.create_grant(&attach).unwrap();
    // By itself the user makes no grants, and never more than this.
    refused(ebs_user(&world, None).create_grant(&attach), DENIED);
    refused(through.generate_data_key(&request), DENIED);
    refused(through.encrypt(&encrypt(&key, b"x", &nothing())), DENIED);
    refused(through.revoke_grant(&revoke(&key, &made_grant.grant_id)), DENIED);
    refused(through.disable_key(&KeyRequest::new(&key)), DENIED);
}

/// The other two operations that know `kms:GrantIsForAWSResource`.
#[test]
fn grants_for_aws_resources_are_told_apart_when_listed_and_revoked() {
    let world = World::new();
    let key = world.key();
    let made = world.root().create_grant(&grant(&key, &user("v"), &["Decrypt"])).unwrap();
    let condition = json!({ "Bool": { "kms:GrantIsForAWSResource": "true" } });
    let statement = json!({
        "Effect": "Allow", "Action": ["kms:ListGrants", "kms:RevokeGrant"], "Resource": "*",
        "Condition": condition,
    });
    let requester = requester_with(&user("u"), &[statement]);
    let direct = world.kms.session(requester.clone());
    let via_service = Some("ec2.us-east-1.amazonaws.com".to_owned());
    let through = world.kms.session(Requester { via_service, ..requester });
    let list = ListGrantsRequest { key_id: key.clone(), ..Default::default() };
    refused(direct.list_grants(&list), DENIED);
    refused(direct.revoke_grant(&revoke(&key, &made.grant_id)), DENIED);
    through.list_grants(&list).unwrap();
    through.revoke_grant(&revoke(&key, &made.grant_id)).unwrap();
}
