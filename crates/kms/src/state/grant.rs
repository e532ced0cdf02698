//! One grant: its terms, and whether they allow a request.

use std::collections::BTreeMap;

use sealvol_core::UnixMillis;
use sealvol_envelope::{EncryptionContext, GrantConstraint, GrantOperation};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::ids::GrantId;

/// A set of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Operations(u32);

impl Operations {
    const fn bit(operation: GrantOperation) -> u32 {
        1 << operation as u16
    }

    pub(crate) const fn contains(self, operation: GrantOperation) -> bool {
        self.0 & Self::bit(operation) != 0
    }

    pub(crate) const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = GrantOperation> {
        GrantOperation::ALL.into_iter().filter(move |operation| self.contains(*operation))
    }
}

impl FromIterator<GrantOperation> for Operations {
    fn from_iter<I: IntoIterator<Item = GrantOperation>>(operations: I) -> Self {
        Self(operations.into_iter().fold(0, |bits, operation| bits | Self::bit(operation)))
    }
}

impl Serialize for Operations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(GrantOperation::as_str))
    }
}

impl<'de> Deserialize<'de> for Operations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<String>::deserialize(deserializer)?
            .iter()
            .map(|name| {
                GrantOperation::from_name(name)
                    .ok_or_else(|| de::Error::custom("unknown grant operation"))
            })
            .collect()
    }
}

/// [`GrantConstraint`], as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Constraint {
    Equals(#[serde(with = "pairs")] EncryptionContext),
    Subset(#[serde(with = "pairs")] EncryptionContext),
}

impl Constraint {
    pub(crate) fn allows(&self, context: &EncryptionContext) -> bool {
        match self {
            Self::Equals(pairs) => context == pairs,
            Self::Subset(pairs) => context.contains_all(pairs),
        }
    }

    /// Whether every context that this constraint allows is allowed by `parent`, in the form that
    /// KMS checks it: equal or stricter, Subset to Equals but never back.
    pub(crate) fn narrows(child: Option<&Self>, parent: Option<&Self>) -> bool {
        match (child, parent) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(Self::Equals(child)), Some(Self::Equals(parent))) => child == parent,
            (Some(Self::Subset(_)), Some(Self::Equals(_))) => false,
            (Some(Self::Equals(child) | Self::Subset(child)), Some(Self::Subset(parent))) => {
                child.contains_all(parent)
            }
        }
    }
}

impl From<GrantConstraint> for Constraint {
    fn from(constraint: GrantConstraint) -> Self {
        match constraint {
            GrantConstraint::EncryptionContextEquals(pairs) => Self::Equals(pairs),
            GrantConstraint::EncryptionContextSubset(pairs) => Self::Subset(pairs),
        }
    }
}

impl From<Constraint> for GrantConstraint {
    fn from(constraint: Constraint) -> Self {
        match constraint {
            Constraint::Equals(pairs) => Self::EncryptionContextEquals(pairs),
            Constraint::Subset(pairs) => Self::EncryptionContextSubset(pairs),
        }
    }
}

/// An encryption context as a JSON object.
mod pairs {
    use super::{BTreeMap, Deserialize, Deserializer, EncryptionContext, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        context: &EncryptionContext,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(context.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<EncryptionContext, D::Error> {
        let pairs = BTreeMap::<String, String>::deserialize(deserializer)?;
        EncryptionContext::from_pairs(pairs).map_err(de::Error::custom)
    }
}

/// What a grant allows to whom: everything that must be identical for a named grant to be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantTerms {
    pub(crate) grantee: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retiring: Option<String>,
    pub(crate) operations: Operations,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) constraint: Option<Constraint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Given as `GranteeServicePrincipal`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) grantee_is_service: bool,
    /// Given as `RetiringServicePrincipal`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) retiring_is_service: bool,
    /// On whose behalf a service calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source_arn: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl GrantTerms {
    /// Whether the terms allow `operation` with `context` (`None` for operations without one).
    pub(crate) fn allow(
        &self,
        operation: GrantOperation,
        context: Option<&EncryptionContext>,
    ) -> bool {
        let constraint_holds = match (&self.constraint, context) {
            (None, _) => true,
            (Some(constraint), Some(context)) => constraint.allows(context),
            // DescribeKey and RetireGrant have no context and ignore the constraint; CreateGrant
            // compares constraints instead (`narrows`).
            (Some(_), None) => matches!(
                operation,
                GrantOperation::DescribeKey
                    | GrantOperation::RetireGrant
                    | GrantOperation::CreateGrant
            ),
        };
        self.operations.contains(operation) && constraint_holds
    }

    /// Whether a grant with these terms may be made by the holder of `parent`.
    pub(crate) fn narrow(&self, parent: &Self) -> bool {
        parent.operations.contains(GrantOperation::CreateGrant)
            && self.operations.is_subset_of(parent.operations)
            && Constraint::narrows(self.constraint.as_ref(), parent.constraint.as_ref())
            && (parent.source_arn.is_none() || self.source_arn == parent.source_arn)
    }

    /// A digest for finding identical terms; `None` for unnamed grants, which are never the same.
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        let Self { grantee, retiring, operations, constraint, name, .. } = self;
        let name = name.as_ref()?;
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(bytes);
        };
        field(name.as_bytes());
        field(grantee.as_bytes());
        field(&[u8::from(retiring.is_some())]);
        field(retiring.as_deref().unwrap_or_default().as_bytes());
        field(&operations.0.to_be_bytes());
        field(&[u8::from(self.grantee_is_service), u8::from(self.retiring_is_service)]);
        field(&[u8::from(self.source_arn.is_some())]);
        field(self.source_arn.as_deref().unwrap_or_default().as_bytes());
        match constraint {
            None => field(b"-"),
            Some(Constraint::Equals(pairs)) => {
                field(b"=");
                field(&pairs.canonical());
            }
            Some(Constraint::Subset(pairs)) => {
                field(b"<");
                field(&pairs.canonical());
            }
        }
        Some(hash.finalize().into())
    }
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantRecord {
    pub(crate) id: GrantId,
    pub(crate) created: UnixMillis,
    /// The principal that made it.
    pub(crate) issuer: String,
    /// Its account; empty for the KMS's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) issuer_account: String,
    pub(crate) terms: GrantTerms,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_a_set() {
        use GrantOperation::{Decrypt, DescribeKey, Encrypt};
        let some: Operations = [Encrypt, Decrypt, Encrypt].into_iter().collect();
        assert_eq!(some.iter().collect::<Vec<_>>(), [Decrypt, Encrypt]);
        assert!(some.contains(Decrypt) && !some.contains(DescribeKey));
        assert!([Encrypt].into_iter().collect::<Operations>().is_subset_of(some));
        assert!(!GrantOperation::ALL.into_iter().collect::<Operations>().is_subset_of(some));
    }

    #[test]
    fn terms_are_stored_by_aws_names() {
        let terms = GrantTerms {
            grantee: "g".into(),
            retiring: None,
            operations: [GrantOperation::Decrypt].into_iter().collect(),
            constraint: Some(Constraint::Subset(EncryptionContext::for_volume("vol-1").unwrap())),
            name: None,
            grantee_is_service: false,
            retiring_is_service: false,
            source_arn: None,
        };
        let text = serde_json::to_string(&terms).unwrap();
        assert_eq!(
            text,
            r#"{"grantee":"g","operations":["Decrypt"],"constraint":{"subset":{"aws:ebs:id":"vol-1"}}}"#
        );
        assert_eq!(serde_json::from_str::<GrantTerms>(&text).unwrap(), terms);
    }
}
