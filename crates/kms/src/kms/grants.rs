//! Making, listing and ending grants.

use sealvol_core::UnixMillis;
use sealvol_envelope::{
    Caller, CreateGrantRequest, CreatedGrant, GrantConstraint, GrantOperation, KmsError,
    RetireGrantRequest,
};

use super::{Kms, Planned, no_randomness, usable};
use crate::authorize::{Action, KeyRequest, PolicyDecision};
use crate::counters::Operation;
use crate::fault;
use crate::ids::{GrantId, KeyForms, random};
use crate::state::{Change, GrantRecord, Key, State};
use crate::token::GrantRef;
use crate::validate;

/// A grant, as listed. Tokens are not listed: only `create_grant` returns one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub grant_id: String,
    /// ARN of its key.
    pub key_arn: String,
    /// Who may use it.
    pub grantee_principal: String,
    /// Who may retire it, besides the creating account.
    pub retiring_principal: Option<String>,
    /// Who made it.
    pub issuing_principal: String,
    /// What it allows.
    pub operations: Vec<GrantOperation>,
    /// Which contexts it allows.
    pub constraint: Option<GrantConstraint>,
    /// Its name.
    pub name: Option<String>,
    /// When it was made.
    pub created: UnixMillis,
}

impl Kms {
    pub(super) fn create_grant(
        &self,
        caller: &Caller,
        request: &CreateGrantRequest,
    ) -> Result<CreatedGrant, KmsError> {
        let terms = validate::grant_terms(request)?;
        let new_id = GrantId(random(&*self.entropy).map_err(no_randomness)?);
        self.change(|state| {
            let tokens = state.tokens.check_all(&request.grant_tokens)?;
            let (key, arn) = self.resolve(state, &request.key_id, KeyForms::IdOrArn)?;
            self.authorize(&KeyRequest {
                caller,
                action: Action::CreateGrant,
                key,
                key_arn: &arn,
                context: None,
                tokens: &tokens,
                terms: Some(&terms),
            })?;
            usable(key.record.status, &arn)?;
            let existing = key.grants.identical(&terms).map(|grant| grant.id);
            if existing.is_none() && key.grants.len() >= self.settings.grants_per_key_max {
                return Err(fault::limit_exceeded(format!(
                    "{arn} has {} grants, as many as a key may have",
                    key.grants.len()
                )));
            }
            let grant = GrantRef { key: key.record.id, grant: existing.unwrap_or(new_id) };
            let grant_token = state.tokens.make(&*self.entropy, grant).map_err(no_randomness)?;
            let change = existing.is_none().then(|| Change::GrantCreated {
                key: grant.key,
                grant: GrantRecord {
                    id: new_id,
                    created: self.clock.now(),
                    issuer: caller.principal.clone(),
                    terms,
                },
            });
            let answer = CreatedGrant { grant_id: grant.grant.to_string(), grant_token };
            Ok(Planned { change, answer })
        })
    }

    pub(super) fn retire_grant(
        &self,
        caller: &Caller,
        request: &RetireGrantRequest,
    ) -> Result<(), KmsError> {
        self.change(|state| {
            let (key, arn, grant) = match request {
                RetireGrantRequest::Token(tokens) => {
                    let tokens = state.tokens.check_all(tokens)?;
                    let [GrantRef { key, grant }] = tokens.as_slice() else {
                        return Err(fault::validation("RetireGrant takes one grant token"));
                    };
                    let arn = self.settings.key_arn(*key);
                    let key = state
                        .key(*key)
                        .ok_or_else(|| fault::not_found(format!("Key '{arn}' does not exist")))?;
                    (key, arn, *grant)
                }
                RetireGrantRequest::Id { key_arn, grant_id } => {
                    let (key, arn) = self.resolve(state, key_arn, KeyForms::IdOrArn)?;
                    (key, arn, parse_grant_id(grant_id)?)
                }
            };
            let record = key.grants.get(grant).ok_or_else(|| no_such_grant(grant))?;
            if !self.may_retire(caller, (key, &arn), record) {
                let action = Action::RetireGrant.as_str();
                return Err(fault::access_denied(&caller.principal, action, &arn));
            }
            let change = Change::GrantRemoved { key: key.record.id, grant };
            Ok(Planned { change: Some(change), answer: () })
        })
    }

    /// The grant itself says who may end it: its retiring principal, its grantee if it allows
    /// `RetireGrant`, and the account that made it, in the person of those who may do everything
    /// there. A policy's deny counts against each.
    fn may_retire(
        &self,
        caller: &Caller,
        (key, key_arn): (&Key, &str),
        grant: &GrantRecord,
    ) -> bool {
        let principal = caller.principal.as_str();
        let by_policy = self.authorizer.policy(&KeyRequest {
            caller,
            action: Action::RetireGrant,
            key,
            key_arn,
            context: None,
            tokens: &[],
            terms: None,
        });
        match by_policy {
            PolicyDecision::Deny => false,
            PolicyDecision::Allow => true,
            PolicyDecision::Silent => {
                grant.terms.retiring.as_deref() == Some(principal)
                    || (grant.terms.grantee == principal
                        && grant.terms.allow(GrantOperation::RetireGrant, None))
            }
        }
    }

    /// The grants of a key, by grant id.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`, `KMSInternalException`.
    pub fn list_grants(&self, caller: &Caller, key_id: &str) -> Result<Vec<Grant>, KmsError> {
        self.counted(Operation::ListGrants, || {
            self.read(|state| {
                let (key, arn) = self.resolve(state, key_id, KeyForms::IdOrArn)?;
                self.manage(caller, Action::ListGrants, key, &arn)?;
                Ok(key.grants.iter().map(|grant| listed(grant, &arn)).collect())
            })
        })
    }

    /// Ends a grant by its id. Works in every key state.
    ///
    /// # Errors
    /// `NotFoundException`, `InvalidGrantIdException`, `AccessDeniedException`,
    /// `KMSInternalException`.
    pub fn revoke_grant(
        &self,
        caller: &Caller,
        key_id: &str,
        grant_id: &str,
    ) -> Result<(), KmsError> {
        self.counted(Operation::RevokeGrant, || {
            self.change(|state: &State| {
                let (key, arn) = self.resolve(state, key_id, KeyForms::IdOrArn)?;
                self.manage(caller, Action::RevokeGrant, key, &arn)?;
                let grant = parse_grant_id(grant_id)?;
                key.grants.get(grant).ok_or_else(|| no_such_grant(grant))?;
                let change = Change::GrantRemoved { key: key.record.id, grant };
                Ok(Planned { change: Some(change), answer: () })
            })
        })
    }
}

fn parse_grant_id(text: &str) -> Result<GrantId, KmsError> {
    match text.len() {
        0 => Err(fault::constraint("grantId", None, "have length greater than or equal to 1")),
        1..=128 => GrantId::parse(text).ok_or_else(fault::invalid_grant_id),
        _ => Err(fault::constraint("grantId", None, "have length less than or equal to 128")),
    }
}

fn no_such_grant(grant: GrantId) -> KmsError {
    fault::not_found(format!("Grant ID {grant} not found"))
}

fn listed(grant: &GrantRecord, key_arn: &str) -> Grant {
    let GrantRecord { id, created, issuer, terms } = grant;
    Grant {
        grant_id: id.to_string(),
        key_arn: key_arn.to_owned(),
        grantee_principal: terms.grantee.clone(),
        retiring_principal: terms.retiring.clone(),
        issuing_principal: issuer.clone(),
        operations: terms.operations.iter().collect(),
        constraint: terms.constraint.clone().map(Into::into),
        name: terms.name.clone(),
        created: *created,
    }
}
