//! The canonical request, written straight into a hasher, and the string to sign.

use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::head::RequestHead;
use super::time::AmzDate;
use super::{ALGORITHM, TERMINATOR};
use crate::percent;

/// The parameter that holds the signature, and hence is not covered by it.
pub(crate) const SIGNATURE_PARAM: &str = "X-Amz-Signature";

/// How the payload appears in the canonical request.
#[derive(Clone, Copy)]
pub(crate) enum PayloadHash<'a> {
    /// By its SHA-256.
    Sha256(&'a [u8; 32]),
    /// Not at all: this literal stands in its place.
    Literal(&'a str),
}

/// SHA-256 of the canonical request. `signed` is the list of signed headers as it was sent, sorted
/// and in lower case; a header that the request lacks is `None`.
pub(crate) fn request_hash(
    head: &RequestHead<'_>,
    signed: &str,
    payload: PayloadHash<'_>,
) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    hash.update(head.method);
    hash.update(b"\n");
    path(head.path, &mut hash);
    hash.update(b"\n");
    query(head.query, &mut hash);
    hash.update(b"\n");
    for name in signed.split(';') {
        hash.update(name);
        hash.update(b":");
        header(head, name, &mut hash)?;
        hash.update(b"\n");
    }
    hash.update(b"\n");
    hash.update(signed);
    hash.update(b"\n");
    match payload {
        PayloadHash::Sha256(digest) => {
            let mut text = [0; 64];
            hex::encode_to_slice(digest, &mut text).ok()?;
            hash.update(text);
        }
        PayloadHash::Literal(text) => hash.update(text),
    }
    Some(hash.finalize().into())
}

/// The text whose HMAC is the signature.
pub(crate) fn string_to_sign(at: &AmzDate, scope: &str, request_hash: &[u8; 32]) -> String {
    let mut text = String::with_capacity(ALGORITHM.len() + scope.len() + 16 + 64 + 3);
    for part in [ALGORITHM, "\n", at.as_str(), "\n", scope, "\n", &hex::encode(request_hash)] {
        text.push_str(part);
    }
    text
}

/// `20150830/us-east-1/kms/aws4_request`.
pub(crate) fn scope(at: &AmzDate, region: &str, service: &str) -> String {
    [at.day(), region, service, TERMINATOR].join("/")
}

/// The path without dot segments and empty ones (RFC 3986, 5.2.4), encoded once more than it is.
fn path(path: &str, hash: &mut Sha256) {
    let mut sink = |part: &[u8]| hash.update(part);
    let mut slashed = |text: &str| percent::encode(text.as_bytes(), Some(b'/'), &mut sink);
    let absolute = path.starts_with('/');
    if absolute && !path.contains("//") && !path.contains("/.") {
        return slashed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    for segment in &kept {
        slashed("/");
        slashed(segment);
    }
    // A path that ends in a folder keeps its slash.
    if kept.is_empty() || ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) {
        slashed("/");
    }
}

/// The query's pairs, each decoded and encoded as AWS does, sorted by what that gives.
fn query(query: &str, hash: &mut Sha256) {
    if query.is_empty() {
        return;
    }
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = percent::pairs(query)
        .map(|(name, value)| (percent::decode_form(name), percent::decode_form(value)))
        .filter(|(name, _)| **name != *SIGNATURE_PARAM.as_bytes())
        .map(|(name, value)| (percent::encoded(&name), percent::encoded(&value)))
        .collect();
    pairs.sort_unstable();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            hash.update(b"&");
        }
        hash.update(name);
        hash.update(b"=");
        hash.update(value);
    }
}

/// The values of a header, trimmed, joined with commas. `None` when there is none.
fn header(head: &RequestHead<'_>, name: &str, hash: &mut Sha256) -> Option<()> {
    let mut values = values(head.headers, name).peekable();
    if values.peek().is_none() {
        let authority = (name == "host").then_some(head.authority).flatten()?;
        hash.update(authority);
        return Some(());
    }
    for (at, value) in values.enumerate() {
        if at > 0 {
            hash.update(b",");
        }
        trimmed(value, hash);
    }
    Some(())
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().map(|value| value.as_bytes())
}

/// `value` without leading and trailing spaces, runs of spaces as one. Only spaces: AWS leaves tabs.
fn trimmed(value: &[u8], hash: &mut Sha256) {
    let words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    for (at, word) in words.enumerate() {
        if at > 0 {
            hash.update(b" ");
        }
        hash.update(word);
    }
}
