//! Who asks, with the policies that go with him.

use std::borrow::Cow;
use std::sync::Arc;

use crate::account::AccountId;
use crate::context::Values;
use crate::key::CallerKey;
use crate::policy::Policy;
use crate::principal::{ParsePrincipalError, Principal};

/// A policy and what it is called in decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPolicy {
    /// Its name.
    pub name: Arc<str>,
    /// The policy.
    pub policy: Arc<Policy>,
}

/// A principal with its policies. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    inner: Arc<Inner>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    principal: Principal,
    user_id: Option<Box<str>>,
    policies: Vec<NamedPolicy>,
    /// `None`: not limited. An empty list would allow nothing.
    session: Option<Vec<NamedPolicy>>,
    boundary: Option<NamedPolicy>,
    tags: Vec<(Box<str>, Box<str>)>,
    unlimited: bool,
}

impl Identity {
    /// A principal without policies. The root user of an account needs none: to him IAM allows all.
    #[must_use]
    pub fn new(principal: Principal) -> Self {
        let unlimited = matches!(principal, Principal::AccountRoot { .. });
        let inner = Inner {
            principal,
            user_id: None,
            policies: Vec::new(),
            session: None,
            boundary: None,
            tags: Vec::new(),
            unlimited,
        };
        Self { inner: Arc::new(inner) }
    }

    /// A principal to whom IAM allows everything, as if it had `AdministratorAccess`. Policies of
    /// resources still have to delegate to its account.
    ///
    /// # Errors
    /// [`ParsePrincipalError`] when `text` names no principal.
    pub fn unlimited(text: &str) -> Result<Self, ParsePrincipalError> {
        Ok(Self::new(Principal::parse(text)?).with_everything())
    }

    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(Principal::Anonymous)
    }

    /// With an identity policy that allows everything.
    #[must_use]
    pub fn with_everything(self) -> Self {
        self.change(|inner| inner.unlimited = true)
    }

    /// With one more policy, of [`crate::PolicyKind::Identity`].
    #[must_use]
    pub fn with_policy(self, name: &str, policy: Arc<Policy>) -> Self {
        self.change(|inner| inner.policies.push(NamedPolicy { name: name.into(), policy }))
    }

    /// Limited to what this policy, or another session policy, allows.
    #[must_use]
    pub fn with_session_policy(self, name: &str, policy: Arc<Policy>) -> Self {
        let named = NamedPolicy { name: name.into(), policy };
        self.change(|inner| inner.session.get_or_insert_default().push(named))
    }

    /// Limited to what this policy allows.
    #[must_use]
    pub fn with_boundary(self, name: &str, policy: Arc<Policy>) -> Self {
        self.change(|inner| inner.boundary = Some(NamedPolicy { name: name.into(), policy }))
    }

    /// With a tag of the principal, in the place of one with the same key in any case.
    #[must_use]
    pub fn with_tag(self, key: &str, value: &str) -> Self {
        self.change(|inner| {
            inner.tags.retain(|(known, _)| !known.eq_ignore_ascii_case(key));
            inner.tags.push((key.into(), value.into()));
        })
    }

    /// With a user id: `AIDA...` of a user, `AROA...:<session>` of a session.
    #[must_use]
    pub fn with_user_id(self, id: &str) -> Self {
        self.change(|inner| inner.user_id = Some(id.into()))
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }

    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.inner.principal
    }

    /// The account that it belongs to. Services and the anonymous belong to none.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        self.inner.principal.account()
    }

    /// Its user id.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.inner.user_id.as_deref()
    }

    /// Its identity policies.
    #[must_use]
    pub fn policies(&self) -> &[NamedPolicy] {
        &self.inner.policies
    }

    /// Its session policies, if it is limited by any.
    #[must_use]
    pub fn session_policies(&self) -> Option<&[NamedPolicy]> {
        self.inner.session.as_deref()
    }

    /// Its permissions boundary.
    #[must_use]
    pub fn boundary(&self) -> Option<&NamedPolicy> {
        self.inner.boundary.as_ref()
    }

    /// Its tags.
    pub fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inner.tags.iter().map(|(key, value)| (&**key, &**value))
    }

    pub(crate) fn is_unlimited(&self) -> bool {
        self.inner.unlimited
    }

    /// The values of a global key that follows from the identity.
    pub(crate) fn value(&self, key: CallerKey, part: &str) -> Option<Values<'_>> {
        let principal = self.principal();
        match key {
            CallerKey::Account => match principal {
                Principal::AccountRoot { account }
                | Principal::User { account, .. }
                | Principal::Role { account, .. }
                | Principal::RoleSession { account, .. } => Some(Values::one(account.as_str())),
                Principal::Service { .. } | Principal::Anonymous => None,
            },
            CallerKey::Arn => principal.arn().map(Values::One),
            CallerKey::IsService => {
                Some(Values::bool(matches!(principal, Principal::Service { .. })))
            }
            CallerKey::ServiceName => self.services()?.first().map(|name| Values::one(&**name)),
            CallerKey::ServiceNames => {
                Some(Values::Many(self.services()?.iter().map(|name| Cow::from(&**name)).collect()))
            }
            CallerKey::Tag => {
                let mut tags = self.tags();
                let tag = tags.find(|(key, _)| key.eq_ignore_ascii_case(part));
                tag.map(|(_, value)| Values::one(value))
            }
            CallerKey::Type => Some(Values::one(match principal {
                Principal::AccountRoot { .. } => "Account",
                Principal::User { .. } => "User",
                Principal::Role { .. } | Principal::RoleSession { .. } => "AssumedRole",
                Principal::Service { .. } => "Service",
                Principal::Anonymous => "Anonymous",
            })),
            CallerKey::UserId => match (self.user_id(), principal) {
                (Some(id), _) => Some(Values::one(id)),
                (None, Principal::AccountRoot { account }) => Some(Values::one(account.as_str())),
                (None, Principal::Anonymous) => Some(Values::one("anonymous")),
                (None, _) => None,
            },
            CallerKey::UserName => match principal {
                Principal::User { arn, .. } => {
                    arn.rsplit_once('/').map(|(_, name)| Values::one(name))
                }
                _ => None,
            },
        }
    }

    fn services(&self) -> Option<&[Box<str>]> {
        match self.principal() {
            Principal::Service { names } => Some(names),
            _ => None,
        }
    }
}
