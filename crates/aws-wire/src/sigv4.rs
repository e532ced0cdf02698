//! Signature Version 4: who sent a request, and that it arrived as it was sent.
//!
//! Follows "Create a signed AWS API request" of the IAM User Guide
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>) for
//! services other than S3: paths are normalised and encoded twice, payloads are always signed unless
//! an [`Expectation`] allows otherwise, and chunked (`STREAMING-*`) payloads are refused.
//!
//! Verifying takes two steps, because the secret lies with the caller: [`Presented::parse`] says whose
//! signature it is, [`Presented::verify`] checks it against that key's secret.
//!
//! Stricter than the letter, so that one request has one meaning: one authentication per request, no
//! authentication parameter twice, and every `x-amz-*` header signed but `x-amz-user-agent` and
//! `x-amz-checksum-mode` beside a presigned query, where AWS's own clients leave them out. Headers
//! that proxies add or change (`user-agent`, `x-amzn-trace-id`, `content-type`) may be unsigned.

mod canonical;
mod fault;
mod head;
mod key;
mod presented;
mod sign;
mod time;
mod verify;

pub use fault::AuthFault;
pub use head::RequestHead;
pub use key::SigningKeyCache;
pub use presented::{Form, Presented};
pub use sign::{Credentials, SignError, Signer};
pub use time::AmzDate;
pub use verify::{Expectation, Verified, payload_sha256};

/// The one algorithm.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What every credential scope ends with.
pub(crate) const TERMINATOR: &str = "aws4_request";

/// In the place of a payload's hash: the payload is not covered.
pub(crate) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

#[cfg(test)]
mod tests;
