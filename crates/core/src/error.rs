//! The error every storage-side crate returns: what to do ([`ErrorKind`]), what was being done, and why.

use std::fmt;

/// Result of this project's storage-side operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller should do about an [`Error`]. A kind exists only where callers act differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Stored bytes are damaged or were replaced: do not retry; restore, or accept the loss openly.
    Corrupt,
    /// Someone else holds the resource (file lock, name): retry when they are done.
    Conflict,
    /// The caller may not do this: change the policy, the grant or the mode (for example read-only).
    Denied,
    /// Another opener took over: this handle is dead, open again.
    Fenced,
    /// A bug in this project: report it.
    Internal,
    /// The request itself is wrong (range, alignment, size): change the request.
    Invalid,
    /// The operating system or disk failed this operation.
    Io,
    /// The thing does not exist.
    NotFound,
    /// No space left: free some, discard blocks, or raise the limit; nothing acknowledged was lost.
    NoSpace,
    /// An earlier I/O error made the handle fail-stop: close it and open again.
    Poisoned,
    /// A transient condition: try again.
    Retry,
    /// A newer format or a feature that this build does not have.
    Unsupported,
}

impl ErrorKind {
    /// A stable lower-case word for logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Fenced => "fenced",
            Self::Internal => "internal",
            Self::Invalid => "invalid",
            Self::Io => "io",
            Self::NotFound => "not-found",
            Self::NoSpace => "no-space",
            Self::Poisoned => "poisoned",
            Self::Retry => "retry",
            Self::Unsupported => "unsupported",
        }
    }
}

/// An error with its kind, the operation that failed, its context, and the cause.
pub struct Error {
    kind: ErrorKind,
    op: &'static str,
    context: String,
    source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

impl Error {
    /// An error of `kind` while doing `op`; `context` says to what, and what to do next.
    pub fn new(kind: ErrorKind, op: &'static str, context: impl Into<String>) -> Self {
        Self { kind, op, context: context.into(), source: None }
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

    /// Wraps an operating-system error. `ENOSPC`, `EDQUOT` and `EFBIG` (a file size limit) become
    /// [`ErrorKind::NoSpace`].
    pub fn io(op: &'static str, context: impl Into<String>, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull
            | std::io::ErrorKind::QuotaExceeded
            | std::io::ErrorKind::FileTooLarge => ErrorKind::NoSpace,
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Io,
        };
        Self::new(kind, op, context).with_source(source)
    }

    /// What the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The operation that failed.
    #[must_use]
    pub const fn op(&self) -> &'static str {
        self.op
    }

    /// What it failed on, and what to do next.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.context
    }

    /// An error of the same kind and text, for the waiters of one shared operation. The source is
    /// kept as text, because a boxed source cannot be cloned.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let copy = Self::new(self.kind, self.op, self.context.clone());
        match &self.source {
            Some(source) => copy.with_source(source.to_string()),
            None => copy,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.op, self.context)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}: {}", self.kind, self.op, self.context)?;
        if let Some(source) = &self.source {
            write!(f, " ({source})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}
