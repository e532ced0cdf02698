//! Bodies of requests and faults.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use thiserror::Error;

use crate::fault::{Fault, Protocol};

/// The protocol's content type.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// A body that is no JSON, or has a value of the wrong type. AWS tells the types, never the value, and
/// says nothing of what is no JSON at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the request body cannot be read: {}", .message.as_deref().unwrap_or("malformed JSON"))]
pub struct SerializationFault {
    message: Option<Cow<'static, str>>,
}

impl SerializationFault {
    /// AWS's message, if it has one.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    fn told(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: Some(message.into()) }
    }
}

impl From<SerializationFault> for Fault {
    fn from(fault: SerializationFault) -> Self {
        let told = Self::new(Protocol::Json, "SerializationException");
        match fault.message {
            Some(message) => told.with_message(message),
            None => told,
        }
    }
}

/// Reads a request's body: one object, whose unknown members are ignored. An empty body is `{}`.
///
/// Depth is bounded by `serde_json` (128), size by whoever read the body.
///
/// # Errors
/// When `body` is no JSON object, or a member has another type than `T` wants.
pub fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, SerializationFault> {
    let body = if body.is_empty() { b"{}" } else { body };
    // Derived types would take an array for a structure.
    match body.trim_ascii_start().first() {
        Some(b'{') => {}
        Some(b'[') => return Err(SerializationFault::told(LIST)),
        _ => return Err(SerializationFault { message: None }),
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => SerializationFault { message: type_message(&error.to_string()) },
        Category::Io | Category::Syntax | Category::Eof => SerializationFault { message: None },
    })
}

/// The body of `fault`: `message` is left out when there is none.
#[must_use]
pub fn error_body(fault: &Fault) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        __type: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    }
    let body = Body { __type: fault.code(), message: fault.message() };
    // Two strings always have a JSON form.
    serde_json::to_vec(&body).unwrap_or_default()
}

const LIST: &str = "Start of list found where not expected";
const STRUCTURE: &str = "Start of structure or map found where not expected.";

/// AWS's text for a value of the wrong type, made from serde's `invalid type: integer `5`, expected a
/// string`. Nothing of the value is kept: it may be a plaintext.
fn type_message(error: &str) -> Option<Cow<'static, str>> {
    if error.starts_with("invalid base64") {
        return Some("Blob is not valid base64".into());
    }
    let found =
        error.strip_prefix("invalid type: ").or_else(|| error.strip_prefix("invalid value: "))?;
    // The last one: a string's value comes before it and may hold the word.
    let (_, expected) = found.rsplit_once(", expected ")?;
    let expected = expected.split(" at line ").next().unwrap_or(expected);
    if found.starts_with("sequence") {
        return Some(LIST.into());
    }
    if found.starts_with("map") {
        return Some(STRUCTURE.into());
    }
    let found = token(found)?;
    Some(match expected {
        "a sequence" => "Expected list or null".into(),
        "a map" => "Expected map or null".into(),
        _ if expected.starts_with("struct ") => "Expected null".into(),
        "a string" => format!("{found} can not be converted to a String").into(),
        "a blob" => format!("{found} can not be converted to a Blob").into(),
        "a timestamp" => format!("{found} can not be converted to a Timestamp").into(),
        "a boolean" => format!("{found} can not be converted to a Boolean").into(),
        "i64" | "u64" => format!("{found} can not be converted to a Long").into(),
        "i8" | "i16" | "i32" | "u8" | "u16" | "u32" => {
            format!("{found} can not be converted to an Integer").into()
        }
        "f32" | "f64" => format!("{found} can not be converted to a Double").into(),
        _ => return None,
    })
}

/// What AWS calls a scalar of JSON.
fn token(found: &str) -> Option<&'static str> {
    [
        ("string", "STRING_VALUE"),
        ("integer", "NUMBER_VALUE"),
        ("floating point", "DECIMAL_VALUE"),
        ("boolean `true`", "TRUE_VALUE"),
        ("boolean `false`", "FALSE_VALUE"),
        ("null", "NULL_VALUE"),
    ]
    .into_iter()
    .find_map(|(start, token)| found.starts_with(start).then_some(token))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::json::{Blob, SecretBlob, Timestamp};

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inner {
        #[expect(dead_code, reason = "only its type matters")]
        tag_key: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    #[expect(dead_code, reason = "most members only have a type")]
    struct Request {
        key_id: Option<String>,
        limit: Option<i32>,
        bytes: Option<i64>,
        dry_run: Option<bool>,
        tags: Option<Vec<Inner>>,
        tokens: Option<Vec<String>>,
        context: Option<BTreeMap<String, String>>,
        inner: Option<Inner>,
        blob: Option<Blob>,
        plaintext: Option<SecretBlob>,
        until: Option<Timestamp>,
    }

    fn told(body: &str) -> Option<String> {
        let fault =
            parse_body::<Request>(body.as_bytes()).err().unwrap_or_else(|| panic!("{body}"));
        let message = fault.message().map(str::to_owned);
        let fault = Fault::from(fault);
        assert_eq!((fault.code(), fault.status().as_u16()), ("SerializationException", 400));
        message
    }

    #[test]
    fn objects_are_read_and_unknown_members_ignored() {
        let request: Request =
            parse_body(br#" {"KeyId":"k","Other":{"a":[1,null]},"Limit":null,"Bytes":9} "#)
                .unwrap();
        assert_eq!(
            (request.key_id.as_deref(), request.limit, request.bytes),
            (Some("k"), None, Some(9))
        );
        assert!(parse_body::<Request>(b"").is_ok());
    }

    #[test]
    fn wrong_types_are_told_as_aws_tells_them() {
        for (body, message) in [
            (r#"{"KeyId":5}"#, "NUMBER_VALUE can not be converted to a String"),
            (r#"{"KeyId":-5.5}"#, "DECIMAL_VALUE can not be converted to a String"),
            (r#"{"KeyId":true}"#, "TRUE_VALUE can not be converted to a String"),
            (r#"{"KeyId":false}"#, "FALSE_VALUE can not be converted to a String"),
            (r#"{"KeyId":["a"]}"#, LIST),
            (r#"{"KeyId":{}}"#, STRUCTURE),
            (r#"{"Limit":"1"}"#, "STRING_VALUE can not be converted to an Integer"),
            (
                r#"{"Limit":", expected a string"}"#,
                "STRING_VALUE can not be converted to an Integer",
            ),
            (r#"{"Limit":true}"#, "TRUE_VALUE can not be converted to an Integer"),
            (r#"{"Limit":[1]}"#, LIST),
            (r#"{"Limit":{"a":1}}"#, STRUCTURE),
            (r#"{"Limit":99999999999}"#, "NUMBER_VALUE can not be converted to an Integer"),
            (r#"{"Bytes":"1"}"#, "STRING_VALUE can not be converted to a Long"),
            (r#"{"DryRun":"true"}"#, "STRING_VALUE can not be converted to a Boolean"),
            (r#"{"Tags":"x"}"#, "Expected list or null"),
            (r#"{"Tags":{}}"#, STRUCTURE),
            (r#"{"Tokens":[1]}"#, "NUMBER_VALUE can not be converted to a String"),
            (r#"{"Context":"x"}"#, "Expected map or null"),
            (r#"{"Context":{"a":1}}"#, "NUMBER_VALUE can not be converted to a String"),
            (r#"{"Inner":"x"}"#, "Expected null"),
            (r#"{"Blob":1}"#, "NUMBER_VALUE can not be converted to a Blob"),
            (r#"{"Blob":"*"}"#, "Blob is not valid base64"),
            (r#"{"Until":"x"}"#, "STRING_VALUE can not be converted to a Timestamp"),
            ("[]", LIST),
        ] {
            assert_eq!(told(body).as_deref(), Some(message), "{body}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_without_a_message() {
        let bodies = [
            "{",
            "null",
            "\"x\"",
            " ",
            "{\"Limit\": 1,}",
            "{}x",
            "{\"a\":\u{1}}",
            "{\"KeyId\":\"\\ud800\"}",
        ];
        for body in bodies {
            assert_eq!(told(body), None, "{body:?}");
        }
        assert!(parse_body::<Request>(b"{\"KeyId\":\"\xff\"}").is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |member: &str| format!(r#"{{"{member}":{}"#, "[".repeat(1 << 20));
        assert_eq!(told(&deep("Unknown")), None);
        assert!(parse_body::<serde_json::Value>(deep("a").as_bytes()).is_err());
        // Members that are read nest 127 deep at most. Those that are ignored are skipped without
        // recursion, so that their depth costs nothing.
        let closed = format!(r#"{{"Unknown":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(parse_body::<serde_json::Value>(closed.as_bytes()).is_err());
        assert!(parse_body::<Request>(closed.as_bytes()).is_ok());
    }

    #[test]
    fn no_message_holds_the_value() {
        for body in [r#"{"Plaintext":"c2VjcmV0!"}"#, r#"{"Limit":"c2VjcmV0"}"#] {
            let fault = parse_body::<Request>(body.as_bytes()).err().unwrap();
            assert!(!format!("{fault} {fault:?}").contains("c2V"), "{fault:?}");
        }
    }

    #[test]
    fn a_fault_is_its_type_and_its_message_if_any() {
        let fault = Fault::new(Protocol::Json, "InvalidCiphertextException");
        assert_eq!(error_body(&fault), br#"{"__type":"InvalidCiphertextException"}"#);
        let fault = Fault::new(Protocol::Json, "NotFoundException")
            .with_message("Key 'a\"b' does not exist");
        assert_eq!(
            error_body(&fault),
            br#"{"__type":"NotFoundException","message":"Key 'a\"b' does not exist"}"#
        );
    }
}
