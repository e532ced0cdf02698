//! Who may do what. A policy engine speaks first and an explicit deny is final; what it is silent
//! about, a grant may allow; what nothing allows is denied.
//!
//! The engine is a trait, so that key policies and IAM policies take the place of
//! [`AdminPolicy`] without a change to the operations.

use std::collections::HashSet;

use sealvol_core::UnixMillis;
use sealvol_envelope::{Caller, EncryptionContext, GrantOperation, KmsError};

use crate::fault;
use crate::settings::KmsSettings;
use crate::state::{GrantRecord, GrantTerms, Key, Lookup};
use crate::token::GrantRef;

/// A permission: what policies call `kms:<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// `kms:CreateAlias`
    CreateAlias,
    /// `kms:CreateGrant`
    CreateGrant,
    /// `kms:CreateKey`
    CreateKey,
    /// `kms:Decrypt`
    Decrypt,
    /// `kms:DescribeKey`
    DescribeKey,
    /// `kms:DisableKey`
    DisableKey,
    /// `kms:EnableKey`
    EnableKey,
    /// `kms:GenerateDataKey`
    GenerateDataKey,
    /// `kms:GenerateDataKeyWithoutPlaintext`
    GenerateDataKeyWithoutPlaintext,
    /// `kms:ListAliases`
    ListAliases,
    /// `kms:ListGrants`
    ListGrants,
    /// `kms:ListKeys`
    ListKeys,
    /// `kms:ReEncryptFrom`
    ReEncryptFrom,
    /// `kms:ReEncryptTo`
    ReEncryptTo,
    /// `kms:RetireGrant`
    RetireGrant,
    /// `kms:RevokeGrant`
    RevokeGrant,
}

impl Action {
    /// The name without `kms:`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreateAlias => "CreateAlias",
            Self::CreateGrant => "CreateGrant",
            Self::CreateKey => "CreateKey",
            Self::Decrypt => "Decrypt",
            Self::DescribeKey => "DescribeKey",
            Self::DisableKey => "DisableKey",
            Self::EnableKey => "EnableKey",
            Self::GenerateDataKey => "GenerateDataKey",
            Self::GenerateDataKeyWithoutPlaintext => "GenerateDataKeyWithoutPlaintext",
            Self::ListAliases => "ListAliases",
            Self::ListGrants => "ListGrants",
            Self::ListKeys => "ListKeys",
            Self::ReEncryptFrom => "ReEncryptFrom",
            Self::ReEncryptTo => "ReEncryptTo",
            Self::RetireGrant => "RetireGrant",
            Self::RevokeGrant => "RevokeGrant",
        }
    }

    /// The operation of a grant that allows this action, where one can.
    const fn grantable(self) -> Option<GrantOperation> {
        match self {
            Self::CreateGrant => Some(GrantOperation::CreateGrant),
            Self::Decrypt => Some(GrantOperation::Decrypt),
            Self::DescribeKey => Some(GrantOperation::DescribeKey),
            Self::GenerateDataKey => Some(GrantOperation::GenerateDataKey),
            Self::GenerateDataKeyWithoutPlaintext => {
                Some(GrantOperation::GenerateDataKeyWithoutPlaintext)
            }
            Self::ReEncryptFrom => Some(GrantOperation::ReEncryptFrom),
            Self::ReEncryptTo => Some(GrantOperation::ReEncryptTo),
            // The grant itself says who may retire it; see the operation.
            Self::RetireGrant
            | Self::CreateAlias
            | Self::CreateKey
            | Self::DisableKey
            | Self::EnableKey
            | Self::ListAliases
            | Self::ListGrants
            | Self::ListKeys
            | Self::RevokeGrant => None,
        }
    }
}

/// What a policy engine is asked.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PolicyQuery<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// For what.
    pub action: Action,
    /// On which key, by ARN; `None` for actions on no key.
    pub key_arn: Option<&'a str>,
    /// With which context, for actions that have one.
    pub context: Option<&'a EncryptionContext>,
}

/// What a policy engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyDecision {
    /// A statement allows it and none denies it.
    Allow,
    /// A statement denies it: no grant helps.
    Deny,
    /// No statement speaks of it.
    Silent,
}

/// The policies of the keys and of the callers.
pub trait KeyPolicyEngine: Send + Sync {
    /// Decides from policies alone.
    fn decide(&self, query: &PolicyQuery<'_>) -> PolicyDecision;
}

/// The account root and the configured admins may do everything; policies say nothing about anybody
/// else.
#[derive(Debug, Clone)]
pub struct AdminPolicy {
    admins: HashSet<String>,
}

impl AdminPolicy {
    /// The policy that `settings` describe.
    #[must_use]
    pub fn new(settings: &KmsSettings) -> Self {
        let mut admins: HashSet<_> = settings.admins.iter().cloned().collect();
        admins.insert(settings.root_principal());
        Self { admins }
    }
}

impl KeyPolicyEngine for AdminPolicy {
    fn decide(&self, query: &PolicyQuery<'_>) -> PolicyDecision {
        if self.admins.contains(&query.caller.principal) {
            PolicyDecision::Allow
        } else {
            PolicyDecision::Silent
        }
    }
}

/// A request for permission on a key.
#[derive(Clone, Copy)]
pub(crate) struct KeyRequest<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) action: Action,
    pub(crate) key: &'a Key,
    pub(crate) key_arn: &'a str,
    pub(crate) context: Option<&'a EncryptionContext>,
    /// Authentic tokens of the request.
    pub(crate) tokens: &'a [GrantRef],
    /// For CreateGrant: the terms asked for.
    pub(crate) terms: Option<&'a GrantTerms>,
}

/// Policies and grants together.
pub(crate) struct Authorizer {
    policy: Box<dyn KeyPolicyEngine>,
    propagation_ms: u64,
}

impl Authorizer {
    pub(crate) fn new(policy: Box<dyn KeyPolicyEngine>, settings: &KmsSettings) -> Self {
        let delay = settings.grant_propagation_delay.as_millis();
        Self { policy, propagation_ms: u64::try_from(delay).unwrap_or(u64::MAX) }
    }

    /// Permission for an action on no key.
    pub(crate) fn account(&self, caller: &Caller, action: Action) -> Result<(), KmsError> {
        let query = PolicyQuery { caller, action, key_arn: None, context: None };
        match self.policy.decide(&query) {
            PolicyDecision::Allow => Ok(()),
            PolicyDecision::Deny | PolicyDecision::Silent => {
                Err(fault::access_denied(&caller.principal, action.as_str(), "*"))
            }
        }
    }

    /// Permission for an action on a key.
    pub(crate) fn key(&self, now: UnixMillis, request: &KeyRequest<'_>) -> Result<(), KmsError> {
        let allowed = match self.policy(request) {
            PolicyDecision::Allow => true,
            PolicyDecision::Deny => false,
            PolicyDecision::Silent => self.granted(now, request),
        };
        if allowed {
            Ok(())
        } else {
            let principal = &request.caller.principal;
            Err(fault::access_denied(principal, request.action.as_str(), request.key_arn))
        }
    }

    /// What the policies alone say.
    pub(crate) fn policy(&self, request: &KeyRequest<'_>) -> PolicyDecision {
        self.policy.decide(&PolicyQuery {
            caller: request.caller,
            action: request.action,
            key_arn: Some(request.key_arn),
            context: request.context,
        })
    }

    fn granted(&self, now: UnixMillis, request: &KeyRequest<'_>) -> bool {
        let Some(operation) = request.action.grantable() else { return false };
        let grantee = request.caller.principal.as_str();
        let grants = &request.key.grants;
        let narrows =
            |grant: &GrantRecord| request.terms.is_none_or(|terms| terms.narrow(&grant.terms));
        // Named by a token: usable at once, and found without a search.
        let by_token = request.tokens.iter().any(|token| {
            token.key == request.key.record.id
                && grants.get(token.grant).is_some_and(|grant| {
                    grant.terms.grantee == grantee
                        && grant.terms.allow(operation, request.context)
                        && narrows(grant)
                })
        });
        let lookup = request.context.map_or(Lookup::AnyConstraint, Lookup::Context);
        by_token
            || grants.any_allows(grantee, operation, lookup, |grant| {
                self.has_propagated(now, grant) && narrows(grant)
            })
    }

    fn has_propagated(&self, now: UnixMillis, grant: &GrantRecord) -> bool {
        self.propagation_ms == 0 || now.0 >= grant.created.0.saturating_add(self.propagation_ms)
    }
}
