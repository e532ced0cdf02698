//! The `KeyService` suite through kms-aws against this project's own endpoint: what the trait
//! promises holds across HTTP, signatures and the daemon as it does in process.
//!
//! Nothing is waived, and no case may say that it cannot be shown: the daemon knows several
//! principals, and a second daemon makes the ciphertext of a key that the first one lacks.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../crates/kms-aws/tests/kms_aws/remote.rs"]
mod remote;

use sealvol_envelope::conformance::{CASES, Fixture as _, run_all};
use sealvol_envelope::{EncryptionContext, GenerateDataKeyRequest, GrantTokens};
use sealvol_tests::cli::Sandbox;
use sealvol_tests::daemon::{AccessKey, Daemon};

use crate::remote::{Principal, Remote};

/// Two users without any policy: what these may do, grants say.
const CONFIG: &str = r#"
[[account]]
id = "000000000000"

[[account.user]]
name = "one"
access_keys = [{ id = "AKIATESTONE", secret = "secret-of-one" }]

[[account.user]]
name = "two"
access_keys = [{ id = "AKIATESTTWO", secret = "secret-of-two" }]
"#;

fn principal(name: &str, key: AccessKey) -> Principal {
    Principal {
        arn: format!("arn:aws:iam::000000000000:{name}"),
        access_key_id: key.id,
        secret_access_key: key.secret,
    }
}

fn start() -> (Sandbox, Daemon) {
    let sandbox = Sandbox::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(sandbox.path("config.toml"), CONFIG).unwrap();
    let daemon = Daemon::start(&sandbox);
    (sandbox, daemon)
}

/// A ciphertext of a key that only another daemon has.
async fn foreign() -> Vec<u8> {
    let (_sandbox, daemon) = start();
    let root = principal("root", daemon.root_key.clone());
    let elsewhere = Remote::new(&daemon.url(), &root, &[], "elsewhere", None).await;
    let request = GenerateDataKeyRequest {
        key_id: elsewhere.keys()[0].id.clone(),
        context: EncryptionContext::new(),
        number_of_bytes: 64,
        grant_tokens: GrantTokens::default(),
    };
    elsewhere.privileged().generate_data_key_without_plaintext(request).await.unwrap().ciphertext
}

#[tokio::test]
async fn the_endpoint_keeps_every_promise() {
    let foreign = foreign().await;
    let (_sandbox, daemon) = start();
    let root = principal("root", daemon.root_key.clone());
    let others = [
        principal("user/one", AccessKey::new("AKIATESTONE", "secret-of-one")),
        principal("user/two", AccessKey::new("AKIATESTTWO", "secret-of-two")),
    ];
    let fixture = Remote::new(&daemon.url(), &root, &others, "suite", Some(foreign)).await;
    let report = run_all(&fixture).await;
    eprintln!("{report}");
    assert_eq!(report.not_supported, []);
    assert_eq!(report.passed.len(), CASES.len());
    daemon.stop();
}
