//! Requests of the KMS endpoint, after authentication: an operation and a body each, to one KMS in
//! memory. Whatever they are, each has an answer or a fault of its own, and none is the server's.

use std::sync::Arc;

use sealvol_api::dispatch;
use sealvol_kms::model::{AliasRequest, CreateKeyRequest};
use sealvol_kms::{Kms, KmsSettings, Operation, Requester, Session};
use sealvol_policy::{Identity, Principal};
use sealvol_testkit::{SeededEntropy, SimClock};

use crate::memory::bounded;

/// The name of a key that every run begins with.
pub const ALIAS: &str = "alias/fuzz";
/// Requests of one run.
const REQUESTS_MAX: usize = 16;

/// The target's body: lines, each the operation's number and a body.
pub fn run(data: &[u8]) {
    let session = session();
    // A context or list of many short members takes some fifty times its text; a key takes a mapping.
    let budget = (1 << 20) + 256 * data.len();
    for line in data.split(|byte| *byte == b'\n').take(REQUESTS_MAX) {
        let Some((number, body)) = line.split_first() else { continue };
        let operation = Operation::ALL[usize::from(*number) % Operation::ALL.len()];
        match bounded(budget, || dispatch(&session, operation, body)) {
            Ok(answer) if answer.is_empty() => assert!(operation.is_change(), "{operation:?}"),
            Ok(answer) => {
                let answer: serde_json::Value =
                    serde_json::from_slice(&answer).expect("an answer is JSON");
                assert!(answer.is_object());
            }
            Err(fault) => {
                assert_eq!(fault.status().as_u16(), 400, "{operation:?}: {fault:?}");
                assert!(fault.code().ends_with("Exception"), "{fault:?}");
            }
        }
    }
}

/// The account root of a new KMS with one key, the same in every run.
fn session() -> Session {
    let (clock, entropy) = (Arc::new(SimClock::new()), Arc::new(SeededEntropy::new(7)));
    let settings = KmsSettings { keys_max: 8, ..KmsSettings::default() };
    let kms = Kms::in_memory(settings, clock, entropy).expect("settings are right");
    let root = Principal::parse("arn:aws:iam::000000000000:root").expect("a principal");
    let session = kms.session(Requester::new(Identity::new(root)));
    let made = session.create_key(&CreateKeyRequest::default()).expect("a key");
    let alias =
        AliasRequest { alias_name: ALIAS.to_owned(), target_key_id: made.key_metadata.key_id };
    session.create_alias(&alias).expect("an alias");
    session
}

/// A line of the input.
#[must_use]
pub fn request(operation: Operation, body: &str) -> Vec<u8> {
    let number = u8::try_from(operation as usize).unwrap_or(0);
    [&[number], body.as_bytes(), b"\n"].concat()
}
