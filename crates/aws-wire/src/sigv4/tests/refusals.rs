//! Each way to be refused, by its name and AWS's text.

use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::*;
use crate::fault::Protocol;

const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kms/aws4_request, \
                      SignedHeaders=host;x-amz-date, Signature=";

fn want() -> Expectation<'static> {
    Expectation::new("kms", "us-east-1", AT)
}

/// A request of KMS, signed as it should be.
fn signed(edit: impl FnOnce(&mut HeaderMap)) -> Sent {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("kms.us-east-1.amazonaws.com"));
    headers.insert("x-amz-target", HeaderValue::from_static("TrentService.ListKeys"));
    edit(&mut headers);
    let mut sent = Sent {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        query: String::new(),
        headers,
        body: b"{}".to_vec(),
    };
    let keys = SigningKeyCache::new(0);
    let credentials = Credentials {
        access_key_id: ID,
        secret_access_key: SECRET,
        session_token: Some("AQoDYXdz"),
    };
    let signer = Signer { credentials, region: "us-east-1", service: "kms", keys: &keys };
    let added = signer.sign(&sent.head(), &payload_sha256(&sent.body), AT).unwrap();
    sent.headers.extend(added);
    sent
}

fn with_authorization(value: &str) -> Sent {
    let mut sent = signed(|_| {});
    sent.headers.insert("authorization", HeaderValue::from_str(value).unwrap());
    sent
}

fn presigned(query: &str) -> Sent {
    let mut sent = signed(|_| {});
    sent.headers.clear();
    sent.headers.insert("host", HeaderValue::from_static("h"));
    sent.query = query.to_owned();
    sent
}

fn told(sent: &Sent) -> String {
    match sent.verify(SECRET, &want()) {
        Err(AuthFault::Incomplete(text)) => text.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_signed_well_is_verified() {
    let sent = signed(|_| {});
    assert_eq!(sent.verify(SECRET, &want()), Ok(()));
    let head = sent.head();
    let presented = Presented::parse(&head).unwrap().unwrap();
    assert_eq!(presented.session_token(), Some("AQoDYXdz"));
    assert_eq!(presented.scope_service(), "kms");
    assert_eq!(presented.form(), Form::Header);
    let shown = format!("{presented:?} {head:?}");
    assert!(!shown.contains("AQoD") && !shown.contains("ignature"), "{shown}");
}

#[test]
fn no_authentication_is_missing() {
    let mut sent = signed(|_| {});
    sent.headers.remove("authorization");
    assert_eq!(sent.verify(SECRET, &want()), Err(AuthFault::Missing));
    sent.query = "Action=X&X-Amz-Date=1".to_owned();
    assert_eq!(sent.verify(SECRET, &want()), Err(AuthFault::Missing));
}

#[test]
fn the_header_must_be_complete() {
    let all = "Authorization header requires 'Credential' parameter. Authorization header requires \
               'Signature' parameter. Authorization header requires 'SignedHeaders' parameter.";
    assert_eq!(told(&with_authorization("AWS4-HMAC-SHA256")), all);
    assert_eq!(told(&with_authorization("Basic cGFzc3dvcmQ=")), all);
    assert_eq!(told(&with_authorization("")), all);
    assert_eq!(
        told(&with_authorization("AWS4-ECDSA-P256-SHA256 Credential=a")),
        "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'"
    );
    assert!(told(&with_authorization("AWS4-HMAC-SHA256 Credential")).contains("equal-sign"));
    assert!(
        told(&with_authorization(&format!("{SIGNED}a, Signature=b"))).contains("more than once")
    );
    assert!(
        told(&with_authorization(&SIGNED.replace("/kms", "")))
            .starts_with("Credential must have exactly 5")
    );
    for list in ["x-amz-date;host", "host;host;x-amz-date", "Host;x-amz-date", "", ";host"] {
        let text = SIGNED.replace("host;x-amz-date", list);
        assert!(told(&with_authorization(&text)).starts_with("SignedHeaders must be"), "{list}");
    }
    let mut sent = signed(|_| {});
    sent.headers.remove("x-amz-date");
    assert!(told(&sent).contains("'X-Amz-Date' or a 'Date' header"));
    sent.headers.insert("date", HeaderValue::from_static("yesterday"));
    assert!(told(&sent).starts_with("Date must be in ISO-8601"));
    let mut sent = signed(|_| {});
    sent.headers.append("x-amz-security-token", HeaderValue::from_static("other"));
    assert!(told(&sent).contains("must have one value"));
    let mut sent = signed(|_| {});
    sent.headers.append("authorization", HeaderValue::from_static("x"));
    assert!(told(&sent).starts_with("Only one authentication"));
    let mut sent = signed(|_| {});
    sent.query = "X-Amz-Signature=1".to_owned();
    assert!(told(&sent).starts_with("Only one authentication"));
}

#[test]
fn the_query_must_be_complete() {
    let whole = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20150830%2Fus-east-1%2Fkms%2F\
                 aws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&\
                 X-Amz-Signature=00";
    let sent = presigned(whole);
    assert_eq!(sent.verify(SECRET, &want()), Err(AuthFault::BadSignature));
    assert!(
        told(&presigned("X-Amz-Signature=1"))
            .starts_with("AWS query-string parameters must include 'X-Amz-Algorithm'. ")
    );
    for (from, to, text) in [
        ("HMAC", "NULL", "Unsupported AWS"),
        ("=60", "=0", "X-Amz-Expires must"),
        ("=60", "=604801", "X-Amz-Expires must"),
        ("=60", "=%2B60", "X-Amz-Expires must"),
        ("T123600Z", "", "Date must be"),
        ("&X-Amz-Date", "&X-Amz-Expires=60&X-Amz-Date", "'X-Amz-Expires' is given more than once"),
        // An escaped name is the same name.
        ("&X-Amz-Date", "&X%2DAmz-Expires=6&X-Amz-Date", "'X-Amz-Expires' is given more than once"),
        ("=host", "=%FF", "'X-Amz-SignedHeaders' is not UTF-8."),
    ] {
        let sent = presigned(&whole.replacen(from, to, 1));
        assert!(told(&sent).starts_with(text), "{from} {to}: {}", told(&sent));
    }
}

#[test]
fn the_scope_must_be_ours() {
    let scope = |service, region| {
        let want = Expectation { service, region, ..want() };
        signed(|_| {}).verify(SECRET, &want)
    };
    let told = |text: &str| Err(AuthFault::WrongScope(text.to_owned()));
    assert_eq!(
        scope("sts", "us-east-1"),
        told("Credential should be scoped to correct service: 'sts'. ")
    );
    assert_eq!(
        scope("sts", "eu-west-1"),
        told(
            "Credential should be scoped to a valid region. Credential should be scoped to correct \
             service: 'sts'. "
        )
    );
    let sent =
        with_authorization(&SIGNED.replace("20150830", "20150829").replace("aws4_request", "x"));
    let Err(AuthFault::WrongScope(text)) = sent.verify(SECRET, &want()) else { panic!() };
    assert!(text.contains("valid terminator: 'aws4_request', not 'x'. Date in Credential scope"));
}

#[test]
fn clocks_may_differ_by_the_skew_and_no_more() {
    let sent = signed(|_| {});
    let at = |secs: i64| {
        let now = UnixMillis(AT.0.saturating_add_signed(secs * 1000));
        sent.verify(SECRET, &Expectation { now, ..want() }).map_err(|fault| fault.to_string())
    };
    assert_eq!((at(300), at(-300)), (Ok(()), Ok(())));
    assert_eq!(
        at(301).unwrap_err(),
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z \
         (20150830T124101Z - 5 min.)"
    );
    assert_eq!(
        at(-301).unwrap_err(),
        "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z \
         (20150830T123059Z + 5 min.)"
    );
    let max_skew = Duration::from_secs(900);
    let later = UnixMillis(AT.0 + 900_000);
    assert_eq!(sent.verify(SECRET, &Expectation { now: later, max_skew, ..want() }), Ok(()));
}

#[test]
fn what_means_something_must_be_signed() {
    let mut sent = signed(|_| {});
    sent.headers.insert("x-amz-target2", HeaderValue::from_static("x"));
    let unsigned = AuthFault::HeaderNotSigned("x-amz-target2".to_owned());
    assert_eq!(sent.verify(SECRET, &want()), Err(unsigned));
    // What proxies add is no matter.
    let mut sent = signed(|_| {});
    sent.headers.insert("x-amzn-trace-id", HeaderValue::from_static("x"));
    assert_eq!(sent.verify(SECRET, &want()), Ok(()));
    let sent = with_authorization(&SIGNED.replace("host;", ""));
    assert_eq!(sent.verify(SECRET, &want()), Err(AuthFault::HostNotSigned));
    // A signed header that did not arrive.
    let mut sent = signed(|headers| {
        headers.insert("accept", HeaderValue::from_static("x"));
    });
    assert_eq!(sent.verify(SECRET, &want()), Ok(()));
    sent.headers.remove("accept");
    assert_eq!(sent.verify(SECRET, &want()), Err(AuthFault::BadSignature));
    // An upper-case signature is not what AWS writes.
    let mut sent = signed(|_| {});
    let text = sent.headers["authorization"].to_str().unwrap().to_owned();
    let (start, signature) = text.rsplit_once('=').unwrap();
    let upper = format!("{start}={}", signature.to_uppercase());
    sent.headers.insert("authorization", upper.parse().unwrap());
    assert_eq!(sent.verify(SECRET, &want()), Err(AuthFault::BadSignature));
}

#[test]
fn a_declared_hash_is_the_bodys() {
    let declare = |text: &str| {
        let text = HeaderValue::from_str(text).unwrap();
        signed(|headers| {
            headers.insert("x-amz-content-sha256", text);
        })
    };
    let right = hex::encode(payload_sha256(b"{}"));
    assert_eq!(declare(&right).verify(SECRET, &want()), Ok(()));
    for wrong in
        [&right.to_uppercase(), "UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ""]
    {
        let refused = declare(wrong).verify(SECRET, &want());
        assert_eq!(refused, Err(AuthFault::BadSignature), "{wrong}");
    }
}

#[test]
fn the_authority_stands_for_a_missing_host() {
    let mut sent = signed(|_| {});
    let host = sent.headers.remove("host").unwrap();
    assert_eq!(sent.verify(SECRET, &want()), Err(AuthFault::BadSignature));
    let head = RequestHead { authority: host.to_str().ok(), ..sent.head() };
    let presented = Presented::parse(&head).unwrap().unwrap();
    let (hash, keys) = (payload_sha256(b"{}"), SigningKeyCache::default());
    assert!(presented.verify(&head, &hash, SECRET, &keys, &want()).unwrap().covers_payload());
}

#[test]
fn http_dates_are_understood() {
    // Signed by hand: the signer always writes X-Amz-Date.
    let mut sent = with_authorization(SIGNED);
    sent.headers.clear();
    sent.headers.insert("date", HeaderValue::from_static("Sun, 30 Aug 2015 12:36:00 GMT"));
    sent.headers.insert("host", HeaderValue::from_static("h"));
    let hash = canonical::request_hash(
        &sent.head(),
        "date;host",
        canonical::PayloadHash::Sha256(&payload_sha256(b"{}")),
    );
    let at = AmzDate::from_millis(AT);
    let scope = canonical::scope(&at, "us-east-1", "kms");
    let key = key::SigningKey::derive(
        SECRET,
        key::KeyScope { day: at.day(), region: "us-east-1", service: "kms" },
    );
    let text = canonical::string_to_sign(&at, &scope, &hash.unwrap());
    let value = SIGNED.replace("host;x-amz-date", "date;host") + &hex::encode(key.sign(&text));
    sent.headers.insert("authorization", HeaderValue::from_str(&value).unwrap());
    assert_eq!(sent.verify(SECRET, &want()), Ok(()));
}

#[test]
fn each_protocol_has_its_names() {
    let at = AmzDate::from_millis(AT);
    let expired = AuthFault::Expired { at, now: at, allowed: Duration::from_secs(90) };
    let incomplete = AuthFault::Incomplete("x".into());
    let scope = AuthFault::WrongScope(String::new());
    for (fault, json, query, query_status, ec2) in [
        (
            AuthFault::Missing,
            "MissingAuthenticationTokenException",
            "MissingAuthenticationToken",
            403,
            "MissingAuthenticationToken",
        ),
        (
            incomplete,
            "IncompleteSignatureException",
            "IncompleteSignature",
            400,
            "IncompleteSignature",
        ),
        (
            AuthFault::UnknownKey,
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            403,
            "AuthFailure",
        ),
        (
            AuthFault::BadSignature,
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            403,
            "AuthFailure",
        ),
        (AuthFault::ExpiredToken, "ExpiredTokenException", "ExpiredToken", 403, "RequestExpired"),
        (expired, "InvalidSignatureException", "SignatureDoesNotMatch", 403, "RequestExpired"),
        (scope, "InvalidSignatureException", "SignatureDoesNotMatch", 403, "AuthFailure"),
    ] {
        assert_eq!(fault.fault(Protocol::Json).code(), json);
        assert_eq!(fault.fault(Protocol::Json).status(), StatusCode::BAD_REQUEST);
        assert_eq!(fault.fault(Protocol::Query).code(), query);
        assert_eq!(fault.fault(Protocol::Query).status().as_u16(), query_status);
        assert_eq!(fault.fault(Protocol::Ec2).code(), ec2);
    }
    let missing = AuthFault::Missing.fault(Protocol::Json);
    assert_eq!(missing.message(), Some("Missing Authentication Token"));
}
