//! Who asks.

use std::borrow::Cow;
use std::fmt;

use crate::account::AccountId;

/// Longest text that is read as a principal.
const TEXT_MAX: usize = 2048;

/// A principal of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// An account's root user.
    AccountRoot {
        /// The account.
        account: AccountId,
    },
    /// An IAM user.
    User {
        /// Its account.
        account: AccountId,
        /// `arn:aws:iam::<account>:user/<path><name>`
        arn: Box<str>,
    },
    /// A role as such: what a grant or a policy may name. Callers are sessions of it.
    Role {
        /// Its account.
        account: AccountId,
        /// `arn:aws:iam::<account>:role/<path><name>`
        arn: Box<str>,
    },
    /// Somebody in a role.
    RoleSession {
        /// The role's account.
        account: AccountId,
        /// The role's ARN, path and all.
        role_arn: Box<str>,
        /// `arn:aws:sts::<account>:assumed-role/<role>/<session>`
        session_arn: Box<str>,
    },
    /// An AWS service.
    Service {
        /// Its names, all lower case: a service may act under several, such as one for its region.
        names: Box<[Box<str>]>,
    },
    /// Nobody in particular.
    Anonymous,
}

/// A text that names no principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the ARN of an account root, user, role or role session, nor a service's name")]
pub struct ParsePrincipalError;

impl Principal {
    /// Reads the ARN of an account root, a user, a role or a role session, or a service's name. The ARN
    /// of a session does not have the path of its role: see [`Principal::session`].
    ///
    /// # Errors
    /// [`ParsePrincipalError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, ParsePrincipalError> {
        Self::read(text).ok_or(ParsePrincipalError)
    }

    /// A session of the role `role_arn`.
    ///
    /// # Errors
    /// [`ParsePrincipalError`] when that is no role's ARN, or `session` is no session's name.
    pub fn session(role_arn: &str, session: &str) -> Result<Self, ParsePrincipalError> {
        let role = Self::parse(role_arn)?;
        let (Self::Role { account, arn }, true) = (role, is_session_name(session)) else {
            return Err(ParsePrincipalError);
        };
        let name = arn.rsplit('/').next().unwrap_or_default();
        let partition = arn.split(':').nth(1).unwrap_or_default();
        let session_arn = format!("arn:{partition}:sts::{account}:assumed-role/{name}/{session}");
        Ok(Self::RoleSession { account, role_arn: arn, session_arn: session_arn.into() })
    }

    /// A service that acts under `names`.
    ///
    /// # Errors
    /// [`ParsePrincipalError`] when there are none, or one is no service's name.
    pub fn service<'a>(
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ParsePrincipalError> {
        let lower = |name: &str| name.to_ascii_lowercase().into_boxed_str();
        let names: Box<[Box<str>]> = names.into_iter().map(lower).collect();
        if names.is_empty() || !names.iter().all(|name| is_service_name(name)) {
            return Err(ParsePrincipalError);
        }
        Ok(Self::Service { names })
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let Some(rest) = text.strip_prefix("arn:") else { return Self::service([text]).ok() };
        let mut fields = rest.splitn(5, ':');
        let (partition, service, region, account, resource) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let account = AccountId::parse(account)?;
        if !matches!(partition, "aws" | "aws-cn" | "aws-us-gov") || !region.is_empty() {
            return None;
        }
        let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
        match (service, kind) {
            ("iam", "root") if resource == "root" => Some(Self::AccountRoot { account }),
            ("iam", "user") if is_path_and_name(name) => {
                Some(Self::User { account, arn: text.into() })
            }
            ("iam", "role") if is_path_and_name(name) => {
                Some(Self::Role { account, arn: text.into() })
            }
            ("sts", "assumed-role") => {
                let (role, session) = name.split_once('/')?;
                // Services have roles of their own, such as `aws:ec2-infrastructure`.
                let name = role.strip_prefix("aws:").unwrap_or(role);
                let is_sound = is_entity_name(name) && is_session_name(session);
                let role_arn = format!("arn:{partition}:iam::{account}:role/{role}").into();
                is_sound.then(|| Self::RoleSession { account, role_arn, session_arn: text.into() })
            }
            _ => None,
        }
    }

    /// The account that it belongs to. Services and the anonymous belong to none.
    #[must_use]
    pub const fn account(&self) -> Option<AccountId> {
        match self {
            Self::AccountRoot { account }
            | Self::User { account, .. }
            | Self::Role { account, .. }
            | Self::RoleSession { account, .. } => Some(*account),
            Self::Service { .. } | Self::Anonymous => None,
        }
    }

    /// What calls are recorded under: its ARN (a session's own), a service's first name, or
    /// `anonymous`.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::AccountRoot { account } => Cow::Owned(format!("arn:aws:iam::{account}:root")),
            Self::User { arn, .. } | Self::Role { arn, .. } => Cow::Borrowed(arn),
            Self::RoleSession { session_arn, .. } => Cow::Borrowed(session_arn),
            Self::Service { names } => Cow::Borrowed(names.first().map_or("", |name| name)),
            Self::Anonymous => Cow::Borrowed("anonymous"),
        }
    }

    /// The value of `aws:PrincipalArn`: of a session, its role's.
    #[must_use]
    pub fn arn(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::RoleSession { role_arn, .. } => Some(Cow::Borrowed(role_arn)),
            Self::Service { .. } | Self::Anonymous => None,
            Self::AccountRoot { .. } | Self::User { .. } | Self::Role { .. } => Some(self.name()),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

/// `[\w+=,.@-]`, which names of users, roles and sessions are made of.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

/// Whether `name` may be a user's or a role's.
#[must_use]
pub fn is_entity_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(is_name_byte)
}

/// Whether `name` may be a session's.
#[must_use]
pub fn is_session_name(name: &str) -> bool {
    (2..=64).contains(&name.len()) && name.bytes().all(is_name_byte)
}

fn is_path_and_name(text: &str) -> bool {
    let (path, name) = text.rsplit_once('/').map_or(("", text), |(path, name)| (path, name));
    path.bytes().all(|byte| byte.is_ascii_graphic() && !b"*?".contains(&byte))
        && is_entity_name(name)
}

/// Whether `name` is a service's: `ec2.amazonaws.com`, or with a region.
#[must_use]
pub fn is_service_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let stem =
        lower.strip_suffix(".amazonaws.com").or_else(|| lower.strip_suffix(".amazonaws.com.cn"));
    stem.is_some_and(|stem| {
        stem.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    }) && name.len() <= 128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_read_back() {
        let names = [
            "arn:aws:iam::111122223333:root",
            "arn:aws:iam::111122223333:user/alice",
            "arn:aws:iam::111122223333:user/dep/t/alice",
            "arn:aws:iam::111122223333:role/worker",
            "arn:aws-cn:sts::111122223333:assumed-role/worker/s-1",
            "arn:aws:sts::111122223333:assumed-role/aws:ec2-infrastructure/i-0123456789abcdef0",
            "fargate.amazonaws.com",
            "ec2.eu-central-1.amazonaws.com",
        ];
        for name in names {
            assert_eq!(Principal::parse(name).unwrap().name(), name);
        }
        let bad = [
            "",
            "*",
            "arn:aws:iam::1:root",
            "arn:aws:iam::111122223333:root/x",
            "arn:aws:iam::111122223333:user/",
            "arn:aws:iam::111122223333:user/*",
            "arn:aws:iam:us-east-1:111122223333:user/a",
            "arn:aws:iam::111122223333:group/a",
            "arn:aws:sts::111122223333:assumed-role/worker",
            "arn:aws:sts::111122223333:assumed-role/worker/s/t",
            "amazonaws.com",
            ".amazonaws.com",
            "ec2",
        ];
        for bad in bad {
            assert_eq!(Principal::parse(bad), Err(ParsePrincipalError), "{bad}");
        }
    }

    #[test]
    fn a_session_knows_its_role_with_the_path() {
        let session = Principal::session("arn:aws:iam::111122223333:role/a/b/worker", "s1");
        let Ok(Principal::RoleSession { role_arn, session_arn, .. }) = session else { panic!() };
        assert_eq!(&*role_arn, "arn:aws:iam::111122223333:role/a/b/worker");
        assert_eq!(&*session_arn, "arn:aws:sts::111122223333:assumed-role/worker/s1");
        assert!(Principal::session("arn:aws:iam::111122223333:user/u", "s1").is_err());
        assert!(Principal::session("arn:aws:iam::111122223333:role/r", "s").is_err());
    }
}
