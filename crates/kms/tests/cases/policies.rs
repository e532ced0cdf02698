//! Cases 49, 50, 51 and 54: key policies, identity policies and both accounts (kms.md, section 6).

use sealvol_kms::KmsSettings;
use sealvol_kms::model::*;
use serde_json::{Value, json};

use crate::support::*;

const DENIED: &str = "AccessDeniedException";
const MALFORMED: &str = "MalformedPolicyDocumentException";

fn tries(session: &sealvol_kms::Session, key: &str) -> Result<(), String> {
    let answer = session.encrypt(&encrypt(key, b"x", &nothing()));
    answer.map(drop).map_err(|error| error.to_string())
}

/// Case 49 \[D\]: a key policy that does not delegate leaves identity policies without effect, the root's
/// included.
#[test]
fn case_49_iam_allows_nothing_without_delegation() {
    for world in World::both() {
        let owner = user("owner");
        let key = world.key_with_policy(&[to_principal("Allow", &owner, &["kms:*"])]);
        let iam = world.with_policy(&user("u"), &[to_me("Allow", &["kms:*"])]);
        let wanted = format!(
            "AccessDeniedException: User: {} is not authorized to perform: kms:Encrypt on \
             resource: {key} because no resource-based policy allows the kms:Encrypt action",
            user("u")
        );
        assert_eq!(tries(&iam, &key), Err(wanted));
        assert!(tries(&world.root(), &key).is_err(), "the root has no implicit access");
        assert!(tries(&world.unlimited(&user("admin")), &key).is_err());
        tries(&world.powerless(&owner), &key).unwrap();
    }
}

const VACUOUS: &str = "kms:EncryptionContextKeys";

fn with_condition(condition: &Value) -> (World, String) {
    let world = World::new();
    let key = world.key_with_policy(&[
        json!({
            "Effect": "Allow", "Principal": { "AWS": user("u") }, "Action": "kms:*",
            "Resource": "*", "Condition": condition,
        }),
        delegation(OWN),
    ]);
    (world, key)
}

/// Case 50 \[D\].
#[test]
fn case_50_for_all_values_is_true_without_a_context() {
    let (world, key) = with_condition(&json!({
        "ForAllValues:StringEquals": { VACUOUS: ["aws:ebs:id"] },
    }));
    let caller = world.powerless(&user("u"));
    caller.encrypt(&encrypt(&key, b"x", &nothing())).unwrap();
    caller.encrypt(&encrypt(&key, b"x", &volume("v"))).unwrap();
    refused(caller.encrypt(&encrypt(&key, b"x", &context(&[("a", "b")]))), DENIED);
}

/// Case 51 \[D\].
#[test]
fn case_51_null_false_asks_for_a_context() {
    let (world, key) = with_condition(&json!({
        "ForAllValues:StringEquals": { VACUOUS: ["aws:ebs:id"] },
        "Null": { VACUOUS: "false" },
    }));
    let caller = world.powerless(&user("u"));
    refused(caller.encrypt(&encrypt(&key, b"x", &nothing())), DENIED);
    caller.encrypt(&encrypt(&key, b"x", &volume("v"))).unwrap();
}

/// A condition, a request's context, and whether it is allowed.
type ContextRow<'a> = (Value, &'a [(&'a str, &'a str)], bool);

/// `ForAnyValue` is false without values; names of `kms:EncryptionContext:...` are matched in any
/// case, and values and `kms:EncryptionContextKeys` exactly.
#[test]
fn conditions_on_the_context() {
    let rows: [ContextRow<'_>; 11] = [
        (json!({"ForAnyValue:StringEquals": {VACUOUS: ["a"]}}), &[], false),
        (json!({"ForAnyValue:StringEquals": {VACUOUS: ["a"]}}), &[("a", "1"), ("b", "2")], true),
        (json!({"StringEquals": {"kms:EncryptionContext:Name": "v"}}), &[("name", "v")], true),
        (json!({"StringEquals": {"kms:EncryptionContext:name": "v"}}), &[("NAME", "v")], true),
        (json!({"StringEquals": {"kms:EncryptionContext:name": "v"}}), &[("name", "V")], false),
        (
            json!({"StringEqualsIgnoreCase": {"kms:EncryptionContext:name": "v"}}),
            &[("name", "V")],
            true,
        ),
        (json!({"StringEquals": {"kms:EncryptionContext:name": "v*"}}), &[("name", "vol")], false),
        (json!({"StringLike": {"kms:EncryptionContext:name": "v*"}}), &[("name", "vol")], true),
        (json!({"ForAnyValue:StringEquals": {VACUOUS: ["Name"]}}), &[("name", "v")], false),
        (json!({"StringEquals": {"kms:EncryptionContext:name": "v"}}), &[], false),
        (json!({"StringNotEquals": {"kms:EncryptionContext:name": "v"}}), &[], true),
    ];
    for (condition, pairs, allowed) in rows {
        let (world, key) = with_condition(&condition);
        let answer = world.powerless(&user("u")).encrypt(&encrypt(&key, b"x", &context(pairs)));
        assert_eq!(answer.is_ok(), allowed, "{condition} {pairs:?}");
    }
    // Operations without a context: a positive test there never matches.
    let (world, key) =
        with_condition(&json!({"StringEquals": {"kms:EncryptionContext:name": "v"}}));
    let request = DescribeKeyRequest { key_id: key, grant_tokens: None };
    refused(world.powerless(&user("u")).describe_key(&request), DENIED);
}

/// Case 54 \[W\].
#[test]
fn case_54_a_policy_that_locks_the_caller_out() {
    for world in World::both() {
        let key = world.key();
        let locking = document(&[to_principal("Allow", &user("other"), &["kms:*"])]);
        let wanted = "MalformedPolicyDocumentException: The new key policy will not allow you to \
                      update the key policy in the future.";
        assert_eq!(said(world.root().put_key_policy(&put_policy(&key, &locking))), wanted);
        let create = CreateKeyRequest { policy: Some(locking.clone()), ..Default::default() };
        assert_eq!(said(world.root().create_key(&create)), wanted);
        // Nothing changed.
        let get = GetKeyPolicyRequest { key_id: key.clone(), policy_name: None };
        assert!(world.root().get_key_policy(&get).unwrap().policy.contains(":root"));
        // Unless the caller asks for it.
        let bypass = Some(true);
        let put = PutKeyPolicyRequest {
            bypass_policy_lockout_safety_check: bypass,
            ..put_policy(&key, &locking)
        };
        world.root().put_key_policy(&put).unwrap();
        refused(world.root().get_key_policy(&get), DENIED);
        let create = CreateKeyRequest { bypass_policy_lockout_safety_check: bypass, ..create };
        world.root().create_key(&create).unwrap();
        // Who is named may change it back.
        let delegating = put_policy(&key, &document(&[delegation(OWN)]));
        let other = world.powerless(&user("other"));
        refused(other.put_key_policy(&delegating), MALFORMED);
        let other = world.with_policy(&user("other"), &[to_me("Allow", &["kms:PutKeyPolicy"])]);
        other.put_key_policy(&delegating).unwrap();
        assert_eq!(world.root().get_key_policy(&get).unwrap().policy, delegating.policy);
    }
}

/// A deny locks out as well, and so does a condition that the request does not meet.
#[test]
fn the_lockout_check_decides_as_a_call_would() {
    let world = World::new();
    let key = world.key();
    let denying = [delegation(OWN), to_principal("Deny", &root_of(OWN), &["kms:PutKeyPolicy"])];
    refused(world.root().put_key_policy(&put_policy(&key, &document(&denying))), MALFORMED);
    let mut conditional = delegation(OWN);
    conditional["Condition"] = json!({ "Bool": { "aws:SecureTransport": "true" } });
    refused(world.root().put_key_policy(&put_policy(&key, &document(&[conditional]))), MALFORMED);
    // Statements without Resource or Action are taken, and do nothing.
    let mut inert = delegation(OWN);
    inert.as_object_mut().unwrap().remove("Resource");
    refused(world.root().put_key_policy(&put_policy(&key, &document(&[inert.clone()]))), MALFORMED);
    let mut no_action = delegation(OWN);
    no_action.as_object_mut().unwrap().remove("Action");
    let accepted = document(&[delegation(OWN), inert, no_action]);
    world.root().put_key_policy(&put_policy(&key, &accepted)).unwrap();
}

#[test]
fn documents_that_are_refused() {
    let world = World::new();
    let key = world.key();
    let put = |policy: &str| world.root().put_key_policy(&put_policy(&key, policy));
    let for_all = json!({
        "Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*",
        "Condition": { "ForAllValues:StringEquals": { "kms:EncryptionContext:a": ["b"] } },
    });
    let with = |statement: Value| document(&[delegation(OWN), statement]);
    for malformed in [
        "{",
        "not json",
        "[]",
        &with(to_principal("Maybe", &user("u"), &["kms:*"])),
        &with(to_principal("Allow", &user("nobody"), &["kms:*"])),
        &with(to_principal("Allow", "arn:aws:iam::1:user/u", &["kms:*"])),
        &with(json!({"Effect": "Allow", "Action": "kms:*", "Resource": "*"})),
        &with(json!({"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*",
            "Condition": {"NoSuchOperator": {"a": "b"}}})),
        &with(for_all.clone()),
    ] {
        assert_eq!(code(put(malformed)), MALFORMED, "{malformed}");
        let policy = Some(malformed.to_owned());
        let create = CreateKeyRequest { policy, ..CreateKeyRequest::default() };
        assert_eq!(code(world.root().create_key(&create)), MALFORMED, "{malformed}");
    }
    let told = said(put(&with(for_all)));
    assert!(told.starts_with(&format!("{MALFORMED}: OverlyPermissiveCondition")), "{told}");
    refused(put(""), "ValidationException");
    let named = |name: &str| PutKeyPolicyRequest {
        policy_name: Some(name.to_owned()),
        ..put_policy(&key, &document(&[delegation(OWN)]))
    };
    world.root().put_key_policy(&named("default")).unwrap();
    refused(world.root().put_key_policy(&named("other")), "NotFoundException");
    refused(world.root().put_key_policy(&named("a b")), "ValidationException");
}

/// 32,768 bytes is documented, 131,072 characters in the current model: a setting, with the former.
#[test]
fn the_length_of_a_document_is_a_setting() {
    let max = KmsSettings::default().policy_bytes_max;
    assert_eq!(max, 32 * 1024);
    let world = World::new();
    let key = world.key();
    let of = |len: usize| {
        let bare = document(&[delegation(OWN)]);
        format!("{}{bare}", " ".repeat(len - bare.len()))
    };
    world.root().put_key_policy(&put_policy(&key, &of(max))).unwrap();
    let long = world.root().put_key_policy(&put_policy(&key, &of(max + 1)));
    refused(long, "LimitExceededException");
}

/// Another account's principal needs both its key policy and its own account's IAM.
#[test]
fn both_accounts_must_agree() {
    for world in World::both() {
        let outsider = foreign_user("u");
        let iam = || world.with_policy(&outsider, &[to_me("Allow", &["kms:*"])]);
        let closed = world.key();
        let to_account = world.key_with_policy(&[delegation(OWN), delegation(OTHER)]);
        let to_user =
            world.key_with_policy(&[delegation(OWN), to_principal("Allow", &outsider, &["kms:*"])]);
        assert!(tries(&iam(), &closed).is_err());
        for key in [&to_account, &to_user] {
            let told = tries(&world.powerless(&outsider), key).unwrap_err();
            assert!(told.contains("no identity-based policy allows"), "{told}");
            tries(&iam(), key).unwrap();
        }
        // By ARN alone: an id is looked for in the caller's own account.
        refused(iam().encrypt(&encrypt(id_of(&to_user), b"x", &nothing())), "NotFoundException");
        // A grant is enough by itself \[I\].
        world.root().create_grant(&grant(&closed, &outsider, &["Encrypt"])).unwrap();
        tries(&world.powerless(&outsider), &closed).unwrap();
    }
}

/// Which operations take another account's key \[D\]. The exception of the others is \[I\].
#[test]
fn management_stays_in_the_account() {
    let world = World::new();
    let key = world.key_with_policy(&[delegation(OWN), delegation(OTHER)]);
    let outsider = world.unlimited(&foreign_user("u"));
    let sealed = world.sealed(&key, &nothing());
    let made = outsider.create_grant(&grant(&key, &user("u"), &["Decrypt"])).unwrap();
    outsider.describe_key(&DescribeKeyRequest { key_id: key.clone(), grant_tokens: None }).unwrap();
    outsider.decrypt(&decrypt(&sealed, &nothing())).unwrap();
    outsider.get_key_rotation_status(&KeyRequest::new(&key)).unwrap();
    let list = ListGrantsRequest { key_id: key.clone(), ..Default::default() };
    let listed = outsider.list_grants(&list).unwrap().grants.remove(0);
    assert_eq!(listed.issuing_account, root_of(OTHER));
    outsider.retire_grant(&retire(&made.grant_token)).unwrap();
    let again = outsider.create_grant(&grant(&key, &user("u"), &["Decrypt"])).unwrap();
    outsider.revoke_grant(&revoke(&key, &again.grant_id)).unwrap();
    let request = KeyRequest::new(&key);
    for refusal in [
        outsider.disable_key(&request).map(drop),
        outsider.enable_key(&request).map(drop),
        outsider.rotate_key_on_demand(&request).map(drop),
        outsider.schedule_key_deletion(&deletion(&key, 7)).map(drop),
        outsider.put_key_policy(&put_policy(&key, &document(&[delegation(OTHER)]))).map(drop),
        outsider.create_alias(&alias("alias/a", &key)).map(drop),
        outsider.tag_resource(&tag_key(&key, &[tag("a", "b")])).map(drop),
    ] {
        refused(refusal, DENIED);
    }
}

/// Limits of a principal apply where the key policy delegates.
#[test]
fn boundaries_and_session_policies_limit() {
    use std::sync::Arc;

    use sealvol_kms::Requester;
    use sealvol_policy::{Identity, Limits, Policy, PolicyKind, Principal};
    let world = World::new();
    let key = world.key();
    let policy = |actions: &[&str]| {
        let text = document(&[to_me("Allow", actions)]);
        Arc::new(Policy::parse(&text, PolicyKind::Identity, &Limits::DEFAULT).unwrap())
    };
    let identity = || {
        Identity::new(Principal::parse(&user("u")).unwrap()).with_policy("all", policy(&["kms:*"]))
    };
    let tries = |identity| tries(&world.kms.session(Requester::new(identity)), &key);
    tries(identity()).unwrap();
    tries(identity().with_boundary("b", policy(&["kms:Encrypt"]))).unwrap();
    let told = tries(identity().with_boundary("b", policy(&["kms:Decrypt"]))).unwrap_err();
    assert!(told.contains("no permissions boundary allows"), "{told}");
    let told = tries(identity().with_session_policy("s", policy(&["kms:Decrypt"]))).unwrap_err();
    assert!(told.contains("no session policy allows"), "{told}");
}

/// What conditions can ask about the caller and the key, each shown to allow and to deny.
#[test]
fn condition_keys_of_keys_and_callers() {
    use sealvol_kms::Requester;
    let world = World::new();
    let via = |service: Option<&str>| {
        let via_service = service.map(str::to_owned);
        Requester { via_service, ..requester(&user("u")) }
    };
    let ec2 = Some("ec2.us-east-1.amazonaws.com");
    let rows: [(Value, Requester, bool); 11] = [
        (
            json!({"StringEquals": {"kms:ViaService": "ec2.us-east-1.amazonaws.com"}}),
            via(ec2),
            true,
        ),
        (
            json!({"StringEquals": {"kms:ViaService": "ec2.us-east-1.amazonaws.com"}}),
            via(None),
            false,
        ),
        (
            json!({"StringEquals": {"kms:ViaService": "ec2.us-east-1.amazonaws.com"}}),
            via(Some("s3.us-east-1.amazonaws.com")),
            false,
        ),
        (json!({"StringEquals": {"kms:CallerAccount": OWN}}), via(None), true),
        (json!({"StringEquals": {"kms:CallerAccount": OTHER}}), via(None), false),
        (json!({"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT"}}), via(None), true),
        (json!({"StringEquals": {"kms:KeySpec": "RSA_2048"}}), via(None), false),
        (json!({"StringEquals": {"aws:ResourceTag/team": "blue"}}), via(None), true),
        (json!({"StringEquals": {"aws:ResourceTag/team": "red"}}), via(None), false),
        (
            json!({"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/tagged"}}),
            via(None),
            true,
        ),
        (json!({"StringEquals": {"kms:RequestAlias": "alias/tagged"}}), via(None), false),
    ];
    let key = world.key();
    world.root().tag_resource(&tag_key(&key, &[tag("team", "blue")])).unwrap();
    world.root().create_alias(&alias("alias/tagged", &key)).unwrap();
    let allow = |condition: &Value| {
        let statement = json!({
            "Effect": "Allow", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*",
            "Condition": condition,
        });
        let policy = document(&[delegation(OWN), statement]);
        world.root().put_key_policy(&put_policy(&key, &policy)).unwrap();
    };
    for (condition, requester, allowed) in rows {
        allow(&condition);
        let told = tries(&world.kms.session(requester), &key);
        assert_eq!(told.is_ok(), allowed, "{condition} {told:?}");
    }
    allow(&json!({"StringEquals": {"kms:RequestAlias": "alias/tagged"}}));
    tries(&world.powerless(&user("u")), "alias/tagged").unwrap();
}
