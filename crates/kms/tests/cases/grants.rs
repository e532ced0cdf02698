//! Cases 35 to 48: grants.

use std::time::Duration;

use sealvol_kms::model::*;
use sealvol_kms::{KmsSettings, Session};

use crate::support::*;

const DENIED: &str = "AccessDeniedException";

/// A grant made by the root.
fn granted(world: &World, request: &CreateGrantRequest) -> CreateGrantResponse {
    world.root().create_grant(request).unwrap()
}

fn opens(caller: &Session, sealed: &[u8], pairs: &[(&str, &str)]) -> bool {
    let answer = caller.decrypt(&decrypt(sealed, &context(pairs)));
    answer.map(drop).map_err(|error| assert_eq!(error.code(), DENIED)).is_ok()
}

/// Case 35 \[D\]: one grant, a new token each time, and each token works.
#[test]
fn case_35_a_named_grant_is_made_once() {
    let delay = Duration::from_secs(300);
    let settings = || KmsSettings { grant_propagation_delay: delay, ..Default::default() };
    for world in [World::with(settings()), World::in_directory(settings())] {
        let key = world.key();
        let sealed = world.sealed(&key, &nothing());
        let request = CreateGrantRequest {
            name: Some("attachment".to_owned()),
            ..grant(&key, &user("u"), &["Decrypt", "RetireGrant"])
        };
        let (first, second) = (granted(&world, &request), granted(&world, &request));
        assert_eq!(first.grant_id, second.grant_id);
        assert_ne!(first.grant_token, second.grant_token);
        let grantee = world.powerless(&user("u"));
        for token in [&first.grant_token, &second.grant_token] {
            let request =
                DecryptRequest { grant_tokens: tokens(token), ..decrypt(&sealed, &nothing()) };
            grantee.decrypt(&request).unwrap();
        }
        // The order of operations makes no difference; any other parameter does.
        let reordered = CreateGrantRequest {
            operations: vec!["RetireGrant".into(), "Decrypt".into()],
            ..request.clone()
        };
        assert_eq!(granted(&world, &reordered).grant_id, first.grant_id);
        for different in [
            CreateGrantRequest { name: Some("other".into()), ..request.clone() },
            CreateGrantRequest { operations: vec!["Decrypt".into()], ..request.clone() },
            CreateGrantRequest { retiring_principal: Some(user("r")), ..request.clone() },
            CreateGrantRequest { grantee_principal: Some(user("v")), ..request.clone() },
            CreateGrantRequest { constraints: subset(&volume("vol-1")), ..request.clone() },
            CreateGrantRequest { constraints: equals(&volume("vol-1")), ..request.clone() },
        ] {
            assert_ne!(granted(&world, &different).grant_id, first.grant_id, "{different:?}");
        }
        // Either token ends the grant, and with it the other.
        grantee.retire_grant(&retire(&second.grant_token)).unwrap();
        refused(grantee.retire_grant(&retire(&first.grant_token)), "NotFoundException");
        // Then the name is free, and the grant a new one.
        assert_ne!(granted(&world, &request).grant_id, first.grant_id);
    }
}

/// Case 36 \[D\].
#[test]
fn case_36_an_unnamed_grant_is_made_each_time() {
    let world = World::new();
    let request = grant(&world.key(), &user("u"), &["Decrypt"]);
    assert_ne!(granted(&world, &request).grant_id, granted(&world, &request).grant_id);
}

/// Case 37 \[R\].
#[test]
fn case_37_names_of_grants_are_the_keys_own() {
    let world = World::new();
    let on = |key: &str| CreateGrantRequest {
        name: Some("n".to_owned()),
        ..grant(key, &user("u"), &["Decrypt"])
    };
    let ids = [world.key(), world.key()].map(|key| granted(&world, &on(&key)).grant_id);
    assert_ne!(ids[0], ids[1]);
}

/// Case 38 \[W\].
#[test]
fn case_38_operations_that_cannot_be_granted() {
    let world = World::new();
    let key = world.key();
    for operations in [
        &["CreateGrant"][..],
        &["CreateGrant", "CreateGrant"],
        &["Sign"],
        &["Decrypt", "Sign"],
        &["Verify"],
        &["GenerateMac"],
        &["GetPublicKey"],
        &["DeriveSharedSecret"],
        &[],
        &["decrypt"],
        &["ReEncrypt"],
        &["RevokeGrant"],
    ] {
        let answer = world.root().create_grant(&grant(&key, &user("u"), operations));
        assert_eq!(code(answer), "ValidationException", "{operations:?}");
    }
    let all = [
        "Encrypt",
        "Decrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
        "CreateGrant",
        "RetireGrant",
        "DescribeKey",
    ];
    granted(&world, &grant(&key, &user("u"), &all));
    let signing = world.key_of_kind("ECC_NIST_P256", "SIGN_VERIFY");
    granted(&world, &grant(&signing, &user("u"), &["Sign", "Verify", "GetPublicKey"]));
    let answer = world.root().create_grant(&grant(&signing, &user("u"), &["Decrypt"]));
    refused(answer, "ValidationException");
}

/// Case 39 \[W\], with its message.
#[test]
fn case_39_one_kind_of_constraint() {
    let world = World::new();
    let key = world.key();
    for (equals, subset) in
        [(nothing(), volume("v")), (volume("v"), nothing()), (nothing(), nothing())]
    {
        let constraints = Some(GrantConstraints {
            encryption_context_equals: Some(equals),
            encryption_context_subset: Some(subset),
            ..GrantConstraints::default()
        });
        let request = CreateGrantRequest { constraints, ..grant(&key, &user("u"), &["Decrypt"]) };
        let wanted = "ValidationException: More than one constraint supplied";
        assert_eq!(said(world.root().create_grant(&request)), wanted);
    }
}

/// Case 40 \[D\].
#[test]
fn case_40_equals_is_exact_and_subset_is_not() {
    for world in World::both() {
        let key = world.key();
        let (one, two) = ([("a", "1")], [("a", "1"), ("b", "2")]);
        let sealed = |pairs: &[(&str, &str)]| world.sealed(&key, &context(pairs));
        let constraints = equals(&context(&one));
        granted(
            &world,
            &CreateGrantRequest { constraints, ..grant(&key, &user("e"), &["Decrypt"]) },
        );
        let constraints = subset(&context(&one));
        granted(
            &world,
            &CreateGrantRequest { constraints, ..grant(&key, &user("s"), &["Decrypt"]) },
        );
        let (e, s) = (world.powerless(&user("e")), world.powerless(&user("s")));
        assert!(opens(&e, &sealed(&one), &one) && opens(&s, &sealed(&one), &one));
        assert!(!opens(&e, &sealed(&two), &two));
        assert!(opens(&s, &sealed(&two), &two));
        for wrong in [&[][..], &[("b", "2")], &[("A", "1")], &[("a", "2")]] {
            let sealed = sealed(wrong);
            assert!(!opens(&e, &sealed, wrong) && !opens(&s, &sealed, wrong), "{wrong:?}");
        }
    }
}

/// Case 41 \[D\].
#[test]
fn case_41_describe_key_ignores_the_constraint() {
    let world = World::new();
    let key = world.key();
    for (name, constraints) in [("e", equals(&volume("v"))), ("s", subset(&volume("v")))] {
        let operations = ["DescribeKey", "Decrypt"];
        let request = CreateGrantRequest { constraints, ..grant(&key, &user(name), &operations) };
        granted(&world, &request);
        let request = DescribeKeyRequest { key_id: key.clone(), grant_tokens: None };
        world.powerless(&user(name)).describe_key(&request).unwrap();
        let sealed = world.sealed(&key, &nothing());
        refused(world.powerless(&user(name)).decrypt(&decrypt(&sealed, &nothing())), DENIED);
    }
}

/// Case 42 \[D\]. The delay is a setting, zero by default.
#[test]
fn case_42_a_grant_needs_its_token_until_it_has_propagated() {
    assert_eq!(KmsSettings::default().grant_propagation_delay, Duration::ZERO);
    let delay = Duration::from_millis(5000);
    let settings = || KmsSettings { grant_propagation_delay: delay, ..Default::default() };
    for world in [World::with(settings()), World::in_directory(settings())] {
        let key = world.key();
        let sealed = world.sealed(&key, &nothing());
        let operations = ["Decrypt", "Encrypt", "GenerateDataKey", "DescribeKey"];
        let token = granted(&world, &grant(&key, &user("u"), &operations)).grant_token;
        let grantee = world.powerless(&user("u"));
        let without = decrypt(&sealed, &nothing());
        let with = DecryptRequest { grant_tokens: tokens(&token), ..without.clone() };
        refused(grantee.decrypt(&without), DENIED);
        grantee.decrypt(&with).unwrap();
        let request =
            EncryptRequest { grant_tokens: tokens(&token), ..encrypt(&key, b"x", &nothing()) };
        grantee.encrypt(&request).unwrap();
        let request = GenerateDataKeyRequest {
            grant_tokens: tokens(&token),
            ..generate(&key, 1, &nothing())
        };
        grantee.generate_data_key(&request).unwrap();
        let request = DescribeKeyRequest { key_id: key.clone(), grant_tokens: tokens(&token) };
        grantee.describe_key(&request).unwrap();
        // A token is not a bearer's: it is the grantee's.
        refused(world.powerless(&user("thief")).decrypt(&with), DENIED);
        world.clock.advance(4999);
        refused(grantee.decrypt(&without), DENIED);
        world.clock.advance(1);
        grantee.decrypt(&without).unwrap();
    }
}

/// Case 43 \[I\]: the documentation says that a child grant may only narrow, but not with which exception
/// it is refused. `AccessDeniedException`, as for any other call that no grant allows, was chosen
/// over `ValidationException`.
#[test]
fn case_43_a_child_grant_only_narrows() {
    for world in World::both() {
        let key = world.key();
        let (two, three) = ([("a", "1"), ("b", "2")], [("a", "1"), ("b", "2"), ("c", "3")]);
        let (two, three) = (context(&two), context(&three));
        let operations = ["Decrypt", "DescribeKey", "CreateGrant"];
        let parent = |name: &str, constraints: Option<GrantConstraints>| {
            let request =
                CreateGrantRequest { constraints, ..grant(&key, &user(name), &operations) };
            granted(&world, &request);
            world.powerless(&user(name))
        };
        let child = |operations: &[&str], constraints: Option<GrantConstraints>| {
            CreateGrantRequest { constraints, ..grant(&key, &user("child"), operations) }
        };
        let free = parent("free", None);
        free.create_grant(&child(&["Decrypt"], None)).unwrap();
        free.create_grant(&child(&["Decrypt", "CreateGrant"], equals(&two))).unwrap();
        refused(free.create_grant(&child(&["Decrypt", "Encrypt"], None)), DENIED);
        refused(free.create_grant(&child(&["RetireGrant"], None)), DENIED);

        let sub = parent("sub", subset(&two));
        sub.create_grant(&child(&["Decrypt"], subset(&two))).unwrap();
        sub.create_grant(&child(&["Decrypt"], subset(&three))).unwrap();
        sub.create_grant(&child(&["Decrypt"], equals(&two))).unwrap();
        sub.create_grant(&child(&["Decrypt"], equals(&three))).unwrap();
        for loose in [
            None,
            subset(&context(&[("a", "1")])),
            equals(&context(&[("a", "1")])),
            subset(&nothing()),
            subset(&context(&[("a", "1"), ("b", "3")])),
        ] {
            refused(sub.create_grant(&child(&["Decrypt"], loose)), DENIED);
        }

        let exact = parent("exact", equals(&two));
        exact.create_grant(&child(&["Decrypt"], equals(&two))).unwrap();
        for loose in [None, subset(&two), subset(&three), equals(&three), equals(&nothing())] {
            refused(exact.create_grant(&child(&["Decrypt"], loose)), DENIED);
        }
        // By policy, CreateGrant is unrestricted: the maker need not hold what it grants.
        let maker = world.with_policy(&user("maker"), &[to_me("Allow", &["kms:CreateGrant"])]);
        maker.create_grant(&child(&["Encrypt", "ReEncryptFrom"], None)).unwrap();
    }
}

/// Case 44 \[D\].
#[test]
fn case_44_a_disabled_key_takes_no_grant() {
    let world = World::new();
    let key = world.key();
    world.disable(&key);
    let answer = world.root().create_grant(&grant(&key, &user("u"), &["Decrypt"]));
    assert_eq!(said(answer), format!("DisabledException: {key} is disabled."));
}

/// Case 45 \[D\].
#[test]
fn case_45_grants_end_in_every_key_state() {
    for world in World::both() {
        for pending in [false, true] {
            let key = world.key();
            let operations = ["Decrypt", "RetireGrant"];
            let [a, b, c] = [0; 3].map(|_| granted(&world, &grant(&key, &user("u"), &operations)));
            match pending {
                false => world.disable(&key),
                true => world.schedule_deletion(&key),
            }
            world.root().revoke_grant(&revoke(&key, &a.grant_id)).unwrap();
            world.powerless(&user("u")).retire_grant(&retire(&b.grant_token)).unwrap();
            let by_id = retire_by_id(&key, &c.grant_id);
            world.powerless(&user("u")).retire_grant(&by_id).unwrap();
            refused(world.root().revoke_grant(&revoke(&key, &a.grant_id)), "NotFoundException");
        }
    }
}

/// Case 46 \[D\].
#[test]
fn case_46_a_grantee_retires_only_if_the_grant_says_so() {
    let world = World::new();
    let key = world.key();
    let without = granted(&world, &grant(&key, &user("u"), &["Decrypt"]));
    let grantee = world.powerless(&user("u"));
    refused(grantee.retire_grant(&retire(&without.grant_token)), DENIED);
    refused(grantee.retire_grant(&retire_by_id(&key, &without.grant_id)), DENIED);
    let with = granted(&world, &grant(&key, &user("u"), &["Decrypt", "RetireGrant"]));
    grantee.retire_grant(&retire(&with.grant_token)).unwrap();
}

/// Case 47 \[D\]. Access may linger after a grant has ended, as long as propagation takes; here it ends
/// at once, which every client must live with.
#[test]
fn case_47_a_revoked_grant_allows_nothing() {
    for world in World::both() {
        let key = world.key();
        let sealed = world.sealed(&key, &nothing());
        let made = granted(&world, &grant(&key, &user("u"), &["Decrypt"]));
        let grantee = world.powerless(&user("u"));
        grantee.decrypt(&decrypt(&sealed, &nothing())).unwrap();
        world.root().revoke_grant(&revoke(id_of(&key), &made.grant_id)).unwrap();
        refused(grantee.decrypt(&decrypt(&sealed, &nothing())), DENIED);
        // Nor does its token.
        let tokens = tokens(&made.grant_token);
        let request = DecryptRequest { grant_tokens: tokens, ..decrypt(&sealed, &nothing()) };
        refused(grantee.decrypt(&request), DENIED);
        world.clock.advance(DAY);
        refused(grantee.decrypt(&decrypt(&sealed, &nothing())), DENIED);
    }
}

/// Case 48 \[D\]. An identity policy's deny binds as well.
#[test]
fn case_48_a_deny_outweighs_a_grant() {
    let world = World::new();
    let key = world.key_with_policy(&[
        delegation(OWN),
        to_principal("Deny", &user("denied"), &["kms:Decrypt"]),
    ]);
    let sealed = world.sealed(&key, &nothing());
    for name in ["denied", "u", "self-denied"] {
        granted(&world, &grant(&key, &user(name), &["Decrypt"]));
    }
    let request = decrypt_by(&key, &sealed, &nothing());
    world.powerless(&user("u")).decrypt(&request).unwrap();
    let denied = said(world.powerless(&user("denied")).decrypt(&request));
    assert_eq!(
        denied,
        format!(
            "AccessDeniedException: User: {} is not authorized to perform: kms:Decrypt on \
             resource: {key} with an explicit deny in a resource-based policy",
            user("denied")
        )
    );
    let own = world.with_policy(&user("self-denied"), &[to_me("Deny", &["kms:Decrypt"])]);
    let denied = said(own.decrypt(&request));
    assert!(denied.ends_with("with an explicit deny in an identity-based policy"), "{denied}");
}
