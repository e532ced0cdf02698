//! What is sent, what each answer comes to, how often it is asked, and for how long.

use std::sync::Arc;
use std::time::Duration;

use sealvol_envelope::{
    GrantConstraint, KeyService as _, KeyState, KmsErrorKind as Kind, ReEncryptRequest,
    RetireGrantRequest,
};
use sealvol_kms_aws::aws_sdk_kms::config::{Builder, ProvideCredentials};
use sealvol_kms_aws::{AwsKmsSettings, Operation};
use serde_json::json;
use tokio::time::Instant;

use crate::script::{
    Script, Step, context, decrypt, exception, generate, grant, ok, status, tokens,
};

/// "data" in base64: a key of four bytes.
const PLAIN: &str = r#"{"Plaintext":"ZGF0YQ==","KeyId":"arn:k","CiphertextBlob":"YmxvYg=="}"#;
const GRANT: &str = r#"{"GrantId":"g","GrantToken":"t"}"#;

fn settings() -> AwsKmsSettings {
    AwsKmsSettings::default()
}

#[tokio::test(start_paused = true)]
async fn requests_carry_everything_and_answers_are_read() {
    let described = r#"{"KeyMetadata":{"KeyId":"id","Arn":"arn:k","KeyState":"Disabled",
        "Description":"d","CreationDate":1767225600.5}}"#;
    let script = Script::new([
        ok(described),
        ok(PLAIN),
        ok(PLAIN),
        ok(PLAIN),
        ok(PLAIN),
        ok(GRANT),
        ok(""),
        ok(""),
    ]);
    let kms = script.kms(settings());
    let told = kms.describe_key("alias/a").await.unwrap();
    assert_eq!((told.key_id.as_str(), told.arn.as_str()), ("id", "arn:k"));
    assert_eq!((told.state, told.description.as_str()), (KeyState::Disabled, "d"));
    assert_eq!(told.created_unix_ms, 1_767_225_600_500);
    let mut request = generate();
    request.grant_tokens = tokens(&["t1", "t2"]);
    let made = kms.generate_data_key(request.clone()).await.unwrap();
    assert!(made.plaintext.expose_secret() == b"data");
    assert_eq!((made.wrapped.key_arn.as_str(), &*made.wrapped.ciphertext), ("arn:k", &b"blob"[..]));
    assert_eq!(made.wrapped.context, context());
    let wrapped = kms.generate_data_key_without_plaintext(request).await.unwrap();
    assert_eq!(wrapped, made.wrapped);
    let mut request = decrypt(b"blob");
    request.key_id = Some("arn:k".into());
    request.grant_tokens = tokens(&["t1"]);
    assert!(kms.decrypt(request).await.unwrap().expose_secret() == b"data");
    let request = ReEncryptRequest {
        ciphertext: b"blob".to_vec(),
        source_context: context(),
        source_key_id: Some("arn:s".into()),
        destination_key_id: "arn:d".into(),
        destination_context: Default::default(),
        grant_tokens: tokens(&["t1"]),
    };
    assert_eq!(kms.re_encrypt(request).await.unwrap().ciphertext, b"blob");
    let mut request = grant(Some("n"));
    request.retiring_principal = Some("p".into());
    request.constraint = Some(GrantConstraint::EncryptionContextSubset(context()));
    request.grant_tokens = tokens(&["t1"]);
    let made = kms.create_grant(request).await.unwrap();
    assert_eq!((made.grant_id.as_str(), made.grant_token.as_str()), ("g", "t"));
    kms.retire_grant(RetireGrantRequest::Token(tokens(&["t1"]))).await.unwrap();
    let by_id = RetireGrantRequest::Id { key_arn: "arn:k".into(), grant_id: "g".into() };
    kms.retire_grant(by_id).await.unwrap();

    let pairs = json!({"aws:ebs:id": "vol-1"});
    let generated = json!({
        "KeyId": "alias/a", "EncryptionContext": pairs, "NumberOfBytes": 4,
        "GrantTokens": ["t1", "t2"],
    });
    let expected = [
        ("DescribeKey", json!({"KeyId": "alias/a"})),
        ("GenerateDataKey", generated.clone()),
        ("GenerateDataKeyWithoutPlaintext", generated),
        (
            "Decrypt",
            json!({"CiphertextBlob": "YmxvYg==", "EncryptionContext": pairs, "KeyId": "arn:k",
                "GrantTokens": ["t1"]}),
        ),
        (
            "ReEncrypt",
            json!({"CiphertextBlob": "YmxvYg==", "SourceEncryptionContext": pairs,
                "SourceKeyId": "arn:s", "DestinationKeyId": "arn:d", "GrantTokens": ["t1"]}),
        ),
        (
            "CreateGrant",
            json!({"KeyId": "k", "GranteePrincipal": "arn:aws:iam::000000000000:role/r",
                "RetiringPrincipal": "p", "Operations": ["Decrypt"], "Name": "n",
                "Constraints": {"EncryptionContextSubset": pairs}, "GrantTokens": ["t1"]}),
        ),
        ("RetireGrant", json!({"GrantToken": "t1"})),
        ("RetireGrant", json!({"KeyId": "arn:k", "GrantId": "g"})),
    ];
    let seen = script.seen();
    assert_eq!(seen.len(), expected.len());
    for (seen, (operation, body)) in seen.iter().zip(expected) {
        assert_eq!((seen.operation.as_str(), &seen.body), (operation, &body));
    }
}

#[tokio::test(start_paused = true)]
async fn exceptions_keep_their_names_and_are_asked_as_often_as_they_deserve() {
    let cases = [
        ("AccessDeniedException", Kind::Denied, 1),
        ("NotFoundException", Kind::NotFound, 1),
        ("DisabledException", Kind::KeyUnusable, 1),
        ("KMSInvalidStateException", Kind::KeyUnusable, 1),
        ("IncorrectKeyException", Kind::Corrupt, 1),
        ("InvalidKeyUsageException", Kind::Invalid, 1),
        ("InvalidGrantTokenException", Kind::Invalid, 1),
        ("ValidationException", Kind::Invalid, 1),
        ("LimitExceededException", Kind::LimitExceeded, 1),
        ("UnrecognizedClientException", Kind::Denied, 1),
        ("ThrottlingException", Kind::Retry, 5),
        ("TooManyRequestsException", Kind::Retry, 5),
        ("KMSInternalException", Kind::Retry, 5),
        ("KeyUnavailableException", Kind::Retry, 5),
        ("DependencyTimeoutException", Kind::Retry, 5),
    ];
    for (name, kind, attempts) in cases {
        for shown in [name.to_owned(), format!("com.amazonaws.kms#{name}:http://x/")] {
            let script = Script::new([exception(&shown)]);
            let kms = script.kms(settings());
            let error = kms.decrypt(decrypt(b"x")).await.unwrap_err();
            assert_eq!((error.kind(), error.code()), (kind, name));
            assert!(error.to_string().contains("told by the service"), "{error}");
            assert_eq!(script.seen().len(), attempts, "{name}");
            let metrics = kms.metrics().of(Operation::Decrypt);
            assert_eq!((metrics.calls, metrics.failed), (1, 1));
            assert_eq!(metrics.attempts, attempts as u64);
            assert_eq!(metrics.errors, [(name, 1)].into());
            assert_eq!(metrics.throttled > 0, name.starts_with('T'), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn integrity_failures_are_final_and_silent() {
    let script = Script::new([status(400, r#"{"__type":"InvalidCiphertextException"}"#)]);
    let error = script.kms(settings()).decrypt(decrypt(b"x")).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Corrupt, "InvalidCiphertextException"));
    assert_eq!((error.message(), script.seen().len()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn passing_failures_pass() {
    let script = Script::new([
        exception("ThrottlingException"),
        status(503, "upstream is busy"),
        Step::Broken,
        Step::Refused,
        ok(PLAIN),
    ]);
    let kms = script.kms(settings());
    assert_eq!(kms.decrypt(decrypt(b"x")).await.unwrap().len(), 4);
    let metrics = kms.metrics().of(Operation::Decrypt);
    assert_eq!((metrics.calls, metrics.succeeded, metrics.attempts), (1, 1, 5));
    assert_eq!((metrics.retries, metrics.throttled), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn answers_without_a_name_go_by_their_status() {
    let cases = [
        (500, Kind::Retry, "InternalFailure", 5),
        (502, Kind::Retry, "InternalFailure", 5),
        (503, Kind::Retry, "ServiceUnavailable", 5),
        (504, Kind::Retry, "InternalFailure", 5),
        (429, Kind::Retry, "TooManyRequestsException", 5),
        (403, Kind::Internal, "UnknownError", 1),
        (404, Kind::Internal, "UnknownError", 1),
    ];
    for (code, kind, name, attempts) in cases {
        for body in ["", "<html>", "{", "[]", r#"{"__type":7}"#] {
            let script = Script::new([status(code, body)]);
            let error = script.kms(settings()).decrypt(decrypt(b"x")).await.unwrap_err();
            assert_eq!((error.kind(), error.code()), (kind, name), "{code} {body}: {error}");
            assert_eq!(script.seen().len(), attempts, "{code} {body}");
        }
    }
    // The header's name holds whatever the body is.
    let headers = vec![("x-amzn-errortype", "aws#DisabledException:http://x".to_owned())];
    let script = Script::new([Step::Answer { status: 400, headers, body: "{".into() }]);
    let error = script.kms(settings()).decrypt(decrypt(b"x")).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::KeyUnusable, "DisabledException"));
    let script = Script::new([exception("QuiteNewException")]);
    let error = script.kms(settings()).decrypt(decrypt(b"x")).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Internal, "UnknownError"));
    assert!(error.to_string().contains("QuiteNewException"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn malformed_successes_are_asked_again_within_the_budget() {
    let bodies = [
        "",
        "{",
        "<html>hello</html>",
        "[]",
        "null",
        "{}",
        r#"{"Plaintext":7,"KeyId":"arn:k"}"#,
        r#"{"Plaintext":"!!!","KeyId":"arn:k"}"#,
        r#"{"Plaintext":"","KeyId":"arn:k"}"#,
        r#"{"Plaintext":null}"#,
    ];
    for body in bodies {
        let script = Script::new([ok(body)]);
        let error = script.kms(settings()).decrypt(decrypt(b"x")).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Internal, "InvalidResponse"), "{body}");
        assert_eq!(script.seen().len(), 5, "{body}");
    }
    let script = Script::new([ok("{"), ok(PLAIN)]);
    assert_eq!(script.kms(settings()).decrypt(decrypt(b"x")).await.unwrap().len(), 4);
    // A key of another length than was asked for, and no ARN.
    for body in [
        r#"{"Plaintext":"ZGE=","KeyId":"arn:k","CiphertextBlob":"YmxvYg=="}"#,
        r#"{"Plaintext":"ZGF0YQ==","CiphertextBlob":"YmxvYg=="}"#,
        r#"{"Plaintext":"ZGF0YQ==","KeyId":"arn:k"}"#,
    ] {
        let script = Script::new([ok(body)]);
        let error = script.kms(settings()).generate_data_key(generate()).await.unwrap_err();
        assert_eq!(error.code(), "InvalidResponse", "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_in_states_without_a_name_here_are_unusable() {
    for (name, state) in [
        ("Updating", Some(KeyState::Enabled)),
        ("PendingImport", Some(KeyState::PendingImport)),
        ("Unavailable", Some(KeyState::Unavailable)),
        ("Creating", None),
        ("Whatever", None),
    ] {
        let body =
            format!(r#"{{"KeyMetadata":{{"KeyId":"id","Arn":"arn:k","KeyState":"{name}"}}}}"#);
        let script = Script::new([ok(&body)]);
        let told = script.kms(settings()).describe_key("id").await;
        match told {
            Ok(told) => assert_eq!(Some(told.state), state, "{name}"),
            Err(error) => {
                assert_eq!(state, None, "{name}");
                assert_eq!(error.code(), "KMSInvalidStateException");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_and_calls_end_in_time() {
    // Nothing ever answers: each attempt is given up, and the call after all of them.
    let script = Script::new([Step::Hang]);
    let start = Instant::now();
    let error = script.kms(settings()).decrypt(decrypt(b"x")).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Retry, "RequestTimeout"));
    assert_eq!(script.seen().len(), 5);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(25) && took <= Duration::from_secs(30), "{took:?}");

    // The deadline cuts off the attempt that is under way, and no wait passes it.
    for seconds in [1, 7, 12] {
        let deadline = Duration::from_secs(seconds);
        let settings = AwsKmsSettings { call_deadline: deadline, max_attempts: 100, ..settings() };
        for step in [
            Step::Hang,
            exception("ThrottlingException"),
            Step::Late(Duration::from_secs(3), Box::new(status(500, ""))),
        ] {
            let script = Script::new([step]);
            let start = Instant::now();
            let error = script.kms(settings.clone()).decrypt(decrypt(b"x")).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Retry);
            assert!(error.to_string().contains("deadline"), "{error}");
            // Timers have the granularity of a millisecond.
            assert!(start.elapsed() <= deadline + Duration::from_millis(2), "{error}");
        }
    }

    // A late answer within the limits is an answer.
    let late = Step::Late(Duration::from_secs(4), Box::new(ok(PLAIN)));
    assert!(Script::new([late]).kms(settings()).decrypt(decrypt(b"x")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_waited_out_only_where_grants_are_named() {
    for name in ["AccessDeniedException", "NotFoundException"] {
        let steps = [exception(name), exception(name), ok(PLAIN)];
        let mut request = decrypt(b"x");
        let script = Script::new(steps.clone());
        assert_eq!(script.kms(settings()).decrypt(request.clone()).await.unwrap_err().code(), name);
        assert_eq!(script.seen().len(), 1);

        request.grant_tokens = tokens(&["t"]);
        let script = Script::new(steps);
        assert!(script.kms(settings()).decrypt(request.clone()).await.is_ok());
        assert_eq!(script.seen().len(), 3);

        let script = Script::new([exception(name)]);
        let start = Instant::now();
        let error = script.kms(settings()).decrypt(request.clone()).await.unwrap_err();
        assert_eq!(error.code(), name);
        assert!(start.elapsed() <= Duration::from_secs(5), "{:?}", start.elapsed());
        assert!((4..=8).contains(&script.seen().len()), "{}", script.seen().len());
    }
}

#[tokio::test(start_paused = true)]
async fn an_unnamed_grant_is_never_made_twice() {
    // It may have been made: not again.
    for step in
        [Step::Hang, Step::Broken, status(500, ""), exception("KMSInternalException"), ok("{")]
    {
        let script = Script::new([step.clone(), ok(GRANT)]);
        let error = script.kms(settings()).create_grant(grant(None)).await.unwrap_err();
        assert!(error.to_string().contains("may have been done"), "{error}");
        assert_eq!(script.seen().len(), 1);
        // A named one is the same grant.
        let script = Script::new([step, ok(GRANT)]);
        assert_eq!(
            script.kms(settings()).create_grant(grant(Some("n"))).await.unwrap().grant_id,
            "g"
        );
        assert_eq!(script.seen().len(), 2);
    }
    // It was not made: again.
    for step in [Step::Refused, exception("ThrottlingException"), status(429, "")] {
        let script = Script::new([step, ok(GRANT)]);
        assert!(script.kms(settings()).create_grant(grant(None)).await.is_ok());
        assert_eq!(script.seen().len(), 2);
    }
}

/// The SDK reads no body of this operation, so that any 200 would do: a portal's page, say.
#[tokio::test(start_paused = true)]
async fn a_grant_is_retired_only_by_an_answer_of_kms() {
    let request = || RetireGrantRequest::Token(tokens(&["t"]));
    let script = Script::new([status(200, "<html>Sign in</html>"), ok("")]);
    script.kms(settings()).retire_grant(request()).await.unwrap();
    assert_eq!(script.seen().len(), 2);
    let script = Script::new(vec![status(200, ""); 5]);
    let error = script.kms(settings()).retire_grant(request()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Internal, "InvalidResponse"));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_an_unanswered_request_retired_is_retired() {
    let request = || RetireGrantRequest::Token(tokens(&["t"]));
    for lost in [Step::Hang, status(500, ""), Step::Broken] {
        let script = Script::new([lost, exception("NotFoundException")]);
        script.kms(settings()).retire_grant(request()).await.unwrap();
    }
    for known in [Step::Refused, exception("ThrottlingException")] {
        let script = Script::new([known, exception("NotFoundException")]);
        let error = script.kms(settings()).retire_grant(request()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
    }
    let script = Script::new([exception("NotFoundException")]);
    let error = script.kms(settings()).retire_grant(request()).await.unwrap_err();
    assert_eq!((error.kind(), script.seen().len()), (Kind::NotFound, 1));
    for wrong in [&[][..], &["a", "b"]] {
        let script = Script::new([ok("")]);
        let request = RetireGrantRequest::Token(tokens(wrong));
        let error = script.kms(settings()).retire_grant(request).await.unwrap_err();
        assert_eq!((error.code(), script.seen().len()), ("ValidationException", 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_off_is_corrected_from_the_answer() {
    let refused = |name: &str, message: &str| Step::Answer {
        status: 400,
        // An hour after the test's clock.
        headers: vec![("date", "Thu, 01 Jan 2026 01:00:00 GMT".to_owned())],
        body: format!(r#"{{"__type":"{name}","message":"{message}"}}"#),
    };
    for (name, message) in [
        ("InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than"),
        ("RequestTimeTooSkewed", "too large"),
    ] {
        let script = Script::new([refused(name, message), ok(PLAIN)]);
        let start = Instant::now();
        assert!(script.kms(settings()).decrypt(decrypt(b"x")).await.is_ok());
        assert_eq!(start.elapsed(), Duration::ZERO, "there is nothing to wait for");
        let signed: Vec<_> = script.seen().iter().map(|seen| seen.signed_at.clone()).collect();
        assert_eq!(signed, ["20260101T000000Z", "20260101T010000Z"]);
        // Twice in a row, it is something else: tell what to look at.
        let script = Script::new([refused(name, message)]);
        let error = script.kms(settings()).decrypt(decrypt(b"x")).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Denied, name));
        assert!(error.to_string().contains("clock"), "{error}");
        assert_eq!(script.seen().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn equal_unwraps_are_one_call() {
    let late = Step::Late(Duration::from_secs(1), Box::new(ok(PLAIN)));
    let script = Script::new([late]);
    let kms = script.kms(settings());
    let ask = |blob: &'static [u8]| {
        let kms = Arc::clone(&kms);
        tokio::spawn(async move { kms.decrypt(decrypt(blob)).await })
    };
    let first = ask(b"x");
    tokio::task::yield_now().await;
    let others: Vec<_> = (0..7).map(|_| ask(b"x")).collect();
    let different = ask(b"y");
    tokio::task::yield_now().await;
    // Who came first goes first: the others stay.
    first.abort();
    for other in others {
        assert!(other.await.unwrap().unwrap().expose_secret() == b"data");
    }
    assert!(different.await.unwrap().is_ok());
    assert_eq!(script.seen().len(), 2);
    let metrics = kms.metrics().of(Operation::Decrypt);
    assert_eq!((metrics.calls, metrics.coalesced), (2, 7));
    // Afterwards it is asked anew.
    kms.decrypt(decrypt(b"x")).await.unwrap();
    assert_eq!(script.seen().len(), 3);
}

#[derive(Debug)]
struct NoCredentials(bool);

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(
        &'a self,
    ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        use aws_credential_types::provider::error::CredentialsError;
        let error = match self.0 {
            true => CredentialsError::provider_timed_out(Duration::from_secs(1)),
            false => CredentialsError::not_loaded("none here"),
        };
        aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
    }
}

#[tokio::test(start_paused = true)]
async fn missing_credentials_are_told_without_asking_the_service() {
    for (passing, kind) in [(false, Kind::Denied), (true, Kind::Retry)] {
        let script = Script::new([ok(PLAIN)]);
        let config = Builder::new().credentials_provider(NoCredentials(passing));
        let kms = script.kms_of(config, settings());
        let error = kms.decrypt(decrypt(b"x")).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, "MissingAuthenticationToken"), "{error}");
        assert!(error.to_string().contains("AWS credentials"), "{error}");
        assert!(script.seen().is_empty());
        let attempts = kms.metrics().of(Operation::Decrypt).attempts;
        assert_eq!(attempts, if passing { 5 } else { 1 });
    }
}

#[test]
fn nothing_prints_secrets() {
    let credentials =
        sealvol_kms_aws::StaticCredentials::new("AKID", "hunter2", Some("session".into()));
    assert_eq!(format!("{credentials:?}"), "StaticCredentials(AKID, ..)");
    let kms = Script::new([Step::Hang]).kms(settings());
    assert!(!format!("{kms:?}").contains("secret"));
}
