//! What is logged. A process of its own, because threads without a subscriber that meet an event first
//! can hide it from the one that has one.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "kms_aws/script.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod script;

use std::sync::{Arc, Mutex};

use sealvol_envelope::{KeyService as _, RetireGrantRequest};
use sealvol_kms_aws::AwsKmsSettings;

use crate::script::{Script, decrypt, exception, grant, ok, tokens};

/// What was logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn logs_tell_operations_and_outcomes_and_no_secrets() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("sealvol_kms_aws=trace,debug")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let body = r#"{"Plaintext":"aHVudGVyMg==","KeyId":"arn:k","CiphertextBlob":"YmxvYg=="}"#;
    let grant_body = r#"{"GrantId":"g-1","GrantToken":"token-made"}"#;
    let script = Script::new([
        exception("ThrottlingException"),
        ok(body),
        ok(grant_body),
        exception("DisabledException"),
    ]);
    let kms = script.kms(AwsKmsSettings::default());
    let mut request = decrypt(b"x");
    request.grant_tokens = tokens(&["token-given"]);
    kms.decrypt(request).await.unwrap();
    kms.create_grant(grant(Some("n"))).await.unwrap();
    let retire = RetireGrantRequest::Token(tokens(&["token-given"]));
    kms.retire_grant(retire).await.unwrap_err();
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    for told in ["Decrypt", "ThrottlingException", "CreateGrant", "DisabledException", "r-1"] {
        assert!(text.contains(told), "{told} is missing:\n{text}");
    }
    for secret in
        ["hunter2", "aHVudGVyMg", "104, 117, 110", "token-given", "token-made", "\"secret"]
    {
        assert!(!text.contains(secret), "{secret} was logged:\n{text}");
    }
}
