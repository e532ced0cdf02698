//! Aliases.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// `CreateAlias` and `UpdateAlias`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AliasRequest {
    /// `alias/` and 1 to 250 characters of `[a-zA-Z0-9/_-]`.
    pub alias_name: String,
    /// Key id or key ARN.
    pub target_key_id: String,
}

/// `DeleteAlias`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeleteAliasRequest {
    /// With the `alias/` prefix.
    pub alias_name: String,
}

/// `ListAliases`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListAliasesRequest {
    /// Only those of this key (id or ARN).
    pub key_id: Option<String>,
    /// 1 to 100; 50 unless given.
    pub limit: Option<i64>,
    /// `NextMarker` of the page before.
    pub marker: Option<String>,
}

/// Answer of `ListAliases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAliasesResponse {
    /// By name.
    pub aliases: Vec<AliasListEntry>,
    /// Where the next page starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// Whether there is one.
    pub truncated: bool,
}

/// An alias, as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AliasListEntry {
    /// `alias/...`
    pub alias_name: String,
    /// Its ARN.
    pub alias_arn: String,
    /// Id of the key that it names.
    pub target_key_id: String,
    /// When it was made.
    pub creation_date: Timestamp,
    /// When it last got another target.
    pub last_updated_date: Timestamp,
}
