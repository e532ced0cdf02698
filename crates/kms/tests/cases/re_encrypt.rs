//! Cases 32 to 34: from one key or context to another.

use sealvol_kms::model::*;
use serde_json::json;

use crate::support::*;

/// Case 32 \[D\].
#[test]
fn case_32_re_encrypt_changes_the_context_alone() {
    for world in World::both() {
        let key = world.key();
        let sealed = world.sealed(&key, &volume("vol-1"));
        let request = re_encrypt(&sealed, &volume("vol-1"), (id_of(&key), &volume("vol-2")));
        let answer = world.root().re_encrypt(&request).unwrap();
        assert_eq!((&*answer.source_key_id, &*answer.key_id), (&*key, &*key));
        assert_eq!(answer.source_key_material_id, answer.destination_key_material_id);
        let new = answer.ciphertext_blob.0;
        let opened = world.root().decrypt(&decrypt(&new, &volume("vol-2"))).unwrap();
        assert_eq!(opened.plaintext.expose_secret(), b"plaintext");
        let old_context = world.root().decrypt(&decrypt(&new, &volume("vol-1")));
        refused_silently(old_context, "InvalidCiphertextException");
        // The old one is as it was.
        world.root().decrypt(&decrypt(&sealed, &volume("vol-1"))).unwrap();
    }
}

/// Case 33 \[R\].
#[test]
fn case_33_a_signing_key_is_no_destination() {
    let world = World::new();
    let sealed = world.sealed(&world.key(), &nothing());
    let signing = world.key_of_kind("ECC_NIST_P256", "SIGN_VERIFY");
    let request = re_encrypt(&sealed, &nothing(), (&signing, &nothing()));
    let wanted = format!(
        "InvalidKeyUsageException: {signing} key usage is SIGN_VERIFY which is not valid for \
         ReEncrypt."
    );
    assert_eq!(said(world.root().re_encrypt(&request)), wanted);
}

/// Case 34 \[D\]; and the other half.
#[test]
fn case_34_re_encrypt_needs_both_permissions() {
    let world = World::new();
    let (from, to) = (world.key(), world.key());
    let sealed = world.sealed(&from, &nothing());
    let request = re_encrypt(&sealed, &nothing(), (&to, &nothing()));
    let holding = |statements: &[(&str, &str)]| {
        let statements: Vec<_> = statements
            .iter()
            .map(|(action, key)| json!({ "Effect": "Allow", "Action": action, "Resource": key }))
            .collect();
        world.with_policy(&user("u"), &statements).re_encrypt(&request)
    };
    let only_from = said(holding(&[("kms:ReEncryptFrom", "*")]));
    let begins = format!(
        "AccessDeniedException: User: {} is not authorized to perform: kms:ReEncryptTo on \
         resource: {to}",
        user("u")
    );
    assert!(only_from.starts_with(&begins), "{only_from}");
    refused(holding(&[("kms:ReEncryptTo", "*")]), "AccessDeniedException");
    // Each on the wrong key.
    let swapped = [("kms:ReEncryptFrom", &*to), ("kms:ReEncryptTo", &*from)];
    refused(holding(&swapped), "AccessDeniedException");
    // Decrypt and Encrypt are not what it takes.
    refused(holding(&[("kms:Decrypt", "*"), ("kms:Encrypt", "*")]), "AccessDeniedException");
    holding(&[("kms:ReEncryptFrom", &from), ("kms:ReEncryptTo", &to)]).unwrap();
    holding(&[("kms:ReEncrypt*", "*")]).unwrap();
}

/// Between keys: both ARNs, both materials.
#[test]
fn re_encrypt_to_another_key() {
    let world = World::new();
    let (from, to) = (world.key(), world.key());
    let sealed = world.sealed(&from, &nothing());
    let request = re_encrypt(&sealed, &nothing(), (&to, &volume("vol-1")));
    let answer = world.root().re_encrypt(&request).unwrap();
    assert_eq!((&*answer.source_key_id, &*answer.key_id), (&*from, &*to));
    let material = |key: &str| world.describe(key).current_key_material_id.unwrap();
    assert_eq!(answer.source_key_material_id, material(&from));
    assert_eq!(answer.destination_key_material_id, material(&to));
    let request = decrypt_by(&to, &answer.ciphertext_blob.0, &volume("vol-1"));
    assert_eq!(world.root().decrypt(&request).unwrap().plaintext.expose_secret(), b"plaintext");
}

#[test]
fn conditions_see_each_sides_own_context() {
    let world = World::new();
    let key = world.key();
    let sealed = world.sealed(&key, &volume("vol-1"));
    let when = |action: &str, volume: &str| {
        json!({
            "Effect": "Allow", "Action": action, "Resource": "*",
            "Condition": { "StringEquals": { "kms:EncryptionContext:aws:ebs:id": volume } },
        })
    };
    let request = re_encrypt(&sealed, &volume("vol-1"), (&key, &volume("vol-2")));
    let right = [when("kms:ReEncryptFrom", "vol-1"), when("kms:ReEncryptTo", "vol-2")];
    world.with_policy(&user("u"), &right).re_encrypt(&request).unwrap();
    let wrong = [when("kms:ReEncryptFrom", "vol-2"), when("kms:ReEncryptTo", "vol-1")];
    refused(world.with_policy(&user("u"), &wrong).re_encrypt(&request), "AccessDeniedException");
}

/// `kms:ReEncryptOnSameKey`, on both sides.
#[test]
fn policies_can_ask_whether_the_key_stays_the_same() {
    let world = World::new();
    let (key, other) = (world.key(), world.key());
    let sealed = world.sealed(&key, &nothing());
    let same_only = world.with_policy(
        &user("u"),
        &[json!({
            "Effect": "Allow", "Action": "kms:ReEncrypt*", "Resource": "*",
            "Condition": { "Bool": { "kms:ReEncryptOnSameKey": "true" } },
        })],
    );
    let to = |key: &str| re_encrypt(&sealed, &nothing(), (key, &nothing()));
    same_only.re_encrypt(&to(&key)).unwrap();
    refused(same_only.re_encrypt(&to(&other)), "AccessDeniedException");
    let dry = ReEncryptRequest { dry_run: Some(true), ..to(&key) };
    refused(same_only.re_encrypt(&dry), "DryRunOperationException");
}
