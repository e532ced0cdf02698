//! A request's parameters.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::fault::{Fault, Protocol};
use crate::percent;

/// What a form may hold. The whole of it is bounded by whoever read it; names and values here, so that
/// an error can repeat a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Parameters.
    pub count: usize,
    /// Bytes of a decoded name.
    pub name_len: usize,
    /// Bytes of a decoded value.
    pub value_len: usize,
}

impl Default for Limits {
    /// STS takes policies of 2,048 and tokens of 20,000 characters; 50 tags are 100 parameters.
    fn default() -> Self {
        Self { count: 1024, name_len: 256, value_len: 64 << 10 }
    }
}

/// Why a form cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueryFault {
    /// A name or value is not percent-encoded UTF-8.
    #[error("The query string contains a syntax error.")]
    Malformed,
    /// One parameter has two values.
    #[error("The parameter {0} is given more than once.")]
    Duplicate(String),
    /// Too many parameters, or one that is too long.
    #[error("The query string has too many parameters, or one that is too long.")]
    TooLarge,
    /// There is no `Action`.
    #[error("The request must contain the parameter Action.")]
    NoAction,
}

impl QueryFault {
    /// What the client is told.
    #[must_use]
    pub fn fault(&self, protocol: Protocol) -> Fault {
        let code = match self {
            Self::Malformed | Self::Duplicate(_) => "MalformedQueryString",
            Self::TooLarge => "RequestEntityTooLarge",
            Self::NoAction => "MissingAction",
        };
        Fault::new(protocol, code).with_message(self.to_string())
    }
}

/// How a service numbers the elements of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListStyle {
    /// `Tags.member.1`, as STS and IAM have it.
    Member,
    /// `Tag.1`, as EC2 has it.
    Flat,
}

/// The decoded parameters of a request, each with one value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params {
    values: BTreeMap<String, String>,
}

impl Params {
    /// Reads a form: the body of a `POST`, the query of a `GET`.
    ///
    /// # Errors
    /// When it is not well-formed, has a parameter twice, or passes a limit.
    pub fn parse(form: &str, limits: Limits) -> Result<Self, QueryFault> {
        let mut values = BTreeMap::new();
        for (name, value) in percent::pairs(form) {
            let name = decode(name, limits.name_len)?;
            let value = decode(value, limits.value_len)?;
            if values.len() == limits.count {
                return Err(QueryFault::TooLarge);
            }
            if values.insert(name.clone(), value).is_some() {
                return Err(QueryFault::Duplicate(name));
            }
        }
        Ok(Self { values })
    }

    /// The same from a body.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and when `body` is not UTF-8.
    pub fn parse_body(body: &[u8], limits: Limits) -> Result<Self, QueryFault> {
        Self::parse(std::str::from_utf8(body).map_err(|_| QueryFault::Malformed)?, limits)
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The action.
    ///
    /// # Errors
    /// When there is none, or an empty one.
    pub fn action(&self) -> Result<&str, QueryFault> {
        self.get("Action").filter(|action| !action.is_empty()).ok_or(QueryFault::NoAction)
    }

    /// The version of the API, `2011-06-15`.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.get("Version")
    }

    /// Every name with its value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The elements of the list `name` by their numbers, each with its members:
    /// `Tags.member.1.Key` is member `Key` of `Tags`' first. An element that is a value itself has it
    /// under the empty name. Numbers may leave gaps; what is no number from 1 up is no element.
    #[must_use]
    pub fn list(&self, name: &str, style: ListStyle) -> Vec<Self> {
        let prefix = match style {
            ListStyle::Member => format!("{name}.member."),
            ListStyle::Flat => format!("{name}."),
        };
        let mut elements: BTreeMap<u32, Self> = BTreeMap::new();
        for (full, value) in self.values.range(prefix.clone()..) {
            let Some(rest) = full.strip_prefix(&prefix) else { break };
            let (number, member) = rest.split_once('.').unwrap_or((rest, ""));
            let Some(number) = index(number) else { continue };
            let element = elements.entry(number).or_default();
            element.values.insert(member.to_owned(), value.clone());
        }
        elements.into_values().collect()
    }

    /// The values of the list `name` whose elements are plain.
    #[must_use]
    pub fn value_list(&self, name: &str, style: ListStyle) -> Vec<String> {
        let elements = self.list(name, style).into_iter();
        elements.filter_map(|mut element| element.values.remove("")).collect()
    }

    /// The members of the structure `name`: `Filter.Name` is member `Name` of `Filter`.
    #[must_use]
    pub fn structure(&self, name: &str) -> Self {
        let prefix = format!("{name}.");
        let members = self.values.range(prefix.clone()..);
        let values = members
            .map_while(|(full, value)| {
                Some((full.strip_prefix(&prefix)?.to_owned(), value.clone()))
            })
            .collect();
        Self { values }
    }
}

// Values may be tokens: only the names are shown.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// A number of a list: from 1, without leading zeros, so that two names are two elements.
fn index(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}

fn decode(text: &str, len_max: usize) -> Result<String, QueryFault> {
    if !percent::is_well_formed(text) {
        return Err(QueryFault::Malformed);
    }
    let bytes: Cow<'_, [u8]> = percent::decode_form(text);
    if bytes.len() > len_max {
        return Err(QueryFault::TooLarge);
    }
    String::from_utf8(bytes.into_owned()).map_err(|_| QueryFault::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(form: &str) -> Params {
        Params::parse(form, Limits::default()).unwrap()
    }

    #[test]
    fn parameters_are_decoded() {
        let params =
            parse("Action=AssumeRole&Version=2011-06-15&&RoleArn=arn%3Aaws+%2B%c3%a9&Empty=&None");
        assert_eq!(params.action(), Ok("AssumeRole"));
        assert_eq!(params.version(), Some("2011-06-15"));
        assert_eq!(params.get("RoleArn"), Some("arn:aws +\u{e9}"));
        assert_eq!(
            (params.get("Empty"), params.get("None"), params.get("x")),
            (Some(""), Some(""), None)
        );
        assert_eq!(params.len(), 5);
        assert!(!format!("{params:?}").contains("arn"));
    }

    #[test]
    fn lists_go_by_their_numbers() {
        let params = parse(
            "Tags.member.10.Key=j&Tags.member.2.Key=b&Tags.member.2.Value=2&Tags.member.1.Key=a&\
             Tags.member.01.Key=no&Tags.member.0.Key=no&Tags.member.x.Key=no&Tags.member.99999999999=no&\
             Tags=no&Tagsx.member.1=no&PolicyArns.member.1.arn=p&Keys.member.2=two&Keys.member.1=one",
        );
        let tags = params.list("Tags", ListStyle::Member);
        let keys: Vec<_> = tags.iter().map(|tag| (tag.get("Key"), tag.get("Value"))).collect();
        assert_eq!(keys, [(Some("a"), None), (Some("b"), Some("2")), (Some("j"), None)]);
        assert_eq!(params.list("PolicyArns", ListStyle::Member)[0].get("arn"), Some("p"));
        assert_eq!(params.value_list("Keys", ListStyle::Member), ["one", "two"]);
        assert!(params.list("None", ListStyle::Member).is_empty());
    }

    #[test]
    fn flat_lists_nest() {
        let params = parse(
            "Filter.1.Name=tag:a&Filter.1.Value.2=y&Filter.1.Value.1=x&VolumeId.1=vol-1&Ebs.Size=5",
        );
        let filters = params.list("Filter", ListStyle::Flat);
        assert_eq!(filters.len(), 1);
        assert_eq!(filters[0].get("Name"), Some("tag:a"));
        assert_eq!(filters[0].value_list("Value", ListStyle::Flat), ["x", "y"]);
        assert_eq!(params.value_list("VolumeId", ListStyle::Flat), ["vol-1"]);
        assert_eq!(params.structure("Ebs").get("Size"), Some("5"));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let refused =
            |form: &str| Params::parse(form, Limits { count: 2, name_len: 4, value_len: 4 });
        for form in ["a=%", "a=%f", "a=%zz", "%=a", "a=%ff"] {
            assert_eq!(refused(form), Err(QueryFault::Malformed), "{form}");
        }
        for form in ["a=1&b=2&c=3", "abcde=1", "a=12345"] {
            assert_eq!(refused(form), Err(QueryFault::TooLarge), "{form}");
        }
        assert!(refused("abcd=%31%32%33%34&b=").is_ok());
        assert_eq!(refused("a=1&%61=2"), Err(QueryFault::Duplicate("a".to_owned())));
        assert_eq!(Params::parse_body(b"a=\xff", Limits::default()), Err(QueryFault::Malformed));
        assert_eq!(parse("Action=").action(), Err(QueryFault::NoAction));
        let fault = QueryFault::NoAction.fault(Protocol::Query);
        assert_eq!((fault.code(), fault.status().as_u16()), ("MissingAction", 400));
    }

    proptest! {
        #[test]
        fn any_pairs_survive_encoding(pairs in proptest::collection::btree_map(".{1,8}", ".{0,8}", 0..8)) {
            let encode = |text: &str| String::from_utf8(percent::encoded(text.as_bytes())).unwrap();
            let form: Vec<String> =
                pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
            let params = parse(&form.join("&"));
            prop_assert_eq!(params.values, pairs);
        }
    }
}
