//! Who is believed: both forms of a signature, each way in which one does not fit, sessions, test
//! keys, and the mode without signatures.

use std::net::SocketAddr;
use std::time::Duration;

use sealvol_api::{AuthMode, ServeError, Server, ServerSettings};
use sealvol_core::UnixMillis;
use sealvol_testkit::SimClock;

use crate::support::{Answer, CLUSTER, Key, Wire, World, endpoint};

const LIST: &str = "ListKeys";

fn later(at: UnixMillis, seconds: u64) -> UnixMillis {
    UnixMillis(at.0 + seconds * 1000)
}

fn earlier(at: UnixMillis, seconds: u64) -> UnixMillis {
    UnixMillis(at.0 - seconds * 1000)
}

#[track_caller]
fn refused(answer: &Answer, code: &str, told: &str) {
    assert_eq!((answer.status, answer.fault().as_str()), (400, code), "{answer:?}");
    let message = answer.message().unwrap();
    assert!(message.contains(told), "{message}");
}

#[tokio::test]
async fn a_signature_in_the_header_or_in_the_query_is_taken() {
    let world = World::new().await;
    let request = Wire::kms(LIST, "{}");
    for signed in [
        request.clone().signed(&Key::root(), world.now()),
        request.clone().presigned(&Key::root(), world.now()),
    ] {
        let answer = world.send(&signed).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.json()["Keys"].is_array());
    }
}

#[tokio::test]
async fn each_fault_has_its_code() {
    let world = World::new().await;
    let (now, root) = (world.now(), Key::root());
    let request = Wire::kms(LIST, "{}");
    let signed = || request.clone().signed(&root, now);
    let presigned = || request.clone().presigned(&root, now);
    let bad = "InvalidSignatureException";
    let incomplete = "IncompleteSignatureException";
    let mut tampered = signed();
    tampered.body = b"{ }".to_vec();
    let mut tampered_presigned = presigned();
    tampered_presigned.body = b"{ }".to_vec();
    let mut two = presigned();
    two.headers.extend(signed().headers);
    two.headers.dedup();
    let in_query = |from: &str, to: &str| {
        let mut wire = presigned();
        assert!(wire.uri.contains(from), "{}", wire.uri);
        wire.uri = wire.uri.replace(from, to);
        wire
    };
    let cases = [
        ("nothing", request.clone(), "MissingAuthenticationTokenException", "Missing"),
        ("basic", request.clone().with("authorization", "Basic YTpi"), incomplete, "Credential"),
        (
            "no parts",
            signed().altered("authorization", "SignedHeaders=", "X="),
            incomplete,
            "Signed",
        ),
        (
            "no date",
            signed().altered("x-amz-date", "Z", ""),
            incomplete,
            "Date must be in ISO-8601",
        ),
        ("short scope", signed().altered("authorization", "/kms/", "/"), incomplete, "5 slash"),
        ("query lacks", in_query("X-Amz-Expires", "X-Amz-Ex"), incomplete, "X-Amz-Expires"),
        ("too long", in_query("Expires=60", "Expires=604801"), incomplete, "604800"),
        ("both forms", two, incomplete, "Only one"),
        (
            "unknown key",
            request.clone().signed(&Key::new("AKIANOBODY", "root-secret"), now),
            "UnrecognizedClientException",
            "The security token included in the request is invalid",
        ),
        (
            "a token on a lasting key",
            request.clone().signed(&Key { token: Some("x".into()), ..root.clone() }, now),
            "UnrecognizedClientException",
            "invalid",
        ),
        (
            "wrong secret",
            request.clone().signed(&Key::new("AKIAROOT", "x"), now),
            bad,
            "does not match",
        ),
        (
            "other key's id",
            signed().altered("authorization", "AKIAROOT", "AKIAALICE"),
            bad,
            "does not",
        ),
        ("body", tampered, bad, "does not match"),
        ("presigned body", tampered_presigned, bad, "does not match"),
        ("header", signed().altered("x-amz-target", LIST, "ListAliases"), bad, "does not match"),
        ("query", in_query("/?", "/?a=b&"), bad, "does not match"),
        (
            "date",
            {
                let date =
                    signed().headers.iter().find(|(n, _)| n == "x-amz-date").unwrap().1.clone();
                let changed = date.replace("T00000", "T00010");
                signed().altered("x-amz-date", &date, &changed)
            },
            bad,
            "does not match",
        ),
        (
            "service",
            request.clone().signed(&root.clone().of("sts"), now),
            bad,
            "correct service: 'kms'",
        ),
        (
            "region",
            request.clone().signed(&Key { region: "eu-west-1", ..root.clone() }, now),
            bad,
            "valid region",
        ),
        (
            "day",
            signed().altered("authorization", "/20260101/", "/20260102/"),
            bad,
            "'20260102' != ",
        ),
        ("terminator", signed().altered("authorization", "aws4_request", "x"), bad, "terminator"),
        ("no host", signed().altered("authorization", "host;", ""), bad, "'Host'"),
        ("unsigned", signed().with("x-amz-later", "1"), bad, "not signed: x-amz-later"),
    ];
    for (name, wire, code, told) in cases {
        let answer = world.send(&wire).await;
        let fits = answer.status == 400
            && answer.fault() == code
            && answer.message().unwrap_or_default().contains(told);
        assert!(fits, "{name}: {answer:?}");
        assert_eq!(answer.headers["content-type"], "application/x-amz-json-1.1");
    }
}

#[tokio::test]
async fn a_clock_may_be_off_by_five_minutes() {
    let world = World::new().await;
    let (now, root) = (world.now(), Key::root());
    let request = Wire::kms(LIST, "{}");
    for at in [earlier(now, 300), later(now, 300)] {
        assert_eq!(world.send(&request.clone().signed(&root, at)).await.status, 200);
    }
    let old = world.send(&request.clone().signed(&root, earlier(now, 301))).await;
    refused(
        &old,
        "InvalidSignatureException",
        "Signature expired: 20251231T235459Z is now earlier",
    );
    let new = world.send(&request.clone().signed(&root, later(now, 301))).await;
    refused(&new, "InvalidSignatureException", "Signature not yet current");
    // The server's clock decides, and it moves.
    let signed = request.clone().signed(&root, now);
    let presigned = request.presigned(&root, now);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.send(&presigned).await.status, 200);
    world.clock.advance(Duration::from_secs(241));
    refused(&world.send(&signed).await, "InvalidSignatureException", "Signature expired");
    refused(&world.send(&presigned).await, "InvalidSignatureException", "1 min");
}

#[tokio::test]
async fn authentication_comes_before_target_and_body() {
    let world = World::new().await;
    for (operation, body) in [("Nonsense", "{}"), ("Sign", "{}"), (LIST, "{"), (LIST, "[]")] {
        let answer = world.send(&Wire::kms(operation, body)).await;
        refused(&answer, "MissingAuthenticationTokenException", "Missing");
    }
}

#[tokio::test]
async fn a_session_calls_with_its_token_until_it_ends() {
    let world = World::new().await;
    world.key().await;
    let session = world.session().await;
    assert!(session.id.starts_with("ASIA"));
    assert_eq!(world.call(&session, LIST, "{}").await.status, 200);
    let presigned = Wire::kms(LIST, "{}").presigned(&session, world.now());
    assert_eq!(world.send(&presigned).await.status, 200);

    let bare = Key { token: None, ..session.clone() };
    refused(&world.call(&bare, LIST, "{}").await, "UnrecognizedClientException", "invalid");
    let other = Key { token: world.session().await.token, ..session.clone() };
    refused(&world.call(&other, LIST, "{}").await, "UnrecognizedClientException", "invalid");
    let unsigned = Wire::kms(LIST, "{}").signed(&bare, world.now());
    let unsigned = unsigned.with("x-amz-security-token", session.token.as_deref().unwrap());
    refused(&world.send(&unsigned).await, "InvalidSignatureException", "not signed");

    world.clock.advance(Duration::from_secs(3600));
    refused(&world.call(&session, LIST, "{}").await, "ExpiredTokenException", "expired");
}

#[tokio::test]
async fn test_keys_act_as_a_service_or_through_one() {
    let world = World::new().await;
    let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::000000000000:root" },
          "Action": "kms:*", "Resource": "*" },
        { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::000000000000:user/alice" },
          "Action": "kms:GenerateDataKey", "Resource": "*",
          "Condition": { "StringEquals": { "kms:ViaService": "ec2.us-east-1.amazonaws.com" } } },
        { "Effect": "Allow", "Principal": { "Service": "fargate.amazonaws.com" },
          "Action": "kms:GenerateDataKeyWithoutPlaintext", "Resource": "*",
          "Condition": { "ArnEquals": { "aws:SourceArn": CLUSTER },
                         "StringEquals": { "aws:SourceAccount": "000000000000" } } },
    ] });
    let body = serde_json::json!({ "Policy": policy.to_string() }).to_string();
    let made = world.done(&Key::root(), "CreateKey", &body).await;
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap();
    let body = format!(r#"{{"KeyId":"{key}","NumberOfBytes":64}}"#);

    let via = Key::new("AKIAVIA", "via-secret");
    assert_eq!(world.call(&via, "GenerateDataKey", &body).await.status, 200);
    let plain = world.call(&Key::alice(), "GenerateDataKey", &body).await;
    refused(&plain, "AccessDeniedException", "user/alice is not authorized");
    let without = "GenerateDataKeyWithoutPlaintext";
    assert_eq!(world.call(&Key::fargate(), without, &body).await.status, 200);
    let denied = world.call(&Key::fargate(), "GenerateDataKey", &body).await;
    refused(&denied, "AccessDeniedException", "fargate.amazonaws.com");
}

#[tokio::test]
async fn a_policy_may_name_only_whom_there_is() {
    let world = World::new().await;
    let body = |principal: &str| {
        let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::000000000000:root" },
              "Action": "kms:*", "Resource": "*" },
            { "Effect": "Allow", "Principal": { "AWS": principal },
              "Action": "kms:Decrypt", "Resource": "*" },
        ] });
        serde_json::json!({ "Policy": policy.to_string() }).to_string()
    };
    let known = "arn:aws:iam::000000000000:user/alice";
    assert_eq!(world.call(&Key::root(), "CreateKey", &body(known)).await.status, 200);
    for unknown in ["arn:aws:iam::000000000000:user/bob", "arn:aws:iam::111122223333:root"] {
        let answer = world.call(&Key::root(), "CreateKey", &body(unknown)).await;
        assert_eq!(answer.fault(), "MalformedPolicyDocumentException");
        let any = World::with(AuthMode::Any, ServerSettings::default()).await;
        assert_eq!(any.call(&Key::root(), "CreateKey", &body(unknown)).await.status, 200);
    }
}

#[tokio::test]
async fn without_signatures_every_key_is_the_root_user() {
    let world = World::with(AuthMode::Any, ServerSettings::default()).await;
    let nobody = Key::new("whoever", "whatever");
    let form = "Action=GetCallerIdentity&Version=2011-06-15";
    let answer = world.sts(&nobody, form).await;
    assert_eq!(answer.element("Arn"), "arn:aws:iam::000000000000:root");
    let old = Wire::kms(LIST, "{}").signed(&nobody, UnixMillis(1_000_000_000_000));
    assert_eq!(world.send(&old).await.status, 200);
    let presigned = Wire::kms(LIST, "{}").presigned(&nobody, world.now());
    assert_eq!(world.send(&presigned).await.status, 200);
    let bare = Wire::kms(LIST, "{}").with("authorization", "AWS4-HMAC-SHA256 Credential=x/y");
    assert_eq!(world.send(&bare).await.status, 200);
    let missing = "MissingAuthenticationTokenException";
    refused(&world.send(&Wire::kms(LIST, "{}")).await, missing, "Missing");
    let bearer = Wire::kms(LIST, "{}").with("authorization", "Bearer x");
    refused(&world.send(&bearer).await, missing, "Missing");
}

#[tokio::test]
async fn without_signatures_nobody_from_elsewhere_is_served() {
    let clock = SimClock::new();
    let any = endpoint(AuthMode::Any, ServerSettings::default(), &clock);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let address: SocketAddr = address.parse().unwrap();
        let bound = Server::bind(address, any.clone()).await;
        assert!(matches!(bound, Err(ServeError::AnyOffLoopback(_))), "{address}");
    }
    assert!(Server::bind("127.0.0.2:0".parse().unwrap(), any).await.is_ok());
    let signed = endpoint(AuthMode::Signature, ServerSettings::default(), &clock);
    assert!(Server::bind("0.0.0.0:0".parse().unwrap(), signed).await.is_ok());
}
