//! Goal: what AWS signs is verified, and nothing else. Method: AWS's own vectors, each refusal by its
//! name, and a differential test against AWS's client library (`differential`).

mod differential;
mod refusals;
mod vectors;

use http::HeaderMap;
use sealvol_core::UnixMillis;

use super::*;

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2015-08-30T12:36:00Z.
const AT: UnixMillis = UnixMillis(1_440_938_160_000);

/// A request that owns its parts.
#[derive(Debug, Clone)]
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Sent {
    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            authority: None,
        }
    }

    fn verify(&self, secret: &str, want: &Expectation<'_>) -> Result<(), AuthFault> {
        let head = self.head();
        let presented = Presented::parse(&head)?.ok_or(AuthFault::Missing)?;
        let keys = SigningKeyCache::new(1);
        let verified = presented.verify(&head, &payload_sha256(&self.body), secret, &keys, want)?;
        assert_eq!(verified.access_key_id(), presented.access_key_id());
        Ok(())
    }
}
