//! Goal: we verify what AWS's client library signs, and nothing that differs from it in one thing.
//! Method: arbitrary requests signed by the `aws-sigv4` crate in both forms; then one change each.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use http::HeaderValue;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::percent;

/// A request before it is signed.
#[derive(Debug, Clone)]
struct Plain {
    method: &'static str,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    token: Option<String>,
    presigned: bool,
    content_hash: bool,
    unsigned_payload: bool,
}

fn paths() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        4 => "[a-zA-Z0-9._~!$&'()*+,;=:@-]{0,8}",
        1 => Just(".".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just(String::new()),
        1 => "%[0-9A-F]{2}".prop_map(|text| text),
    ];
    // `http::Uri` takes a path of two slashes for an authority.
    vec(segment, 0..5).prop_map(|parts| format!("/{}", parts.join("/").trim_start_matches('/')))
}

fn queries() -> impl Strategy<Value = String> {
    let encoded = |text: String| String::from_utf8(percent::encoded(text.as_bytes())).unwrap();
    let word = prop_oneof!["[a-zA-Z0-9 +%&=/?~*-]{0,6}", "\\PC{0,3}"].prop_map(encoded);
    let pair = prop_oneof![
        6 => (word.clone(), word.clone()).prop_map(|(name, value)| format!("{name}={value}")),
        1 => word,
        // Characters that a query may hold as they are.
        1 => "[a-z]{1,3}=[a-z+:/@,;!']{0,5}",
    ];
    vec(pair, 0..5).prop_map(|pairs| pairs.join("&"))
}

fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        Just("content-type".to_owned()),
        Just("x-amz-target".to_owned()),
        Just("X-Amz-Meta".to_owned()),
        "x-[a-z]{1,3}",
    ];
    vec((name, "[ -~]{0,12}"), 0..6)
}

fn requests() -> impl Strategy<Value = Plain> {
    (
        prop_oneof![Just("GET"), Just("POST"), Just("PUT")],
        paths(),
        queries(),
        headers(),
        vec(any::<u8>(), 0..40),
        proptest::option::of("[A-Za-z0-9+/=]{1,60}"),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(method, path, query, headers, body, token, presigned, content_hash)| {
            Plain {
                method,
                path,
                query,
                headers,
                body,
                token,
                presigned,
                content_hash,
                unsigned_payload: false,
            }
        })
}

/// Signs with AWS's library.
fn sign_by_aws(plain: &Plain) -> Sent {
    let identity = AwsCredentials::new(ID, SECRET, plain.token.clone(), None, "test").into();
    let mut settings = SigningSettings::default();
    if plain.presigned {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(60));
    } else if plain.content_hash {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    settings.excluded_headers = Some(vec![Cow::Borrowed("x-u")]);
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("kms")
        .time(SystemTime::UNIX_EPOCH + Duration::from_millis(AT.0))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let mark = if plain.query.is_empty() { "" } else { "?" };
    let uri = format!("https://example.com{}{mark}{}", plain.path, plain.query);
    let headers = plain.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let body = match plain.unsigned_payload {
        true => SignableBody::UnsignedPayload,
        false => SignableBody::Bytes(&plain.body),
    };
    let signable = SignableRequest::new(plain.method, &uri, headers, body).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();

    let mut request = http::Request::builder().method(plain.method).uri(&uri);
    for (name, value) in &plain.headers {
        request = request.header(name.to_lowercase(), value);
    }
    let mut request = request.header("host", "example.com").body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    Sent {
        method: plain.method.to_owned(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers: request.headers().clone(),
        body: plain.body.clone(),
    }
}

/// Every request that differs from `sent` in one thing that a signature must cover.
fn changes(sent: &Sent, presigned: bool) -> Vec<(&'static str, Sent)> {
    let mut all = Vec::new();
    let mut change = |what, edit: &dyn Fn(&mut Sent)| {
        let mut changed = sent.clone();
        edit(&mut changed);
        all.push((what, changed));
    };
    change("method", &|sent| sent.method = "PATCH".to_owned());
    change("path", &|sent| sent.path.push_str("/x"));
    change("query", &|sent| sent.query.push_str("&zz=1"));
    change("body", &|sent| sent.body.push(0));
    change("host", &|sent| {
        sent.headers.insert("host", HeaderValue::from_static("example.org"));
    });
    change("unsigned", &|sent| {
        sent.headers.append("x-amz-added", HeaderValue::from_static(""));
    });
    for name in sent.headers.keys() {
        // The scheme's own header, and what was left out on purpose.
        if name == "authorization" || name == "x-u" {
            continue;
        }
        change("value", &|sent| {
            let mut value = sent.headers[name].as_bytes().to_vec();
            value.push(b'x');
            sent.headers.insert(name, HeaderValue::from_bytes(&value).unwrap());
        });
        change("dropped", &|sent| {
            sent.headers.remove(name);
        });
    }
    if presigned {
        for (from, to) in [
            ("X-Amz-Expires=60", "X-Amz-Expires=61"),
            ("T123600Z", "T123601Z"),
            ("Credential=AKID", "Credential=AKIE"),
            ("X-Amz-Security-Token=", "X-Amz-Security-Token=x"),
        ] {
            if sent.query.contains(from) {
                change("parameter", &|sent| sent.query = sent.query.replace(from, to));
            }
        }
    } else {
        change("date", &|sent| {
            sent.headers.insert("x-amz-date", HeaderValue::from_static("20150830T123601Z"));
        });
        let text = sent.headers["authorization"].to_str().unwrap().to_owned();
        let flipped = if text.ends_with('0') { '1' } else { '0' };
        let flipped = format!("{}{flipped}", &text[..text.len() - 1]);
        change("signature", &|sent| {
            sent.headers.insert("authorization", flipped.parse().unwrap());
        });
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_aws_signs_is_verified_and_no_more(plain in requests()) {
        let sent = sign_by_aws(&plain);
        let want = Expectation::new("kms", "us-east-1", AT);
        prop_assert_eq!(sent.verify(SECRET, &want), Ok(()));
        {
            let head = sent.head();
            let presented = Presented::parse(&head).unwrap().unwrap();
            prop_assert_eq!(presented.session_token(), plain.token.as_deref());
            prop_assert_eq!(presented.access_key_id(), ID);
        }
        prop_assert_eq!(sent.verify("secret", &want), Err(AuthFault::BadSignature));
        for (what, changed) in changes(&sent, plain.presigned) {
            prop_assert!(changed.verify(SECRET, &want).is_err(), "{}: {:?}", what, changed);
        }
    }

    #[test]
    fn we_sign_as_aws_does(plain in requests()) {
        let plain = Plain { presigned: false, content_hash: false, ..plain };
        let theirs = sign_by_aws(&plain);
        let mut unsigned = theirs.clone();
        for name in ["authorization", "x-amz-date", "x-amz-security-token", "x-u"] {
            unsigned.headers.remove(name);
        }
        let keys = SigningKeyCache::default();
        let credentials = Credentials {
            access_key_id: ID,
            secret_access_key: SECRET,
            session_token: plain.token.as_deref(),
        };
        let signer = Signer { credentials, region: "us-east-1", service: "kms", keys: &keys };
        let added = signer.sign(&unsigned.head(), &payload_sha256(&plain.body), AT).unwrap();
        prop_assert_eq!(&added["authorization"], &theirs.headers["authorization"]);
    }
}

#[test]
fn an_unsigned_payload_is_taken_only_where_it_is_allowed() {
    let mut sent = sign_by_aws(&Plain {
        method: "POST",
        path: "/".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: b"{}".to_vec(),
        token: None,
        presigned: false,
        content_hash: true,
        unsigned_payload: true,
    });
    let want = Expectation::new("kms", "us-east-1", AT);
    assert_eq!(sent.verify(SECRET, &want), Err(AuthFault::BadSignature));
    let want = Expectation { allow_unsigned_payload: true, ..want };
    sent.body.push(b' ');
    assert_eq!(sent.verify(SECRET, &want), Ok(()));
    let head = sent.head();
    let presented = Presented::parse(&head).unwrap().unwrap();
    let (hash, keys) = (payload_sha256(b""), SigningKeyCache::default());
    let verified = presented.verify(&head, &hash, SECRET, &keys, &want).unwrap();
    assert!(!verified.covers_payload());
}
