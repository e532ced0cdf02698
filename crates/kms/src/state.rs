//! The keys, aliases and grants of a KMS, and the changes that lead from one state to the next.
//! It knows neither where changes are kept nor who may ask for them.

mod body;
mod change;
mod grant;
mod grants;
mod key;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use sealvol_core::UnixMillis;
use serde::{Deserialize, Serialize};

pub use body::{BodyError, check_change_body, check_snapshot_body};
pub(crate) use body::{decode_change, decode_snapshot, encode_change, encode_snapshot};
pub(crate) use change::{Change, Misfit};
pub(crate) use grant::{Constraint, GrantRecord, GrantTerms, Operations};
pub(crate) use grants::{GrantTable, Lookup};
pub(crate) use key::{Key, KeyRecord, KeyStatus, Material, Rotation, RotationKind};

use crate::ids::KeyId;
use crate::secret::Secret;
use crate::token::TokenMaker;

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AliasRecord {
    /// The account that it is in; empty for the KMS's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) account: String,
    /// With the `alias/` prefix.
    pub(crate) name: String,
    pub(crate) target: KeyId,
    pub(crate) created: UnixMillis,
    pub(crate) updated: UnixMillis,
}

/// Everything the KMS knows.
#[derive(Debug)]
pub(crate) struct State {
    token_secret: Secret,
    pub(crate) tokens: TokenMaker,
    keys: BTreeMap<KeyId, Key>,
    /// By account, then name.
    aliases: BTreeMap<String, BTreeMap<String, AliasRecord>>,
    /// When something is to happen to a key by itself: a rotation or its deletion.
    due: BTreeSet<(UnixMillis, KeyId)>,
}

impl State {
    /// A KMS without keys. `token_secret` authenticates its grant tokens.
    pub(crate) fn new(token_secret: Secret) -> Self {
        Self {
            tokens: TokenMaker::new(&token_secret),
            token_secret,
            keys: BTreeMap::new(),
            aliases: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    pub(crate) fn key(&self, id: KeyId) -> Option<&Key> {
        self.keys.get(&id)
    }

    pub(crate) fn alias(&self, account: &str, name: &str) -> Option<&AliasRecord> {
        self.aliases.get(account)?.get(name)
    }

    /// By key id, of all accounts.
    pub(crate) fn keys(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.keys.values()
    }

    /// By key id, from behind `after` on.
    pub(crate) fn keys_after(&self, after: Option<KeyId>) -> impl Iterator<Item = &Key> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.keys.range((start, Bound::Unbounded)).map(|(_, key)| key)
    }

    /// Of one account, by name, from behind `after` on.
    pub(crate) fn aliases_of(
        &self,
        account: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &AliasRecord> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.aliases
            .get(account)
            .into_iter()
            .flat_map(move |names| names.range::<str, _>((start, Bound::Unbounded)))
            .map(|(_, alias)| alias)
    }

    /// Of all accounts, by account and name.
    pub(crate) fn aliases(&self) -> impl Iterator<Item = &AliasRecord> {
        self.aliases.values().flat_map(BTreeMap::values)
    }

    /// When the next thing is due.
    pub(crate) fn next_due(&self) -> Option<(UnixMillis, KeyId)> {
        self.due.first().copied()
    }
}
