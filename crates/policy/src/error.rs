//! Why a document is no policy, and where in it.

use std::fmt;

use crate::policy::PolicyKind;

/// Most characters of a document that an error quotes.
const QUOTE_MAX: usize = 80;

/// A document that is not a policy of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PolicyError {
    /// Where, as in `Statement[0].Condition.StringEquals`. Empty for the document as a whole.
    pub path: String,
    /// What is wrong there.
    pub kind: PolicyErrorKind,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "policy" } else { &self.path };
        write!(f, "{path}: {}", self.kind)
    }
}

/// What can be wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyErrorKind {
    /// A text that has another form than its place asks for.
    #[error("`{text}` is not {expected}")]
    BadValue {
        /// The text, shortened.
        text: String,
        /// What the place asks for.
        expected: &'static str,
    },
    /// Two elements of which there can be one.
    #[error("{0} and {1} exclude each other")]
    Conflict(&'static str, &'static str),
    /// An element, a key or a Sid that is there already.
    #[error("appears twice")]
    Duplicate,
    /// An element that has to be there.
    #[error("lacks {0}")]
    Missing(&'static str),
    /// An element that this kind of policy does not have.
    #[error("has no place in {0}")]
    Misplaced(PolicyKind),
    /// A text that is no JSON, or is nested too deep.
    #[error("is not JSON: {0}")]
    NotJson(String),
    /// A document over the limit; the one kind that is about size and not about form.
    #[error("has {len} bytes, more than the {max} allowed")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A list over its limit.
    #[error("has {len} {what}, more than the {max} allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// An element that policies do not have.
    #[error("is not an element of a policy")]
    UnknownElement,
    /// A JSON value of another type.
    #[error("is not {0}")]
    WrongType(&'static str),
}

impl PolicyErrorKind {
    pub(crate) fn bad(text: &str, expected: &'static str) -> Self {
        let mut short: String = text.chars().take(QUOTE_MAX).collect();
        if short.len() < text.len() {
            short.push_str("...");
        }
        Self::BadValue { text: short, expected }
    }
}
