//! [`Session`]: the KMS as one caller sees it. Here is what all operations share: naming a key,
//! permission, the key's state, and what is counted and recorded about each call. The operations
//! are in `ops`.

use std::sync::Arc;

use sealvol_core::UnixMillis;
use sealvol_envelope::{EncryptionContext, KmsError};

use crate::audit::Record;
use crate::authorize;
use crate::facts::Facts;
use crate::fault;
use crate::ids::{KeyForms, KeyName};
use crate::kms::{Kms, Planned};
use crate::model::GrantToken;
use crate::operation::{Action, Operation};
use crate::requester::Requester;
use crate::state::{GrantTerms, Key, KeyRecord, KeyStatus, State};
use crate::token::GrantRef;
use crate::trail::Trail;

/// The operations of KMS for one caller. Cheap to make: one for each request of an endpoint.
///
/// Every call is counted and recorded, whatever comes of it. Requests and answers are AWS's
/// ([`crate::model`]), and so are the errors and the order in which their causes are looked for: the
/// request's shape, rates, tokens, the key, permission, the key's state, its kind.
///
/// # Blocking
/// Changes block the calling thread for a sync of the disk; see [`Kms`].
#[derive(Debug, Clone)]
pub struct Session {
    pub(crate) kms: Arc<Kms>,
    pub(crate) requester: Requester,
}

/// A key that a request names.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) key: &'a Key,
    /// The alias that named it.
    pub(crate) alias: Option<&'a str>,
}

/// What is asked of a key.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) action: Action,
    pub(crate) context: Option<&'a EncryptionContext>,
    /// Authentic tokens of the request.
    pub(crate) tokens: &'a [GrantRef],
    pub(crate) terms: Option<&'a GrantTerms>,
    /// Condition keys of this operation alone.
    pub(crate) more: &'a [(&'static str, &'a [&'a str])],
}

impl Ask<'_> {
    pub(crate) const fn to(action: Action) -> Self {
        Self { action, context: None, tokens: &[], terms: None, more: &[] }
    }
}

impl Session {
    /// Who calls.
    #[must_use]
    pub const fn requester(&self) -> &Requester {
        &self.requester
    }

    /// Runs an operation: what is due comes first, then rates; in the end it is counted and
    /// recorded. `parameters` is what a record may tell of the request.
    pub(crate) fn call<T>(
        &self,
        operation: Operation,
        parameters: impl FnOnce() -> serde_json::Value,
        run: impl FnOnce(&mut Trail) -> Result<T, KmsError>,
    ) -> Result<T, KmsError> {
        let kms = &*self.kms;
        let started = kms.clock.monotonic();
        let mut trail = Trail::default();
        kms.settle_due();
        let result = kms
            .rates
            .admit(operation, || self.requester.account(&kms.settings), started)
            .and_then(|()| run(&mut trail));
        let took = kms.clock.monotonic().saturating_sub(started);
        kms.counters.count(operation, &trail, took, result.as_ref().err());
        if let Some(sink) = &kms.audit {
            let record = Record {
                operation,
                requester: &self.requester,
                parameters: parameters(),
                trail,
                error: result.as_ref().err(),
            };
            record.write(kms, &**sink);
        }
        result
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.kms.clock.now()
    }

    /// The account that names without an ARN are in, as it is stored.
    pub(crate) fn home(&self) -> String {
        let account = self.requester.account(&self.kms.settings);
        self.kms.settings.stored_account(&account).to_owned()
    }

    pub(crate) fn arn(&self, record: &KeyRecord) -> String {
        self.kms.settings.key_arn(&record.account, record.id)
    }

    /// The key that a request names.
    pub(crate) fn resolve<'a>(
        &self,
        state: &'a State,
        (field, key_id): (&str, &'a str),
        operation: Operation,
        trail: &mut Trail,
    ) -> Result<Named<'a>, KmsError> {
        let settings = &self.kms.settings;
        let forms = match operation.is_cryptographic() || operation == Operation::DescribeKey {
            true => KeyForms::WithAliases,
            false => KeyForms::IdOrArn,
        };
        let wanted = settings.parse_key_ref(field, key_id, forms)?;
        let home = self.home();
        let account = match wanted.account {
            Some(account) => settings.stored_account(account),
            None => &home,
        };
        if account != home && !operation.crosses_accounts() {
            let action = Action::from_name(operation.as_str()).unwrap_or(Action::DescribeKey);
            let why = " because this operation does not take keys of another account";
            return Err(fault::access_denied(&self.requester.name(), action, key_id, why));
        }
        let (id, alias) = match wanted.name {
            KeyName::Key(id) => (id, None),
            KeyName::Alias(name) => match state.alias(account, name) {
                Some(alias) => (alias.target, Some(name)),
                None => {
                    let arn = settings.alias_arn(account, name);
                    return Err(fault::not_found(format!("Alias {arn} is not found.")));
                }
            },
        };
        let key = state.key(id).filter(|key| key.record.account == account);
        let Some(key) = key else {
            let arn = settings.key_arn(account, id);
            return Err(fault::not_found(format!("Key '{arn}' does not exist")));
        };
        self.used(trail, key);
        Ok(Named { key, alias })
    }

    /// Notes that a call used this key.
    pub(crate) fn used(&self, trail: &mut Trail, key: &Key) {
        let account = self.kms.settings.shown_account(&key.record.account);
        trail.used(key.record.id, &self.arn(&key.record), account);
    }

    pub(crate) fn facts<'a>(
        &'a self,
        state: &'a State,
        key: Option<Named<'a>>,
        ask: &Ask<'a>,
    ) -> Facts<'a> {
        Facts {
            settings: &self.kms.settings,
            state: Some(state),
            requester: &self.requester,
            now: self.now(),
            action: ask.action,
            key: key.map(|named| named.key),
            request_alias: key.and_then(|named| named.alias),
            context: ask.context,
            terms: ask.terms,
            more: ask.more,
        }
    }

    /// Permission for an action on a key.
    pub(crate) fn permit(
        &self,
        state: &State,
        named: Named<'_>,
        ask: &Ask<'_>,
    ) -> Result<(), KmsError> {
        let facts = self.facts(state, Some(named), ask);
        authorize::on_key(&facts, named.key, &self.arn(&named.key.record), ask.tokens)
    }

    /// Permission for an action on no key, or on an alias or a key by the caller's own policies.
    pub(crate) fn permit_in_account(
        &self,
        state: &State,
        ask: &Ask<'_>,
        resource: &str,
    ) -> Result<(), KmsError> {
        authorize::in_account(&self.facts(state, None, ask), resource)
    }

    /// The grants that a request's tokens name.
    pub(crate) fn tokens(
        &self,
        state: &State,
        tokens: Option<&[GrantToken]>,
    ) -> Result<Vec<GrantRef>, KmsError> {
        tokens.unwrap_or_default().iter().map(|token| state.tokens.check(&token.0)).collect()
    }

    /// A key named by id or ARN that the caller may apply `operation` to.
    pub(crate) fn managed<'a>(
        &self,
        state: &'a State,
        key_id: &'a str,
        operation: Operation,
        action: Action,
        trail: &mut Trail,
    ) -> Result<&'a Key, KmsError> {
        let named = self.resolve(state, ("keyId", key_id), operation, trail)?;
        self.permit(state, named, &Ask::to(action))?;
        Ok(named.key)
    }

    /// Whether cryptography and CreateGrant work in this key's state (kms.md, section 4).
    pub(crate) fn usable(&self, record: &KeyRecord) -> Result<(), KmsError> {
        match record.status {
            KeyStatus::Disabled => Err(fault::disabled(&self.arn(record))),
            _ => self.settled(record),
        }
    }

    /// Whether the key is neither about to go nor waiting for its material.
    pub(crate) fn settled(&self, record: &KeyRecord) -> Result<(), KmsError> {
        match record.status {
            KeyStatus::PendingImport => {
                Err(fault::invalid_state(&self.arn(record), "pending import."))
            }
            _ => self.lasting(record),
        }
    }

    /// Whether the key is not about to go.
    pub(crate) fn lasting(&self, record: &KeyRecord) -> Result<(), KmsError> {
        match record.status {
            KeyStatus::PendingDeletion { .. } => {
                Err(fault::invalid_state(&self.arn(record), "pending deletion."))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&State) -> Result<T, KmsError>,
    ) -> Result<T, KmsError> {
        self.kms.read(read)
    }

    pub(crate) fn change<T>(
        &self,
        plan: impl FnOnce(&State) -> Result<Planned<T>, KmsError>,
    ) -> Result<T, KmsError> {
        self.kms.change(plan)
    }
}

/// Ends a dry run that has passed every check.
pub(crate) fn end_dry_run(dry_run: Option<bool>) -> Result<(), KmsError> {
    if dry_run == Some(true) { Err(fault::dry_run()) } else { Ok(()) }
}
