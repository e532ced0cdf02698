//! One step from a state to the next.

use std::collections::BTreeMap;

use sealvol_core::UnixMillis;
use serde::{Deserialize, Serialize};

use super::{AliasRecord, GrantRecord, Key, KeyRecord, KeyStatus, Material, Rotation, State};
use crate::ids::{GrantId, KeyId};

/// What a journal record holds. A build that adds a variant raises the store's version, so that
/// older builds refuse the store instead of misreading it.
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
    KeyDescriptionSet {
        key: KeyId,
        description: String,
    },
    /// All of its tags.
    KeyTagsSet {
        key: KeyId,
        tags: BTreeMap<String, String>,
    },
    KeyPolicySet {
        key: KeyId,
        policy: String,
    },
    RotationSet {
        key: KeyId,
        rotation: Option<Rotation>,
    },
    /// A rotation; an automatic one sets the schedule's next step with it.
    MaterialAdded {
        key: KeyId,
        material: Material,
        rotation: Option<Rotation>,
    },
    /// With its materials, aliases and grants.
    KeyRemoved {
        key: KeyId,
    },
    AliasCreated(AliasRecord),
    AliasUpdated {
        account: String,
        name: String,
        target: KeyId,
        updated: UnixMillis,
    },
    AliasRemoved {
        account: String,
        name: String,
    },
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

impl State {
    /// Whether `change` fits. [`apply`](Self::apply) succeeds on exactly the changes that do, so
    /// a change is checked before it is made durable.
    pub(crate) fn check(&self, change: &Change) -> Result<(), Misfit> {
        let existing = |key: &KeyId| self.keys.get(key).ok_or(Misfit("no such key"));
        match change {
            Change::KeyCreated(record) => self.check_new_key(record),
            Change::KeyCreatedWithAlias(record, alias) => {
                self.check_new_key(record)?;
                if alias.target != record.id {
                    return Err(Misfit("the alias is of another key"));
                }
                self.check_new_alias(alias)
            }
            Change::KeyStatusSet { key, .. }
            | Change::KeyDescriptionSet { key, .. }
            | Change::KeyTagsSet { key, .. }
            | Change::KeyPolicySet { key, .. }
            | Change::RotationSet { key, .. }
            | Change::KeyRemoved { key } => existing(key).map(drop),
            Change::MaterialAdded { key, material, .. } => {
                let record = &existing(key)?.record;
                if record.material(material.id).is_some() {
                    return Err(Misfit("the material exists"));
                }
                if record.materials.last().is_some_and(|last| last.created > material.created) {
                    return Err(Misfit("the material is older than the last"));
                }
                Ok(())
            }
            Change::AliasCreated(alias) => {
                existing(&alias.target)?;
                self.check_new_alias(alias)
            }
            Change::AliasUpdated { account, name, target, .. } => {
                existing(target)?;
                self.alias(account, name).map(drop).ok_or(Misfit("no such alias"))
            }
            Change::AliasRemoved { account, name } => {
                self.alias(account, name).map(drop).ok_or(Misfit("no such alias"))
            }
            Change::GrantCreated { key, grant } => match existing(key)?.grants.get(grant.id) {
                Some(_) => Err(Misfit("the grant exists")),
                None => Ok(()),
            },
            Change::GrantRemoved { key, grant } => {
                existing(key)?.grants.get(*grant).map(drop).ok_or(Misfit("no such grant"))
            }
        }
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

    fn check_new_alias(&self, alias: &AliasRecord) -> Result<(), Misfit> {
        match self.alias(&alias.account, &alias.name) {
            Some(_) => Err(Misfit("the alias exists")),
            None => Ok(()),
        }
    }

    /// Makes `change`.
    pub(crate) fn apply(&mut self, change: Change) -> Result<(), Misfit> {
        self.check(&change)?;
        match change {
            Change::KeyCreated(record) => self.insert_key(record),
            Change::KeyCreatedWithAlias(record, alias) => {
                self.insert_key(record);
                self.insert_alias(alias);
            }
            Change::KeyStatusSet { key, status } => {
                self.with_key(key, |key| key.record.status = status);
            }
            Change::KeyDescriptionSet { key, description } => {
                self.with_key(key, |key| key.record.description = description);
            }
            Change::KeyTagsSet { key, tags } => self.with_key(key, |key| key.record.tags = tags),
            Change::KeyPolicySet { key, policy } => self.with_key(key, |key| {
                key.record.policy = Some(policy);
                key.forget_policy();
            }),
            Change::RotationSet { key, rotation } => {
                self.with_key(key, |key| key.record.rotation = rotation);
            }
            Change::MaterialAdded { key, material, rotation } => self.with_key(key, |key| {
                key.record.materials.push(material);
                key.record.rotation = rotation.or(key.record.rotation);
            }),
            Change::KeyRemoved { key } => self.remove_key(key),
            Change::AliasCreated(alias) => self.insert_alias(alias),
            Change::AliasUpdated { account, name, target, updated } => {
                if let Some(alias) =
                    self.aliases.get_mut(&account).and_then(|names| names.get_mut(&name))
                {
                    (alias.target, alias.updated) = (target, updated);
                }
            }
            Change::AliasRemoved { account, name } => {
                if let Some(names) = self.aliases.get_mut(&account) {
                    names.remove(&name);
                }
            }
            Change::GrantCreated { key, grant } => {
                self.with_key(key, |key| key.grants.insert(grant));
            }
            Change::GrantRemoved { key, grant } => {
                self.with_key(key, |key| key.grants.remove(grant));
            }
        }
        Ok(())
    }

    fn insert_key(&mut self, record: KeyRecord) {
        let (id, key) = (record.id, Key::new(record));
        if let Some(due) = key.due {
            self.due.insert((due, id));
        }
        self.keys.insert(id, key);
    }

    fn insert_alias(&mut self, alias: AliasRecord) {
        let names = self.aliases.entry(alias.account.clone()).or_default();
        names.insert(alias.name.clone(), alias);
    }

    fn remove_key(&mut self, id: KeyId) {
        if let Some(due) = self.keys.remove(&id).and_then(|key| key.due) {
            self.due.remove(&(due, id));
        }
        for names in self.aliases.values_mut() {
            names.retain(|_, alias| alias.target != id);
        }
    }

    /// Changes a key and keeps the index of what is due.
    fn with_key(&mut self, id: KeyId, change: impl FnOnce(&mut Key)) {
        let Some(key) = self.keys.get_mut(&id) else { return };
        let before = key.due;
        change(key);
        key.refile();
        if key.due != before {
            if let Some(due) = before {
                self.due.remove(&(due, id));
            }
            if let Some(due) = key.due {
                self.due.insert((due, id));
            }
        }
    }
}
