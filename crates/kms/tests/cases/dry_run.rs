//! Case 58: dry runs. A dry run never succeeds; the good outcome is `DryRunOperationException`.

use sealvol_kms::Session;
use sealvol_kms::model::*;

use crate::support::*;

const WOULD: &str = "DryRunOperationException";

/// Every operation that has dry runs, for one caller.
fn dry_runs(caller: &Session, key: &str, sealed: &[u8], made: &CreateGrantResponse) -> [String; 8] {
    let dry_run = Some(true);
    [
        said(caller.encrypt(&EncryptRequest { dry_run, ..encrypt(key, b"x", &nothing()) })),
        said(caller.decrypt(&DecryptRequest { dry_run, ..decrypt_by(key, sealed, &nothing()) })),
        said(caller.generate_data_key(&GenerateDataKeyRequest {
            dry_run,
            ..generate(key, 64, &nothing())
        })),
        said(caller.generate_data_key_without_plaintext(&GenerateDataKeyRequest {
            dry_run,
            ..generate(key, 64, &nothing())
        })),
        said(caller.re_encrypt(&ReEncryptRequest {
            dry_run,
            ..re_encrypt(sealed, &nothing(), (key, &nothing()))
        })),
        said(
            caller.create_grant(&CreateGrantRequest {
                dry_run,
                ..grant(key, &user("v"), &["Decrypt"])
            }),
        ),
        said(caller.revoke_grant(&RevokeGrantRequest { dry_run, ..revoke(key, &made.grant_id) })),
        said(caller.retire_grant(&RetireGrantRequest { dry_run, ..retire(&made.grant_token) })),
    ]
}

/// Case 58 \[R\] for the permitted half, \[D\] for the other.
#[test]
fn case_58_dry_runs_say_whether_it_would_have_worked() {
    for world in World::both() {
        let key = world.key();
        let sealed = world.sealed(&key, &nothing());
        let made = world.root().create_grant(&grant(&key, &user("v"), &["Decrypt"])).unwrap();
        let wanted =
            format!("{WOULD}: The request would have succeeded, but the DryRun option is set.");
        assert_eq!(dry_runs(&world.root(), &key, &sealed, &made), [wanted.as_str(); 8]);
        for answer in dry_runs(&world.powerless(&user("u")), &key, &sealed, &made) {
            assert!(answer.starts_with("AccessDeniedException: "), "{answer}");
        }
        // Nothing happened: one grant, still there.
        let list = ListGrantsRequest { key_id: key, ..Default::default() };
        assert_eq!(world.root().list_grants(&list).unwrap().grants.len(), 1);
    }
}

/// Every other check comes first.
#[test]
fn a_dry_run_fails_as_the_call_would() {
    let world = World::new();
    let key = world.key();
    let sealed = world.sealed(&key, &nothing());
    let dry_run = Some(true);
    let wrong = DecryptRequest { dry_run, ..decrypt(&sealed, &volume("v")) };
    refused_silently(world.root().decrypt(&wrong), "InvalidCiphertextException");
    let long = EncryptRequest { dry_run, ..encrypt(&key, &[0; 4097], &nothing()) };
    refused(world.root().encrypt(&long), "ValidationException");
    world.disable(&key);
    let disabled = EncryptRequest { dry_run, ..encrypt(&key, b"x", &nothing()) };
    refused(world.root().encrypt(&disabled), "DisabledException");
    let not_dry = EncryptRequest { dry_run: Some(false), ..encrypt(&key, b"x", &nothing()) };
    refused(world.root().encrypt(&not_dry), "DisabledException");
    world.enable(&key);
    world.root().encrypt(&not_dry).unwrap();
}

/// `IGNORE_CIPHERTEXT`: without a ciphertext, but then with a key; in a dry run alone.
#[test]
fn a_dry_run_may_ignore_the_ciphertext() {
    let world = World::new();
    let key = world.key();
    let ignore = Some(vec!["IGNORE_CIPHERTEXT".to_owned()]);
    let without = DecryptRequest {
        key_id: Some(key.clone()),
        dry_run: Some(true),
        dry_run_modifiers: ignore.clone(),
        ..DecryptRequest::default()
    };
    refused(world.root().decrypt(&without), WOULD);
    refused(world.powerless(&user("u")).decrypt(&without), "AccessDeniedException");
    let garbage = DecryptRequest { ciphertext_blob: Some(Blob(vec![1])), ..without.clone() };
    refused(world.root().decrypt(&garbage), WOULD);
    for bad in [
        DecryptRequest { key_id: None, ..without.clone() },
        DecryptRequest { dry_run: None, ..without.clone() },
        DecryptRequest { dry_run_modifiers: None, ..without.clone() },
        DecryptRequest { dry_run_modifiers: Some(vec!["OTHER".to_owned()]), ..without },
    ] {
        refused(world.root().decrypt(&bad), "ValidationException");
    }
    let re_encrypt = ReEncryptRequest {
        source_key_id: Some(key.clone()),
        destination_key_id: key,
        dry_run: Some(true),
        dry_run_modifiers: ignore,
        ..ReEncryptRequest::default()
    };
    refused(world.root().re_encrypt(&re_encrypt), WOULD);
}
