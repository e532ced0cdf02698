//! Ending grants: retiring, which the grant allows, and revoking, which the key policy allows. Both
//! work in every key state.

use sealvol_envelope::{GrantOperation, KmsError};

use super::grants::parse_grant_id;
use crate::audit::parameters;
use crate::authorize;
use crate::fault;
use crate::ids::GrantId;
use crate::kms::Planned;
use crate::model::{Nothing, RetireGrantRequest, RevokeGrantRequest};
use crate::operation::{Action, Operation};
use crate::requester::root_arn;
use crate::session::{Ask, Named, Session, end_dry_run};
use crate::state::{Change, GrantRecord, Key, State};
use crate::token::GrantRef;
use crate::trail::Trail;
use crate::validate::Checks;

impl Session {
    /// `RetireGrant`: by token, or by key ARN and grant id.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidGrantTokenException`, `InvalidGrantIdException`,
    /// `NotFoundException`, `AccessDeniedException`, `DryRunOperationException`,
    /// `KMSInternalException`.
    pub fn retire_grant(&self, request: &RetireGrantRequest) -> Result<Nothing, KmsError> {
        let operation = Operation::RetireGrant;
        self.call(
            operation,
            || parameters::retire_grant(request),
            |trail| {
                let mut checks = Checks::default();
                if let Some(token) = &request.grant_token {
                    checks.token("grantToken", token);
                }
                checks.finish()?;
                self.change(|state| {
                    let (key, grant) = self.retired(state, request, trail)?;
                    trail.additional = Some(parameters::retired_grant(grant));
                    let record = key.grants.get(grant).ok_or_else(|| no_such_grant(grant))?;
                    if !self.may_retire(state, key, record) {
                        let (name, arn) = (self.requester.name(), self.arn(&key.record));
                        return Err(fault::access_denied(&name, Action::RetireGrant, &arn, ""));
                    }
                    end_dry_run(request.dry_run)?;
                    let change = Change::GrantRemoved { key: key.record.id, grant };
                    Ok(Planned { change: Some(change), answer: Nothing })
                })
            },
        )
    }

    /// Key and grant that a request names.
    fn retired<'a>(
        &self,
        state: &'a State,
        request: &'a RetireGrantRequest,
        trail: &mut Trail,
    ) -> Result<(&'a Key, GrantId), KmsError> {
        match (&request.grant_token, &request.key_id, &request.grant_id) {
            (Some(token), None, None) => {
                let GrantRef { key: id, grant } = state.tokens.check(&token.0)?;
                let key = state.key(id).ok_or_else(|| no_such_grant(grant))?;
                self.used(trail, key);
                Ok((key, grant))
            }
            (None, Some(key_id), Some(grant_id)) => {
                if !key_id.starts_with("arn:") {
                    // Not repeated: it may be a token that was put in the wrong place.
                    return Err(fault::invalid_arn("in keyId: RetireGrant takes a key ARN"));
                }
                let named = ("keyId", key_id.as_str());
                let named = self.resolve(state, named, Operation::RetireGrant, trail)?;
                Ok((named.key, parse_grant_id(grant_id)?))
            }
            _ => Err(fault::validation(
                "RetireGrant takes either a grant token, or a key ARN and a grant id",
            )),
        }
    }

    /// The grant itself says who may end it: its retiring principal, its grantee if it allows
    /// `RetireGrant`, and the account that made it. An account, as maker or as retiring principal,
    /// may delegate that by identity policies. A policy's deny counts against each; a key policy's
    /// allow does not count.
    fn may_retire(&self, state: &State, key: &Key, grant: &GrantRecord) -> bool {
        let settings = &self.kms.settings;
        let arn = self.arn(&key.record);
        let named = Some(Named { key, alias: None });
        let ask = Ask::to(Action::RetireGrant);
        let facts = self.facts(state, named, &ask);
        if authorize::is_denied(&facts, key, &arn) {
            return false;
        }
        let terms = &grant.terms;
        if terms.retiring.as_deref().is_some_and(|retiring| self.requester.is(retiring)) {
            return true;
        }
        if self.requester.is(&terms.grantee) && terms.allow(GrantOperation::RetireGrant, None) {
            return true;
        }
        let own = self.requester.account(settings);
        let entitled = own == settings.shown_account(&grant.issuer_account)
            || terms.retiring.as_deref() == Some(root_arn(&own).as_str());
        entitled && authorize::in_account(&facts, &arn).is_ok()
    }

    /// `RevokeGrant`: by key and grant id; it takes no token.
    ///
    /// # Errors
    /// `ValidationException`, `InvalidGrantIdException`, `NotFoundException`,
    /// `AccessDeniedException`, `DryRunOperationException`, `KMSInternalException`.
    pub fn revoke_grant(&self, request: &RevokeGrantRequest) -> Result<Nothing, KmsError> {
        let operation = Operation::RevokeGrant;
        self.call(
            operation,
            || parameters::revoke_grant(request),
            |trail| {
                self.change(|state| {
                    let action = Action::RevokeGrant;
                    let key = self.managed(state, &request.key_id, operation, action, trail)?;
                    let grant = parse_grant_id(&request.grant_id)?;
                    key.grants.get(grant).ok_or_else(|| no_such_grant(grant))?;
                    end_dry_run(request.dry_run)?;
                    let change = Change::GrantRemoved { key: key.record.id, grant };
                    Ok(Planned { change: Some(change), answer: Nothing })
                })
            },
        )
    }
}

fn no_such_grant(grant: GrantId) -> KmsError {
    fault::not_found(format!("Grant ID {grant} not found"))
}
