//! The error of a key service: what the caller must do, and what the service said.

use std::fmt;

/// What to do about a [`KmsError`]. The classes are those of the AWS KMS failure taxonomy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KmsErrorKind {
    /// No policy or grant allows the call, or one denies it: change the policy or grant, then ask
    /// again. Nothing about the data is wrong.
    Denied,
    /// The wrapped key or its context does not authenticate, or another key wrapped it: never
    /// retry; the blob, the context or the key is not the one that belongs to this volume.
    Corrupt,
    /// The request is malformed: change it.
    Invalid,
    /// The key exists but is disabled or pending deletion: enable it, then ask again.
    KeyUnusable,
    /// A quota of the service is used up.
    LimitExceeded,
    /// The key, alias or grant does not exist.
    NotFound,
    /// A name is taken, or the resource is in another state than the operation needs.
    Conflict,
    /// A dry run that would have succeeded. A dry run never succeeds: this is its good outcome.
    DryRun,
    /// Throttled, timed out, or a server fault: retry with backoff inside a deadline.
    Retry,
    /// The service or its store failed in a way that a retry will not mend.
    Internal,
}

/// An error of a [`crate::KeyService`].
pub struct KmsError {
    kind: KmsErrorKind,
    code: &'static str,
    message: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

impl KmsError {
    /// An error of `kind` with the AWS exception name it corresponds to, such as
    /// `DisabledException`.
    pub fn new(kind: KmsErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: Some(message.into()), source: None }
    }

    /// An error without a message: AWS gives none for `InvalidCiphertextException`, so that the
    /// caller can't tell a wrong context from a damaged blob.
    #[must_use]
    pub const fn silent(kind: KmsErrorKind, code: &'static str) -> Self {
        Self { kind, code, message: None, source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What to do.
    #[must_use]
    pub const fn kind(&self) -> KmsErrorKind {
        self.kind
    }

    /// The AWS exception name, exact.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// The service's message, where it gives one.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

impl fmt::Display for KmsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.code),
            None => f.write_str(self.code),
        }
    }
}

impl fmt::Debug for KmsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for KmsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}
