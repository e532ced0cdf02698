//! The encryption context: non-secret name-value pairs that a wrapped key is bound to.

use std::collections::BTreeMap;

/// Longest canonical form that is accepted, in bytes. AWS documents no limit of its own; this one
/// is far above any context that EBS or ECS uses and keeps superblocks bounded.
const MAX_CANONICAL_LEN: usize = 8192;

/// Why a context was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// A name occurs twice.
    #[error("the encryption context names '{0}' twice")]
    Duplicate(String),
    /// The canonical form is longer than 8192 bytes.
    #[error("the encryption context is {0} bytes long; at most 8192 are accepted")]
    TooLong(usize),
    /// Not the canonical form.
    #[error("the stored encryption context is not in canonical form")]
    NotCanonical,
}

/// A set of name-value pairs, without order, compared exactly (case and all, no normalisation).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct EncryptionContext {
    pairs: BTreeMap<String, String>,
}

impl EncryptionContext {
    /// The empty context, which equals no context at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Collects pairs in any order.
    ///
    /// # Errors
    /// [`ContextError::Duplicate`] when a name occurs twice, [`ContextError::TooLong`].
    pub fn from_pairs<K, V, I>(pairs: I) -> Result<Self, ContextError>
    where
        K: Into<String>,
        V: Into<String>,
        I: IntoIterator<Item = (K, V)>,
    {
        let mut map = BTreeMap::new();
        for (name, value) in pairs {
            let name = name.into();
            if map.contains_key(&name) {
                return Err(ContextError::Duplicate(name));
            }
            map.insert(name, value.into());
        }
        let context = Self { pairs: map };
        match context.canonical_len() {
            len if len > MAX_CANONICAL_LEN => Err(ContextError::TooLong(len)),
            _ => Ok(context),
        }
    }

    /// Takes pairs as they are, of whatever length: for a KMS, which has its own limit. Volumes use
    /// [`from_pairs`](Self::from_pairs), because a superblock's room is bounded.
    #[must_use]
    pub const fn from_map(pairs: BTreeMap<String, String>) -> Self {
        Self { pairs }
    }

    /// The context of an EBS volume: `aws:ebs:id` and the volume's id.
    ///
    /// # Errors
    /// [`ContextError::TooLong`] for an absurdly long id.
    pub fn for_volume(volume_name: &str) -> Result<Self, ContextError> {
        Self::from_pairs([("aws:ebs:id", volume_name)])
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.get(name).map(String::as_str)
    }

    /// The pairs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether every pair of `subset` is in this context.
    #[must_use]
    pub fn contains_all(&self, subset: &Self) -> bool {
        subset.iter().all(|(name, value)| self.get(name) == Some(value))
    }

    /// Length of [`canonical`](Self::canonical), bytes.
    #[must_use]
    pub fn canonical_len(&self) -> usize {
        self.pairs.iter().map(|(name, value)| 8 + name.len() + value.len()).sum()
    }

    /// The canonical bytes: pairs sorted by the UTF-8 bytes of their names, each string preceded by
    /// its length as a big-endian u32, so that `{a: bc}` and `{ab: c}` differ.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.canonical_len());
        for text in self.pairs.iter().flat_map(|(k, v)| [k, v]) {
            let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// Reads what [`canonical`](Self::canonical) wrote.
    ///
    /// # Errors
    /// [`ContextError::NotCanonical`] for anything else, [`ContextError::TooLong`].
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, ContextError> {
        if bytes.len() > MAX_CANONICAL_LEN {
            return Err(ContextError::TooLong(bytes.len()));
        }
        fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
            let (len, tail) = rest.split_first_chunk::<4>()?;
            let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
            let (text, tail) = tail.split_at_checked(len)?;
            *rest = tail;
            std::str::from_utf8(text).ok()
        }
        let mut rest = bytes;
        let mut pairs = BTreeMap::new();
        while !rest.is_empty() {
            let name = take(&mut rest).ok_or(ContextError::NotCanonical)?;
            let value = take(&mut rest).ok_or(ContextError::NotCanonical)?;
            if pairs.last_key_value().is_some_and(|(last, _): (&String, _)| last.as_str() >= name) {
                return Err(ContextError::NotCanonical);
            }
            pairs.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self { pairs })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
        EncryptionContext::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn order_does_not_matter_and_case_does() {
        assert_eq!(context(&[("a", "1"), ("b", "2")]), context(&[("b", "2"), ("a", "1")]));
        assert_ne!(context(&[("a", "1")]), context(&[("A", "1")]));
        assert_ne!(context(&[("a", "x")]), context(&[("a", "X")]));
    }

    #[test]
    fn lengths_keep_boundaries() {
        assert_ne!(context(&[("a", "bc")]).canonical(), context(&[("ab", "c")]).canonical());
    }

    #[test]
    fn duplicates_and_oversize_are_refused() {
        assert_eq!(
            EncryptionContext::from_pairs([("a", "1"), ("a", "2")]),
            Err(ContextError::Duplicate("a".into()))
        );
        let long = "x".repeat(9000);
        assert!(matches!(
            EncryptionContext::from_pairs([("a", long)]),
            Err(ContextError::TooLong(_))
        ));
    }

    #[test]
    fn only_the_canonical_form_is_read() {
        let mut unsorted = context(&[("b", "2")]).canonical();
        unsorted.extend(context(&[("a", "1")]).canonical());
        assert_eq!(EncryptionContext::from_canonical(&unsorted), Err(ContextError::NotCanonical));
        assert_eq!(EncryptionContext::from_canonical(&[0, 0]), Err(ContextError::NotCanonical));
    }

    proptest! {
        #[test]
        fn canonical_form_round_trips(pairs in proptest::collection::btree_map(".{0,12}", ".{0,12}", 0..8)) {
            let context = EncryptionContext::from_pairs(pairs).unwrap();
            prop_assert_eq!(EncryptionContext::from_canonical(&context.canonical()), Ok(context));
        }
    }
}
