//! What STS does: somebody assumes a role, and comes back with the session's credentials.

use std::fmt;
use std::sync::Arc;

use sealvol_core::{Entropy, UnixMillis};
use sealvol_policy::{
    ConditionKeys, Identity, Limits, Outcome, Policy, PolicyError, PolicyKind, Principal, Query,
    ResourcePolicy, Values, decide, is_session_name,
};

use crate::directory::{Directory, Role};
use crate::ids::{session_key_id, session_secret};
use crate::secret::SecretText;
use crate::token::{SessionRecord, TokenError, TokenKey};

/// Characters of a session policy, as STS has it.
const SESSION_POLICY_MAX: usize = 2048;
const DURATION_SECONDS_DEFAULT: u64 = 3600;
const DURATION_SECONDS_MIN: u64 = 900;
const DURATION_SECONDS_MAX: u64 = 43_200;
/// Of a session that was assumed from a session.
const CHAINED_SECONDS_MAX: u64 = 3600;

/// A request of `AssumeRole`.
#[derive(Debug, Clone, Copy)]
pub struct AssumeRole<'a> {
    /// `RoleArn`
    pub role_arn: &'a str,
    /// `RoleSessionName`
    pub session_name: &'a str,
    /// `DurationSeconds`; an hour if absent.
    pub duration_seconds: Option<u64>,
    /// `ExternalId`, which trust policies see as `sts:ExternalId`.
    pub external_id: Option<&'a str>,
    /// `Policy`: the session policy's text.
    pub policy: Option<&'a str>,
}

/// The credentials of a session.
#[derive(Debug, Clone)]
pub struct SessionCredentials {
    /// `ASIA...`
    pub access_key_id: String,
    /// The secret access key.
    pub secret: SecretText,
    /// The session token.
    pub token: String,
    /// When they end.
    pub expires: UnixMillis,
    /// The session's ARN.
    pub arn: String,
    /// `AROA...:<session>`
    pub assumed_role_id: String,
}

/// A session that a token opened.
#[derive(Debug, Clone)]
pub struct OpenedSession {
    /// Its secret, to check a signature with.
    pub secret: SecretText,
    /// Who it is.
    pub identity: Identity,
    /// When it ends.
    pub expires: UnixMillis,
}

/// Why a role was not assumed. [`StsError::code`] is AWS's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StsError {
    /// The trust policy or the caller's own do not allow it, or there is no such role; which, is not
    /// told.
    #[error("User: {principal} is not authorized to perform: sts:AssumeRole on resource: {role}")]
    AccessDenied {
        /// The caller.
        principal: String,
        /// The role asked for.
        role: String,
    },
    /// No randomness.
    #[error("the session could not be made")]
    Internal(#[source] sealvol_core::Error),
    /// The session policy is none.
    #[error("the session policy is malformed: {0}")]
    MalformedPolicy(PolicyError),
    /// A parameter.
    #[error("{0}")]
    Validation(String),
}

impl StsError {
    /// The name of AWS's exception.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AccessDenied { .. } => "AccessDenied",
            Self::Internal(_) => "InternalFailure",
            Self::MalformedPolicy(_) => "MalformedPolicyDocument",
            Self::Validation(_) => "ValidationError",
        }
    }
}

/// Makes sessions and opens their tokens. It keeps none: tokens hold until they expire, as long as the
/// key is the same and the role is there.
pub struct Sessions {
    key: TokenKey,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions(..)")
    }
}

impl Sessions {
    /// With the key that tokens are sealed under.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: TokenKey::new(key) }
    }

    /// Somebody assumes a role. `context` is what the request says of itself beyond the parameters.
    ///
    /// # Errors
    /// [`StsError`]: parameters first, then permission.
    pub fn assume_role(
        &self,
        directory: &Directory,
        caller: &Identity,
        request: &AssumeRole<'_>,
        context: &dyn ConditionKeys,
        now: UnixMillis,
        entropy: &dyn Entropy,
    ) -> Result<SessionCredentials, StsError> {
        let policy = check(request)?;
        let denied = || StsError::AccessDenied {
            principal: caller.principal().name().into_owned(),
            role: request.role_arn.to_owned(),
        };
        let role = directory.role(request.role_arn).ok_or_else(denied)?;
        if !may_assume(caller, role, request, context) {
            return Err(denied());
        }
        let seconds = duration(caller, role, request)?;
        let identity = with_policy(role.session(request.session_name).ok_or_else(denied)?, policy);
        let secret = session_secret(entropy).map_err(StsError::Internal)?;
        let access_key_id = session_key_id(entropy).map_err(StsError::Internal)?;
        let expires = UnixMillis(now.0.saturating_add(seconds * 1000));
        let record = SessionRecord {
            role: request.role_arn.to_owned(),
            session: request.session_name.to_owned(),
            expires,
            secret: secret.clone(),
            policy: request.policy.map(str::to_owned),
        };
        let token = self.key.seal(&record, &access_key_id, entropy).map_err(StsError::Internal)?;
        Ok(SessionCredentials {
            access_key_id,
            secret,
            token,
            expires,
            arn: identity.principal().name().into_owned(),
            assumed_role_id: identity.user_id().unwrap_or_default().to_owned(),
        })
    }

    /// Opens the session of a token. The role's policies are those that it has now.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn open(
        &self,
        directory: &Directory,
        token: &str,
        access_key_id: &str,
        now: UnixMillis,
    ) -> Result<OpenedSession, TokenError> {
        let record = self.key.open(token, access_key_id, now)?;
        let SessionRecord { role, session, expires, secret, policy } = record;
        let role = directory.role(&role).ok_or(TokenError::Invalid)?;
        let policy = policy.map(|text| read_policy(&text)).transpose();
        let policy = policy.map_err(|_| TokenError::Invalid)?;
        let identity = role.session(&session).ok_or(TokenError::Invalid)?;
        let identity = with_policy(identity, policy);
        Ok(OpenedSession { secret, identity, expires })
    }
}

fn read_policy(text: &str) -> Result<Arc<Policy>, PolicyError> {
    Policy::parse(text, PolicyKind::Identity, &Limits::default()).map(Arc::new)
}

fn with_policy(identity: Identity, policy: Option<Arc<Policy>>) -> Identity {
    match policy {
        Some(policy) => identity.with_session_policy("session", policy),
        None => identity,
    }
}

/// The parameters on their own; returns the session policy.
fn check(request: &AssumeRole<'_>) -> Result<Option<Arc<Policy>>, StsError> {
    let invalid = |text: &str| Err(StsError::Validation(text.to_owned()));
    if !matches!(Principal::parse(request.role_arn), Ok(Principal::Role { .. })) {
        return invalid("roleArn is not the ARN of a role");
    }
    if !is_session_name(request.session_name) {
        return invalid("roleSessionName must be 2 to 64 of the characters [\\w+=,.@-]");
    }
    if let Some(id) = request.external_id {
        let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
        if !(2..=1224).contains(&id.len()) || !id.bytes().all(is_sign) {
            return invalid("externalId must be 2 to 1224 of the characters [\\w+=,.@:\\/-]");
        }
    }
    let seconds = request.duration_seconds.unwrap_or(DURATION_SECONDS_DEFAULT);
    if !(DURATION_SECONDS_MIN..=DURATION_SECONDS_MAX).contains(&seconds) {
        return invalid("durationSeconds must be between 900 and 43200");
    }
    let Some(text) = request.policy else { return Ok(None) };
    if text.chars().count() > SESSION_POLICY_MAX {
        return invalid("policy must have length less than or equal to 2048");
    }
    read_policy(text).map(Some).map_err(StsError::MalformedPolicy)
}

fn duration(caller: &Identity, role: &Role, request: &AssumeRole<'_>) -> Result<u64, StsError> {
    let seconds = request.duration_seconds.unwrap_or(DURATION_SECONDS_DEFAULT);
    let is_chained = matches!(caller.principal(), Principal::RoleSession { .. });
    if is_chained && seconds > CHAINED_SECONDS_MAX {
        let text =
            "durationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
        return Err(StsError::Validation(text.to_owned()));
    }
    if seconds > role.max_session_seconds {
        let text = "durationSeconds exceeds the MaxSessionDuration set for this role";
        return Err(StsError::Validation(text.to_owned()));
    }
    Ok(seconds)
}

fn may_assume(
    caller: &Identity,
    role: &Role,
    request: &AssumeRole<'_>,
    context: &dyn ConditionKeys,
) -> bool {
    // "Roles may not be assumed by root accounts."
    if matches!(caller.principal(), Principal::AccountRoot { .. } | Principal::Anonymous) {
        return false;
    }
    let context = AssumeContext { request, rest: context };
    let decision = decide(&Query {
        identity: caller,
        action: "sts:AssumeRole",
        resource: &role.arn,
        resource_policy: Some(ResourcePolicy { policy: &role.trust, account: role.account }),
        context: &context,
    });
    decision.outcome == Outcome::Allow
}

/// The parameters as condition keys, before those of the request.
struct AssumeContext<'a> {
    request: &'a AssumeRole<'a>,
    rest: &'a dyn ConditionKeys,
}

impl ConditionKeys for AssumeContext<'_> {
    fn get(&self, key: &str) -> Option<Values<'_>> {
        match key {
            "sts:externalid" => self.request.external_id.map(Values::one),
            "sts:rolesessionname" => Some(Values::one(self.request.session_name)),
            _ => self.rest.get(key),
        }
    }
}
