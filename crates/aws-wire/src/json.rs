//! The JSON 1.1 protocol: `X-Amz-Target` names the operation, the body is one JSON object each way, a
//! fault is `{"__type": ..., "message": ...}`.
//!
//! Members of a request keep AWS's names and are `Option`s: what is missing or `null` is for the
//! operation to refuse (`ValidationException`), not for the parser. Likewise enumerations are strings
//! and numbers `i64` until the operation has looked at them; only a wrong JSON type is a
//! `SerializationException`.

mod blob;
mod body;
mod target;
mod timestamp;

pub use blob::{Blob, SecretBlob};
pub use body::{CONTENT_TYPE, SerializationFault, error_body, parse_body};
pub use target::{UnknownOperation, operation};
pub use timestamp::Timestamp;
