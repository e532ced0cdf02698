//! Bodies of JSON 1.1: what is taken is an object, and a refusal repeats nothing of it.

use std::collections::BTreeMap;

use sealvol_aws_wire::json::{Blob, SecretBlob, Timestamp, parse_body};
use serde::Deserialize;

use crate::memory::bounded;

/// A request with a member of every type that operations use.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    key_id: Option<String>,
    limit: Option<i32>,
    number_of_bytes: Option<i64>,
    dry_run: Option<bool>,
    grant_tokens: Option<Vec<String>>,
    encryption_context: Option<BTreeMap<String, String>>,
    tags: Option<Vec<Tag>>,
    ciphertext_blob: Option<Blob>,
    plaintext: Option<SecretBlob>,
    until: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    tag_key: Option<String>,
    tag_value: Option<String>,
}

/// The target's body: a body.
pub fn run(data: &[u8]) {
    // A tag takes 3 bytes (`{},`) and some fifty of memory, doubled while its list grows.
    let budget = (64 << 10) + 128 * data.len();
    match bounded(budget, || parse_body::<Request>(data)) {
        Ok(request) => {
            assert!(data.is_empty() || data.trim_ascii_start().starts_with(b"{"));
            check(&request, data.len());
        }
        Err(fault) => {
            let Some(message) = fault.message() else { return };
            let known =
                message.split_once(" can not be converted to a").is_some_and(|(found, _)| {
                    [
                        "STRING_VALUE",
                        "NUMBER_VALUE",
                        "DECIMAL_VALUE",
                        "TRUE_VALUE",
                        "FALSE_VALUE",
                        "NULL_VALUE",
                    ]
                    .contains(&found)
                });
            assert!(
                known
                    || message.starts_with("Expected ")
                    || message.starts_with("Start of ")
                    || message == "Blob is not valid base64",
                "{message}"
            );
        }
    }
}

fn check(request: &Request, len: usize) {
    let blob = request.ciphertext_blob.as_ref().map_or(0, |blob| blob.0.len());
    let secret = request.plaintext.as_ref().map_or(0, |secret| secret.expose_secret().len());
    assert!(blob + secret <= len);
    if let Some(blob) = &request.ciphertext_blob {
        let text = serde_json::to_string(blob).expect("a blob has a form");
        assert_eq!(serde_json::from_str::<Blob>(&text).ok().as_ref(), Some(blob));
    }
    if let Some(until) = request.until {
        assert!(serde_json::to_string(&until).is_ok());
    }
    let tags = request.tags.iter().flatten();
    let tags =
        tags.map(|tag| tag.tag_key.iter().chain(&tag.tag_value).map(String::len).sum::<usize>());
    let texts = request.key_id.iter().chain(request.grant_tokens.iter().flatten());
    let pairs = request.encryption_context.iter().flatten();
    let held = tags.sum::<usize>()
        + texts.map(String::len).sum::<usize>()
        + pairs.map(|(name, value)| name.len() + value.len()).sum::<usize>();
    // No escape is shorter than what it stands for.
    assert!(held <= len);
    let _ = (request.limit, request.number_of_bytes, request.dry_run);
}
