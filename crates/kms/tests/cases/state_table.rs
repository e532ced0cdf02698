//! The table of key states (kms.md, section 4): every operation in every state. \[D\], but for the
//! cells of RotateKeyOnDemand, which are \[R\] (pending import) and \[I\] (pending deletion). Keys of
//! custom key stores, and with them the state `Unavailable`, do not exist here.

use sealvol_envelope::KmsError;
use sealvol_kms::Session;
use sealvol_kms::model::*;

use crate::support::*;

const STATES: [&str; 4] = ["Enabled", "Disabled", "PendingDeletion", "PendingImport"];

/// A key in some state, with what operations on it need.
struct Subject {
    arn: String,
    /// Made under it, if it ever had a material; else under another key.
    sealed: Vec<u8>,
    other: String,
    other_sealed: Vec<u8>,
    /// Made while it could take one.
    grant: Option<CreateGrantResponse>,
}

type Run = fn(&Session, &Subject) -> Result<(), KmsError>;

/// Name, expectation in each of [`STATES`], and the call. Expectations are those of the table: `ok`,
/// `D`isabled, `P`ending deletion, pending `I`mport, `N`ot pending deletion, unsupported (`X`);
/// `-` stands for "no grant can be there".
const TABLE: &[(&str, [&str; 4], Run)] = &[
    ("Encrypt", ["ok", "D", "P", "I"], |s, k| {
        s.encrypt(&encrypt(&k.arn, b"x", &nothing())).map(drop)
    }),
    ("Decrypt", ["ok", "D", "P", "I"], |s, k| {
        s.decrypt(&decrypt_by(&k.arn, &k.sealed, &nothing())).map(drop)
    }),
    ("GenerateDataKey", ["ok", "D", "P", "I"], |s, k| {
        s.generate_data_key(&generate(&k.arn, 64, &nothing())).map(drop)
    }),
    ("GenerateDataKeyWithoutPlaintext", ["ok", "D", "P", "I"], |s, k| {
        s.generate_data_key_without_plaintext(&generate(&k.arn, 64, &nothing())).map(drop)
    }),
    ("ReEncrypt from", ["ok", "D", "P", "I"], |s, k| {
        let request = re_encrypt(&k.sealed, &nothing(), (&k.other, &nothing()));
        let source_key_id = Some(k.arn.clone());
        s.re_encrypt(&ReEncryptRequest { source_key_id, ..request }).map(drop)
    }),
    ("ReEncrypt to", ["ok", "D", "P", "I"], |s, k| {
        let request = re_encrypt(&k.other_sealed, &nothing(), (&k.arn, &nothing()));
        s.re_encrypt(&request).map(drop)
    }),
    ("CreateGrant", ["ok", "D", "P", "I"], |s, k| {
        s.create_grant(&grant(&k.arn, &user("u"), &["Decrypt"])).map(drop)
    }),
    ("EnableKey", ["ok", "ok", "P", "I"], |s, k| s.enable_key(&KeyRequest::new(&k.arn)).map(drop)),
    ("DisableKey", ["ok", "ok", "P", "I"], |s, k| {
        s.disable_key(&KeyRequest::new(&k.arn)).map(drop)
    }),
    ("EnableKeyRotation", ["ok", "D", "P", "X"], |s, k| {
        let request = EnableKeyRotationRequest { key_id: k.arn.clone(), ..Default::default() };
        s.enable_key_rotation(&request).map(drop)
    }),
    ("DisableKeyRotation", ["ok", "D", "P", "X"], |s, k| {
        s.disable_key_rotation(&KeyRequest::new(&k.arn)).map(drop)
    }),
    ("GetKeyRotationStatus", ["ok", "ok", "ok", "X"], |s, k| {
        s.get_key_rotation_status(&KeyRequest::new(&k.arn)).map(drop)
    }),
    ("RotateKeyOnDemand", ["ok", "D", "P", "I"], |s, k| {
        s.rotate_key_on_demand(&KeyRequest::new(&k.arn)).map(drop)
    }),
    ("ScheduleKeyDeletion", ["ok", "ok", "P", "ok"], |s, k| {
        s.schedule_key_deletion(&deletion(&k.arn, 7)).map(drop)
    }),
    ("CancelKeyDeletion", ["N", "N", "ok", "N"], |s, k| {
        s.cancel_key_deletion(&KeyRequest::new(&k.arn)).map(drop)
    }),
    ("CreateAlias", ["ok", "ok", "P", "ok"], |s, k| {
        s.create_alias(&alias("alias/new", &k.arn)).map(drop)
    }),
    ("TagResource", ["ok", "ok", "P", "ok"], |s, k| {
        s.tag_resource(&tag_key(&k.arn, &[tag("a", "b")])).map(drop)
    }),
    ("UntagResource", ["ok", "ok", "P", "ok"], |s, k| {
        let tag_keys = Some(vec!["a".to_owned()]);
        s.untag_resource(&UntagResourceRequest { key_id: k.arn.clone(), tag_keys }).map(drop)
    }),
    ("UpdateKeyDescription", ["ok", "ok", "P", "ok"], |s, k| {
        let description = Some("new".to_owned());
        let request = UpdateKeyDescriptionRequest { key_id: k.arn.clone(), description };
        s.update_key_description(&request).map(drop)
    }),
    ("UpdateAlias to it", ["ok", "ok", "P", "ok"], |s, k| {
        s.update_alias(&alias("alias/of-other", &k.arn)).map(drop)
    }),
    ("UpdateAlias from it", ["ok", "ok", "ok", "ok"], |s, k| {
        s.update_alias(&alias("alias/of-it", &k.other)).map(drop)
    }),
    ("DeleteAlias", ["ok", "ok", "ok", "ok"], |s, _| {
        s.delete_alias(&DeleteAliasRequest { alias_name: "alias/of-it".to_owned() }).map(drop)
    }),
    ("DescribeKey", ["ok", "ok", "ok", "ok"], |s, k| {
        let request = DescribeKeyRequest { key_id: k.arn.clone(), grant_tokens: None };
        s.describe_key(&request).map(drop)
    }),
    ("ListKeys", ["ok", "ok", "ok", "ok"], |s, _| {
        s.list_keys(&ListKeysRequest::default()).map(drop)
    }),
    ("ListAliases", ["ok", "ok", "ok", "ok"], |s, k| {
        let request = ListAliasesRequest { key_id: Some(k.arn.clone()), ..Default::default() };
        s.list_aliases(&request).map(drop)
    }),
    ("ListGrants", ["ok", "ok", "ok", "ok"], |s, k| {
        let request = ListGrantsRequest { key_id: k.arn.clone(), ..Default::default() };
        s.list_grants(&request).map(drop)
    }),
    ("ListRetirableGrants", ["ok", "ok", "ok", "ok"], |s, _| {
        let retiring_principal = user("u");
        let request = ListRetirableGrantsRequest { retiring_principal, ..Default::default() };
        s.list_retirable_grants(&request).map(drop)
    }),
    ("ListResourceTags", ["ok", "ok", "ok", "ok"], |s, k| {
        let request = ListResourceTagsRequest { key_id: k.arn.clone(), ..Default::default() };
        s.list_resource_tags(&request).map(drop)
    }),
    ("ListKeyPolicies", ["ok", "ok", "ok", "ok"], |s, k| {
        let request = ListKeyPoliciesRequest { key_id: k.arn.clone(), ..Default::default() };
        s.list_key_policies(&request).map(drop)
    }),
    // Not in the table for keys of imported material: as GetKeyRotationStatus, which is.
    ("ListKeyRotations", ["ok", "ok", "ok", "X"], |s, k| {
        let request = ListKeyRotationsRequest { key_id: k.arn.clone(), ..Default::default() };
        s.list_key_rotations(&request).map(drop)
    }),
    ("GetKeyPolicy", ["ok", "ok", "ok", "ok"], |s, k| {
        let request = GetKeyPolicyRequest { key_id: k.arn.clone(), policy_name: None };
        s.get_key_policy(&request).map(drop)
    }),
    ("PutKeyPolicy", ["ok", "ok", "ok", "ok"], |s, k| {
        s.put_key_policy(&put_policy(&k.arn, &document(&[delegation(OWN)]))).map(drop)
    }),
    ("RetireGrant", ["ok", "ok", "ok", "-"], |s, k| {
        let unknown = "0".repeat(64);
        let grant = k.grant.as_ref().map_or(unknown.as_str(), |grant| &grant.grant_id);
        s.retire_grant(&retire_by_id(&k.arn, grant)).map(drop)
    }),
    ("RevokeGrant", ["ok", "ok", "ok", "-"], |s, k| {
        let unknown = "0".repeat(64);
        let grant = k.grant.as_ref().map_or(unknown.as_str(), |grant| &grant.grant_id);
        s.revoke_grant(&revoke(&k.arn, grant)).map(drop)
    }),
];

fn subject(world: &World, state: &str) -> Subject {
    let other = world.key();
    let other_sealed = world.sealed(&other, &nothing());
    let root = world.root();
    let importing = state == "PendingImport";
    let arn = world.key_of(CreateKeyRequest {
        origin: importing.then(|| "EXTERNAL".to_owned()),
        ..CreateKeyRequest::default()
    });
    root.create_alias(&alias("alias/of-other", &other)).unwrap();
    root.create_alias(&alias("alias/of-it", &arn)).unwrap();
    let (sealed, grant) = match importing {
        true => (other_sealed.clone(), None),
        false => {
            let grant = root.create_grant(&grant(&arn, &user("u"), &["Decrypt"])).unwrap();
            (world.sealed(&arn, &nothing()), Some(grant))
        }
    };
    match state {
        "Disabled" => world.disable(&arn),
        "PendingDeletion" => world.schedule_deletion(&arn),
        _ => {}
    }
    assert_eq!(world.describe(&arn).key_state, state);
    Subject { arn, sealed, other, other_sealed, grant }
}

#[test]
fn every_operation_in_every_state() {
    let mut wrong = Vec::new();
    for (operation, expected, run) in TABLE {
        for (state, expected) in STATES.iter().zip(expected) {
            let world = World::new();
            let subject = subject(&world, state);
            let arn = &subject.arn;
            let wanted = match *expected {
                "ok" => "ok".to_owned(),
                "D" => format!("DisabledException: {arn} is disabled."),
                "P" => format!("KMSInvalidStateException: {arn} is pending deletion."),
                "I" => format!("KMSInvalidStateException: {arn} is pending import."),
                "N" => format!("KMSInvalidStateException: {arn} is not pending deletion"),
                "X" => "UnsupportedOperationException".to_owned(),
                _ => format!("NotFoundException: Grant ID {} not found", "0".repeat(64)),
            };
            let answer = run(&world.root(), &subject);
            let told = answer.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
            if told != wanted {
                wrong.push(format!("{operation} on a key that is {state}: {told}, not {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A key that is pending deletion says that it does not rotate, and keeps its setting.
#[test]
fn rotation_is_off_while_deletion_is_pending() {
    let world = World::new();
    let key = world.key();
    let request = EnableKeyRotationRequest { key_id: key.clone(), ..Default::default() };
    world.root().enable_key_rotation(&request).unwrap();
    world.schedule_deletion(&key);
    let status = || world.root().get_key_rotation_status(&KeyRequest::new(&key)).unwrap();
    assert!(!status().key_rotation_enabled);
    assert_eq!((status().rotation_period_in_days, status().next_rotation_date), (None, None));
    world.root().cancel_key_deletion(&KeyRequest::new(&key)).unwrap();
    assert!(status().key_rotation_enabled);
}
