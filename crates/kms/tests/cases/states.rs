//! Cases 16 to 25: key states, and the operations that change them.

use sealvol_core::Clock as _;
use sealvol_core::UnixMillis;
use sealvol_kms::model::*;

use crate::support::*;

const INVALID_STATE: &str = "KMSInvalidStateException";

/// Case 16 \[D\] that it is rejected; the exception is \[I\]. An alias is no key id, and malformed key
/// ids are `NotFoundException` (case 17): the same was chosen, with the same words. `ValidationException`
/// would have been the alternative.
#[test]
fn case_16_management_takes_no_alias() {
    let world = World::new();
    let key = world.key();
    world.root().create_alias(&alias("alias/a", &key)).unwrap();
    let alias_arn = format!("arn:aws:kms:us-east-1:{OWN}:alias/a");
    for name in ["alias/a", &alias_arn] {
        let wanted = format!("NotFoundException: Invalid keyId '{name}'");
        let request = KeyRequest::new(name);
        let root = world.root();
        assert_eq!(said(root.disable_key(&request)), wanted);
        assert_eq!(said(root.enable_key(&request)), wanted);
        assert_eq!(said(root.rotate_key_on_demand(&request)), wanted);
        assert_eq!(said(root.get_key_rotation_status(&request)), wanted);
        assert_eq!(said(root.schedule_key_deletion(&deletion(name, 7))), wanted);
        assert_eq!(said(root.create_grant(&grant(name, &user("u"), &["Decrypt"]))), wanted);
        assert_eq!(said(root.tag_resource(&tag_key(name, &[]))), wanted);
        let policy = document(&[delegation(OWN)]);
        assert_eq!(said(root.put_key_policy(&put_policy(name, &policy))), wanted);
    }
    assert_eq!(world.describe(&key).key_state, "Enabled");
}

/// Case 17 \[R\].
#[test]
fn case_17_describe_key_says_in_three_ways_that_there_is_none() {
    let world = World::new();
    let describe = |name: &str| {
        let request = DescribeKeyRequest { key_id: name.to_owned(), grant_tokens: None };
        said(world.root().describe_key(&request))
    };
    assert_eq!(
        describe(UNKNOWN),
        format!(
            "NotFoundException: Key 'arn:aws:kms:us-east-1:{OWN}:key/{UNKNOWN}' does not exist"
        )
    );
    assert_eq!(describe("not-a-uuid"), "NotFoundException: Invalid keyId 'not-a-uuid'");
    let foreign = format!("arn:aws:kms:eu-north-9:{OWN}:key/{UNKNOWN}");
    assert_eq!(describe(&foreign), "NotFoundException: Invalid arn eu-north-9");
}

/// Case 18 \[R\].
#[test]
fn case_18_cryptography_refuses_a_disabled_key() {
    for world in World::both() {
        let key = world.key();
        let sealed = world.sealed(&key, &nothing());
        world.disable(&key);
        let wanted = format!("DisabledException: {key} is disabled.");
        assert_eq!(cryptography(&world, &key, &sealed), [wanted.as_str(); 6]);
        world.enable(&key);
        world.root().decrypt(&decrypt(&sealed, &nothing())).unwrap();
    }
}

/// Case 19 \[R\]. The documentation allows `DisabledException` as well; every recording shows this.
#[test]
fn case_19_cryptography_refuses_a_key_pending_deletion() {
    for disabled_before in [false, true] {
        let world = World::new();
        let key = world.key();
        let sealed = world.sealed(&key, &nothing());
        if disabled_before {
            world.disable(&key);
        }
        world.schedule_deletion(&key);
        let wanted = format!("KMSInvalidStateException: {key} is pending deletion.");
        assert_eq!(cryptography(&world, &key, &sealed), [wanted.as_str(); 6]);
    }
}

/// What each cryptographic operation on a key says when it fails.
fn cryptography(world: &World, key: &str, sealed: &[u8]) -> [String; 6] {
    let root = world.root();
    let other = world.key();
    let elsewhere = world.sealed(&other, &nothing());
    [
        said(root.encrypt(&encrypt(key, b"x", &nothing()))),
        said(root.decrypt(&decrypt(sealed, &nothing()))),
        said(root.generate_data_key(&generate(key, 1, &nothing()))),
        said(root.generate_data_key_without_plaintext(&generate(key, 1, &nothing()))),
        said(root.re_encrypt(&re_encrypt(sealed, &nothing(), (&other, &nothing())))),
        said(root.re_encrypt(&re_encrypt(&elsewhere, &nothing(), (key, &nothing())))),
    ]
}

/// Case 20 \[R\].
#[test]
fn case_20_deletion_is_scheduled_once() {
    let world = World::new();
    let key = world.key();
    let first = world.root().schedule_key_deletion(&deletion(&key, 7)).unwrap();
    assert_eq!(first.key_id, key);
    assert_eq!((first.key_state, first.pending_window_in_days), ("PendingDeletion", 7));
    assert_eq!(first.deletion_date.0, UnixMillis(START + 7 * DAY));
    let again = world.root().schedule_key_deletion(&deletion(&key, 30));
    assert_eq!(said(again), format!("{INVALID_STATE}: {key} is pending deletion."));
    assert_eq!(world.describe(&key).deletion_date, Some(first.deletion_date));
}

/// Case 21 \[D\]: 7 to 30, 30 unless given. The API model's ceiling is 365, which was not chosen.
#[test]
fn case_21_the_deletion_window_is_7_to_30_days() {
    let world = World::new();
    let key = world.key();
    for (days, must) in [(6, "greater than or equal to 7"), (31, "less than or equal to 30")] {
        let wanted = format!(
            "ValidationException: 1 validation error detected: Value '{days}' at \
             'pendingWindowInDays' failed to satisfy constraint: Member must have value {must}"
        );
        assert_eq!(said(world.root().schedule_key_deletion(&deletion(&key, days))), wanted);
    }
    let request = ScheduleKeyDeletionRequest { key_id: key, pending_window_in_days: None };
    let answer = world.root().schedule_key_deletion(&request).unwrap();
    assert_eq!(answer.pending_window_in_days, 30);
    assert_eq!(answer.deletion_date.0, UnixMillis(START + 30 * DAY));
}

/// Case 22 \[D\].
#[test]
fn case_22_nothing_to_cancel() {
    let world = World::new();
    let key = world.key();
    let wanted = format!("{INVALID_STATE}: {key} is not pending deletion");
    assert_eq!(said(world.root().cancel_key_deletion(&KeyRequest::new(&key))), wanted);
    world.disable(&key);
    assert_eq!(said(world.root().cancel_key_deletion(&KeyRequest::new(&key))), wanted);
}

/// Case 23 \[R\].
#[test]
fn case_23_cancelling_a_deletion_leaves_the_key_disabled() {
    for world in World::both() {
        let key = world.key();
        let sealed = world.sealed(&key, &nothing());
        world.schedule_deletion(&key);
        assert!(world.describe(&key).deletion_date.is_some());
        let answer = world.root().cancel_key_deletion(&KeyRequest::new(id_of(&key))).unwrap();
        assert_eq!(answer.key_id, key);
        let told = world.describe(&key);
        assert_eq!((told.key_state, told.enabled, told.deletion_date), ("Disabled", false, None));
        refused(world.root().decrypt(&decrypt(&sealed, &nothing())), "DisabledException");
        // Not deleted when the window would have been over.
        world.clock.advance(31 * DAY);
        world.enable(&key);
        world.root().decrypt(&decrypt(&sealed, &nothing())).unwrap();
    }
}

/// Case 24 \[D\].
#[test]
fn case_24_a_key_pending_deletion_is_neither_enabled_nor_disabled() {
    let world = World::new();
    let key = world.key();
    world.schedule_deletion(&key);
    let wanted = format!("{INVALID_STATE}: {key} is pending deletion.");
    assert_eq!(said(world.root().enable_key(&KeyRequest::new(&key))), wanted);
    assert_eq!(said(world.root().disable_key(&KeyRequest::new(&key))), wanted);
}

/// Case 25 \[D\].
#[test]
fn case_25_enabling_and_disabling_again_succeeds() {
    for world in World::both() {
        let key = world.key();
        world.enable(&key);
        assert_eq!(world.describe(&key).key_state, "Enabled");
        for _ in 0..2 {
            world.disable(&key);
        }
        assert_eq!(world.describe(&key).key_state, "Disabled");
    }
}

/// When the window is over the key is gone, and its aliases and grants with it.
#[test]
fn a_key_is_deleted_when_its_window_is_over() {
    for world in World::both() {
        let key = world.key();
        let sealed = world.sealed(&key, &nothing());
        world.root().create_alias(&alias("alias/a", &key)).unwrap();
        let made = grant(&key, &user("u"), &["Decrypt"]);
        let token = world.root().create_grant(&made).unwrap().grant_token;
        world.schedule_deletion(&key);
        world.clock.advance(7 * DAY - 1);
        assert_eq!(world.describe(&key).key_state, "PendingDeletion");
        world.clock.advance(1);
        let request = DescribeKeyRequest { key_id: key.clone(), grant_tokens: None };
        let wanted = format!("NotFoundException: Key '{key}' does not exist");
        assert_eq!(said(world.root().describe_key(&request)), wanted);
        refused(world.root().decrypt(&decrypt(&sealed, &nothing())), "AccessDeniedException");
        refused(world.root().retire_grant(&retire(&token)), "NotFoundException");
        refused(world.root().cancel_key_deletion(&KeyRequest::new(&key)), "NotFoundException");
        let listed = world.root().list_aliases(&ListAliasesRequest::default()).unwrap();
        assert_eq!(listed.aliases, []);
        // The name is free again.
        world.root().create_alias(&alias("alias/a", &world.key())).unwrap();
        let delete =
            world.records.take().into_iter().find(|event| event["eventName"] == "DeleteKey");
        let delete = delete.unwrap();
        assert_eq!(delete["eventType"], "AwsServiceEvent");
        assert_eq!(delete["userIdentity"]["invokedBy"], "AWS Internal");
        assert_eq!(delete["resources"][0]["ARN"], key.as_str());
        assert!(world.clock.now() >= UnixMillis(START));
    }
}
