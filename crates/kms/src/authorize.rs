//! Who may do what: key policy, identity policies and grants together (kms.md, section 6). An
//! explicit deny is final; what no policy allows, a grant may; what nothing allows is denied.

use std::sync::Arc;

use sealvol_envelope::{EncryptionContext, GrantOperation, KmsError};
use sealvol_policy::{
    AccountId, Decision, Limits, Outcome, Policy, PolicyErrorKind, PolicyKind, PolicySource, Query,
    Reason, ResourcePolicy, decide,
};

use crate::facts::Facts;
use crate::fault;
use crate::operation::Action;
use crate::settings::KmsSettings;
use crate::state::{GrantRecord, Key, KeyRecord, Lookup};
use crate::token::GrantRef;

/// The policy of a key whose maker gave none: it delegates to the account's identity policies.
pub(crate) fn default_policy(account: &str) -> String {
    format!(
        r#"{{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {{
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {{
      "AWS" : "arn:aws:iam::{account}:root"
    }},
    "Action" : "kms:*",
    "Resource" : "*"
  }} ]
}}"#
    )
}

/// Reads the document of a key policy.
pub(crate) fn parse_policy(text: &str, settings: &KmsSettings) -> Result<Policy, KmsError> {
    let limits = Limits { document_bytes: settings.policy_bytes_max, ..Limits::DEFAULT };
    Policy::parse(text, PolicyKind::Resource, &limits).map_err(|error| match error.kind {
        PolicyErrorKind::TooLong { .. } => fault::limit_exceeded(error.to_string()),
        _ => fault::malformed_policy(error.to_string()),
    })
}

/// The parsed policy of a key; `None` if this build does not read it, which allows nothing.
fn policy_of<'a>(key: &'a Key, settings: &KmsSettings) -> Option<&'a Policy> {
    key.policy(|record: &KeyRecord| {
        let parsed = match &record.policy {
            Some(text) => parse_policy(text, settings),
            None => {
                parse_policy(&default_policy(settings.shown_account(&record.account)), settings)
            }
        };
        // Documents were parsed before they were stored: this takes an older build, or a smaller
        // limit.
        parsed
            .inspect_err(|error| tracing::error!(key = %record.id, %error, "unreadable key policy"))
            .ok()
            .map(Arc::new)
    })
}

/// What policies say, without grants. `policy` takes the place of the key's own.
pub(crate) fn by_policy<'a>(
    facts: &'a Facts<'a>,
    policy: Option<&'a Policy>,
    resource: &'a str,
) -> Decision<'a> {
    let owner = facts.key.map(|key| facts.settings.shown_account(&key.record.account));
    let resource_policy = policy.zip(owner.and_then(AccountId::parse));
    decide(&Query {
        identity: &facts.requester.identity,
        action: facts.action.qualified(),
        resource,
        resource_policy: resource_policy
            .map(|(policy, account)| ResourcePolicy { policy, account }),
        context: facts,
    })
}

/// Permission for an action that no key policy speaks of, by the caller's own policies.
pub(crate) fn in_account(facts: &Facts<'_>, resource: &str) -> Result<(), KmsError> {
    let decision = by_policy(facts, None, resource);
    if decision.is_allowed() { Ok(()) } else { Err(denied(facts, resource, &decision)) }
}

/// Permission for an action on a key, by policies or a grant. `tokens` are authentic.
pub(crate) fn on_key(
    facts: &Facts<'_>,
    key: &Key,
    arn: &str,
    tokens: &[GrantRef],
) -> Result<(), KmsError> {
    let Some(policy) = policy_of(key, facts.settings) else {
        let why = " because the key policy cannot be read";
        return Err(fault::access_denied(&facts.requester.name(), facts.action, arn, why));
    };
    let decision = by_policy(facts, Some(policy), arn);
    match decision.outcome {
        Outcome::Allow => Ok(()),
        Outcome::ImplicitDeny if granted(facts, key, tokens) => Ok(()),
        Outcome::ImplicitDeny | Outcome::ExplicitDeny => Err(denied(facts, arn, &decision)),
    }
}

/// Whether a policy, of the key or of the caller, denies outright.
pub(crate) fn is_denied(facts: &Facts<'_>, key: &Key, arn: &str) -> bool {
    let decision = policy_of(key, facts.settings).map(|policy| by_policy(facts, Some(policy), arn));
    decision.is_none_or(|decision| decision.outcome == Outcome::ExplicitDeny)
}

fn denied(facts: &Facts<'_>, resource: &str, decision: &Decision<'_>) -> KmsError {
    let action = facts.action.qualified();
    let no = |kind: &str| format!(" because no {kind} allows the {action} action");
    let why = match (decision.reason, decision.by) {
        (Reason::Denied, Some(by)) => match by.source {
            PolicySource::Resource => " with an explicit deny in a resource-based policy".into(),
            PolicySource::Session(_) => " with an explicit deny in a session policy".into(),
            PolicySource::Boundary(_) => " with an explicit deny in a permissions boundary".into(),
            _ => " with an explicit deny in an identity-based policy".into(),
        },
        (Reason::NoResourcePolicyAllows, _) => no("resource-based policy"),
        (Reason::NoIdentityPolicyAllows { .. }, _) => no("identity-based policy"),
        (Reason::BoundaryDoesNotAllow, _) => no("permissions boundary"),
        (Reason::SessionPolicyDoesNotAllow, _) => no("session policy"),
        _ => String::new(),
    };
    fault::access_denied(&facts.requester.name(), facts.action, resource, &why)
}

/// The operation of a grant that allows an action, where one can. RetireGrant is not among them:
/// the grant that ends says who may end it.
const fn grantable(action: Action) -> Option<GrantOperation> {
    match action {
        Action::CreateGrant => Some(GrantOperation::CreateGrant),
        Action::Decrypt => Some(GrantOperation::Decrypt),
        Action::DescribeKey => Some(GrantOperation::DescribeKey),
        Action::Encrypt => Some(GrantOperation::Encrypt),
        Action::GenerateDataKey => Some(GrantOperation::GenerateDataKey),
        Action::GenerateDataKeyWithoutPlaintext => {
            Some(GrantOperation::GenerateDataKeyWithoutPlaintext)
        }
        Action::ReEncryptFrom => Some(GrantOperation::ReEncryptFrom),
        Action::ReEncryptTo => Some(GrantOperation::ReEncryptTo),
        _ => None,
    }
}

fn granted(facts: &Facts<'_>, key: &Key, tokens: &[GrantRef]) -> bool {
    let Some(operation) = grantable(facts.action) else { return false };
    // A new grant is measured against its parent, not against the parent's constraint.
    let context: Option<&EncryptionContext> = match operation {
        GrantOperation::CreateGrant | GrantOperation::DescribeKey => None,
        _ => facts.context,
    };
    let fits = |grant: &GrantRecord| {
        facts.terms.is_none_or(|terms| terms.narrow(&grant.terms))
            && match &grant.terms.source_arn {
                None => true,
                Some(arn) => facts.requester.source_arn.as_ref() == Some(arn),
            }
    };
    // Named by a token: usable at once, and found without a search.
    let by_token = tokens.iter().any(|token| {
        token.key == key.record.id
            && key.grants.get(token.grant).is_some_and(|grant| {
                facts.requester.is(&grant.terms.grantee)
                    && grant.terms.allow(operation, context)
                    && fits(grant)
            })
    });
    let lookup = context.map_or(Lookup::AnyConstraint, Lookup::Context);
    by_token
        || facts.requester.any_name(|grantee| {
            key.grants.any_allows(grantee, operation, lookup, |grant| {
                has_propagated(facts, grant) && fits(grant)
            })
        })
}

fn has_propagated(facts: &Facts<'_>, grant: &GrantRecord) -> bool {
    let delay = facts.settings.grant_propagation_delay.as_millis();
    let delay = u64::try_from(delay).unwrap_or(u64::MAX);
    delay == 0 || facts.now.0 >= grant.created.0.saturating_add(delay)
}
