//! May he? All policies that apply, in the order that IAM documents.
//!
//! 1. A Deny that applies, in any policy, ends it: identity policies deny even where the resource's
//!    policy does not delegate to IAM.
//! 2. In the resource's own account one is enough: its policy allows the principal, or it delegates to
//!    the account and an identity policy allows. From another account both have to allow.
//! 3. Boundary and session policies limit what identity policies allow, and what the resource's policy
//!    allows to a role or to everybody. They do not limit what it allows to a user or a session by
//!    ARN within one account. (AWS says so of users and sessions; of `*` it says nothing clear,
//!    and the narrower reading is taken.)
//! 4. Services and the anonymous have no policies: the resource's policy has to allow them.
//! 5. An action on nothing that has a policy is decided by identity policies alone.

use std::fmt;

use crate::account::AccountId;
use crate::context::{ConditionKeys, Request};
use crate::element::Hit;
use crate::identity::{Identity, NamedPolicy};
use crate::policy::{Policy, Verdict};
use crate::statement::Wanted;

/// The policy of what is acted on.
#[derive(Debug, Clone, Copy)]
pub struct ResourcePolicy<'a> {
    /// The policy, of [`crate::PolicyKind::Resource`] or [`crate::PolicyKind::Trust`].
    pub policy: &'a Policy,
    /// The account that owns the resource.
    pub account: AccountId,
}

/// A question.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// Who asks.
    pub identity: &'a Identity,
    /// For what: `service:Action`, without wildcards.
    pub action: &'a str,
    /// On what, by ARN; `*` for actions on nothing in particular.
    pub resource: &'a str,
    /// That resource's policy, if its kind has one.
    pub resource_policy: Option<ResourcePolicy<'a>>,
    /// What the request says of itself.
    pub context: &'a dyn ConditionKeys,
}

impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("principal", self.identity.principal())
            .field("action", &self.action)
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is allowed.
    Allow,
    /// A statement denies it: nothing helps, no grant either.
    ExplicitDeny,
    /// Nothing allows it.
    ImplicitDeny,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The resource's policy allows the principal.
    ResourcePolicyAllows,
    /// An identity policy allows, and nothing else was needed, or it delegates, or it allows, too.
    IdentityPolicyAllows,
    /// [`Decision::by`] denies.
    Denied,
    /// The resource's policy neither allows the principal nor delegates to its account.
    NoResourcePolicyAllows,
    /// No identity policy allows.
    NoIdentityPolicyAllows {
        /// Whether the resource's policy would have been satisfied with one that does.
        delegated: bool,
    },
    /// Allowed, but not by the permissions boundary.
    BoundaryDoesNotAllow,
    /// Allowed, but not by a session policy.
    SessionPolicyDoesNotAllow,
}

/// Which policy decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicySource<'a> {
    /// The resource's.
    Resource,
    /// An identity policy, by name.
    Identity(&'a str),
    /// What a root user has without any policy, or an unlimited identity.
    Implied,
    /// A session policy, by name.
    Session(&'a str),
    /// The permissions boundary, by name.
    Boundary(&'a str),
}

/// The statement that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decider<'a> {
    /// Its policy.
    pub source: PolicySource<'a>,
    /// Its index there; 0 for [`PolicySource::Implied`].
    pub statement: usize,
    /// Its Sid.
    pub sid: Option<&'a str>,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What is answered.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// The statement that allows or denies. Nothing decides an implicit deny.
    pub by: Option<Decider<'a>>,
}

impl<'a> Decision<'a> {
    /// Whether it is allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.outcome == Outcome::Allow
    }

    const fn allow(reason: Reason, by: Decider<'a>) -> Self {
        Self { outcome: Outcome::Allow, reason, by: Some(by) }
    }

    const fn deny(by: Decider<'a>) -> Self {
        Self { outcome: Outcome::ExplicitDeny, reason: Reason::Denied, by: Some(by) }
    }

    const fn nothing(reason: Reason) -> Self {
        Self { outcome: Outcome::ImplicitDeny, reason, by: None }
    }
}

/// Decides. Without conditions nothing is allocated; a condition looks up its own key and no other.
#[must_use]
pub fn decide<'a>(query: &Query<'a>) -> Decision<'a> {
    let asked = Asked {
        request: Request { identity: query.identity, context: query.context },
        wanted: Wanted { action: query.action, resource: query.resource },
    };
    asked.decide(query.resource_policy).unwrap_or_else(|denied| denied)
}

struct Asked<'a> {
    request: Request<'a>,
    wanted: Wanted<'a>,
}

impl<'a> Asked<'a> {
    /// `Err` is an explicit deny, so that `?` ends the search with the first.
    fn decide(
        &self,
        resource_policy: Option<ResourcePolicy<'a>>,
    ) -> Result<Decision<'a>, Decision<'a>> {
        let identity = self.request.identity;
        let on_resource = match resource_policy {
            Some(resource) => self.ask(resource.policy, PolicySource::Resource)?,
            None => None,
        };
        let by_identity = self.first(identity.policies(), PolicySource::Identity)?;
        let by_identity = by_identity.or_else(|| self.implied());
        let limits = self.limits()?;

        let own_account = identity.account();
        let is_same = resource_policy.is_some_and(|resource| own_account == Some(resource.account));
        let no_identity =
            |delegated| Decision::nothing(Reason::NoIdentityPolicyAllows { delegated });
        let decision = match (resource_policy, on_resource) {
            (None, _) => match by_identity {
                Some(by) => Decision::allow(Reason::IdentityPolicyAllows, by),
                None => return Ok(no_identity(false)),
            },
            (Some(_), None) => return Ok(Decision::nothing(Reason::NoResourcePolicyAllows)),
            // Services and the anonymous have neither an account nor limits.
            (Some(_), Some((hit, by))) if own_account.is_none() && hit > Hit::Account => {
                return Ok(Decision::allow(Reason::ResourcePolicyAllows, by));
            }
            (Some(_), Some((Hit::Named, by))) if is_same => {
                return Ok(Decision::allow(Reason::ResourcePolicyAllows, by));
            }
            (Some(_), Some((Hit::Covered, by))) if is_same => {
                Decision::allow(Reason::ResourcePolicyAllows, by)
            }
            (Some(_), Some(_)) => match by_identity {
                Some(by) => Decision::allow(Reason::IdentityPolicyAllows, by),
                None => return Ok(no_identity(true)),
            },
        };
        Ok(limits.map_or(decision, Decision::nothing))
    }

    /// What one policy says.
    fn ask(
        &self,
        policy: &'a Policy,
        source: PolicySource<'a>,
    ) -> Result<Option<(Hit, Decider<'a>)>, Decision<'a>> {
        let by = |statement| Decider { source, statement, sid: policy.sid(statement) };
        match policy.verdict(&self.request, self.wanted) {
            Verdict::Deny(statement) => Err(Decision::deny(by(statement))),
            Verdict::Allow(hit, statement) => Ok(Some((hit, by(statement)))),
            Verdict::Silent => Ok(None),
        }
    }

    /// The first of several policies that allows; all are asked, for one may deny.
    fn first(
        &self,
        policies: &'a [NamedPolicy],
        source: impl Fn(&'a str) -> PolicySource<'a>,
    ) -> Result<Option<Decider<'a>>, Decision<'a>> {
        let mut first = None;
        for NamedPolicy { name, policy } in policies {
            let allowed = self.ask(policy, source(name))?;
            first = first.or(allowed.map(|(_, by)| by));
        }
        Ok(first)
    }

    fn implied(&self) -> Option<Decider<'a>> {
        let by = Decider { source: PolicySource::Implied, statement: 0, sid: None };
        self.request.identity.is_unlimited().then_some(by)
    }

    /// Why boundary or session policies do not let it pass.
    fn limits(&self) -> Result<Option<Reason>, Decision<'a>> {
        let identity = self.request.identity;
        let mut reason = None;
        if let Some(session) = identity.session_policies()
            && self.first(session, PolicySource::Session)?.is_none()
        {
            reason = Some(Reason::SessionPolicyDoesNotAllow);
        }
        if let Some(NamedPolicy { name, policy }) = identity.boundary()
            && self.ask(policy, PolicySource::Boundary(name))?.is_none()
        {
            reason = Some(Reason::BoundaryDoesNotAllow);
        }
        Ok(reason)
    }
}
