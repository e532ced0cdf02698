//! The operators of conditions, by name.

use std::cmp::Ordering;
use std::fmt;

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are AWS's")]
#[non_exhaustive]
pub enum Operator {
    ArnEquals,
    ArnLike,
    ArnNotEquals,
    ArnNotLike,
    BinaryEquals,
    Bool,
    DateEquals,
    DateGreaterThan,
    DateGreaterThanEquals,
    DateLessThan,
    DateLessThanEquals,
    DateNotEquals,
    IpAddress,
    NotIpAddress,
    Null,
    NumericEquals,
    NumericGreaterThan,
    NumericGreaterThanEquals,
    NumericLessThan,
    NumericLessThanEquals,
    NumericNotEquals,
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    StringNotEquals,
    StringNotEqualsIgnoreCase,
    StringNotLike,
}

impl Operator {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::ArnEquals,
        Self::ArnLike,
        Self::ArnNotEquals,
        Self::ArnNotLike,
        Self::BinaryEquals,
        Self::Bool,
        Self::DateEquals,
        Self::DateGreaterThan,
        Self::DateGreaterThanEquals,
        Self::DateLessThan,
        Self::DateLessThanEquals,
        Self::DateNotEquals,
        Self::IpAddress,
        Self::NotIpAddress,
        Self::Null,
        Self::NumericEquals,
        Self::NumericGreaterThan,
        Self::NumericGreaterThanEquals,
        Self::NumericLessThan,
        Self::NumericLessThanEquals,
        Self::NumericNotEquals,
        Self::StringEquals,
        Self::StringEqualsIgnoreCase,
        Self::StringLike,
        Self::StringNotEquals,
        Self::StringNotEqualsIgnoreCase,
        Self::StringNotLike,
    ];

    /// Its name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ArnEquals => "ArnEquals",
            Self::ArnLike => "ArnLike",
            Self::ArnNotEquals => "ArnNotEquals",
            Self::ArnNotLike => "ArnNotLike",
            Self::BinaryEquals => "BinaryEquals",
            Self::Bool => "Bool",
            Self::DateEquals => "DateEquals",
            Self::DateGreaterThan => "DateGreaterThan",
            Self::DateGreaterThanEquals => "DateGreaterThanEquals",
            Self::DateLessThan => "DateLessThan",
            Self::DateLessThanEquals => "DateLessThanEquals",
            Self::DateNotEquals => "DateNotEquals",
            Self::IpAddress => "IpAddress",
            Self::NotIpAddress => "NotIpAddress",
            Self::Null => "Null",
            Self::NumericEquals => "NumericEquals",
            Self::NumericGreaterThan => "NumericGreaterThan",
            Self::NumericGreaterThanEquals => "NumericGreaterThanEquals",
            Self::NumericLessThan => "NumericLessThan",
            Self::NumericLessThanEquals => "NumericLessThanEquals",
            Self::NumericNotEquals => "NumericNotEquals",
            Self::StringEquals => "StringEquals",
            Self::StringEqualsIgnoreCase => "StringEqualsIgnoreCase",
            Self::StringLike => "StringLike",
            Self::StringNotEquals => "StringNotEquals",
            Self::StringNotEqualsIgnoreCase => "StringNotEqualsIgnoreCase",
            Self::StringNotLike => "StringNotLike",
        }
    }

    /// Whether it holds where its values do *not* match.
    #[must_use]
    pub const fn is_negated(self) -> bool {
        matches!(
            self,
            Self::ArnNotEquals
                | Self::ArnNotLike
                | Self::DateNotEquals
                | Self::NotIpAddress
                | Self::NumericNotEquals
                | Self::StringNotEquals
                | Self::StringNotEqualsIgnoreCase
                | Self::StringNotLike
        )
    }

    /// For the operators of order: whether a request's value that compares as `order` to the
    /// policy's matches. Negation comes on top.
    pub(crate) const fn takes(self, order: Ordering) -> bool {
        match self {
            Self::DateGreaterThan | Self::NumericGreaterThan => order.is_gt(),
            Self::DateGreaterThanEquals | Self::NumericGreaterThanEquals => order.is_ge(),
            Self::DateLessThan | Self::NumericLessThan => order.is_lt(),
            Self::DateLessThanEquals | Self::NumericLessThanEquals => order.is_le(),
            _ => order.is_eq(),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How an operator goes over a key of several values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qualifier {
    /// No prefix: as `ForAnyValue`, and negated operators as the opposite of that.
    None,
    /// Each value of the request passes; so do none at all.
    ForAllValues,
    /// At least one value passes.
    ForAnyValue,
}

/// An operator as a document writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spelled {
    pub(crate) qualifier: Qualifier,
    pub(crate) operator: Operator,
    pub(crate) if_exists: bool,
}

impl Spelled {
    /// Reads `[ForAllValues:|ForAnyValue:]Operator[IfExists]`, in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (qualifier, rest) = match text.split_once(':') {
            None => (Qualifier::None, text),
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("ForAllValues") => {
                (Qualifier::ForAllValues, rest)
            }
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("ForAnyValue") => {
                (Qualifier::ForAnyValue, rest)
            }
            Some(_) => return None,
        };
        let stem =
            rest.len().checked_sub("IfExists".len()).and_then(|at| rest.split_at_checked(at));
        let (name, if_exists) = match stem {
            Some((name, tail)) if tail.eq_ignore_ascii_case("IfExists") => (name, true),
            _ => (rest, false),
        };
        let mut all = Operator::ALL.into_iter();
        let operator = all.find(|operator| operator.as_str().eq_ignore_ascii_case(name))?;
        // Null asks whether the key exists: neither goes with it.
        let is_plain = !if_exists && qualifier == Qualifier::None;
        (operator != Operator::Null || is_plain).then_some(Self { qualifier, operator, if_exists })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_read_in_any_case() {
        for operator in Operator::ALL {
            let name = operator.as_str();
            let plain = Spelled { qualifier: Qualifier::None, operator, if_exists: false };
            assert_eq!(Spelled::parse(name), Some(plain));
            assert_eq!(Spelled::parse(&name.to_uppercase()), Some(plain));
            assert_eq!(
                operator.is_negated(),
                name.contains("Not"),
                "negated operators have it in their name"
            );
        }
        let all = Spelled::parse("foranyvalue:stringLIKEifexists").unwrap();
        assert_eq!(all.qualifier, Qualifier::ForAnyValue);
        assert!(all.if_exists && all.operator == Operator::StringLike);
        for bad in ["", "IfExists", "NullIfExists", "ForAllValues:Null", "For:Bool", "Equals"] {
            assert_eq!(Spelled::parse(bad), None, "{bad}");
        }
    }
}
