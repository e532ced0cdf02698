//! Audit: every call, allowed or denied, as CloudTrail records it (kms.md, section 8). No record
//! holds a plaintext, a ciphertext or a token.

mod event;
mod jsonl;
pub(crate) mod parameters;
mod record;

pub use event::{AuditEvent, AuditResource, UserIdentity};
pub use jsonl::{JsonlAudit, JsonlSettings};
pub(crate) use record::{Record, service_event};

/// Where records go.
pub trait AuditSink: Send + Sync {
    /// Takes one record. It must not block for long: calls to the KMS wait for it. A sink that
    /// loses records says so by itself; the call that is recorded succeeds or fails regardless.
    fn record(&self, event: AuditEvent);
}
