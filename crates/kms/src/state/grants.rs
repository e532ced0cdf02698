//! The grants of one key, indexed so that a request is decided in time that does not grow with
//! their number: 50,000 grants of one grantee differ in their constraint, so each is filed under
//! what its constraint asks for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sealvol_envelope::{EncryptionContext, GrantOperation};

use super::grant::{Constraint, GrantRecord, GrantTerms};
use crate::ids::GrantId;

type Ids = BTreeSet<GrantId>;

/// The grants of one key.
#[derive(Debug, Default)]
pub(crate) struct GrantTable {
    by_id: BTreeMap<GrantId, Arc<GrantRecord>>,
    /// Named grants by their identical terms.
    by_terms: HashMap<[u8; 32], GrantId>,
    by_grantee: HashMap<String, GranteeIndex>,
}

/// One grantee's grants. Each is in `all` and in exactly one of the other three.
#[derive(Debug, Default)]
struct GranteeIndex {
    all: Ids,
    /// How many of them allow each operation, to answer "none" at once.
    allowing: [usize; GrantOperation::ALL.len()],
    /// Without constraint, or with an empty Subset.
    any_context: Ids,
    /// By the canonical context.
    equals: HashMap<Vec<u8>, Ids>,
    /// By one pair of the subset, name then value.
    subset: HashMap<String, HashMap<String, Ids>>,
}

/// What a request looks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lookup<'a> {
    /// Grants whose constraint allows this context.
    Context(&'a EncryptionContext),
    /// Grants of any constraint.
    AnyConstraint,
}

impl GrantTable {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get(&self, id: GrantId) -> Option<&Arc<GrantRecord>> {
        self.by_id.get(&id)
    }

    /// By grant id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<GrantRecord>> {
        self.by_id.values()
    }

    /// The named grant with exactly these terms.
    pub(crate) fn identical(&self, terms: &GrantTerms) -> Option<&Arc<GrantRecord>> {
        let found = self.get(*self.by_terms.get(&terms.digest()?)?)?;
        (found.terms == *terms).then_some(found)
    }

    /// Whether a grant of `grantee` that satisfies `usable` allows `operation`.
    pub(crate) fn any_allows(
        &self,
        grantee: &str,
        operation: GrantOperation,
        lookup: Lookup<'_>,
        usable: impl Fn(&GrantRecord) -> bool,
    ) -> bool {
        let Some(index) = self.by_grantee.get(grantee) else { return false };
        if index.allowing.get(operation as usize).is_none_or(|count| *count == 0) {
            return false;
        }
        let context = match lookup {
            Lookup::Context(context) => Some(context),
            Lookup::AnyConstraint => None,
        };
        let allows = |id: &GrantId| {
            self.by_id
                .get(id)
                .is_some_and(|grant| grant.terms.allow(operation, context) && usable(grant))
        };
        let Some(context) = context else { return index.all.iter().any(allows) };
        index.any_context.iter().any(allows)
            || (!index.equals.is_empty()
                && index.equals.get(&context.canonical()).is_some_and(|ids| ids.iter().any(allows)))
            || context.iter().any(|(name, value)| {
                index
                    .subset
                    .get(name)
                    .and_then(|values| values.get(value))
                    .is_some_and(|ids| ids.iter().any(allows))
            })
    }

    pub(super) fn insert(&mut self, grant: GrantRecord) {
        let id = grant.id;
        if let Some(digest) = grant.terms.digest() {
            self.by_terms.insert(digest, id);
        }
        self.by_grantee.entry(grant.terms.grantee.clone()).or_default().insert(id, &grant.terms);
        self.by_id.insert(id, Arc::new(grant));
    }

    pub(super) fn remove(&mut self, id: GrantId) {
        let Some(grant) = self.by_id.remove(&id) else { return };
        if let Some(digest) = grant.terms.digest()
            && self.by_terms.get(&digest) == Some(&id)
        {
            self.by_terms.remove(&digest);
        }
        if let Some(index) = self.by_grantee.get_mut(&grant.terms.grantee) {
            index.remove(id, &grant.terms);
            if index.all.is_empty() {
                self.by_grantee.remove(&grant.terms.grantee);
            }
        }
    }
}

impl GranteeIndex {
    fn insert(&mut self, id: GrantId, terms: &GrantTerms) {
        self.all.insert(id);
        for operation in terms.operations.iter() {
            if let Some(count) = self.allowing.get_mut(operation as usize) {
                *count += 1;
            }
        }
        match &terms.constraint {
            Some(Constraint::Equals(pairs)) => {
                self.equals.entry(pairs.canonical()).or_default().insert(id);
            }
            Some(Constraint::Subset(pairs)) if !pairs.is_empty() => {
                // Under the pair that fewest grants have: the volume's id rather than the
                // cluster's name.
                let filed = |name: &str, value: &str| {
                    self.subset.get(name).and_then(|v| v.get(value)).map_or(0, BTreeSet::len)
                };
                if let Some((name, value)) =
                    pairs.iter().min_by_key(|(name, value)| filed(name, value))
                {
                    let values = self.subset.entry(name.to_owned()).or_default();
                    values.entry(value.to_owned()).or_default().insert(id);
                }
            }
            _ => {
                self.any_context.insert(id);
            }
        }
    }

    fn remove(&mut self, id: GrantId, terms: &GrantTerms) {
        self.all.remove(&id);
        self.any_context.remove(&id);
        for operation in terms.operations.iter() {
            if let Some(count) = self.allowing.get_mut(operation as usize) {
                *count = count.saturating_sub(1);
            }
        }
        match &terms.constraint {
            Some(Constraint::Equals(pairs)) => {
                remove_from(&mut self.equals, &pairs.canonical(), id);
            }
            Some(Constraint::Subset(pairs)) => {
                // Which pair it is filed under depends on what was there then: look under each.
                for (name, value) in pairs.iter() {
                    if let Some(values) = self.subset.get_mut(name) {
                        remove_from(values, value, id);
                        if values.is_empty() {
                            self.subset.remove(name);
                        }
                    }
                }
            }
            None => {}
        }
    }
}

fn remove_from<K, Q>(index: &mut HashMap<K, Ids>, key: &Q, id: GrantId)
where
    K: std::borrow::Borrow<Q> + std::hash::Hash + Eq,
    Q: std::hash::Hash + Eq + ?Sized,
{
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sealvol_core::UnixMillis;

    use super::*;
    use crate::state::Operations;

    fn contexts() -> impl Strategy<Value = EncryptionContext> {
        proptest::collection::btree_map("[ab]", "[12]", 0..3)
            .prop_map(|pairs| EncryptionContext::from_pairs(pairs).unwrap())
    }

    fn terms() -> impl Strategy<Value = GrantTerms> {
        let constraint = prop_oneof![
            Just(None),
            contexts().prop_map(|c| Some(Constraint::Equals(c))),
            contexts().prop_map(|c| Some(Constraint::Subset(c))),
        ];
        let operations = proptest::sample::subsequence(GrantOperation::ALL.to_vec(), 1..4);
        ("[xy]", operations, constraint, proptest::option::of("[n]")).prop_map(
            |(grantee, operations, constraint, name)| GrantTerms {
                grantee,
                retiring: None,
                operations: operations.into_iter().collect::<Operations>(),
                constraint,
                name,
                grantee_is_service: false,
                retiring_is_service: false,
                source_arn: None,
            },
        )
    }

    proptest! {
        /// The index answers as a scan over all grants does, and is empty when they are gone.
        #[test]
        fn index_agrees_with_a_scan(
            all in proptest::collection::vec((terms(), any::<bool>()), 0..24),
            context in contexts(),
        ) {
            let mut table = GrantTable::default();
            let mut kept = Vec::new();
            for (number, (terms, keep)) in all.iter().enumerate() {
                let id = GrantId([u8::try_from(number).unwrap(); 32]);
                let record =
                    GrantRecord { id, created: UnixMillis(0), issuer: "i".into(), issuer_account: String::new(), terms: terms.clone() };
                table.insert(record.clone());
                if *keep { kept.push(record) }
            }
            for (number, (_, keep)) in all.iter().enumerate() {
                if !keep { table.remove(GrantId([u8::try_from(number).unwrap(); 32])) }
            }
            prop_assert_eq!(table.len(), kept.len());
            for grantee in ["x", "y"] {
                for operation in GrantOperation::ALL {
                    for lookup in [Lookup::Context(&context), Lookup::AnyConstraint] {
                        let asked = match lookup {
                            Lookup::Context(context) => Some(context),
                            Lookup::AnyConstraint => None,
                        };
                        let scanned = kept.iter().any(|grant| {
                            grant.terms.grantee == grantee && grant.terms.allow(operation, asked)
                        });
                        prop_assert_eq!(
                            table.any_allows(grantee, operation, lookup, |_| true),
                            scanned
                        );
                    }
                }
            }
            for record in kept {
                table.remove(record.id);
            }
            prop_assert!(table.by_grantee.is_empty() && table.by_terms.is_empty());
        }
    }
}
