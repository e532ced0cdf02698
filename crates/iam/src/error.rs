//! Why a configuration is none, and where in it.

use std::fmt;

use sealvol_policy::PolicyError;

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct IamError {
    /// Where, as in `account 000000000000, user alice`; empty for the text as a whole.
    pub place: String,
    /// What is wrong there.
    pub kind: IamErrorKind,
}

impl fmt::Display for IamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        self.kind.fmt(f)
    }
}

/// What can be wrong with a configuration. No variant quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IamErrorKind {
    /// A text of another form than its place asks for.
    #[error("{what} has to be {expected}")]
    BadValue {
        /// The entry.
        what: &'static str,
        /// Its form.
        expected: &'static str,
    },
    /// An entry that is there already.
    #[error("{0} is there twice")]
    Duplicate(&'static str),
    /// A policy's file that the caller could not read.
    #[error("the file {file} cannot be read: {why}")]
    File {
        /// The file, as the configuration names it.
        file: String,
        /// What the caller says.
        why: String,
    },
    /// Both or none of a document and a file.
    #[error("{0} needs either a document or a file")]
    OneSource(&'static str),
    /// A policy that is none.
    #[error("{what}: {error}")]
    Policy {
        /// Which one.
        what: String,
        /// Why.
        error: PolicyError,
    },
    /// A text over the limit.
    #[error("the configuration has {len} bytes, more than the {max} allowed")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A text that is not TOML, or has other entries than a configuration.
    #[error("line {line}: {message}")]
    Toml {
        /// The line, from 1.
        line: usize,
        /// What the reader says, without the texts that it quotes.
        message: String,
    },
}
