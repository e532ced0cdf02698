//! The facade's error: what to do, what was being done to what, and what to do next.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

use sealvol_core::ErrorKind;
use sealvol_envelope::{KmsError, KmsErrorKind};

/// Result of the facade's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a volume's life: storage, engine or KMS.
///
/// [`kind`](Self::kind) says what a program should do, the text says it to a person: what happened,
/// to what, and what to do next. Where a KMS refused, [`kms`](Self::kms) has its answer.
pub struct Error {
    kind: ErrorKind,
    repr: Repr,
}

enum Repr {
    /// An error of this crate, mostly around a cause.
    Own { text: String, source: Option<Box<dyn StdError + Send + Sync>> },
    /// An error of a layer below that says all there is to say.
    Below(sealvol_core::Error),
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, repr: Repr::Own { text: text.into(), source: None } }
    }

    /// `text` in front of the cause, whose kind is kept.
    pub(crate) fn around(text: impl Into<String>, source: sealvol_core::Error) -> Self {
        let kind = source.kind();
        Self { kind, repr: Repr::Own { text: text.into(), source: Some(Box::new(source)) } }
    }

    /// An error of the operating system.
    pub(crate) fn io(text: impl Into<String>, source: std::io::Error) -> Self {
        let kind = sealvol_core::Error::io("", "", std::io::Error::from(source.kind())).kind();
        Self { kind, repr: Repr::Own { text: text.into(), source: Some(Box::new(source)) } }
    }

    /// What the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The KMS's answer, if it was the KMS that refused.
    #[must_use]
    pub fn kms(&self) -> Option<&KmsError> {
        self.source()?.downcast_ref()
    }

    /// A key service failed in `op` (such as "open volume") on `path`.
    pub(crate) fn from_kms(op: &str, path: &Path, key: &str, source: KmsError) -> Self {
        let path = path.display();
        let creating = op.starts_with("create");
        let (kind, problem, next) = match source.kind() {
            KmsErrorKind::Denied => (
                ErrorKind::Denied,
                format!("the KMS refuses the use of key {key}"),
                if creating {
                    "allow kms:GenerateDataKeyWithoutPlaintext by policy or grant, or use another \
                     key"
                } else {
                    "allow kms:Decrypt with the volume's encryption context by policy or grant, or \
                     give the KMS that wrapped the volume's data key; the data is intact"
                },
            ),
            KmsErrorKind::Corrupt => (
                ErrorKind::Corrupt,
                format!("its wrapped data key and encryption context do not open under {key}"),
                "the superblock was changed, or this is not the KMS that wrapped the key: give \
                 that one, or restore the file from a copy",
            ),
            KmsErrorKind::KeyUnusable => (
                ErrorKind::Denied,
                format!(
                    "the key is disabled or about to be deleted; run `sealvol key enable {key}` (in \
                     AWS: `aws kms enable-key`)"
                ),
                if creating { "or use another key" } else { "and open again; the data is intact" },
            ),
            KmsErrorKind::NotFound if creating => (
                ErrorKind::NotFound,
                format!("the KMS has no key {key}"),
                "see `sealvol key list`, or make one with `sealvol key create` (in AWS: `aws kms`)",
            ),
            // Not `NotFound`: that is the file.
            KmsErrorKind::NotFound => (
                ErrorKind::Denied,
                format!("this KMS has no key {key}"),
                "give the KMS that wrapped the volume's data key (`--data` or `--kms`); the data \
                 is intact",
            ),
            KmsErrorKind::LimitExceeded => (
                ErrorKind::Denied,
                "a quota of the KMS is used up".to_owned(),
                "raise it or wait; nothing was changed",
            ),
            KmsErrorKind::Conflict => (
                ErrorKind::Conflict,
                format!("the key {key} is in another state than this needs"),
                "try again when that is over",
            ),
            KmsErrorKind::Retry => (
                ErrorKind::Retry,
                "the KMS does not answer".to_owned(),
                "try again; nothing was changed",
            ),
            KmsErrorKind::Invalid => (
                ErrorKind::Invalid,
                format!("the KMS does not take the request for key {key}"),
                "check the key's name and the encryption context",
            ),
            _ => (
                ErrorKind::Io,
                "the KMS failed".to_owned(),
                "mend it, then try again; nothing was changed",
            ),
        };
        let joint = if source.kind() == KmsErrorKind::KeyUnusable { "," } else { ";" };
        let text = format!("{op} {path}: {problem}{joint} {next}");
        Self { kind, repr: Repr::Own { text, source: Some(Box::new(source)) } }
    }

    /// The volume at `path` did not open or was not made, for a reason below this crate.
    pub(crate) fn at_volume(op: &str, path: &Path, source: sealvol_core::Error) -> Self {
        let path = path.display();
        let next = match source.kind() {
            ErrorKind::Conflict if op.starts_with("create") => {
                "the path is taken; choose another one, or remove what is there"
            }
            ErrorKind::Conflict => {
                "it is in use; close it there (a served volume: stop `sealvol volume serve`), then \
                 try again"
            }
            ErrorKind::NotFound if op.starts_with("create") => {
                "the directory does not exist; make it first"
            }
            ErrorKind::NotFound => {
                "there is no such file; check the path, or make a volume with `sealvol volume \
                 create`"
            }
            ErrorKind::NoSpace => "the host has no space; free some, then try again",
            ErrorKind::Denied => "access is refused; see the cause",
            ErrorKind::Corrupt => "the file is damaged or not what it should be; see the cause",
            ErrorKind::Unsupported => "it was made by a newer sealvol; use that one",
            ErrorKind::Invalid => "it cannot be done as asked; see the cause",
            ErrorKind::Io => "the disk or its file system failed; see the cause and the kernel log",
            _ => "see the cause",
        };
        Self::around(format!("{op} {path}: {next}"), source)
    }
}

impl From<sealvol_core::Error> for Error {
    fn from(source: sealvol_core::Error) -> Self {
        Self { kind: source.kind(), repr: Repr::Below(source) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repr {
            Repr::Own { text, .. } => f.write_str(text),
            Repr::Below(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.repr {
            Repr::Own { source, .. } => source.as_deref().map(|s| s as &(dyn StdError + 'static)),
            Repr::Below(error) => error.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kms_failure_says_what_to_do_and_keeps_its_answer() {
        use KmsErrorKind as K;
        for (kind, expected, word) in [
            (K::Denied, ErrorKind::Denied, "allow kms:Decrypt"),
            (K::Corrupt, ErrorKind::Corrupt, "restore the file"),
            (K::KeyUnusable, ErrorKind::Denied, "sealvol key enable"),
            (K::NotFound, ErrorKind::Denied, "--data"),
            (K::LimitExceeded, ErrorKind::Denied, "quota"),
            (K::Conflict, ErrorKind::Conflict, "again"),
            (K::Retry, ErrorKind::Retry, "try again"),
            (K::Invalid, ErrorKind::Invalid, "check the key"),
            (K::Internal, ErrorKind::Io, "mend it"),
        ] {
            let cause = KmsError::silent(kind, "SomeException");
            let error = Error::from_kms("open volume", Path::new("/v"), "arn:k", cause);
            assert_eq!(error.kind(), expected);
            assert_eq!(error.kms().unwrap().kind(), kind);
            let text = error.to_string();
            assert!(text.starts_with("open volume /v: ") && text.contains(word), "{text}");
        }
    }

    #[test]
    fn errors_from_below_pass_through_with_their_cause() {
        let below =
            sealvol_core::Error::io("read file", "/v", std::io::ErrorKind::StorageFull.into());
        let error = Error::from(below);
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert_eq!(error.to_string(), "read file: /v");
        assert!(error.source().is_some());
        assert!(error.kms().is_none());
    }
}
