//! The `Principal` element of a statement, and whom it means.

use std::fmt;

use crate::account::AccountId;
use crate::error::{PolicyError, PolicyErrorKind};
use crate::identity::Identity;
use crate::json::{Node, Place};
use crate::limits::Limits;
use crate::principal::{Principal, is_service_name};

/// One principal that a policy names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NamedPrincipal {
    /// `*`: everybody.
    Everyone,
    /// Twelve digits or `arn:aws:iam::<account>:root`: the account, which then decides by its own
    /// policies.
    Account(AccountId),
    /// A user, a role (for all its sessions) or a session, by ARN.
    Arn(Principal),
    /// A service, by its name in lower case.
    Service(Box<str>),
    /// An identity provider. Nobody here comes from one: matches no one.
    Federated(Box<str>),
    /// A canonical user id of S3: matches no one.
    CanonicalUser(Box<str>),
    /// A unique id (`AIDA...`, `AROA...`), which AWS puts in the place of a principal that is gone.
    UniqueId(Box<str>),
}

impl fmt::Display for NamedPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("*"),
            Self::Account(account) => write!(f, "arn:aws:iam::{account}:root"),
            Self::Arn(principal) => principal.fmt(f),
            Self::Service(text)
            | Self::Federated(text)
            | Self::CanonicalUser(text)
            | Self::UniqueId(text) => f.write_str(text),
        }
    }
}

/// How closely a statement means somebody. In order: the closest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hit {
    No,
    /// By his account, whose policies then have to allow it.
    Account,
    /// By his role, or as one of everybody.
    Covered,
    /// Himself.
    Named,
}

/// `Principal` or `NotPrincipal`.
#[derive(Debug, Clone)]
pub(crate) struct Principals {
    pub(crate) negated: bool,
    pub(crate) list: Box<[NamedPrincipal]>,
}

impl Principals {
    pub(crate) fn parse(
        place: &Place<'_>,
        negated: bool,
        limits: &Limits,
    ) -> Result<Self, PolicyError> {
        if let Node::Text(text) = place.node {
            if text != "*" {
                return Err(place.error(PolicyErrorKind::bad(text, "`*` or an object")));
            }
            return Ok(Self { negated, list: [NamedPrincipal::Everyone].into() });
        }
        let mut list = Vec::new();
        for (name, node) in place.members()? {
            let place = place.member(name, node);
            let read = match name.as_str() {
                "AWS" => read_aws,
                "Service" => read_service,
                "Federated" => |text: &str| Some(NamedPrincipal::Federated(text.into())),
                "CanonicalUser" => |text: &str| Some(NamedPrincipal::CanonicalUser(text.into())),
                _ => return Err(place.error(PolicyErrorKind::UnknownElement)),
            };
            let each = place.each("principals", limits.values, |place| {
                let text = place.text()?;
                let bad = || place.error(PolicyErrorKind::bad(text, "a principal"));
                read(text).ok_or_else(bad)
            })?;
            list.extend(each);
        }
        if list.is_empty() {
            return Err(place.error(PolicyErrorKind::Missing("principals")));
        }
        Ok(Self { negated, list: list.into() })
    }

    /// How an Allow means `identity`.
    pub(crate) fn closest(&self, identity: &Identity) -> Hit {
        self.list.iter().map(|named| named.hit(identity)).max().unwrap_or(Hit::No)
    }

    /// Whether a Deny means `identity`. The account in it means everybody of the account; in a
    /// `NotPrincipal` it spares the root user only, and so the others have to be named.
    pub(crate) fn denies(&self, identity: &Identity) -> bool {
        let hit = self.closest(identity);
        if self.negated { hit < Hit::Covered } else { hit > Hit::No }
    }
}

impl NamedPrincipal {
    fn hit(&self, identity: &Identity) -> Hit {
        let found = |is: bool, hit| if is { hit } else { Hit::No };
        match (self, identity.principal()) {
            (Self::Everyone, _) => Hit::Covered,
            (Self::Account(named), Principal::AccountRoot { account }) => {
                found(named == account, Hit::Named)
            }
            (Self::Account(named), principal) => {
                found(principal.account() == Some(*named), Hit::Account)
            }
            (Self::Arn(Principal::User { arn: named, .. }), Principal::User { arn, .. }) => {
                found(named == arn, Hit::Named)
            }
            (
                Self::Arn(Principal::Role { arn: named, .. }),
                Principal::Role { arn: role_arn, .. } | Principal::RoleSession { role_arn, .. },
            ) => found(named == role_arn, Hit::Covered),
            (
                Self::Arn(Principal::RoleSession { session_arn: named, .. }),
                Principal::RoleSession { session_arn, .. },
            ) => found(named == session_arn, Hit::Named),
            (Self::Service(named), Principal::Service { names }) => {
                found(names.contains(named), Hit::Named)
            }
            (Self::UniqueId(named), Principal::User { .. }) => {
                found(identity.user_id() == Some(named), Hit::Named)
            }
            (Self::UniqueId(named), Principal::Role { .. } | Principal::RoleSession { .. }) => {
                // A session's id is the role's and the session's name.
                let role = identity.user_id().and_then(|id| id.split(':').next());
                found(role == Some(named), Hit::Covered)
            }
            _ => Hit::No,
        }
    }
}

fn read_aws(text: &str) -> Option<NamedPrincipal> {
    if text == "*" {
        return Some(NamedPrincipal::Everyone);
    }
    if let Some(account) = AccountId::parse(text) {
        return Some(NamedPrincipal::Account(account));
    }
    let is_id = (text.starts_with("AIDA") || text.starts_with("AROA"))
        && (16..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if is_id {
        return Some(NamedPrincipal::UniqueId(text.into()));
    }
    match Principal::parse(text).ok()? {
        Principal::AccountRoot { account } => Some(NamedPrincipal::Account(account)),
        Principal::Service { .. } | Principal::Anonymous => None,
        principal => Some(NamedPrincipal::Arn(principal)),
    }
}

fn read_service(text: &str) -> Option<NamedPrincipal> {
    is_service_name(text).then(|| NamedPrincipal::Service(text.to_ascii_lowercase().into()))
}
