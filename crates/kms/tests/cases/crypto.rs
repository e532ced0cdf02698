//! Cases 1 to 15: encrypting, decrypting, generating, and naming the key.

use sealvol_kms::model::*;

use crate::support::*;

const INVALID: &str = "InvalidCiphertextException";

/// Case 1 \[R\].
#[test]
fn case_01_encrypt_refuses_0_and_4097_bytes() {
    let world = World::new();
    let key = world.key();
    let must = |len, must| {
        let answer = world.root().encrypt(&encrypt(&key, &vec![7; len], &nothing()));
        let wanted = format!(
            "ValidationException: 1 validation error detected: Value at 'plaintext' failed to \
             satisfy constraint: Member must have length {must}"
        );
        assert_eq!(said(answer), wanted);
    };
    must(0, "greater than or equal to 1");
    must(4097, "less than or equal to 4096");
}

/// Case 2 \[D\].
#[test]
fn case_02_4096_bytes_decrypt_without_a_key_id() {
    for world in World::both() {
        let key = world.key();
        let plaintext = vec![0x5a; 4096];
        let sealed = world.root().encrypt(&encrypt(id_of(&key), &plaintext, &nothing())).unwrap();
        assert_eq!(
            (sealed.key_id.as_str(), sealed.encryption_algorithm),
            (&*key, "SYMMETRIC_DEFAULT")
        );
        assert!(sealed.ciphertext_blob.0.len() <= 6144);
        let opened = world.root().decrypt(&decrypt(&sealed.ciphertext_blob.0, &nothing())).unwrap();
        assert_eq!(opened.plaintext.expose_secret(), plaintext);
        assert_eq!(
            (opened.key_id.as_str(), opened.encryption_algorithm),
            (&*key, "SYMMETRIC_DEFAULT")
        );
        assert_eq!(Some(opened.key_material_id), world.describe(&key).current_key_material_id);
    }
}

/// Case 3 \[D\]. The order is the request's in JSON: a context in memory has none.
#[test]
fn case_03_the_order_of_the_context_does_not_matter() {
    let world = World::new();
    let key = world.key();
    let parse = |text: &str| {
        serde_json::from_str::<EncryptRequest>(&format!(
            r#"{{"KeyId":"{key}","Plaintext":"AAEC","EncryptionContext":{text}}}"#
        ))
        .unwrap()
    };
    let request = parse(r#"{"b":"2","a":"1","c":"3"}"#);
    let reordered = parse(r#"{"c":"3","a":"1","b":"2"}"#).encryption_context;
    let sealed = world.root().encrypt(&request).unwrap().ciphertext_blob.0;
    let opened = world.root().decrypt(&decrypt(&sealed, &reordered)).unwrap();
    assert_eq!(opened.plaintext.expose_secret(), [0, 1, 2]);
}

/// Case 4 \[D\].
#[test]
fn case_04_names_and_values_of_the_context_are_case_sensitive() {
    let world = World::new();
    let key = world.key();
    let sealed = world.sealed(&key, &context(&[("Name", "Value")]));
    for wrong in [("name", "Value"), ("Name", "value"), ("NAME", "Value")] {
        let answer = world.root().decrypt(&decrypt(&sealed, &context(&[wrong])));
        refused_silently(answer, INVALID);
    }
    world.root().decrypt(&decrypt(&sealed, &context(&[("Name", "Value")]))).unwrap();
}

/// Case 5 \[R\]. The pairs are delimited, too (kms.md, section 10): `{a: bc}` is not `{ab: c}`.
#[test]
fn case_05_the_context_must_be_whole_and_no_more() {
    for world in World::both() {
        let key = world.key();
        let sealed = world.sealed(&key, &context(&[("a", "bc")]));
        let wrong = [nothing(), context(&[("a", "bc"), ("d", "e")]), context(&[("ab", "c")])];
        for wrong in wrong {
            refused_silently(world.root().decrypt(&decrypt(&sealed, &wrong)), INVALID);
        }
        let bare = world.sealed(&key, &nothing());
        refused_silently(world.root().decrypt(&decrypt(&bare, &context(&[("a", "bc")]))), INVALID);
        world.root().decrypt(&decrypt(&sealed, &context(&[("a", "bc")]))).unwrap();
    }
}

/// Case 6 \[R\]: every byte, with the key's id and without, and always the same answer. A change of
/// the bytes that name the key is no exception: it is damage, not a ciphertext of another key.
#[test]
fn case_06_a_changed_ciphertext_does_not_open() {
    let world = World::new();
    let key = world.key();
    let sealed = world.sealed(&key, &volume("vol-1"));
    for at in 0..sealed.len() {
        for flip in [1, 0x80, 0xff] {
            let mut blob = sealed.clone();
            blob[at] ^= flip;
            let with = world.root().decrypt(&decrypt_by(&key, &blob, &volume("vol-1")));
            refused_silently(with, INVALID);
            refused_silently(world.root().decrypt(&decrypt(&blob, &volume("vol-1"))), INVALID);
        }
    }
    let mut appended = sealed.clone();
    appended.push(0);
    let dropped = &sealed[..sealed.len() - 1];
    for blob in [&appended, dropped, &sealed[1..], b"garbage", &[0; 6144]] {
        refused_silently(world.root().decrypt(&decrypt(blob, &volume("vol-1"))), INVALID);
        refused_silently(world.root().decrypt(&decrypt_by(&key, blob, &volume("vol-1"))), INVALID);
    }
    for (len, must) in [(0, "greater than or equal to 1"), (6145, "less than or equal to 6144")] {
        let wanted = format!(
            "ValidationException: 1 validation error detected: Value at 'ciphertextBlob' failed \
             to satisfy constraint: Member must have length {must}"
        );
        assert_eq!(said(world.root().decrypt(&decrypt(&vec![1; len], &nothing()))), wanted);
    }
}

/// Case 7 \[D\].
#[test]
fn case_07_another_keys_id_is_an_incorrect_key() {
    let world = World::new();
    let (key, other) = (world.key(), world.key());
    let sealed = world.sealed(&key, &nothing());
    world.root().create_alias(&alias("alias/other", &other)).unwrap();
    for wrong in [other.as_str(), id_of(&other), "alias/other"] {
        let answer = world.root().decrypt(&decrypt_by(wrong, &sealed, &nothing()));
        refused(answer, "IncorrectKeyException");
        let request = re_encrypt(&sealed, &nothing(), (&key, &nothing()));
        let request = ReEncryptRequest { source_key_id: Some(wrong.to_owned()), ..request };
        refused(world.root().re_encrypt(&request), "IncorrectKeyException");
    }
    // The answer is not given to who may not use that key.
    let half = world.with_policy(
        &user("half"),
        &[serde_json::json!({
            "Effect": "Allow", "Action": "kms:Decrypt", "Resource": key,
        })],
    );
    half.decrypt(&decrypt(&sealed, &nothing())).unwrap();
    refused(half.decrypt(&decrypt_by(&other, &sealed, &nothing())), "AccessDeniedException");
}

/// Case 8 \[R\]. As for any other key that is not the ciphertext's, asymmetric ones included.
#[test]
fn case_08_a_key_of_another_kind_is_an_incorrect_key() {
    let world = World::new();
    let sealed = world.sealed(&world.key(), &nothing());
    for (spec, usage) in [
        ("HMAC_256", "GENERATE_VERIFY_MAC"),
        ("RSA_2048", "ENCRYPT_DECRYPT"),
        ("ECC_NIST_P256", "SIGN_VERIFY"),
    ] {
        let other = world.key_of_kind(spec, usage);
        let answer = world.root().decrypt(&decrypt_by(&other, &sealed, &nothing()));
        refused(answer, "IncorrectKeyException");
    }
}

/// Case 9 \[W\]: the answers for a key that is missing, of another account or forbidden are the same,
/// so that a caller learns nothing.
#[test]
fn case_09_a_ciphertext_of_an_unknown_key_is_denied() {
    let (world, elsewhere) = (World::new(), World::new());
    let unknown = elsewhere.sealed(&elsewhere.key(), &nothing());
    let mine = world.sealed(&world.key(), &nothing());
    let missing = world.root().decrypt(&decrypt(&unknown, &nothing()));
    let forbidden = world.powerless(&user("u")).decrypt(&decrypt(&mine, &nothing()));
    let foreign = world.unlimited(&foreign_user("u")).decrypt(&decrypt(&mine, &nothing()));
    let wanted = "AccessDeniedException: The ciphertext refers to a customer master key that does \
                  not exist, does not exist in this region, or you are not allowed to access.";
    for answer in [missing, forbidden, foreign] {
        assert_eq!(said(answer), wanted);
    }
}

/// Case 10 \[W\].
#[test]
fn case_10_data_keys_have_exactly_one_size() {
    let world = World::new();
    let key = world.key();
    let neither = GenerateDataKeyRequest { number_of_bytes: None, ..generate(&key, 0, &nothing()) };
    let spec = Some("AES_256".to_owned());
    let both = GenerateDataKeyRequest { key_spec: spec, ..generate(&key, 32, &nothing()) };
    for request in [neither, both] {
        refused(world.root().generate_data_key(&request), "ValidationException");
        let answer = world.root().generate_data_key_without_plaintext(&request);
        refused(answer, "ValidationException");
    }
    for (spec, len) in [("AES_128", 16), ("AES_256", 32)] {
        let request = GenerateDataKeyRequest {
            number_of_bytes: None,
            key_spec: Some(spec.to_owned()),
            ..generate(&key, 0, &nothing())
        };
        let made = world.root().generate_data_key(&request).unwrap();
        assert_eq!(made.plaintext.unwrap().expose_secret().len(), len);
    }
}

/// Case 11 \[R\] through GenerateRandom, \[D\] for data keys.
#[test]
fn case_11_1_to_1024_bytes_are_generated() {
    let world = World::new();
    let key = world.key();
    for (len, must) in [
        (0, "greater than or equal to 1"),
        (1025, "less than or equal to 1024"),
        (-1, "greater than or equal to 1"),
    ] {
        let wanted = format!(
            "ValidationException: 1 validation error detected: Value '{len}' at 'numberOfBytes' \
             failed to satisfy constraint: Member must have value {must}"
        );
        let request = GenerateRandomRequest { number_of_bytes: Some(len), ..Default::default() };
        assert_eq!(said(world.root().generate_random(&request)), wanted);
        let request = generate(&key, len, &nothing());
        assert_eq!(said(world.root().generate_data_key(&request)), wanted);
        assert_eq!(said(world.root().generate_data_key_without_plaintext(&request)), wanted);
    }
    for len in [1, 1024] {
        let request = GenerateRandomRequest { number_of_bytes: Some(len), ..Default::default() };
        let made = world.root().generate_random(&request).unwrap().plaintext;
        assert_eq!(i64::try_from(made.expose_secret().len()), Ok(len));
        world.root().generate_data_key(&generate(&key, len, &nothing())).unwrap();
    }
}

/// Case 12 \[R\]. The API model does not require the member, and the recorded words are not those of
/// a missing member elsewhere ("Value null at ..."): the recording was chosen.
#[test]
fn case_12_generate_random_requires_a_number() {
    let world = World::new();
    let answer = world.root().generate_random(&GenerateRandomRequest::default());
    assert_eq!(said(answer), "ValidationException: NumberOfBytes is required.");
}

/// Case 13 \[D\].
#[test]
fn case_13_a_data_key_without_plaintext_decrypts_to_its_64_bytes() {
    for world in World::both() {
        let key = world.key();
        let request = generate(&key, 64, &volume("vol-1"));
        let made = world.root().generate_data_key_without_plaintext(&request).unwrap();
        assert!(made.plaintext.is_none());
        assert_eq!(made.key_id, key);
        let opened =
            world.root().decrypt(&decrypt(&made.ciphertext_blob.0, &volume("vol-1"))).unwrap();
        assert_eq!(opened.plaintext.expose_secret().len(), 64);
        assert_eq!(opened.key_material_id, made.key_material_id);
        let with = world.root().generate_data_key(&request).unwrap();
        let opened =
            world.root().decrypt(&decrypt(&with.ciphertext_blob.0, &volume("vol-1"))).unwrap();
        assert_eq!(Some(opened.plaintext), with.plaintext);
    }
}

/// Case 14 \[D\].
#[test]
fn case_14_the_same_input_encrypts_differently() {
    let world = World::new();
    let key = world.key();
    assert_ne!(world.sealed(&key, &nothing()), world.sealed(&key, &nothing()));
}

/// Case 15 \[R\]. The answer has the ARN, whatever the key was called.
#[test]
fn case_15_id_arn_alias_and_alias_arn_name_a_key() {
    for world in World::both() {
        let key = world.key();
        world.root().create_alias(&alias("alias/volumes", &key)).unwrap();
        let alias_arn = format!("arn:aws:kms:us-east-1:{OWN}:alias/volumes");
        for name in [id_of(&key), &key, "alias/volumes", &alias_arn] {
            let sealed = world.root().encrypt(&encrypt(name, b"x", &nothing())).unwrap();
            assert_eq!(sealed.key_id, key);
            let request = decrypt_by(name, &sealed.ciphertext_blob.0, &nothing());
            assert_eq!(world.root().decrypt(&request).unwrap().key_id, key);
            assert_eq!(
                world.root().generate_data_key(&generate(name, 1, &nothing())).unwrap().key_id,
                key
            );
            assert_eq!(world.describe(name).arn, key);
        }
    }
}

/// An empty context is no context, also inside the ciphertext.
#[test]
fn an_empty_context_equals_none() {
    let world = World::new();
    let key = world.key();
    let empty: EncryptRequest = serde_json::from_str(&format!(
        r#"{{"KeyId":"{key}","Plaintext":"AA==","EncryptionContext":{{}}}}"#
    ))
    .unwrap();
    let sealed = world.root().encrypt(&empty).unwrap().ciphertext_blob.0;
    let absent: DecryptRequest = serde_json::from_str("{}").unwrap();
    let absent = DecryptRequest { ciphertext_blob: Some(Blob(sealed)), ..absent };
    world.root().decrypt(&absent).unwrap();
}

/// No limit is documented: ours is a setting, counted over the whole context.
#[test]
fn the_contexts_length_is_a_setting() {
    let world = World::new();
    let key = world.key();
    let max = world.kms.settings().encryption_context_bytes_max;
    // Each pair takes 8 bytes for its lengths, and the name here is one byte.
    let of = |len: usize| context_of_any_length(len - 9);
    world.root().encrypt(&encrypt(&key, b"x", &of(max))).unwrap();
    refused(world.root().encrypt(&encrypt(&key, b"x", &of(max + 1))), "ValidationException");
}

fn context_of_any_length(value: usize) -> sealvol_envelope::EncryptionContext {
    sealvol_envelope::EncryptionContext::from_map([("n".to_owned(), "v".repeat(value))].into())
}
