//! Conditions: what a document asks of a request, and whether the request has it.
//!
//! - The values of a key: one that matches is enough; for a negated operator none may match.
//! - A key that the request lacks (or has without values): false; true for a negated operator, for
//!   `...IfExists`, and for `ForAllValues`; `ForAnyValue` is false for negated ones, too.
//! - A key of several values under an operator without prefix: as `ForAnyValue`, and a negated one is
//!   the opposite of its positive twin. AWS leaves that open.
//! - A value of the request that has not the operator's type (no number, no date) matches nothing.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::arn::ArnPattern;
use crate::context::Request;
use crate::error::{PolicyError, PolicyErrorKind};
use crate::json::Place;
use crate::key::ConditionKey;
use crate::limits::Limits;
use crate::network::Network;
use crate::operator::{Operator, Qualifier, Spelled};
use crate::template::{Case, Syntax, Template};
use crate::{date, number};

/// One key under one operator.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) spelled: Spelled,
    pub(crate) key: ConditionKey,
    test: Test,
}

/// The values of the document, read once.
#[derive(Debug, Clone)]
enum Test {
    Arn(Box<[ArnPattern]>),
    Binary(Box<[Vec<u8>]>),
    Bool(Box<[bool]>),
    Date(Box<[i128]>),
    Ip(Box<[Network]>),
    Like(Box<[Template]>),
    Null(Box<[bool]>),
    Number(Box<[i128]>),
    Text(Box<[Template]>),
    TextFolded(Box<[Template]>),
}

/// Reads a `Condition` element.
pub(crate) fn parse(
    place: &Place<'_>,
    variables: bool,
    limits: &Limits,
) -> Result<Box<[Condition]>, PolicyError> {
    let mut conditions = Vec::new();
    for (name, node) in place.members()? {
        let block = place.member(name, node);
        let spelled = Spelled::parse(name)
            .ok_or_else(|| block.error(PolicyErrorKind::bad(name, "an operator of conditions")))?;
        for (name, node) in block.members()? {
            let values = block.member(name, node);
            let key = ConditionKey::parse(name)
                .ok_or_else(|| values.error(PolicyErrorKind::bad(name, "a condition key")))?;
            let test = Test::parse(spelled.operator, &values, variables, limits)?;
            conditions.push(Condition { spelled, key, test });
        }
    }
    Ok(conditions.into())
}

impl Condition {
    pub(crate) fn holds(&self, request: &Request<'_>) -> bool {
        let values = request.values(&self.key);
        if let Test::Null(wanted) = &self.test {
            return wanted.contains(&values.is_none());
        }
        let Spelled { qualifier, operator, if_exists } = self.spelled;
        let negated = operator.is_negated();
        let Some(values) = values else {
            return if_exists
                || match qualifier {
                    Qualifier::None => negated,
                    Qualifier::ForAllValues => true,
                    Qualifier::ForAnyValue => false,
                };
        };
        let mut values = values.as_slice().iter();
        let matches = |value: &str| self.test.matches(operator, value, request);
        match qualifier {
            Qualifier::None => values.any(|value| matches(value)) != negated,
            Qualifier::ForAllValues => values.all(|value| matches(value) != negated),
            Qualifier::ForAnyValue => values.any(|value| matches(value) != negated),
        }
    }
}

impl Test {
    fn parse(
        operator: Operator,
        place: &Place<'_>,
        variables: bool,
        limits: &Limits,
    ) -> Result<Self, PolicyError> {
        let reader = Reader { place, limits };
        let plain = Syntax { wildcards: false, variables };
        let wild = Syntax { wildcards: true, variables };
        Ok(match operator {
            Operator::StringEquals | Operator::StringNotEquals => {
                Self::Text(reader.each(|text| Template::parse(text, plain))?)
            }
            Operator::StringEqualsIgnoreCase | Operator::StringNotEqualsIgnoreCase => {
                Self::TextFolded(reader.each(|text| Template::parse(text, plain))?)
            }
            Operator::StringLike | Operator::StringNotLike => {
                Self::Like(reader.each(|text| Template::parse(text, wild))?)
            }
            Operator::ArnEquals
            | Operator::ArnLike
            | Operator::ArnNotEquals
            | Operator::ArnNotLike => {
                Self::Arn(reader.each(|text| ArnPattern::parse(text, variables))?)
            }
            Operator::BinaryEquals => {
                Self::Binary(reader.typed("base64", |text| STANDARD.decode(text).ok())?)
            }
            Operator::Bool => Self::Bool(reader.typed("`true` or `false`", boolean)?),
            Operator::Null => Self::Null(reader.typed("`true` or `false`", boolean)?),
            Operator::IpAddress | Operator::NotIpAddress => {
                Self::Ip(reader.typed("an IP address or a CIDR block", Network::parse)?)
            }
            Operator::NumericEquals
            | Operator::NumericGreaterThan
            | Operator::NumericGreaterThanEquals
            | Operator::NumericLessThan
            | Operator::NumericLessThanEquals
            | Operator::NumericNotEquals => Self::Number(reader.typed("a number", number::parse)?),
            Operator::DateEquals
            | Operator::DateGreaterThan
            | Operator::DateGreaterThanEquals
            | Operator::DateLessThan
            | Operator::DateLessThanEquals
            | Operator::DateNotEquals => {
                Self::Date(reader.typed("a date (ISO 8601 or seconds since 1970)", date::parse)?)
            }
        })
    }

    /// Whether a value of the request matches one of the document's. Not negated yet.
    fn matches(&self, operator: Operator, value: &str, request: &Request<'_>) -> bool {
        match self {
            Self::Arn(patterns) => patterns.iter().any(|pattern| pattern.matches(value, request)),
            Self::Binary(wanted) => {
                STANDARD.decode(value).is_ok_and(|value| wanted.contains(&value))
            }
            Self::Bool(wanted) => boolean(value).is_some_and(|value| wanted.contains(&value)),
            Self::Date(wanted) => ordered(operator, date::parse(value), wanted),
            Self::Ip(networks) => value
                .parse::<IpAddr>()
                .is_ok_and(|address| networks.iter().any(|network| network.contains(address))),
            Self::Like(patterns) => patterns
                .iter()
                .any(|pattern| pattern.matches(value, Case::Exact, request) == Some(true)),
            // Decided in `holds`, which knows whether there is a value.
            Self::Null(_) => false,
            Self::Number(wanted) => ordered(operator, number::parse(value), wanted),
            Self::Text(wanted) => {
                wanted.iter().any(|text| text.text(request).is_some_and(|text| text == value))
            }
            Self::TextFolded(wanted) => wanted
                .iter()
                .any(|text| text.text(request).is_some_and(|text| equal_folded(&text, value))),
        }
    }
}

/// The values at a place.
struct Reader<'a> {
    place: &'a Place<'a>,
    limits: &'a Limits,
}

impl Reader<'_> {
    fn each<T>(
        &self,
        read: impl Fn(&str) -> Result<T, PolicyErrorKind>,
    ) -> Result<Box<[T]>, PolicyError> {
        self.place.each("values", self.limits.values, |place| {
            read(place.scalar()?).map_err(|kind| place.error(kind))
        })
    }

    fn typed<T>(
        &self,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Box<[T]>, PolicyError> {
        self.each(|text| read(text).ok_or_else(|| PolicyErrorKind::bad(text, expected)))
    }
}

fn ordered(operator: Operator, value: Option<i128>, wanted: &[i128]) -> bool {
    value.is_some_and(|value| wanted.iter().any(|wanted| operator.takes(value.cmp(wanted))))
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

fn equal_folded(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        a.eq_ignore_ascii_case(b)
    } else {
        a.chars().flat_map(char::to_lowercase).eq(b.chars().flat_map(char::to_lowercase))
    }
}
