//! Exit codes. Scripts rely on them: they are kept.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | I/O error, or any other |
//! | 2 | wrong usage or an impossible value |
//! | 3 | damage found |
//! | 4 | denied: by the KMS, by a disabled or foreign key, or by permissions |
//! | 5 | in use, or the name is taken |
//! | 6 | no space left |
//! | 7 | no such file, KMS, key or alias |
//! | 8 | made by a newer version, or not in this build |
//! | 9 | a passing trouble: try again |
//! | 130 | ended by a signal before it was complete |

use std::fmt;

use sealvol::{DeviceError, ErrorKind, KmsError, KmsErrorKind};

pub(crate) const GENERAL: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const DAMAGE: u8 = 3;
pub(crate) const DENIED: u8 = 4;
pub(crate) const CONFLICT: u8 = 5;
pub(crate) const NO_SPACE: u8 = 6;
pub(crate) const NOT_FOUND: u8 = 7;
pub(crate) const UNSUPPORTED: u8 = 8;
pub(crate) const RETRY: u8 = 9;
pub(crate) const INTERRUPTED: u8 = 130;

/// An error of the command itself, with its exit code.
#[derive(Debug)]
pub(crate) struct Fail {
    code: u8,
    text: String,
}

impl Fail {
    /// What happened, to what, and what to do next.
    pub(crate) fn error(code: u8, text: impl Into<String>) -> anyhow::Error {
        Self::new(code, text).into()
    }

    /// To be put in front of a cause.
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fail {}

/// The exit code of an error: that of its outermost part that has one.
pub(crate) fn code_of(error: &anyhow::Error) -> u8 {
    // Not in the loop: `anyhow` hides what was put in front as a context from the chain.
    let own = error.downcast_ref::<Fail>().map(|fail| fail.code);
    own.or_else(|| error.chain().find_map(code_of_one)).unwrap_or(GENERAL)
}

fn code_of_one(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = error.downcast_ref::<sealvol::Error>() {
        return Some(of_kind(error.kind()));
    }
    if let Some(error) = error.downcast_ref::<DeviceError>() {
        return Some(of_kind(error.kind()));
    }
    error.downcast_ref::<KmsError>().map(|error| match error.kind() {
        KmsErrorKind::Denied | KmsErrorKind::KeyUnusable | KmsErrorKind::LimitExceeded => DENIED,
        KmsErrorKind::Corrupt => DAMAGE,
        KmsErrorKind::Invalid => USAGE,
        KmsErrorKind::NotFound => NOT_FOUND,
        KmsErrorKind::Conflict => CONFLICT,
        KmsErrorKind::Retry => RETRY,
        _ => GENERAL,
    })
}

const fn of_kind(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Corrupt => DAMAGE,
        ErrorKind::Conflict => CONFLICT,
        ErrorKind::Denied => DENIED,
        ErrorKind::Invalid => USAGE,
        ErrorKind::NotFound => NOT_FOUND,
        ErrorKind::NoSpace => NO_SPACE,
        ErrorKind::Retry => RETRY,
        ErrorKind::Unsupported => UNSUPPORTED,
        _ => GENERAL,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_outermost_known_part_decides() {
        let cause = DeviceError::new(ErrorKind::NoSpace, "write", "full");
        let error = Err::<(), _>(sealvol::Error::from(cause)).context("around").unwrap_err();
        assert_eq!(code_of(&error), NO_SPACE);
        let error = anyhow::Error::from(KmsError::silent(KmsErrorKind::NotFound, "X"));
        assert_eq!(code_of(&error), NOT_FOUND);
        assert_eq!(code_of(&error.context(Fail { code: USAGE, text: String::new() })), USAGE);
        assert_eq!(code_of(&anyhow::anyhow!("whatever")), GENERAL);
    }
}
