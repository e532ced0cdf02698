//! Who there is: the configuration, checked and indexed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sealvol_policy::{
    AccountId, Identity, Limits, NamedPolicy, NamedPrincipal, Policy, PolicyKind, Principal,
    is_entity_name,
};

use crate::config::{
    AccessKeyConfig, AccountConfig, IamConfig, PolicyConfig, RoleConfig, ServiceConfig, UserConfig,
};
use crate::error::{IamError, IamErrorKind};
use crate::ids::unique_id;
use crate::secret::SecretText;

/// A role's sessions last 1 to 12 hours at most.
const MAX_SESSION_SECONDS: std::ops::RangeInclusive<u64> = 3600..=43_200;

/// Which principals count as existing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Known {
    /// Those of the configuration.
    #[default]
    Configured,
    /// Every well-formed one: for tests that do without a configuration. What is not configured may
    /// do all that policies of resources leave to its account.
    Anybody,
}

/// On whose behalf a service calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceOfCall {
    /// `aws:SourceAccount`
    pub account: Option<AccountId>,
    /// `aws:SourceArn`
    pub arn: Option<String>,
}

/// What an access key stands for.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Its secret.
    pub secret: SecretText,
    /// Whose it is.
    pub identity: Identity,
    /// Of a service: on whose behalf it calls.
    pub source: Option<SourceOfCall>,
    /// Of a test key: the service that its requests count as made through.
    pub via_service: Option<String>,
}

/// A role.
#[derive(Debug, Clone)]
pub struct Role {
    pub(crate) account: AccountId,
    pub(crate) arn: String,
    id: String,
    pub(crate) trust: Arc<Policy>,
    pub(crate) max_session_seconds: u64,
    policies: Vec<NamedPolicy>,
    boundary: Option<NamedPolicy>,
    tags: Vec<(String, String)>,
}

impl Role {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Its unique id, `AROA...`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its trust policy.
    #[must_use]
    pub fn trust(&self) -> &Policy {
        &self.trust
    }

    /// Somebody in it. `None` when `session` is no session's name.
    #[must_use]
    pub fn session(&self, session: &str) -> Option<Identity> {
        let principal = Principal::session(&self.arn, session).ok()?;
        let user_id = format!("{}:{session}", self.id);
        Some(self.furnish(Identity::new(principal).with_user_id(&user_id)))
    }

    fn furnish(&self, mut identity: Identity) -> Identity {
        for NamedPolicy { name, policy } in &self.policies {
            identity = identity.with_policy(name, policy.clone());
        }
        if let Some(NamedPolicy { name, policy }) = &self.boundary {
            identity = identity.with_boundary(name, policy.clone());
        }
        self.tags.iter().fold(identity, |identity, (key, value)| identity.with_tag(key, value))
    }
}

/// What `GetCallerIdentity` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerIdentity {
    /// The account.
    pub account: AccountId,
    /// The ARN; of somebody in a role the session's.
    pub arn: String,
    /// The user id: the account's of a root user, `AIDA...` of a user, `AROA...:<session>`.
    pub user_id: String,
}

impl CallerIdentity {
    /// Of `identity`. `None` for services and the anonymous.
    #[must_use]
    pub fn of(identity: &Identity) -> Option<Self> {
        let account = identity.account()?;
        let arn = identity.principal().name().into_owned();
        let user_id = match (identity.user_id(), identity.principal()) {
            (Some(id), _) => id.to_owned(),
            (None, Principal::AccountRoot { account }) => account.to_string(),
            // Somebody whom nobody configured.
            (None, Principal::RoleSession { role_arn, .. }) => {
                let session = arn.rsplit('/').next().unwrap_or_default();
                format!("{}:{session}", unique_id("AROA", role_arn))
            }
            (None, _) => unique_id("AIDA", &arn),
        };
        Some(Self { account, arn, user_id })
    }
}

/// Accounts, users, roles and keys.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    known: Known,
    accounts: HashSet<AccountId>,
    credentials: HashMap<String, Credential>,
    users: HashMap<String, Identity>,
    roles: HashMap<String, Role>,
    /// ARNs of roles by account and name: a session's ARN does not have the path.
    role_names: HashMap<(AccountId, String), String>,
}

impl Directory {
    /// Checks and indexes a configuration. `read_file` gives the text of a policy's file.
    ///
    /// # Errors
    /// [`IamError`] names the first thing that is wrong and its place.
    pub fn build(
        config: IamConfig,
        known: Known,
        limits: &Limits,
        read_file: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, IamError> {
        let directory = Self { known, ..Self::default() };
        let (user_names, place) = (HashSet::new(), String::new());
        let mut builder = Builder { directory, limits, read_file, user_names, place };
        for account in config.account {
            builder.account(account)?;
        }
        for (index, service) in config.service.into_iter().enumerate() {
            builder.place = format!("service {index}");
            builder.service(service)?;
        }
        Ok(builder.directory)
    }

    /// What an access key stands for. Those of sessions are opened by [`crate::Sessions`].
    #[must_use]
    pub fn credential(&self, access_key_id: &str) -> Option<&Credential> {
        self.credentials.get(access_key_id)
    }

    /// The accounts.
    pub fn accounts(&self) -> impl Iterator<Item = AccountId> {
        self.accounts.iter().copied()
    }

    /// The role with `arn`.
    #[must_use]
    pub fn role(&self, arn: &str) -> Option<&Role> {
        self.roles.get(arn)
    }

    /// Whom a principal's text stands for: an ARN of a root user, a user, a role or a role session, or
    /// a service's name.
    #[must_use]
    pub fn identity(&self, principal: &str) -> Option<Identity> {
        let parsed = Principal::parse(principal).ok()?;
        let configured = match &parsed {
            Principal::AccountRoot { account } => {
                self.accounts.contains(account).then(|| Identity::new(parsed.clone()))
            }
            Principal::User { arn, .. } => self.users.get(&**arn).cloned(),
            Principal::Role { arn, .. } => self
                .roles
                .get(&**arn)
                .map(|role| role.furnish(Identity::new(parsed.clone()).with_user_id(&role.id))),
            Principal::RoleSession { account, session_arn, .. } => {
                let mut names = session_arn.rsplit('/');
                let (session, name) = (names.next()?, names.next()?);
                let arn = self.role_names.get(&(*account, name.to_owned()));
                arn.and_then(|arn| self.roles.get(arn)).and_then(|role| role.session(session))
            }
            Principal::Service { .. } => Some(Identity::new(parsed.clone())),
            Principal::Anonymous => None,
        };
        let anybody = || Identity::new(parsed.clone()).with_everything();
        configured.or_else(|| (self.known == Known::Anybody).then(anybody))
    }

    /// Whether a principal exists, by the text that names it. An account's id names the account.
    #[must_use]
    pub fn exists(&self, principal: &str) -> bool {
        match AccountId::parse(principal) {
            Some(account) => self.has_account(account),
            None => self.identity(principal).is_some(),
        }
    }

    /// Whether a policy's principal exists. `*` does; providers and users of S3 do not; a unique id
    /// stands for somebody who is gone.
    #[must_use]
    pub fn knows(&self, principal: &NamedPrincipal) -> bool {
        match principal {
            NamedPrincipal::Everyone => true,
            NamedPrincipal::Account(account) => self.has_account(*account),
            NamedPrincipal::Arn(principal) => self.identity(&principal.name()).is_some(),
            NamedPrincipal::Service(name) => self.identity(name).is_some(),
            _ => self.known == Known::Anybody,
        }
    }

    fn has_account(&self, account: AccountId) -> bool {
        self.known == Known::Anybody || self.accounts.contains(&account)
    }
}

struct Builder<'a> {
    directory: Directory,
    limits: &'a Limits,
    read_file: &'a mut dyn FnMut(&str) -> Result<String, String>,
    user_names: HashSet<(AccountId, String)>,
    /// What is being read, for errors.
    place: String,
}

impl Builder<'_> {
    fn error(&self, kind: IamErrorKind) -> IamError {
        IamError { place: self.place.clone(), kind }
    }

    fn bad(&self, what: &'static str, expected: &'static str) -> IamError {
        self.error(IamErrorKind::BadValue { what, expected })
    }

    fn account(&mut self, config: AccountConfig) -> Result<(), IamError> {
        self.place = format!("account {}", short(&config.id));
        let account =
            AccountId::parse(&config.id).ok_or_else(|| self.bad("id", "an account's 12 digits"))?;
        if !self.directory.accounts.insert(account) {
            return Err(self.error(IamErrorKind::Duplicate("the account")));
        }
        let root = Identity::new(Principal::AccountRoot { account });
        self.access_keys(config.access_keys, &root, None)?;
        let account_place = self.place.clone();
        for user in config.user {
            self.place = format!("{account_place}, user {}", short(&user.name));
            self.user(account, user)?;
        }
        for role in config.role {
            self.place = format!("{account_place}, role {}", short(&role.name));
            self.role(account, role)?;
        }
        Ok(())
    }

    fn user(&mut self, account: AccountId, config: UserConfig) -> Result<(), IamError> {
        let arn = self.arn(account, "user", &config.path, &config.name)?;
        let principal = Principal::parse(&arn);
        let Ok(principal) = principal else { return Err(self.bad("name", "a user's name")) };
        // As in IAM, one name is one user, whatever the paths.
        if !self.user_names.insert((account, config.name)) {
            return Err(self.error(IamErrorKind::Duplicate("the user")));
        }
        let mut identity = Identity::new(principal).with_user_id(&unique_id("AIDA", &arn));
        for NamedPolicy { name, policy } in self.policies(config.policies)? {
            identity = identity.with_policy(&name, policy);
        }
        if let Some(NamedPolicy { name, policy }) = self.boundary(config.boundary)? {
            identity = identity.with_boundary(&name, policy);
        }
        for (key, value) in self.tags(config.tags)? {
            identity = identity.with_tag(&key, &value);
        }
        self.access_keys(config.access_keys, &identity, None)?;
        self.directory.users.insert(arn, identity);
        Ok(())
    }

    fn role(&mut self, account: AccountId, config: RoleConfig) -> Result<(), IamError> {
        let arn = self.arn(account, "role", &config.path, &config.name)?;
        let name = (account, config.name);
        if self.directory.role_names.contains_key(&name) {
            return Err(self.error(IamErrorKind::Duplicate("the role")));
        }
        let source = (config.trust, config.trust_file);
        let trust = self.policy("trust policy", "trust", source, PolicyKind::Trust)?;
        let seconds = seconds(&config.max_session);
        let max_session_seconds =
            seconds
                .filter(|seconds| MAX_SESSION_SECONDS.contains(seconds))
                .ok_or_else(|| self.bad("max_session", "1h to 12h, in `h`, `m` or `s`"))?;
        let role = Role {
            account,
            id: unique_id("AROA", &arn),
            trust,
            max_session_seconds,
            policies: self.policies(config.policies)?,
            boundary: self.boundary(config.boundary)?,
            tags: self.tags(config.tags)?,
            arn: arn.clone(),
        };
        self.directory.role_names.insert(name, arn.clone());
        self.directory.roles.insert(arn, role);
        Ok(())
    }

    fn service(&mut self, config: ServiceConfig) -> Result<(), IamError> {
        let names = config.names.iter().map(String::as_str);
        let principal = Principal::service(names)
            .map_err(|_| self.bad("names", "names of services, as `ec2.amazonaws.com`"))?;
        let account = match &config.account {
            Some(text) => Some(
                AccountId::parse(text)
                    .ok_or_else(|| self.bad("account", "an account's 12 digits"))?,
            ),
            None => None,
        };
        let source = SourceOfCall { account, arn: config.source_arn };
        self.access_keys(config.access_keys, &Identity::new(principal), Some(&source))
    }

    fn arn(
        &self,
        account: AccountId,
        kind: &str,
        path: &str,
        name: &str,
    ) -> Result<String, IamError> {
        if !is_entity_name(name) {
            return Err(self.bad("name", "1 to 64 letters, digits and `_+=,.@-`"));
        }
        let is_path = path == "/"
            || (path.len() <= 512
                && path.len() > 2
                && path.starts_with('/')
                && path.ends_with('/')
                && path
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"/_+=,.@-".contains(&byte)));
        if !is_path {
            return Err(self.bad("path", "`/`, or `/a/b/`"));
        }
        Ok(format!("arn:aws:iam::{account}:{kind}{path}{name}"))
    }

    fn tags(
        &self,
        tags: std::collections::BTreeMap<String, String>,
    ) -> Result<Vec<(String, String)>, IamError> {
        let mut seen = HashSet::new();
        for (key, value) in &tags {
            if !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256 {
                return Err(
                    self.bad("a tag", "a key of 1 to 128 and a value of up to 256 characters")
                );
            }
            if !seen.insert(key.to_lowercase()) {
                return Err(self.error(IamErrorKind::Duplicate("a tag")));
            }
        }
        Ok(tags.into_iter().collect())
    }

    fn access_keys(
        &mut self,
        keys: Vec<AccessKeyConfig>,
        identity: &Identity,
        source: Option<&SourceOfCall>,
    ) -> Result<(), IamError> {
        for AccessKeyConfig { id, secret, via_service } in keys {
            let is_id = (4..=128).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_id || id.starts_with("ASIA") {
                return Err(self.bad(
                    "an access key's id",
                    "4 to 128 letters and digits, and not to begin with ASIA",
                ));
            }
            if !(1..=256).contains(&secret.expose_secret().len()) {
                return Err(self.bad("an access key's secret", "1 to 256 bytes long"));
            }
            let fits = |name: &String| Principal::service([name.as_str()]).is_ok();
            if !via_service.as_ref().is_none_or(fits) {
                return Err(self.bad("via_service", "a name as `ec2.us-east-1.amazonaws.com`"));
            }
            let source = source.cloned();
            let credential = Credential { secret, identity: identity.clone(), source, via_service };
            if self.directory.credentials.insert(id, credential).is_some() {
                return Err(self.error(IamErrorKind::Duplicate("an access key's id")));
            }
        }
        Ok(())
    }

    fn policies(&mut self, configs: Vec<PolicyConfig>) -> Result<Vec<NamedPolicy>, IamError> {
        let mut names = HashSet::new();
        let mut policies = Vec::new();
        for config in configs {
            if !names.insert(config.name.clone()) {
                return Err(self.error(IamErrorKind::Duplicate("a policy's name")));
            }
            policies.push(self.identity_policy(config)?);
        }
        Ok(policies)
    }

    fn boundary(&mut self, config: Option<PolicyConfig>) -> Result<Option<NamedPolicy>, IamError> {
        config.map(|config| self.identity_policy(config)).transpose()
    }

    fn identity_policy(&mut self, config: PolicyConfig) -> Result<NamedPolicy, IamError> {
        let PolicyConfig { name, document, file } = config;
        let is_name = (1..=128).contains(&name.len()) && !name.contains(char::is_control);
        if !is_name {
            return Err(self.bad("a policy's name", "1 to 128 bytes long"));
        }
        let source = (document, file);
        let policy = self.policy("policy", &name, source, PolicyKind::Identity)?;
        Ok(NamedPolicy { name: name.into(), policy })
    }

    fn policy(
        &mut self,
        what: &'static str,
        name: &str,
        source: (Option<String>, Option<String>),
        kind: PolicyKind,
    ) -> Result<Arc<Policy>, IamError> {
        let text = match source {
            (Some(text), None) => text,
            (None, Some(file)) => match (self.read_file)(&file) {
                Ok(text) => text,
                Err(why) => return Err(self.error(IamErrorKind::File { file, why })),
            },
            (Some(_), Some(_)) | (None, None) => {
                return Err(self.error(IamErrorKind::OneSource(what)));
            }
        };
        Policy::parse(&text, kind, self.limits).map(Arc::new).map_err(|error| {
            self.error(IamErrorKind::Policy { what: format!("policy {name}"), error })
        })
    }
}

/// The start of a name, for errors.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Reads `90m`, `1h`, `3600s`.
fn seconds(text: &str) -> Option<u64> {
    let (digits, factor) = [('h', 3600), ('m', 60), ('s', 1)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let is_number =
        (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse::<u64>().ok().map(|number| number * factor) } else { None }
}
