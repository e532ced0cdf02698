//! Cryptography with everybody's keys.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use rand::rngs::StdRng;
use sealvol_tests::kms_client::Answer;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::caller::{Acknowledged, Caller};
use crate::world::Sample;

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(crate) fn decoded(answer: &Answer, member: &str) -> Vec<u8> {
    STANDARD.decode(answer.text(member)).unwrap()
}

pub(crate) fn some_context(rng: &mut StdRng) -> Value {
    match rng.random_range(0..4) {
        0 => json!({}),
        1 => json!({ "aws:ebs:id": format!("vol-{}", rng.random_range(0..1000)) }),
        _ => json!({ "a": rng.random_range(0..10).to_string(), "b": "\u{e9}" }),
    }
}

pub(crate) fn some_bytes(rng: &mut StdRng) -> Vec<u8> {
    let len = if rng.random_bool(0.05) { 4096 } else { rng.random_range(1..200) };
    (0..len).map(|_| rng.random()).collect()
}

/// Encrypts under a key, and keeps it.
pub(crate) async fn encrypt(
    caller: &mut Caller,
    rng: &mut StdRng,
    key: usize,
    context: Value,
) -> Option<Sample> {
    let shared = caller.storm.key(key);
    let (blob, plaintext, material) = if rng.random_bool(0.5) {
        let bytes = some_bytes(rng);
        let request = json!({ "KeyId": shared.arn, "EncryptionContext": context,
                              "Plaintext": STANDARD.encode(&bytes) });
        let answer = caller.use_keys("Encrypt", &request, &[&shared]).await?;
        assert_eq!(answer.text("KeyId"), shared.arn);
        (answer.text("CiphertextBlob").to_owned(), sha256(&bytes), None)
    } else {
        let request =
            json!({ "KeyId": shared.arn, "EncryptionContext": context, "NumberOfBytes": 64 });
        let answer = caller.use_keys("GenerateDataKey", &request, &[&shared]).await?;
        let bytes = decoded(&answer, "Plaintext");
        assert_eq!((answer.text("KeyId"), bytes.len()), (shared.arn.as_str(), 64));
        let material = answer.text("KeyMaterialId").to_owned();
        (answer.text("CiphertextBlob").to_owned(), sha256(&bytes), Some(material))
    };
    Some(Sample { key, blob, context, plaintext, material })
}

/// Checks what a ciphertext was decrypted to.
pub(crate) fn check_decrypted(sample: &Sample, arn: &str, answer: &Answer) {
    assert_eq!(sha256(&decoded(answer, "Plaintext")), sample.plaintext, "of {sample:?}");
    assert_eq!(answer.text("KeyId"), arn);
    if let Some(material) = &sample.material {
        assert_eq!(answer.text("KeyMaterialId"), material);
    }
}

/// Encrypts, decrypts and re-encrypts with everybody's keys.
pub(crate) async fn user(mut caller: Caller, mut rng: StdRng) -> Vec<Acknowledged> {
    let storm = Arc::clone(&caller.storm);
    while storm.goes_on() {
        let choice = rng.random_range(0..100);
        if choice < 30 {
            let (key, context) = (storm.any_key(&mut rng), some_context(&mut rng));
            if let Some(sample) = encrypt(&mut caller, &mut rng, key, context).await {
                storm.keep(&mut rng, sample);
            }
            continue;
        }
        let Some(sample) = storm.any_sample(&mut rng) else {
            tokio::task::yield_now().await;
            continue;
        };
        let source = storm.key(sample.key);
        let mut request =
            json!({ "CiphertextBlob": sample.blob, "EncryptionContext": sample.context });
        match choice {
            30..80 => {
                if rng.random() {
                    request["KeyId"] = json!(source.arn);
                }
                if let Some(answer) = caller.use_keys("Decrypt", &request, &[&source]).await {
                    check_decrypted(&sample, &source.arn, &answer);
                }
            }
            80..85 => {
                // Another context; whatever the key's state, never a plaintext.
                request["EncryptionContext"] = json!({ "another": "context" });
                if let Some(answer) = caller.send("Decrypt", &request).await {
                    let allowed = [
                        "InvalidCiphertextException",
                        "DisabledException",
                        "KMSInvalidStateException",
                    ];
                    assert!(allowed.contains(&answer.code()), "{answer:?}");
                }
            }
            85..90 => {
                let length = json!({ "NumberOfBytes": 32 });
                if let Some(answer) = caller.send("GenerateRandom", &length).await {
                    assert!(answer.is_ok(), "{answer:?}");
                }
            }
            _ => {
                let (key, context) = (storm.any_key(&mut rng), some_context(&mut rng));
                let destination = storm.key(key);
                let request = json!({ "CiphertextBlob": sample.blob,
                    "SourceEncryptionContext": sample.context,
                    "DestinationKeyId": destination.arn,
                    "DestinationEncryptionContext": context });
                let keys = [&*source, &*destination];
                if let Some(answer) = caller.use_keys("ReEncrypt", &request, &keys).await {
                    let blob = answer.text("CiphertextBlob").to_owned();
                    let material = answer.text("DestinationKeyMaterialId").to_owned();
                    let material = Some(material);
                    let plaintext = sample.plaintext;
                    storm.keep(&mut rng, Sample { key, blob, context, plaintext, material });
                }
            }
        }
    }
    caller.acknowledged
}
