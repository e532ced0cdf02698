//! What a request says of itself: values of condition keys, looked up when a condition asks.

use std::borrow::Cow;

use crate::identity::Identity;
use crate::key::{ConditionKey, KeySource};

/// The values of one key in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values<'a> {
    /// The value of a key that has one.
    One(Cow<'a, str>),
    /// The values of a key that can have several. None at all counts as a key that is absent.
    Many(Vec<Cow<'a, str>>),
}

impl<'a> Values<'a> {
    /// One value.
    pub fn one(value: impl Into<Cow<'a, str>>) -> Self {
        Self::One(value.into())
    }

    /// `true` or `false`.
    #[must_use]
    pub const fn bool(value: bool) -> Self {
        Self::One(Cow::Borrowed(if value { "true" } else { "false" }))
    }

    /// The values, however many.
    #[must_use]
    pub fn as_slice(&self) -> &[Cow<'a, str>] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// A request's condition keys.
pub trait ConditionKeys {
    /// The values of `key`; `None` when the request has none.
    ///
    /// `key` is in one spelling: ASCII lower case, but for what follows `kms:encryptioncontext:`, or
    /// else the first `/` (names of tags); that part is as the policy has it, and AWS compares it
    /// without regard to case. Global keys that follow from the identity (`aws:principalarn`,
    /// `aws:principalaccount`, `aws:principaltype`, `aws:principaltag/...`, `aws:username`,
    /// `aws:userid`, `aws:principalisawsservice`, `aws:principalservicename`,
    /// `aws:principalservicenameslist`) are never asked for.
    fn get(&self, key: &str) -> Option<Values<'_>>;
}

/// A context of a few keys: for tests, and for requests that say little. The empty one is
/// `MapContext::default()`.
#[derive(Debug, Clone, Default)]
pub struct MapContext {
    entries: Vec<(String, Vec<String>, bool)>,
}

impl MapContext {
    /// With a key that has one value.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.entries.push((key.to_owned(), vec![value.to_owned()], false));
        self
    }

    /// With a key that can have several.
    #[must_use]
    pub fn with_many(mut self, key: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        self.entries.push((key.to_owned(), values, true));
        self
    }
}

impl ConditionKeys for MapContext {
    fn get(&self, key: &str) -> Option<Values<'_>> {
        let mut entries = self.entries.iter();
        let (_, values, many) = entries.find(|(name, ..)| name.eq_ignore_ascii_case(key))?;
        match values.as_slice() {
            [value] if !many => Some(Values::one(value)),
            values => Some(Values::Many(values.iter().map(Cow::from).collect())),
        }
    }
}

/// Who asks and with what: all that conditions and variables can see.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) context: &'a dyn ConditionKeys,
}

impl<'a> Request<'a> {
    /// The values of a key, at least one.
    pub(crate) fn values(&self, key: &ConditionKey) -> Option<Values<'a>> {
        let values = match key.source {
            KeySource::Request => self.context.get(key.as_str()),
            KeySource::Caller(caller) => self.identity.value(caller, key.part()),
        };
        values.filter(|values| !values.as_slice().is_empty())
    }

    /// A variable's value. A key of several values has none that could stand in a text.
    pub(crate) fn text(&self, key: &ConditionKey) -> Option<Cow<'a, str>> {
        match self.values(key)? {
            Values::One(value) => Some(value),
            Values::Many(_) => None,
        }
    }
}
