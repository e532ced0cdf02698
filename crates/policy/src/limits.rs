//! How large a policy document may be.

use serde::{Deserialize, Serialize};

/// Bounds on a document, so that a stranger's text costs no more than it should. The defaults are
/// those of a key policy; what AWS documents for other policies is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of the text.
    pub document_bytes: usize,
    /// Lists and objects within each other. A sound policy needs 6.
    pub depth: usize,
    /// Statements of a document.
    pub statements: usize,
    /// Values of one list: actions, resources, principals, values of a condition.
    pub values: usize,
}

impl Limits {
    /// What AWS documents for a key policy.
    pub const DEFAULT: Self =
        Self { document_bytes: 32 << 10, depth: 16, statements: 500, values: 1000 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
