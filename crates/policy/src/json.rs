//! JSON as a tree that keeps what a policy's reader has to see: the order of members, and members
//! that are there twice, which a map would swallow.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::error::{PolicyError, PolicyErrorKind};

/// One JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// Reads a document of at most `depth` levels.
pub(crate) fn parse(text: &str, depth: usize) -> Result<Node, PolicyErrorKind> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let node = Levels(depth).deserialize(&mut reader);
    node.and_then(|node| reader.end().map(|()| node))
        .map_err(|error| PolicyErrorKind::NotJson(error.to_string()))
}

/// How many levels of lists and objects are left.
struct Levels(usize);

impl Levels {
    fn below<E: de::Error>(&self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("nested too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = Node;
    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = from.next_element_seed(self.below()?)? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = from.next_key::<String>()? {
            members.push((name, from.next_value_seed(self.below()?)?));
        }
        Ok(Node::Object(members))
    }
}

/// A node with the way to it.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) node: &'a Node,
    above: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Top,
    Name(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    pub(crate) fn top(node: &'a Node) -> Self {
        Self { node, above: None, step: Step::Top }
    }

    /// A member of this object.
    pub(crate) fn member(&'a self, name: &'a str, node: &'a Node) -> Self {
        Self { node, above: Some(self), step: Step::Name(name) }
    }

    pub(crate) fn error(&self, kind: PolicyErrorKind) -> PolicyError {
        PolicyError { path: self.path(), kind }
    }

    /// As in `Statement[0].Condition.Bool`.
    pub(crate) fn path(&self) -> String {
        let mut path = self.above.map(Self::path).unwrap_or_default();
        match self.step {
            Step::Top => {}
            Step::Index(index) => path.push_str(&format!("[{index}]")),
            Step::Name(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.extend(name.chars().take(128));
            }
        }
        path
    }

    pub(crate) fn text(&self) -> Result<&'a str, PolicyError> {
        match self.node {
            Node::Text(text) => Ok(text),
            _ => Err(self.error(PolicyErrorKind::WrongType("a string"))),
        }
    }

    /// A condition's value: AWS takes booleans and numbers for the strings that they print as.
    pub(crate) fn scalar(&self) -> Result<&'a str, PolicyError> {
        match self.node {
            Node::Text(text) | Node::Number(text) => Ok(text),
            Node::Bool(true) => Ok("true"),
            Node::Bool(false) => Ok("false"),
            Node::Null | Node::List(_) | Node::Object(_) => {
                Err(self.error(PolicyErrorKind::WrongType("a string, a number or a boolean")))
            }
        }
    }

    /// The members of an object, each there once.
    pub(crate) fn members(&self) -> Result<&'a [(String, Node)], PolicyError> {
        let Node::Object(members) = self.node else {
            return Err(self.error(PolicyErrorKind::WrongType("an object")));
        };
        let mut seen = HashSet::with_capacity(members.len());
        for (name, node) in members {
            if !seen.insert(name.as_str()) {
                return Err(self.member(name, node).error(PolicyErrorKind::Duplicate));
            }
        }
        Ok(members)
    }

    /// Reads each element of a list, or the one value that stands for a list of one. An empty list
    /// is refused: nobody means "no action", and with a negated element it would mean "all".
    pub(crate) fn each<T>(
        &self,
        what: &'static str,
        max: usize,
        mut read: impl FnMut(Place<'_>) -> Result<T, PolicyError>,
    ) -> Result<Box<[T]>, PolicyError> {
        let Node::List(list) = self.node else { return Ok([read(*self)?].into()) };
        if list.is_empty() {
            return Err(self.error(PolicyErrorKind::Missing(what)));
        }
        if list.len() > max {
            let len = list.len();
            return Err(self.error(PolicyErrorKind::TooMany { what, len, max }));
        }
        let places = list.iter().enumerate();
        places
            .map(|(index, node)| read(Place { node, above: Some(self), step: Step::Index(index) }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_kept_in_order_and_twice() {
        let node = parse(r#"{"b": 1, "a": [true, null], "b": 1.5}"#, 4).unwrap();
        let Node::Object(members) = &node else { panic!("{node:?}") };
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a", "b"]);
        let error = Place::top(&node).members().unwrap_err();
        assert_eq!((error.path.as_str(), error.kind), ("b", PolicyErrorKind::Duplicate));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse("[[1]]", 2).is_ok());
        assert!(parse("[[[1]]]", 2).unwrap_err().to_string().contains("too deep"));
        assert!(parse(&"[".repeat(100_000), 1 << 20).is_err());
        assert!(parse("{} {}", 2).is_err());
    }
}
