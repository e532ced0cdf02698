//! Keys and aliases: making, listing, enabling and disabling.

use sealvol_core::UnixMillis;
use sealvol_envelope::{Caller, KeyMetadata, KmsError};
use zeroize::Zeroizing;

use super::{Kms, Planned, changeable, no_randomness};
use crate::authorize::{Action, KeyRequest};
use crate::counters::Operation;
use crate::fault;
use crate::ids::{KeyForms, KeyId, MaterialId, random};
use crate::secret::Secret;
use crate::state::{AliasRecord, Change, Key, KeyRecord, KeyStatus, Material, State};
use crate::validate;

/// An alias, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// `alias/...`
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// ARN of the key that it names.
    pub target_key_arn: String,
    /// When it was made.
    pub created: UnixMillis,
    /// When it last got another target.
    pub updated: UnixMillis,
}

impl Kms {
    /// Makes an enabled key.
    ///
    /// # Errors
    /// `ValidationException`, `AccessDeniedException`, `LimitExceededException`,
    /// `KMSInternalException`.
    pub fn create_key(&self, caller: &Caller, description: &str) -> Result<KeyMetadata, KmsError> {
        self.counted(Operation::CreateKey, || {
            validate::description(description)?;
            self.authorizer.account(caller, Action::CreateKey)?;
            let record = self.new_key(description)?;
            let answer = self.metadata(&record);
            self.change(|state| {
                self.room_for_a_key(state)?;
                Ok(Planned { change: Some(Change::KeyCreated(record)), answer })
            })
        })
    }

    /// The key of an alias; made, together with the alias and in one step, if there is no such
    /// alias. For default keys: callers that race, in any number of processes, get one key.
    ///
    /// # Errors
    /// As [`create_key`](Self::create_key) and [`create_alias`](Self::create_alias).
    pub fn ensure_key(
        &self,
        caller: &Caller,
        alias: &str,
        description: &str,
    ) -> Result<KeyMetadata, KmsError> {
        validate::alias_name(alias)?;
        let existing = self.counted(Operation::DescribeKey, || {
            self.read(|state| match state.alias(alias) {
                Some(_) => {
                    let (key, arn) = self.resolve(state, alias, KeyForms::WithAliases)?;
                    self.manage(caller, Action::DescribeKey, key, &arn)?;
                    Ok(Some(self.metadata(&key.record)))
                }
                None => Ok(None),
            })
        })?;
        if let Some(existing) = existing {
            return Ok(existing);
        }
        self.counted(Operation::CreateKey, || {
            validate::description(description)?;
            self.authorizer.account(caller, Action::CreateKey)?;
            self.authorizer.account(caller, Action::CreateAlias)?;
            let record = self.new_key(description)?;
            self.change(|state| {
                if state.alias(alias).is_some() {
                    let (key, _) = self.resolve(state, alias, KeyForms::WithAliases)?;
                    return Ok(Planned { change: None, answer: self.metadata(&key.record) });
                }
                self.room_for_a_key(state)?;
                let answer = self.metadata(&record);
                let alias = AliasRecord {
                    name: alias.to_owned(),
                    target: record.id,
                    created: record.created,
                    updated: record.created,
                };
                Ok(Planned { change: Some(Change::KeyCreatedWithAlias(record, alias)), answer })
            })
        })
    }

    /// An enabled key with one material, not stored yet.
    fn new_key(&self, description: &str) -> Result<KeyRecord, KmsError> {
        let mut secret = Zeroizing::new([0; 32]);
        self.entropy.fill(secret.as_mut_slice()).map_err(no_randomness)?;
        let current = MaterialId(random(&*self.entropy).map_err(no_randomness)?);
        let created = self.clock.now();
        Ok(KeyRecord {
            id: KeyId::from_random(random(&*self.entropy).map_err(no_randomness)?),
            description: description.to_owned(),
            status: KeyStatus::Enabled,
            created,
            current,
            materials: vec![Material { id: current, created, secret: Secret::take(&mut secret) }],
        })
    }

    fn room_for_a_key(&self, state: &State) -> Result<(), KmsError> {
        if state.keys().len() >= self.settings.keys_max {
            return Err(fault::limit_exceeded("the account has no room for another key"));
        }
        Ok(())
    }

    /// Gives a key an alias. `key_id` is a key id or key ARN.
    ///
    /// # Errors
    /// `ValidationException`, `NotFoundException`, `AccessDeniedException`,
    /// `AlreadyExistsException`, `LimitExceededException`, `KMSInvalidStateException`.
    pub fn create_alias(&self, caller: &Caller, name: &str, key_id: &str) -> Result<(), KmsError> {
        self.counted(Operation::CreateAlias, || {
            validate::alias_name(name)?;
            self.change(|state| {
                let (key, arn) = self.resolve(state, key_id, KeyForms::IdOrArn)?;
                self.manage(caller, Action::CreateAlias, key, &arn)?;
                changeable(key.record.status, &arn)?;
                if state.alias(name).is_some() {
                    let arn = self.settings.alias_arn(name);
                    let text = format!("An alias with the name {arn} already exists");
                    return Err(fault::already_exists(text));
                }
                let target = key.record.id;
                let aliases = state.aliases().filter(|alias| alias.target == target).count();
                if aliases >= self.settings.aliases_per_key_max {
                    return Err(fault::limit_exceeded(format!("{arn} has no room for an alias")));
                }
                let now = self.clock.now();
                let alias =
                    AliasRecord { name: name.to_owned(), target, created: now, updated: now };
                Ok(Planned { change: Some(Change::AliasCreated(alias)), answer: () })
            })
        })
    }

    /// Every key, by key id.
    ///
    /// # Errors
    /// `AccessDeniedException`, `KMSInternalException`.
    pub fn list_keys(&self, caller: &Caller) -> Result<Vec<KeyMetadata>, KmsError> {
        self.counted(Operation::ListKeys, || {
            self.authorizer.account(caller, Action::ListKeys)?;
            self.read(|state| Ok(state.keys().map(|key| self.metadata(&key.record)).collect()))
        })
    }

    /// Every alias, by name; those of one key if `key_id` (id or ARN) is given.
    ///
    /// # Errors
    /// `AccessDeniedException`, `NotFoundException`, `KMSInternalException`.
    pub fn list_aliases(
        &self,
        caller: &Caller,
        key_id: Option<&str>,
    ) -> Result<Vec<Alias>, KmsError> {
        self.counted(Operation::ListAliases, || {
            self.authorizer.account(caller, Action::ListAliases)?;
            self.read(|state| {
                let of = match key_id {
                    Some(id) => Some(self.resolve(state, id, KeyForms::IdOrArn)?.0.record.id),
                    None => None,
                };
                let wanted = |alias: &&AliasRecord| of.is_none_or(|key| alias.target == key);
                Ok(state.aliases().filter(wanted).map(|alias| self.listed(alias)).collect())
            })
        })
    }

    /// Makes a key usable. Enabling an enabled key succeeds.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`, `KMSInvalidStateException`.
    pub fn enable_key(&self, caller: &Caller, key_id: &str) -> Result<(), KmsError> {
        self.counted(Operation::EnableKey, || {
            self.set_status(caller, key_id, Action::EnableKey, KeyStatus::Enabled)
        })
    }

    /// Makes a key unusable. What was unwrapped stays unwrapped; nothing is lost.
    ///
    /// # Errors
    /// As [`enable_key`](Self::enable_key).
    pub fn disable_key(&self, caller: &Caller, key_id: &str) -> Result<(), KmsError> {
        self.counted(Operation::DisableKey, || {
            self.set_status(caller, key_id, Action::DisableKey, KeyStatus::Disabled)
        })
    }

    fn set_status(
        &self,
        caller: &Caller,
        key_id: &str,
        action: Action,
        status: KeyStatus,
    ) -> Result<(), KmsError> {
        self.change(|state| {
            let (key, arn) = self.resolve(state, key_id, KeyForms::IdOrArn)?;
            self.manage(caller, action, key, &arn)?;
            changeable(key.record.status, &arn)?;
            let change = (key.record.status != status)
                .then_some(Change::KeyStatusSet { key: key.record.id, status });
            Ok(Planned { change, answer: () })
        })
    }

    /// Permission for an operation that has neither context nor tokens.
    pub(super) fn manage(
        &self,
        caller: &Caller,
        action: Action,
        key: &Key,
        key_arn: &str,
    ) -> Result<(), KmsError> {
        self.authorize(&KeyRequest {
            caller,
            action,
            key,
            key_arn,
            context: None,
            tokens: &[],
            terms: None,
        })
    }

    pub(super) fn metadata(&self, record: &KeyRecord) -> KeyMetadata {
        KeyMetadata {
            key_id: record.id.to_string(),
            arn: self.settings.key_arn(record.id),
            state: record.status.into(),
            description: record.description.clone(),
            created_unix_ms: record.created.0,
        }
    }

    fn listed(&self, alias: &AliasRecord) -> Alias {
        Alias {
            name: alias.name.clone(),
            arn: self.settings.alias_arn(&alias.name),
            target_key_arn: self.settings.key_arn(alias.target),
            created: alias.created,
            updated: alias.updated,
        }
    }

    /// Runs an operation and counts it.
    pub(super) fn counted<T>(
        &self,
        operation: Operation,
        run: impl FnOnce() -> Result<T, KmsError>,
    ) -> Result<T, KmsError> {
        let result = run();
        self.counters.count(operation, &result);
        result
    }
}
