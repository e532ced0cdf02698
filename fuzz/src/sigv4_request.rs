//! Signature Version 4: what was signed verifies, and what verifies is what was signed.

use http::{HeaderMap, HeaderName, HeaderValue};
use sealvol_aws_wire::sigv4::{
    Credentials, Expectation, Presented, RequestHead, Signer, SigningKeyCache, payload_sha256,
};
use sealvol_core::UnixMillis;

use crate::input::Input;
use crate::memory::bounded;

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const AT: UnixMillis = UnixMillis(1_440_938_160_000);
const METHOD: &str = "POST";
const BODY: &str = r#"{"KeyId":"alias/a"}"#;

/// A request that owns its parts.
struct Request {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            authority: None,
        }
    }

    fn verifies(&self) -> bool {
        let head = self.head();
        let (keys, want) = (SigningKeyCache::new(0), Expectation::new("kms", "us-east-1", AT));
        let Ok(Some(presented)) = Presented::parse(&head) else { return false };
        // The header form does not cover the id: the secret that is found by it is what binds it.
        if presented.access_key_id() != ID {
            return false;
        }
        let hash = payload_sha256(&self.body);
        let Ok(verified) = presented.verify(&head, &hash, SECRET, &keys, &want) else {
            return false;
        };
        assert_eq!(verified.access_key_id(), ID);
        assert_eq!(verified.signed_at().unix_millis(), AT);
        assert!(verified.covers_payload());
        true
    }

    fn sign(&mut self) -> bool {
        let keys = SigningKeyCache::new(0);
        let credentials =
            Credentials { access_key_id: ID, secret_access_key: SECRET, session_token: Some("t") };
        let signer = Signer { credentials, region: "us-east-1", service: "kms", keys: &keys };
        let Ok(added) = signer.sign(&self.head(), &payload_sha256(&self.body), AT) else {
            return false;
        };
        for (name, value) in &added {
            self.headers.insert(name, value.clone());
        }
        true
    }
}

/// The target's body: a mode, then a request that claims to be signed, or one to sign.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let signs = !input.u8().is_multiple_of(2);
    let Some(mut request) = (if signs { built(&mut input) } else { read(input.all()) }) else {
        return;
    };
    bounded((64 << 10) + 64 * data.len(), || {
        if !signs {
            // The only signature that a fuzzer can know is that of its seed.
            if request.verifies() {
                assert_eq!((&*request.method, &*request.body), (METHOD, BODY.as_bytes()));
            }
            return;
        }
        if !request.sign() {
            return;
        }
        assert!(request.verifies(), "what was signed does not verify");
        request.body.push(0);
        assert!(!request.verifies(), "another body verifies");
        request.body.pop();
        request.headers.append("x-amz-added", HeaderValue::from_static("1"));
        assert!(!request.verifies(), "an unsigned header verifies");
    });
}

/// A signed request as [`read`] takes it.
#[must_use]
pub fn genuine() -> String {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("kms.us-east-1.amazonaws.com"));
    headers.insert("x-amz-target", HeaderValue::from_static("TrentService.DescribeKey"));
    let mut request = Request {
        method: METHOD.to_owned(),
        path: "/".to_owned(),
        query: "b=2&a=%201".to_owned(),
        headers,
        body: BODY.into(),
    };
    assert!(request.sign() && request.verifies());
    let mut text = format!("{METHOD} {}?{}\n", request.path, request.query);
    for (name, value) in &request.headers {
        let value = value.to_str().expect("what we sign is ASCII");
        text.push_str(&format!("{name}:{value}\n"));
    }
    text.push('\n');
    text.push_str(BODY);
    text
}

/// A request from text: a line with method and target, headers, an empty line, the body.
fn read(data: &[u8]) -> Option<Request> {
    let end = data.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, body) = data.split_at(end);
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = std::str::from_utf8(lines.next()?).ok()?;
    let (method, target) = line.split_once(' ')?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name).ok()?;
        headers.append(name, HeaderValue::from_bytes(value.get(1..)?).ok()?);
    }
    Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: body.get(2..)?.to_vec(),
    })
}

/// A request from parts: lengths before texts.
fn built(input: &mut Input<'_>) -> Option<Request> {
    let (path, query) = (input.text(), input.text());
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("h"));
    for _ in 0..input.u8() % 16 {
        let name = HeaderName::try_from(input.text()).ok()?;
        // What carries a signature of its own is for the other mode, as is a hash that is declared.
        if name != "authorization" && name != "x-amz-content-sha256" {
            headers.append(name, HeaderValue::try_from(input.text()).ok()?);
        }
    }
    if query.contains("X-Amz-") || query.contains('%') {
        // Claims of its own, perhaps by an escaped name.
        let head = RequestHead {
            method: METHOD,
            path: &path,
            query: &query,
            headers: &HeaderMap::new(),
            authority: None,
        };
        if !matches!(Presented::parse(&head), Ok(None)) {
            return None;
        }
    }
    Some(Request { method: METHOD.to_owned(), path, query, headers, body: input.all().to_vec() })
}
