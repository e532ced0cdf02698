//! The keys, aliases and grants of a KMS, and the changes that lead from one state to the next.
//! It knows neither where changes are kept nor who may ask for them.

mod body;
mod grant;
mod grants;

use std::collections::BTreeMap;

use sealvol_core::UnixMillis;
use sealvol_envelope::KeyState;
use serde::{Deserialize, Serialize};

pub use body::{BodyError, check_change_body, check_snapshot_body};
pub(crate) use body::{decode_change, decode_snapshot, encode_change, encode_snapshot};
pub(crate) use grant::{GrantRecord, GrantTerms, Operations};
pub(crate) use grants::{GrantTable, Lookup};

use crate::ids::{GrantId, KeyId, MaterialId};
use crate::secret::Secret;
use crate::token::TokenMaker;

/// A key's state, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum KeyStatus {
    Enabled,
    Disabled,
    PendingDeletion { delete_at: UnixMillis },
}

impl From<KeyStatus> for KeyState {
    fn from(status: KeyStatus) -> Self {
        match status {
            KeyStatus::Enabled => Self::Enabled,
            KeyStatus::Disabled => Self::Disabled,
            KeyStatus::PendingDeletion { .. } => Self::PendingDeletion,
        }
    }
}

/// One backing key. Rotation adds one and makes it current; none is ever removed while the key
/// exists, because ciphertexts name the material that made them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Material {
    pub(crate) id: MaterialId,
    pub(crate) created: UnixMillis,
    pub(crate) secret: Secret,
}

/// A key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRecord {
    pub(crate) id: KeyId,
    pub(crate) description: String,
    pub(crate) status: KeyStatus,
    pub(crate) created: UnixMillis,
    /// The material that new ciphertexts are made with.
    pub(crate) current: MaterialId,
    pub(crate) materials: Vec<Material>,
}

impl KeyRecord {
    pub(crate) fn material(&self, id: MaterialId) -> Option<&Material> {
        self.materials.iter().find(|material| material.id == id)
    }

    fn is_consistent(&self) -> bool {
        let mut ids: Vec<_> = self.materials.iter().map(|material| material.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len() == self.materials.len() && self.material(self.current).is_some()
    }
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AliasRecord {
    /// With the `alias/` prefix.
    pub(crate) name: String,
    pub(crate) target: KeyId,
    pub(crate) created: UnixMillis,
    pub(crate) updated: UnixMillis,
}

/// One step from a state to the next: what a journal record holds. A build that adds a variant
/// raises the store's version, so that older builds refuse the store instead of misreading it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Change {
    KeyCreated(KeyRecord),
    /// In one record, so that a crash leaves neither without the other.
    KeyCreatedWithAlias(KeyRecord, AliasRecord),
    KeyStatusSet {
        key: KeyId,
        status: KeyStatus,
    },
    AliasCreated(AliasRecord),
    GrantCreated {
        key: KeyId,
        grant: GrantRecord,
    },
    GrantRemoved {
        key: KeyId,
        grant: GrantId,
    },
}

/// The change does not fit the state: it names something that is not there, or makes something
/// that is. In a store this is damage; in the running KMS, a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the change does not fit the state: {0}")]
pub(crate) struct Misfit(&'static str);

/// A key with its grants.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) record: KeyRecord,
    pub(crate) grants: GrantTable,
}

/// Everything the KMS knows.
#[derive(Debug)]
pub(crate) struct State {
    token_secret: Secret,
    pub(crate) tokens: TokenMaker,
    keys: BTreeMap<KeyId, Key>,
    aliases: BTreeMap<String, AliasRecord>,
}

impl State {
    /// A KMS without keys. `token_secret` authenticates its grant tokens.
    pub(crate) fn new(token_secret: Secret) -> Self {
        Self {
            tokens: TokenMaker::new(&token_secret),
            token_secret,
            keys: BTreeMap::new(),
            aliases: BTreeMap::new(),
        }
    }

    pub(crate) fn key(&self, id: KeyId) -> Option<&Key> {
        self.keys.get(&id)
    }

    pub(crate) fn alias(&self, name: &str) -> Option<&AliasRecord> {
        self.aliases.get(name)
    }

    /// By key id.
    pub(crate) fn keys(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.keys.values()
    }

    /// By name.
    pub(crate) fn aliases(&self) -> impl ExactSizeIterator<Item = &AliasRecord> {
        self.aliases.values()
    }

    /// Whether `change` fits. [`apply`](Self::apply) succeeds on exactly the changes that do, so
    /// a change is checked before it is made durable.
    pub(crate) fn check(&self, change: &Change) -> Result<(), Misfit> {
        let existing = |key: &KeyId| self.keys.get(key).ok_or(Misfit("no such key"));
        match change {
            Change::KeyCreated(record) => self.check_new_key(record)?,
            Change::KeyCreatedWithAlias(record, alias) => {
                self.check_new_key(record)?;
                if alias.target != record.id {
                    return Err(Misfit("the alias is of another key"));
                }
                if self.aliases.contains_key(&alias.name) {
                    return Err(Misfit("the alias exists"));
                }
            }
            Change::KeyStatusSet { key, .. } => {
                existing(key)?;
            }
            Change::AliasCreated(alias) => {
                existing(&alias.target)?;
                if self.aliases.contains_key(&alias.name) {
                    return Err(Misfit("the alias exists"));
                }
            }
            Change::GrantCreated { key, grant } => {
                if existing(key)?.grants.get(grant.id).is_some() {
                    return Err(Misfit("the grant exists"));
                }
            }
            Change::GrantRemoved { key, grant } => {
                existing(key)?.grants.get(*grant).ok_or(Misfit("no such grant"))?;
            }
        }
        Ok(())
    }

    fn check_new_key(&self, record: &KeyRecord) -> Result<(), Misfit> {
        if self.keys.contains_key(&record.id) {
            return Err(Misfit("the key exists"));
        }
        if !record.is_consistent() {
            return Err(Misfit("the key's materials are not consistent"));
        }
        Ok(())
    }

    /// Makes `change`.
    pub(crate) fn apply(&mut self, change: Change) -> Result<(), Misfit> {
        self.check(&change)?;
        match change {
            Change::KeyCreated(record) => self.insert_key(record),
            Change::KeyCreatedWithAlias(record, alias) => {
                self.insert_key(record);
                self.aliases.insert(alias.name.clone(), alias);
            }
            Change::KeyStatusSet { key, status } => {
                if let Some(key) = self.keys.get_mut(&key) {
                    key.record.status = status;
                }
            }
            Change::AliasCreated(alias) => {
                self.aliases.insert(alias.name.clone(), alias);
            }
            Change::GrantCreated { key, grant } => {
                if let Some(key) = self.keys.get_mut(&key) {
                    key.grants.insert(grant);
                }
            }
            Change::GrantRemoved { key, grant } => {
                if let Some(key) = self.keys.get_mut(&key) {
                    key.grants.remove(grant);
                }
            }
        }
        Ok(())
    }

    fn insert_key(&mut self, record: KeyRecord) {
        self.keys.insert(record.id, Key { record, grants: GrantTable::default() });
    }
}
