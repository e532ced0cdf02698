//! Encrypting, decrypting, data keys, random bytes.

use super::{Keyed, json, mode};
use crate::support::{BINARY, Ran};

#[test]
fn bytes_are_encrypted_and_decrypted() {
    let keyed = Keyed::new();
    let secret = b"raw \x00\xff bytes\n";
    keyed.write("in", secret);
    let told = keyed.run("encrypt alias/a in --out sealed --context app=web,stage=prod").ok();
    assert!(told.contains("encrypted to sealed, under arn:"), "{told}");
    assert!(!keyed.read("sealed").windows(4).any(|part| part == b"byte"));
    let told = keyed.run("decrypt sealed --out plain --context stage=prod --context app=web").ok();
    assert!(told.contains("decrypted to plain"), "{told}");
    assert_eq!(keyed.read("plain"), secret);
    assert_eq!(mode(&keyed.place, "plain"), 0o600);
    // An output is never overwritten.
    keyed
        .run("decrypt sealed --out plain --context app=web,stage=prod")
        .fails(5, &["plain exists"]);
    keyed.run("decrypt sealed --out p2").fails(3, &["InvalidCiphertextException", "--context"]);
    keyed.run("decrypt sealed --out p2 --context app=Web,stage=prod").fails(3, &["cannot decrypt"]);

    // Through pipes, raw.
    let (code, sealed) = keyed.feed(&format!("encrypt {} -", keyed.id), secret);
    assert_eq!(code, 0);
    assert_eq!(keyed.feed("decrypt - --key-id alias/a", &sealed), (0, secret.to_vec()));
    let other = keyed.json("create")["key_id"].as_str().unwrap().to_owned();
    keyed.write("piped", &sealed);
    keyed.run(&format!("decrypt piped --key-id {other} --out p2")).fails(3, &["IncorrectKey"]);
    assert!(!keyed.place.path("p2").exists());

    // AWS's answers; what went to a file is not in them.
    let answer = keyed.json("encrypt alias/a in");
    assert_eq!(answer["EncryptionAlgorithm"], "SYMMETRIC_DEFAULT");
    assert!(answer["CiphertextBlob"].is_string());
    let answer = keyed.json("decrypt piped");
    assert_eq!(answer["Plaintext"], "cmF3IAD/IGJ5dGVzCg==");
    assert_eq!(answer["KeyId"], keyed.arn);
    let answer = keyed.json("decrypt piped --out p3");
    assert!(answer["KeyMaterialId"].is_string() && answer["Plaintext"].is_null());
}

#[test]
fn ciphertexts_are_encrypted_anew() {
    let keyed = Keyed::new();
    keyed.run("create --alias alias/b").ok();
    keyed.write("in", b"hello");
    keyed.run("encrypt alias/a in --out one --context app=web").ok();
    keyed.run("re-encrypt one --to-key alias/b --out x").fails(3, &["InvalidCiphertextException"]);
    let told = keyed.run("re-encrypt one --to-key alias/b --context app=web --out two").ok();
    assert!(told.contains("encrypted anew to two"), "{told}");
    // The context is kept unless another is given.
    keyed.run("decrypt two --key-id alias/b --context app=web --out back").ok();
    assert_eq!(keyed.read("back"), b"hello");
    let line = "re-encrypt two --to-key alias/a --context app=web";
    let answer = keyed.json(&format!("{line} --to-context app=api --out three"));
    assert_eq!(answer["KeyId"], keyed.arn);
    keyed.run("decrypt three --context app=api --out back3").ok();
    keyed.run(&format!("{line} --to-no-context --out four")).ok();
    keyed.run("decrypt four --out back4").ok();
    assert!(keyed.json(line)["CiphertextBlob"].is_string());
    keyed.run(&format!("{line} --to-no-context --to-context a=b")).fails(2, &["cannot be used"]);
}

#[test]
fn data_keys_are_made() {
    let keyed = Keyed::new();
    keyed.run("generate-data-key alias/a").fails(2, &["--plaintext-out", "--without-plaintext"]);
    let line = "generate-data-key alias/a --context file=x";
    let told = keyed.run(&format!("{line} --plaintext-out k --ciphertext-out s")).ok();
    assert!(told.contains("data key in k, encrypted in s"), "{told}");
    assert_eq!((keyed.read("k").len(), mode(&keyed.place, "k")), (32, 0o600));
    keyed.run("decrypt s --context file=x --out back").ok();
    assert_eq!(keyed.read("back"), keyed.read("k"));
    keyed.run(&format!("{line} --plaintext-out k --ciphertext-out t")).fails(5, &["k exists"]);
    keyed.run(&format!("{line} --plaintext-out l --ciphertext-out s")).fails(5, &["s exists"]);
    assert!(!keyed.place.path("l").exists() && !keyed.place.path("t").exists());

    keyed.run(&format!("{line} --without-plaintext --bytes 64 --ciphertext-out s64")).ok();
    keyed.run("decrypt s64 --context file=x --out k64").ok();
    assert_eq!(keyed.read("k64").len(), 64);
    let (code, sealed) = keyed.feed(&format!("{line} --without-plaintext --spec AES_128"), b"");
    assert_eq!((code, keyed.feed("decrypt - --context file=x", &sealed).1.len()), (0, 16));
    let answer = keyed.json(line);
    assert!(answer["Plaintext"].is_string() && answer["CiphertextBlob"].is_string());
    let answer = keyed.json(&format!("{line} --plaintext-out k2"));
    assert!(answer["Plaintext"].is_null() && answer["CiphertextBlob"].is_string());
    let answer = keyed.json(&format!("{line} --ciphertext-out s2"));
    assert!(answer["Plaintext"].is_string() && answer["CiphertextBlob"].is_null());
    keyed.run(&format!("{line} --bytes 1 --spec AES_256")).fails(2, &["cannot be used"]);
    keyed.run(&format!("{line} --without-plaintext --bytes 1025")).fails(2, &["numberOfBytes"]);
}

#[test]
fn random_bytes_are_made() {
    let keyed = Keyed::new();
    let (code, bytes) = keyed.feed("random 32", b"");
    assert_eq!((code, bytes.len()), (0, 32));
    assert!(keyed.run("random 16 --out r").ok().contains("16 random bytes in r"));
    assert_eq!((keyed.read("r").len(), mode(&keyed.place, "r")), (16, 0o600));
    assert_eq!(keyed.json("random 3")["Plaintext"].as_str().unwrap().len(), 4);
    keyed.run("random 0").fails(2, &["ValidationException"]);
    keyed.run("random 1025").fails(2, &["ValidationException"]);
}

#[test]
fn a_dry_run_that_would_succeed_is_a_success() {
    let keyed = Keyed::new();
    keyed.write("in", b"hello");
    keyed.run("encrypt alias/a in --out sealed").ok();
    for line in [
        "encrypt alias/a in --out o",
        "decrypt sealed --out o",
        "re-encrypt sealed --to-key alias/a --out o",
        "generate-data-key alias/a --without-plaintext --ciphertext-out o",
    ] {
        assert!(keyed.run(&format!("{line} --dry-run")).ok().contains("would have succeeded"));
        let told = keyed.json(&format!("{line} --dry-run"));
        assert_eq!(told["__type"], "DryRunOperationException");
        assert!(!keyed.place.path("o").exists());
    }
    keyed.run("disable alias/a").ok();
    keyed.run("encrypt alias/a in --dry-run").fails(4, &["DisabledException"]);
    let told = keyed.run("encrypt alias/a in --dry-run --json");
    assert_eq!(json(&told.err)["exit_code"], 4);
}

#[test]
fn a_terminal_gets_no_plaintext() {
    let keyed = Keyed::new();
    keyed.write("in", b"PLAINTEXT");
    keyed.run("encrypt alias/a in --out sealed").ok();
    let on_a_terminal = |line: &str| -> Option<Ran> {
        let mut command = std::process::Command::new("script");
        command.args(["-qec", &format!("{BINARY} key {line}"), "/dev/null"]);
        command.current_dir(keyed.place.dir.path()).stdin(std::process::Stdio::null());
        command.output().ok().map(Ran::from)
    };
    if on_a_terminal("list").is_none_or(|ran| ran.code != 0) {
        println!("skipped: there is no `script` to make a terminal with");
        return;
    }
    for line in ["decrypt sealed", "decrypt sealed --json", "random 8", "random 8 --json"] {
        let ran = on_a_terminal(line).unwrap();
        assert_eq!(ran.code, 2, "{line}: {ran:?}");
        assert!(ran.out.contains("not written to a terminal"), "{line}: {ran:?}");
        assert!(!ran.out.contains("PLAINTEXT") && !ran.out.contains("UExBSU5URVhU"));
    }
    // Ciphertexts are shown in base64 alone.
    assert_eq!(on_a_terminal("encrypt alias/a in").unwrap().code, 2);
    assert_eq!(on_a_terminal("encrypt alias/a in --json").unwrap().code, 0);
}
