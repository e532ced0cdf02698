//! What an operation leaves behind while it runs, for metrics and the audit record.

use serde_json::Value;

use crate::ids::KeyId;

/// The keys and answers of one call.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// The keys that it used: id, ARN and account.
    pub(crate) keys: Vec<Used>,
    /// Part of the answer that a record may tell.
    pub(crate) response: Option<Value>,
    /// What AWS puts under `additionalEventData`.
    pub(crate) additional: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) id: KeyId,
    pub(crate) arn: String,
    pub(crate) account: String,
}

impl Trail {
    pub(crate) fn used(&mut self, id: KeyId, arn: &str, account: &str) {
        if !self.keys.iter().any(|key| key.id == id) {
            self.keys.push(Used { id, arn: arn.to_owned(), account: account.to_owned() });
        }
    }
}
