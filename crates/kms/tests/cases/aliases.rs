//! Case 57, and aliases.

use sealvol_kms::KmsSettings;
use sealvol_kms::model::*;
use serde_json::json;

use crate::support::*;

fn delete(name: &str) -> DeleteAliasRequest {
    DeleteAliasRequest { alias_name: name.to_owned() }
}

/// Case 57 \[R\].
#[test]
fn case_57_an_alias_begins_with_alias() {
    let world = World::new();
    let key = world.key();
    for name in ["volumes", "Alias/volumes", "alias", "alias/"] {
        refused(world.root().create_alias(&alias(name, &key)), "ValidationException");
    }
    world.root().create_alias(&alias("alias/volumes", &key)).unwrap();
}

#[test]
fn aliases_are_made_once_moved_and_deleted() {
    for world in World::both() {
        let (key, other) = (world.key(), world.key());
        let arn = format!("arn:aws:kms:us-east-1:{OWN}:alias/a");
        world.root().create_alias(&alias("alias/a", id_of(&key))).unwrap();
        assert_eq!(
            said(world.root().create_alias(&alias("alias/a", &other))),
            format!("AlreadyExistsException: An alias with the name {arn} already exists")
        );
        world.clock.advance(1000);
        world.root().update_alias(&alias("alias/a", &other)).unwrap();
        assert_eq!(world.describe("alias/a").arn, other);
        let listed = world.root().list_aliases(&ListAliasesRequest::default()).unwrap();
        let [entry] = &listed.aliases[..] else { panic!("one alias") };
        assert_eq!((&*entry.alias_arn, &*entry.target_key_id), (&*arn, id_of(&other)));
        assert_eq!(entry.creation_date.0.0 + 1000, entry.last_updated_date.0.0);
        world.root().delete_alias(&delete("alias/a")).unwrap();
        let missing = format!("NotFoundException: Alias {arn} is not found.");
        assert_eq!(said(world.root().delete_alias(&delete("alias/a"))), missing);
        assert_eq!(said(world.root().update_alias(&alias("alias/a", &key))), missing);
        let describe = DescribeKeyRequest { key_id: "alias/a".to_owned(), grant_tokens: None };
        assert_eq!(said(world.root().describe_key(&describe)), missing);
        assert_eq!(world.describe(&other).key_state, "Enabled");
    }
}

/// \[D\]: same type and usage.
#[test]
fn an_alias_moves_only_between_keys_of_a_kind() {
    let world = World::new();
    let symmetric = world.key();
    let signing = world.key_of_kind("RSA_2048", "SIGN_VERIFY");
    let encrypting = world.key_of_kind("RSA_2048", "ENCRYPT_DECRYPT");
    let hmac = world.key_of_kind("HMAC_256", "GENERATE_VERIFY_MAC");
    let keys = [&symmetric, &signing, &encrypting, &hmac];
    for (n, from) in keys.iter().enumerate() {
        let name = format!("alias/a{n}");
        world.root().create_alias(&alias(&name, from)).unwrap();
        for to in keys {
            let answer = world.root().update_alias(&alias(&name, to));
            match to == *from {
                true => drop(answer.unwrap()),
                false => refused(answer, "ValidationException"),
            }
        }
    }
    // Another size is the same kind.
    let larger = world.key_of_kind("RSA_4096", "SIGN_VERIFY");
    world.root().update_alias(&alias("alias/a1", &larger)).unwrap();
}

#[test]
fn names_of_services_are_reserved() {
    let world = World::new();
    let key = world.key();
    let answer = world.root().create_alias(&alias("alias/aws/mine", &key));
    refused(answer, "NotAuthorizedException");
}

#[test]
fn an_alias_names_no_alias() {
    let world = World::new();
    let key = world.key();
    world.root().create_alias(&alias("alias/a", &key)).unwrap();
    let answer = world.root().create_alias(&alias("alias/b", "alias/a"));
    assert_eq!(said(answer), "NotFoundException: Invalid keyId 'alias/a'");
    let missing = world.root().create_alias(&alias("alias/b", UNKNOWN));
    refused(missing, "NotFoundException");
}

/// On the alias by IAM, and on each key by its policy.
#[test]
fn aliases_need_permission_on_both() {
    let world = World::new();
    let (key, other) = (world.key(), world.key());
    let arn = format!("arn:aws:kms:us-east-1:{OWN}:alias/a");
    let may = |action: &str, resources: &[&str]| {
        let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resources });
        world.with_policy(&user("u"), &[statement])
    };
    let denied = "AccessDeniedException";
    let create = alias("alias/a", &key);
    refused(may("kms:CreateAlias", &[&arn]).create_alias(&create), denied);
    refused(may("kms:CreateAlias", &[&key]).create_alias(&create), denied);
    may("kms:CreateAlias", &[&arn, &key]).create_alias(&create).unwrap();
    let update = alias("alias/a", &other);
    for partly in [[&*arn, &*key], [&arn, &other], [&key, &other]] {
        refused(may("kms:UpdateAlias", &partly).update_alias(&update), denied);
    }
    may("kms:UpdateAlias", &[&arn, &key, &other]).update_alias(&update).unwrap();
    refused(may("kms:DeleteAlias", &[&arn]).delete_alias(&delete("alias/a")), denied);
    refused(may("kms:DeleteAlias", &[&other]).delete_alias(&delete("alias/a")), denied);
    may("kms:DeleteAlias", &[&arn, &other]).delete_alias(&delete("alias/a")).unwrap();
}

#[test]
fn a_keys_aliases_are_counted() {
    let world = World::with(KmsSettings { aliases_per_key_max: 1, ..Default::default() });
    let (key, other) = (world.key(), world.key());
    world.root().create_alias(&alias("alias/a", &key)).unwrap();
    let second = world.root().create_alias(&alias("alias/b", &key));
    refused(second, "LimitExceededException");
    world.root().create_alias(&alias("alias/b", &other)).unwrap();
    let moved = world.root().update_alias(&alias("alias/b", &key));
    refused(moved, "LimitExceededException");
    world.root().update_alias(&alias("alias/a", &key)).unwrap();
}

/// Each account has its own names.
#[test]
fn aliases_are_the_accounts_own() {
    let world = World::new();
    let key = world.key();
    world.root().create_alias(&alias("alias/a", &key)).unwrap();
    let outsider = world.unlimited(&foreign_user("u"));
    let theirs = outsider.create_key(&CreateKeyRequest::default()).unwrap().key_metadata;
    assert_eq!(theirs.aws_account_id, OTHER);
    outsider.create_alias(&alias("alias/a", &theirs.key_id)).unwrap();
    let sealed = outsider.encrypt(&encrypt("alias/a", b"x", &nothing())).unwrap();
    assert_eq!(sealed.key_id, theirs.arn);
    let listed = outsider.list_aliases(&ListAliasesRequest::default()).unwrap().aliases;
    assert_eq!(listed.len(), 1);
}
