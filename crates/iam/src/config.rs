//! The configuration's form, as TOML.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{IamError, IamErrorKind};
use crate::secret::SecretText;

/// Longest configuration.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

/// All there is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IamConfig {
    /// Accounts: `[[account]]`.
    pub account: Vec<AccountConfig>,
    /// Keys that act as a service, for tests: `[[service]]`.
    pub service: Vec<ServiceConfig>,
}

/// An account.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// Twelve digits.
    pub id: String,
    /// The root user's keys.
    #[serde(default)]
    pub access_keys: Vec<AccessKeyConfig>,
    /// Users: `[[account.user]]`.
    #[serde(default)]
    pub user: Vec<UserConfig>,
    /// Roles: `[[account.role]]`.
    #[serde(default)]
    pub role: Vec<RoleConfig>,
}

/// An access key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKeyConfig {
    /// 4 to 128 letters, digits and `_`. Ids that begin with `ASIA` are those of sessions.
    pub id: String,
    /// The secret.
    pub secret: SecretText,
    /// For tests: requests with this key count as made through this integrated service
    /// (`kms:ViaService`), such as `ec2.us-east-1.amazonaws.com`.
    pub via_service: Option<String>,
}

/// A user.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// Its name.
    pub name: String,
    /// Its path, `/` or `/a/b/`.
    #[serde(default = "no_path")]
    pub path: String,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Its keys.
    #[serde(default)]
    pub access_keys: Vec<AccessKeyConfig>,
    /// Its identity policies.
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
    /// Its permissions boundary.
    pub boundary: Option<PolicyConfig>,
}

/// A role.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleConfig {
    /// Its name.
    pub name: String,
    /// Its path, `/` or `/a/b/`.
    #[serde(default = "no_path")]
    pub path: String,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The trust policy's text.
    pub trust: Option<String>,
    /// The trust policy's file, in the place of its text.
    pub trust_file: Option<String>,
    /// Its identity policies.
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
    /// Its permissions boundary.
    pub boundary: Option<PolicyConfig>,
    /// Longest session: `1h` to `12h`, in `h`, `m` or `s`.
    #[serde(default = "one_hour")]
    pub max_session: String,
}

/// A policy: its text, or a file that the caller reads.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// What it is called in decisions.
    pub name: String,
    /// Its text.
    pub document: Option<String>,
    /// Its file.
    pub file: Option<String>,
}

/// A service with keys of its own, which real services do not have.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// The names it acts under.
    pub names: Vec<String>,
    /// For whose account: `aws:SourceAccount`.
    pub account: Option<String>,
    /// For which resource: `aws:SourceArn`.
    pub source_arn: Option<String>,
    /// Its keys.
    #[serde(default)]
    pub access_keys: Vec<AccessKeyConfig>,
}

fn no_path() -> String {
    "/".to_owned()
}

fn one_hour() -> String {
    "1h".to_owned()
}

impl IamConfig {
    /// Reads a configuration. What its texts mean is checked by [`crate::Directory::build`].
    ///
    /// # Errors
    /// [`IamErrorKind::TooLong`] and [`IamErrorKind::Toml`].
    pub fn from_toml(text: &str) -> Result<Self, IamError> {
        read_toml(text)
    }
}

/// Reads a configuration that has [`IamConfig`]'s tables among its own. No error quotes its text.
///
/// # Errors
/// [`IamErrorKind::TooLong`] and [`IamErrorKind::Toml`].
pub fn read_toml<T: DeserializeOwned>(text: &str) -> Result<T, IamError> {
    let whole = |kind| IamError { place: String::new(), kind };
    if text.len() > CONFIG_BYTES_MAX {
        let (len, max) = (text.len(), CONFIG_BYTES_MAX);
        return Err(whole(IamErrorKind::TooLong { len, max }));
    }
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.as_bytes().get(..start).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        whole(IamErrorKind::Toml { line, message: unquoted(error.message()) })
    })
}

/// A message without what stands between quotes: that may be a secret in the wrong place.
fn unquoted(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) => {
            let head = message.get(..first).unwrap_or_default();
            let tail = message.get(last + 1..).unwrap_or_default();
            format!("{head}(...){tail}")
        }
        _ => message.to_owned(),
    }
}
