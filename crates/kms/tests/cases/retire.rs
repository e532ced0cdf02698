//! Who may retire and who may revoke a grant (kms.md, section 3) \[D\].

use sealvol_kms::Session;
use sealvol_kms::model::*;
use serde_json::Value;

use crate::support::*;

/// Caller, whether it may retire by the grant, and why.
type Row = (&'static str, fn(&World) -> Session, bool);

fn may_retire() -> Value {
    to_me("Allow", &["kms:RetireGrant"])
}

/// The grant is made by the root of the KMS's account, to `grantee`, with `retirer`; it grants Decrypt.
const TABLE: &[Row] = &[
    ("retiring principal", |w| w.powerless(&user("retirer")), true),
    ("grantee without RetireGrant", |w| w.powerless(&user("grantee")), false),
    ("root of the creating account", |w| w.root(), true),
    ("IAM-delegated in the creating account", |w| w.with_policy(&user("x"), &[may_retire()]), true),
    ("user of the creating account", |w| w.powerless(&user("x")), false),
    ("allowed in the key policy alone", |w| w.powerless(&user("keypolicy")), false),
    ("permission in another account", |w| w.unlimited(&foreign_user("x")), false),
    ("root of another account", |w| w.unlimited(&root_of(OTHER)), false),
    (
        "retiring principal with a deny of its own",
        |w| w.with_policy(&user("retirer"), &[to_me("Deny", &["kms:RetireGrant"])]),
        false,
    ),
    ("denied in the key policy", |w| w.with_policy(&user("denied"), &[may_retire()]), false),
    ("a service", |w| w.service("ec2.amazonaws.com"), false),
];

#[test]
fn who_may_retire() {
    for (who, caller, may) in TABLE {
        for by_token in [true, false] {
            let world = World::new();
            let key = world.key_with_policy(&[
                delegation(OWN),
                to_principal("Allow", &user("keypolicy"), &["kms:RetireGrant"]),
                to_principal("Deny", &user("denied"), &["kms:RetireGrant"]),
            ]);
            let request = CreateGrantRequest {
                retiring_principal: Some(user("retirer")),
                ..grant(&key, &user("grantee"), &["Decrypt"])
            };
            let made = world.root().create_grant(&request).unwrap();
            let request = match by_token {
                true => retire(&made.grant_token),
                false => retire_by_id(&key, &made.grant_id),
            };
            let dry = RetireGrantRequest { dry_run: Some(true), ..request.clone() };
            let (told, wanted) = (
                code(caller(&world).retire_grant(&dry)),
                match may {
                    true => "DryRunOperationException",
                    false => "AccessDeniedException",
                },
            );
            assert_eq!(told, wanted, "{who}");
            let answer = caller(&world).retire_grant(&request);
            match may {
                true => {
                    answer.unwrap_or_else(|error| panic!("{who}: {error}"));
                    refused(caller(&world).retire_grant(&request), "NotFoundException");
                }
                false => refused(answer, "AccessDeniedException"),
            }
        }
    }
}

#[test]
fn a_service_retires_what_names_it() {
    let world = World::new();
    let key = world.key();
    let request = CreateGrantRequest {
        retiring_principal: Some("ec2.us-east-1.amazonaws.com".to_owned()),
        ..grant(&key, "fargate.us-east-1.amazonaws.com", &["Decrypt"])
    };
    let token = world.root().create_grant(&request).unwrap().grant_token;
    let other = world.service("ecs.amazonaws.com").retire_grant(&retire(&token));
    refused(other, "AccessDeniedException");
    world.service("ec2.us-east-1.amazonaws.com").retire_grant(&retire(&token)).unwrap();
}

/// With the account as retiring principal, its IAM decides.
#[test]
fn an_account_that_retires_delegates_by_its_own_policies() {
    let world = World::new();
    let key = world.key();
    let request = CreateGrantRequest {
        retiring_principal: Some(root_of(OTHER)),
        ..grant(&key, &user("u"), &["Decrypt"])
    };
    let token = world.root().create_grant(&request).unwrap().grant_token;
    let plain = world.powerless(&foreign_user("u")).retire_grant(&retire(&token));
    refused(plain, "AccessDeniedException");
    let allowed = world.with_policy(&foreign_user("u"), &[may_retire()]);
    allowed.retire_grant(&retire(&token)).unwrap();
}

/// By token, or by key ARN and grant id; nothing else.
#[test]
fn what_retire_and_revoke_take() {
    let world = World::new();
    let key = world.key();
    let made = world.root().create_grant(&grant(&key, &user("u"), &["Decrypt"])).unwrap();
    let by_token = retire(&made.grant_token);
    for bad in [
        RetireGrantRequest::default(),
        RetireGrantRequest { key_id: Some(key.clone()), ..by_token.clone() },
        RetireGrantRequest { grant_id: Some(made.grant_id.clone()), ..by_token },
        RetireGrantRequest { key_id: Some(key.clone()), ..RetireGrantRequest::default() },
    ] {
        refused(world.root().retire_grant(&bad), "ValidationException");
    }
    let by_key_id = retire_by_id(id_of(&key), &made.grant_id);
    refused(world.root().retire_grant(&by_key_id), "InvalidArnException");
    for (id, exception) in [
        ("nonsense".to_owned(), "InvalidGrantIdException"),
        ("0".repeat(64), "NotFoundException"),
        ("0".repeat(129), "ValidationException"),
    ] {
        refused(world.root().retire_grant(&retire_by_id(&key, &id)), exception);
        refused(world.root().revoke_grant(&revoke(&key, &id)), exception);
    }
    // Another key's grant is not there.
    let other = world.key();
    let answer = world.root().revoke_grant(&revoke(&other, &made.grant_id));
    refused(answer, "NotFoundException");
}

/// Revoking goes by the key's policies: being grantee, retirer or maker is not enough.
#[test]
fn who_may_revoke() {
    let world = World::new();
    let key = world.key_with_policy(&[
        delegation(OWN),
        to_principal("Allow", &user("keypolicy"), &["kms:RevokeGrant"]),
    ]);
    let request = CreateGrantRequest {
        retiring_principal: Some(user("retirer")),
        ..grant(&key, &user("grantee"), &["Decrypt", "RetireGrant"])
    };
    let made = || world.root().create_grant(&request).unwrap().grant_id;
    for name in ["retirer", "grantee", "x"] {
        let answer = world.powerless(&user(name)).revoke_grant(&revoke(&key, &made()));
        refused(answer, "AccessDeniedException");
    }
    world.powerless(&user("keypolicy")).revoke_grant(&revoke(&key, &made())).unwrap();
    let allowed = world.with_policy(&user("x"), &[to_me("Allow", &["kms:RevokeGrant"])]);
    allowed.revoke_grant(&revoke(id_of(&key), &made())).unwrap();
    let dry = RevokeGrantRequest { dry_run: Some(true), ..revoke(&key, &made()) };
    refused(allowed.revoke_grant(&dry), "DryRunOperationException");
}
