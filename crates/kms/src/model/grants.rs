//! Grants.

use sealvol_envelope::EncryptionContext;
use serde::{Deserialize, Serialize};

use super::{GrantToken, Timestamp};

/// `GrantConstraints`: at most one kind of encryption context may be given, even if it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GrantConstraints {
    /// The request's context holds these pairs.
    #[serde(with = "optional_context", skip_serializing_if = "Option::is_none")]
    pub encryption_context_subset: Option<EncryptionContext>,
    /// The request's context is this one.
    #[serde(with = "optional_context", skip_serializing_if = "Option::is_none")]
    pub encryption_context_equals: Option<EncryptionContext>,
    /// The resource on whose behalf a service principal calls (`aws:SourceArn`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_arn: Option<String>,
}

mod optional_context {
    use std::collections::BTreeMap;

    use sealvol_envelope::EncryptionContext;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        context: &Option<EncryptionContext>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(context.iter().flat_map(EncryptionContext::iter))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<EncryptionContext>, D::Error> {
        let pairs = Option::<BTreeMap<String, String>>::deserialize(deserializer)?;
        Ok(pairs.map(EncryptionContext::from_map))
    }
}

/// `CreateGrant`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateGrantRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// Who may use it; exactly one of this and `grantee_service_principal`.
    pub grantee_principal: Option<String>,
    /// The service that may use it; needs `source_arn` and a retiring principal.
    pub grantee_service_principal: Option<String>,
    /// Who may retire it, besides the creating account.
    pub retiring_principal: Option<String>,
    /// The service that may retire it.
    pub retiring_service_principal: Option<String>,
    /// Names of [`sealvol_envelope::GrantOperation`].
    pub operations: Vec<String>,
    /// Which requests it allows.
    pub constraints: Option<GrantConstraints>,
    /// Grants to consider at once.
    pub grant_tokens: Option<Vec<GrantToken>>,
    /// A named grant with equal parameters is the same grant.
    pub name: Option<String>,
    /// Checks everything and does nothing.
    pub dry_run: Option<bool>,
}

/// Answer of `CreateGrant`.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateGrantResponse {
    /// Makes it usable before it has propagated. Not secret, but never logged.
    pub grant_token: String,
    /// Its id.
    pub grant_id: String,
}

impl std::fmt::Debug for CreateGrantResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateGrantResponse")
            .field("grant_id", &self.grant_id)
            .finish_non_exhaustive()
    }
}

/// `ListGrants`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListGrantsRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// Only this one.
    pub grant_id: Option<String>,
    /// Only those of this grantee.
    pub grantee_principal: Option<String>,
    /// 1 to 100; 50 unless given.
    pub limit: Option<i64>,
    /// `NextMarker` of the page before.
    pub marker: Option<String>,
}

/// `ListRetirableGrants`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListRetirableGrantsRequest {
    /// A principal of the caller's account.
    pub retiring_principal: String,
    /// 1 to 100; 50 unless given.
    pub limit: Option<i64>,
    /// `NextMarker` of the page before.
    pub marker: Option<String>,
}

/// Answer of `ListGrants` and `ListRetirableGrants`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListGrantsResponse {
    /// By key and grant id.
    pub grants: Vec<GrantListEntry>,
    /// Where the next page starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// Whether there is one.
    pub truncated: bool,
}

/// A grant, as listed: without its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GrantListEntry {
    /// ARN of its key.
    pub key_id: String,
    /// Its id.
    pub grant_id: String,
    /// Its name, or empty.
    pub name: String,
    /// When it was made.
    pub creation_date: Timestamp,
    /// Who may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grantee_principal: Option<String>,
    /// The service that may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grantee_service_principal: Option<String>,
    /// Who may retire it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retiring_principal: Option<String>,
    /// The service that may retire it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retiring_service_principal: Option<String>,
    /// ARN of the root of the account that made it.
    pub issuing_account: String,
    /// What it allows.
    pub operations: Vec<&'static str>,
    /// Which requests it allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraints: Option<GrantConstraints>,
}

/// `RetireGrant`: the token, or key ARN and grant id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RetireGrantRequest {
    /// The token of the grant.
    pub grant_token: Option<GrantToken>,
    /// Key ARN.
    pub key_id: Option<String>,
    /// Its id.
    pub grant_id: Option<String>,
    /// Checks everything and does nothing.
    pub dry_run: Option<bool>,
}

/// `RevokeGrant`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RevokeGrantRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// Its id.
    pub grant_id: String,
    /// Checks everything and does nothing.
    pub dry_run: Option<bool>,
}
