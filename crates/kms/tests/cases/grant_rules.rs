//! What section 3 of kms.md says of grants beyond its numbered cases.

use sealvol_kms::model::*;
use sealvol_kms::{KmsSettings, Requester};
use serde_json::json;

use crate::support::*;

const DENIED: &str = "AccessDeniedException";
const VALIDATION: &str = "ValidationException";

#[test]
fn a_grant_has_one_grantee() {
    let world = World::new();
    let key = world.key();
    let one = grant(&key, &user("u"), &["Decrypt"]);
    let none = CreateGrantRequest { grantee_principal: None, ..one.clone() };
    let service = Some("ec2.amazonaws.com".to_owned());
    let two = CreateGrantRequest { grantee_service_principal: service.clone(), ..one.clone() };
    let retirers = CreateGrantRequest {
        retiring_principal: Some(user("r")),
        retiring_service_principal: service,
        ..one
    };
    for request in [none, two, retirers] {
        refused(world.root().create_grant(&request), VALIDATION);
    }
}

/// The service form needs a source and a retiring principal, and reaches who calls for that source.
#[test]
fn a_grant_to_a_service_is_for_one_resource() {
    let world = World::new();
    let key = world.key();
    let sealed = world.sealed(&key, &nothing());
    let source = format!("arn:aws:ec2:us-east-1:{OWN}:volume/vol-1");
    let whole = CreateGrantRequest {
        key_id: key,
        grantee_service_principal: Some("ec2.amazonaws.com".to_owned()),
        retiring_service_principal: Some("ec2.amazonaws.com".to_owned()),
        operations: vec!["Decrypt".to_owned()],
        constraints: Some(GrantConstraints {
            source_arn: Some(source.clone()),
            ..GrantConstraints::default()
        }),
        ..CreateGrantRequest::default()
    };
    for incomplete in [
        CreateGrantRequest { constraints: None, ..whole.clone() },
        CreateGrantRequest { retiring_service_principal: None, ..whole.clone() },
        CreateGrantRequest { constraints: subset(&volume("v")), ..whole.clone() },
        CreateGrantRequest {
            constraints: Some(GrantConstraints {
                source_arn: Some("vol-1".to_owned()),
                ..GrantConstraints::default()
            }),
            ..whole.clone()
        },
    ] {
        refused(world.root().create_grant(&incomplete), VALIDATION);
    }
    world.root().create_grant(&whole).unwrap();
    let calling_for = |source: Option<&str>| {
        let source_arn = source.map(str::to_owned);
        let requester = Requester { source_arn, ..service("ec2.amazonaws.com") };
        world.kms.session(requester).decrypt(&decrypt(&sealed, &nothing()))
    };
    calling_for(Some(&source)).unwrap();
    refused(calling_for(None), DENIED);
    refused(calling_for(Some(&source.replace("vol-1", "vol-2"))), DENIED);
    let request = ListGrantsRequest { key_id: whole.key_id, ..Default::default() };
    let listed = world.root().list_grants(&request).unwrap().grants.remove(0);
    assert_eq!(listed.grantee_service_principal, whole.grantee_service_principal);
    assert_eq!(listed.retiring_service_principal, whole.retiring_service_principal);
    assert_eq!((listed.grantee_principal, listed.retiring_principal), (None, None));
    assert_eq!(listed.constraints, whole.constraints);
}

#[test]
fn constraints_have_8_pairs_of_384_characters() {
    let world = World::new();
    let key = world.key();
    let with = |context| {
        let constraints = subset(&context);
        CreateGrantRequest { constraints, ..grant(&key, &user("u"), &["Decrypt"]) }
    };
    let pairs = |n: usize| {
        let pairs = (0..n).map(|n| (format!("k{n}"), "v".to_owned()));
        sealvol_envelope::EncryptionContext::from_pairs(pairs).unwrap()
    };
    world.root().create_grant(&with(pairs(8))).unwrap();
    refused(world.root().create_grant(&with(pairs(9))), VALIDATION);
    world.root().create_grant(&with(context(&[("k", &"v".repeat(384))]))).unwrap();
    let long = with(context(&[("k", &"v".repeat(385))]));
    refused(world.root().create_grant(&long), VALIDATION);
}

#[test]
fn members_of_a_grant_have_their_shapes() {
    let world = World::new();
    let key = world.key();
    let good = CreateGrantRequest {
        name: Some("a:/_-9".to_owned()),
        ..grant(&key, &user("u"), &["Decrypt"])
    };
    world.root().create_grant(&good).unwrap();
    let named = |name: &str| CreateGrantRequest { name: Some(name.to_owned()), ..good.clone() };
    let to = |grantee: &str| grant(&key, grantee, &["Decrypt"]);
    for bad in [
        named(""),
        named("a b"),
        named(&"n".repeat(257)),
        to(""),
        to("a b"),
        to(&format!("arn:aws:iam::{OWN}:user/{}", "u".repeat(256))),
        CreateGrantRequest {
            grant_tokens: Some(vec![GrantToken("t".to_owned()); 11]),
            ..good.clone()
        },
        CreateGrantRequest { grant_tokens: tokens(""), ..good.clone() },
    ] {
        assert_eq!(code(world.root().create_grant(&bad)), VALIDATION, "{bad:?}");
    }
    for bad in [
        "nonsense",
        "arn:aws:iam::1:user/u",
        "arn:aws:s3:::bucket",
        "arn:aws:iam::000000000000:user/nobody",
    ] {
        let answer = world.root().create_grant(&to(bad));
        assert_eq!(said(answer), format!("InvalidArnException: Invalid arn {bad}"));
    }
    // Roles that services make for themselves have names that people's may not have.
    let own = format!("arn:aws:sts::{OWN}:assumed-role/aws:ec2-infrastructure/i-0123456789abcdef0");
    world.root().create_grant(&to(&own)).unwrap();
}

#[test]
fn a_keys_grants_are_counted() {
    let world = World::with(KmsSettings { grants_per_key_max: 2, ..Default::default() });
    let key = world.key();
    let named =
        CreateGrantRequest { name: Some("n".to_owned()), ..grant(&key, &user("u"), &["Decrypt"]) };
    let first = world.root().create_grant(&named).unwrap();
    world.root().create_grant(&grant(&key, &user("u"), &["Decrypt"])).unwrap();
    let answer = world.root().create_grant(&grant(&key, &user("u"), &["Decrypt"]));
    refused(answer, "LimitExceededException");
    // The same grant again is not one more, and other keys have their own.
    assert_eq!(world.root().create_grant(&named).unwrap().grant_id, first.grant_id);
    world.root().create_grant(&grant(&world.key(), &user("u"), &["Decrypt"])).unwrap();
    assert_eq!(KmsSettings::default().grants_per_key_max, 50_000);
}

/// Each grantable operation allows its own call and no other.
#[test]
fn a_grant_allows_what_it_names() {
    let world = World::new();
    let (key, other) = (world.key(), world.key());
    let sealed = world.sealed(&key, &nothing());
    let names = [
        "Encrypt",
        "Decrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "DescribeKey",
        "ReEncryptFrom",
        "ReEncryptTo",
    ];
    for (number, name) in names.iter().enumerate() {
        let grantee = user(&format!("grantee-{number}"));
        world.root().create_grant(&grant(&key, &grantee, &[name])).unwrap();
        // For the other half of ReEncrypt.
        world
            .root()
            .create_grant(&grant(&other, &grantee, &["ReEncryptFrom", "ReEncryptTo"]))
            .unwrap();
        let me = world.powerless(&grantee);
        let from_other = world.sealed(&other, &nothing());
        let describe = DescribeKeyRequest { key_id: key.clone(), grant_tokens: None };
        let outcomes = [
            me.encrypt(&encrypt(&key, b"x", &nothing())).map(drop),
            me.decrypt(&decrypt(&sealed, &nothing())).map(drop),
            me.generate_data_key(&generate(&key, 1, &nothing())).map(drop),
            me.generate_data_key_without_plaintext(&generate(&key, 1, &nothing())).map(drop),
            me.describe_key(&describe).map(drop),
            me.re_encrypt(&re_encrypt(&sealed, &nothing(), (&other, &nothing()))).map(drop),
            me.re_encrypt(&re_encrypt(&from_other, &nothing(), (&key, &nothing()))).map(drop),
        ];
        for (at, outcome) in outcomes.into_iter().enumerate() {
            match at == number {
                true => outcome.unwrap(),
                false => refused(outcome, DENIED),
            }
        }
        let manage = [
            me.disable_key(&KeyRequest::new(&key)).map(drop),
            me.create_grant(&grant(&key, &user("v"), &[name])).map(drop),
            me.list_grants(&ListGrantsRequest { key_id: key.clone(), ..Default::default() })
                .map(drop),
        ];
        for outcome in manage {
            refused(outcome, DENIED);
        }
    }
}

/// A role's grant serves its sessions; a session's grant serves that session alone.
#[test]
fn sessions_use_their_roles_grants() {
    let world = World::new();
    let key = world.key();
    let sealed = world.sealed(&key, &nothing());
    let role = format!("arn:aws:iam::{OWN}:role/host");
    let session = |name: &str| format!("arn:aws:sts::{OWN}:assumed-role/host/{name}");
    let open =
        |name: &str| world.powerless(&session(name)).decrypt(&decrypt(&sealed, &nothing())).is_ok();
    world.root().create_grant(&grant(&key, &session("s1"), &["Decrypt"])).unwrap();
    assert!(open("s1") && !open("s2"));
    world.root().create_grant(&grant(&key, &role, &["Decrypt"])).unwrap();
    assert!(open("s1") && open("s2"));
}

#[test]
fn tokens_that_are_malformed_or_foreign_are_refused() {
    let (world, elsewhere) = (World::new(), World::new());
    let foreign_grant = grant(&elsewhere.key(), &user("u"), &["Decrypt"]);
    let foreign = elsewhere.root().create_grant(&foreign_grant).unwrap().grant_token;
    let key = world.key();
    let own =
        world.root().create_grant(&grant(&key, &user("u"), &["Decrypt"])).unwrap().grant_token;
    let mut damaged = own.clone();
    let last = damaged.pop().unwrap();
    damaged.push(if last == 'A' { 'B' } else { 'A' });
    let sealed = world.sealed(&key, &nothing());
    for bad in ["nonsense", &foreign, &damaged, &own[1..]] {
        let request = DecryptRequest { grant_tokens: tokens(bad), ..decrypt(&sealed, &nothing()) };
        refused(world.root().decrypt(&request), "InvalidGrantTokenException");
        refused(world.root().retire_grant(&retire(bad)), "InvalidGrantTokenException");
    }
    // URL-safe, as in AWS's example, and of the length that the API allows.
    assert!(own.len() <= 8192);
    assert!(own.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)), "{own}");
}

/// `kms:EncryptionContext:...` reads a new grant's constraint; and so do the keys about grants.
#[test]
fn policies_can_limit_which_grants_are_made() {
    let world = World::new();
    let key = world.key();
    let allowed = CreateGrantRequest {
        constraints: subset(&volume("vol-1")),
        retiring_principal: Some(user("r")),
        ..grant(&key, &user("u"), &["Decrypt"])
    };
    let wider = [
        CreateGrantRequest { constraints: None, ..allowed.clone() },
        CreateGrantRequest { constraints: equals(&volume("vol-1")), ..allowed.clone() },
        CreateGrantRequest { constraints: subset(&volume("vol-2")), ..allowed.clone() },
        CreateGrantRequest {
            operations: vec!["Encrypt".into(), "Decrypt".into()],
            ..allowed.clone()
        },
        CreateGrantRequest { grantee_principal: Some(user("v")), ..allowed.clone() },
        CreateGrantRequest { retiring_principal: None, ..allowed.clone() },
    ];
    let condition = json!({
        "StringEquals": {
            "kms:EncryptionContext:aws:ebs:id": "vol-1",
            "kms:GrantConstraintType": "EncryptionContextSubset",
            "kms:GranteePrincipal": user("u"),
            "kms:RetiringPrincipal": user("r"),
        },
        "ForAllValues:StringEquals": { "kms:GrantOperations": ["Decrypt"] },
    });
    let maker = world.with_policy(
        &user("maker"),
        &[json!({
            "Effect": "Allow", "Action": "kms:CreateGrant", "Resource": "*", "Condition": condition,
        })],
    );
    maker.create_grant(&allowed).unwrap();
    for request in wider {
        assert_eq!(code(maker.create_grant(&request)), DENIED, "{request:?}");
    }
}
