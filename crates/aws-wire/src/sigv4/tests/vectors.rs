//! AWS's published examples.

use http::{HeaderName, HeaderValue};

use super::*;

const SUITE: &str = include_str!("../vectors/suite.txt");

/// One request of the suite: a request line, headers, an empty line, a body.
fn read(text: &str) -> Sent {
    let (head, body) = text.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
    let target = rest.strip_suffix(" HTTP/1.1").unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        let name = HeaderName::try_from(name).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    Sent {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: body.trim_end_matches('\n').as_bytes().to_vec(),
    }
}

#[test]
fn the_signing_test_suite_is_verified() {
    let want = Expectation::new("service", "us-east-1", AT);
    let mut count = 0;
    for case in SUITE.split("=== ").skip(1) {
        let (name, request) = case.split_once('\n').unwrap();
        let sent = read(request);
        assert_eq!(sent.verify(SECRET, &want), Ok(()), "{name}");
        assert_eq!(sent.verify("other", &want), Err(AuthFault::BadSignature), "{name}");
        count += 1;
    }
    assert_eq!(count, 58);
}

#[test]
fn the_documentations_list_users_is_verified_and_signed_alike() {
    let mut headers = HeaderMap::new();
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    headers.insert("content-type", HeaderValue::from_static(form));
    headers.insert("host", HeaderValue::from_static("iam.amazonaws.com"));
    let mut sent = Sent {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        query: "Action=ListUsers&Version=2010-05-08".to_owned(),
        headers,
        body: Vec::new(),
    };
    let keys = SigningKeyCache::default();
    let credentials =
        Credentials { access_key_id: ID, secret_access_key: SECRET, session_token: None };
    let signer = Signer { credentials, region: "us-east-1", service: "iam", keys: &keys };
    let added = signer.sign(&sent.head(), &payload_sha256(b""), AT).unwrap();
    assert_eq!(
        added["authorization"],
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, \
         Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
    sent.headers.extend(added);
    let want = Expectation::new("iam", "us-east-1", AT);
    assert_eq!(sent.verify(SECRET, &want), Ok(()));
}
