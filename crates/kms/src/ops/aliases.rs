//! Aliases. They need permission on the alias, by the caller's own policies, and on each key that
//! they name, by its key policy.

use sealvol_envelope::KmsError;

use super::pages::{Page, PageSize};
use crate::audit::parameters;
use crate::fault;
use crate::kms::Planned;
use crate::model::{
    AliasListEntry, AliasRequest, DeleteAliasRequest, ListAliasesRequest, ListAliasesResponse,
    Nothing, Timestamp,
};
use crate::operation::{Action, Operation};
use crate::session::{Ask, Named, Session};
use crate::state::{AliasRecord, Change, Key, State};
use crate::trail::Trail;
use crate::validate;

const PAGES: PageSize = PageSize { default: 50, max: 100 };

impl Session {
    /// `CreateAlias`: gives a key a name.
    ///
    /// # Errors
    /// `ValidationException`, `NotFoundException`, `AccessDeniedException`,
    /// `AlreadyExistsException`, `LimitExceededException`, `KMSInvalidStateException`,
    /// `KMSInternalException`.
    pub fn create_alias(&self, request: &AliasRequest) -> Result<Nothing, KmsError> {
        let operation = Operation::CreateAlias;
        self.call(
            operation,
            || parameters::alias(request),
            |trail| {
                validate::alias_name(&request.alias_name)?;
                let name = request.alias_name.as_str();
                self.change(|state| {
                    let ask = Ask::to(Action::CreateAlias);
                    let key = self.target(state, request, operation, &ask, trail)?;
                    self.lasting(&key.record)?;
                    self.alias_is_free(state, name)?;
                    self.room_for_an_alias(state, key)?;
                    let now = self.now();
                    let alias = AliasRecord {
                        account: self.home(),
                        name: name.to_owned(),
                        target: key.record.id,
                        created: now,
                        updated: now,
                    };
                    Ok(Planned { change: Some(Change::AliasCreated(alias)), answer: Nothing })
                })
            },
        )
    }

    /// `UpdateAlias`: lets an alias name another key of the same kind and usage.
    ///
    /// # Errors
    /// As [`create_alias`](Self::create_alias).
    pub fn update_alias(&self, request: &AliasRequest) -> Result<Nothing, KmsError> {
        let operation = Operation::UpdateAlias;
        self.call(
            operation,
            || parameters::alias(request),
            |trail| {
                validate::alias_name(&request.alias_name)?;
                self.change(|state| {
                let ask = Ask::to(Action::UpdateAlias);
                let key = self.target(state, request, operation, &ask, trail)?;
                let (alias, old) = self.existing(state, &request.alias_name)?;
                self.used(trail, old);
                self.permit(state, Named { key: old, alias: None }, &ask)?;
                self.lasting(&key.record)?;
                let kind = |key: &Key| (key.record.spec.is_symmetric(), key.record.usage);
                if kind(key) != kind(old) {
                    return Err(fault::validation(format!(
                        "Alias {} cannot be changed from a key with usage {} and spec {} to one \
                         with usage {} and spec {}",
                        request.alias_name,
                        old.record.usage.as_str(),
                        old.record.spec.as_str(),
                        key.record.usage.as_str(),
                        key.record.spec.as_str()
                    )));
                }
                if key.record.id != old.record.id {
                    self.room_for_an_alias(state, key)?;
                }
                let change = Change::AliasUpdated {
                    account: alias.account.clone(),
                    name: alias.name.clone(),
                    target: key.record.id,
                    updated: self.now(),
                };
                Ok(Planned { change: Some(change), answer: Nothing })
            })
            },
        )
    }

    /// `DeleteAlias`: takes a name away. The key is as it was.
    ///
    /// # Errors
    /// `ValidationException`, `NotFoundException`, `AccessDeniedException`,
    /// `KMSInternalException`.
    pub fn delete_alias(&self, request: &DeleteAliasRequest) -> Result<Nothing, KmsError> {
        let operation = Operation::DeleteAlias;
        self.call(
            operation,
            || parameters::delete_alias(request),
            |trail| {
                validate::alias_name(&request.alias_name)?;
                self.change(|state| {
                    let ask = Ask::to(Action::DeleteAlias);
                    self.permit_on_alias(state, &request.alias_name, &ask)?;
                    let (alias, key) = self.existing(state, &request.alias_name)?;
                    self.used(trail, key);
                    self.permit(state, Named { key, alias: None }, &ask)?;
                    let (account, name) = (alias.account.clone(), alias.name.clone());
                    let change = Change::AliasRemoved { account, name };
                    Ok(Planned { change: Some(change), answer: Nothing })
                })
            },
        )
    }

    /// `ListAliases`: those of the caller's account.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidMarkerException`, `NotFoundException`,
    /// `AccessDeniedException`.
    pub fn list_aliases(
        &self,
        request: &ListAliasesRequest,
    ) -> Result<ListAliasesResponse, KmsError> {
        let operation = Operation::ListAliases;
        self.call(
            operation,
            || parameters::list_aliases(request),
            |trail| {
                let page = Page::parse("aliases", PAGES, request.limit, request.marker.as_deref())?;
                self.read(|state| {
                    self.permit_in_account(state, &Ask::to(Action::ListAliases), "*")?;
                    let of = match &request.key_id {
                        Some(id) => {
                            let named = self.resolve(state, ("keyId", id), operation, trail)?;
                            Some(named.key.record.id)
                        }
                        None => None,
                    };
                    let home = self.home();
                    let entries = state
                        .aliases_of(&home, page.after.as_deref())
                        .filter(|alias| of.is_none_or(|key| alias.target == key))
                        .map(|alias| (alias.name.clone(), self.listed_alias(alias)));
                    let cut = page.cut(entries);
                    let truncated = cut.next_marker.is_some();
                    Ok(ListAliasesResponse {
                        aliases: cut.entries,
                        next_marker: cut.next_marker,
                        truncated,
                    })
                })
            },
        )
    }

    /// The key that a request wants an alias to name; the caller may give it that name.
    fn target<'a>(
        &self,
        state: &'a State,
        request: &'a AliasRequest,
        operation: Operation,
        ask: &Ask<'_>,
        trail: &mut Trail,
    ) -> Result<&'a Key, KmsError> {
        self.permit_on_alias(state, &request.alias_name, ask)?;
        let named = ("targetKeyId", request.target_key_id.as_str());
        let named = self.resolve(state, named, operation, trail)?;
        self.permit(state, named, ask)?;
        Ok(named.key)
    }

    pub(super) fn alias_is_free(&self, state: &State, name: &str) -> Result<(), KmsError> {
        let account = self.home();
        if state.alias(&account, name).is_some() {
            let arn = self.kms.settings.alias_arn(&account, name);
            let text = format!("An alias with the name {arn} already exists");
            return Err(fault::already_exists(text));
        }
        Ok(())
    }

    pub(super) fn permit_on_alias(
        &self,
        state: &State,
        name: &str,
        ask: &Ask<'_>,
    ) -> Result<(), KmsError> {
        let arn = self.kms.settings.alias_arn(&self.home(), name);
        self.permit_in_account(state, ask, &arn)
    }

    fn existing<'a>(
        &self,
        state: &'a State,
        name: &str,
    ) -> Result<(&'a AliasRecord, &'a Key), KmsError> {
        let home = self.home();
        let alias = state.alias(&home, name);
        alias.and_then(|alias| Some((alias, state.key(alias.target)?))).ok_or_else(|| {
            let arn = self.kms.settings.alias_arn(&home, name);
            fault::not_found(format!("Alias {arn} is not found."))
        })
    }

    fn room_for_an_alias(&self, state: &State, key: &Key) -> Result<(), KmsError> {
        let max = self.kms.settings.aliases_per_key_max;
        let target = key.record.id;
        if state.aliases().filter(|alias| alias.target == target).count() >= max {
            let arn = self.arn(&key.record);
            return Err(fault::limit_exceeded(format!(
                "{arn} has {max} aliases, as many as a key may have"
            )));
        }
        Ok(())
    }

    fn listed_alias(&self, alias: &AliasRecord) -> AliasListEntry {
        AliasListEntry {
            alias_name: alias.name.clone(),
            alias_arn: self.kms.settings.alias_arn(&alias.account, &alias.name),
            target_key_id: alias.target.to_string(),
            creation_date: Timestamp(alias.created),
            last_updated_date: Timestamp(alias.updated),
        }
    }
}
