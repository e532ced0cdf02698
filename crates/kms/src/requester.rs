//! Who calls, from where and on whose behalf: what policies decide on and audit records tell.

use std::net::IpAddr;
use std::sync::Arc;

use sealvol_envelope::Caller;
use sealvol_policy::{Identity, Principal};

use crate::settings::KmsSettings;

/// A caller with everything that conditions can ask about it.
#[derive(Debug, Clone)]
pub struct Requester {
    /// The principal, with its identity policies.
    pub identity: Identity,
    /// The account that a service acts for. Other principals have one of their own.
    pub acting_account: Option<String>,
    /// The integrated service through which the call comes (`kms:ViaService`), such as
    /// `ec2.us-east-1.amazonaws.com`.
    pub via_service: Option<String>,
    /// The resource on whose behalf a service calls (`aws:SourceArn`).
    pub source_arn: Option<String>,
    /// The account on whose behalf a service calls (`aws:SourceAccount`).
    pub source_account: Option<String>,
    /// Where the request came from; unknown for calls in the process.
    pub origin: Option<Arc<Origin>>,
}

/// How a request arrived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// `aws:SourceIp`
    pub source_ip: Option<IpAddr>,
    /// `aws:UserAgent`
    pub user_agent: Option<String>,
    /// The access key that signed it.
    pub access_key_id: Option<String>,
    /// The id that the answer carries; records repeat it.
    pub request_id: Option<String>,
    /// Whether it came over TLS (`aws:SecureTransport`).
    pub secure_transport: bool,
}

impl Requester {
    /// A caller about whom nothing else is known.
    #[must_use]
    pub const fn new(identity: Identity) -> Self {
        Self {
            identity,
            acting_account: None,
            via_service: None,
            source_arn: None,
            source_account: None,
            origin: None,
        }
    }

    pub(crate) fn of_caller(caller: &Caller, directory: &dyn PrincipalDirectory) -> Self {
        let via_service = caller.via_service.clone();
        Self { via_service, ..Self::new(directory.identity(&caller.principal)) }
    }

    /// What messages and records call the caller.
    pub(crate) fn name(&self) -> std::borrow::Cow<'_, str> {
        self.identity.principal().name()
    }

    /// The account whose keys it names without an ARN.
    pub(crate) fn account(&self, settings: &KmsSettings) -> String {
        match self.identity.account() {
            Some(account) => account.as_str().to_owned(),
            None => self.acting_account.clone().unwrap_or_else(|| settings.account.clone()),
        }
    }

    /// Whether a grant to `grantee` is one to this caller.
    pub(crate) fn is(&self, grantee: &str) -> bool {
        self.any_name(|name| name == grantee)
    }

    /// Whether `test` holds for one of the names under which it may hold grants: a session's own and
    /// its role's, a service's all.
    pub(crate) fn any_name(&self, mut test: impl FnMut(&str) -> bool) -> bool {
        match self.identity.principal() {
            Principal::User { arn, .. } | Principal::Role { arn, .. } => test(arn),
            Principal::RoleSession { session_arn, role_arn, .. } => {
                test(session_arn) || test(role_arn)
            }
            Principal::Service { names } => names.iter().any(|name| test(name)),
            Principal::AccountRoot { .. } => test(&self.name()),
            Principal::Anonymous => false,
        }
    }
}

/// The ARN of an account's root.
pub(crate) fn root_arn(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// The principals that exist, and what their own policies allow.
pub trait PrincipalDirectory: Send + Sync {
    /// The identity of a principal, by ARN or service name. One that is not known has no policies:
    /// it may do what key policies and grants allow.
    fn identity(&self, principal: &str) -> Identity;

    /// Whether a principal that a key policy or grant names exists.
    fn exists(&self, principal: &str) -> bool;
}

/// The directory of an embedder that has none: the account's root and the configured admins may do
/// everything that key policies delegate; everybody else has no policies, and every well-formed
/// principal exists.
#[derive(Debug, Clone)]
pub struct OpenDirectory {
    unlimited: Vec<String>,
}

impl OpenDirectory {
    /// The directory that `settings` describe.
    #[must_use]
    pub fn new(settings: &KmsSettings) -> Self {
        let mut unlimited = settings.admins.clone();
        unlimited.push(settings.root_principal());
        Self { unlimited }
    }
}

impl PrincipalDirectory for OpenDirectory {
    fn identity(&self, principal: &str) -> Identity {
        let identity = Identity::new(Principal::parse(principal).unwrap_or(Principal::Anonymous));
        match self.unlimited.iter().any(|name| name == principal) {
            true => identity.with_everything(),
            false => identity,
        }
    }

    fn exists(&self, principal: &str) -> bool {
        Principal::parse(principal).is_ok()
    }
}
