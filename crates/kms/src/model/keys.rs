//! Making, describing and listing keys, and their states.

use serde::{Deserialize, Serialize};

use super::{GrantToken, Tag, Timestamp};

/// `CreateKey`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateKeyRequest {
    /// The key policy, a JSON document; the default one delegates to the account's IAM.
    pub policy: Option<String>,
    /// What it is for, at most 8192 characters.
    pub description: Option<String>,
    /// See [`super::KeyUsage`].
    pub key_usage: Option<String>,
    /// The old name of `key_spec`.
    pub customer_master_key_spec: Option<String>,
    /// See [`super::KeySpec`].
    pub key_spec: Option<String>,
    /// See [`super::Origin`].
    pub origin: Option<String>,
    /// Custom key stores are not supported.
    pub custom_key_store_id: Option<String>,
    /// External key stores are not supported.
    pub xks_key_id: Option<String>,
    /// Takes a policy that locks its maker out.
    pub bypass_policy_lockout_safety_check: Option<bool>,
    /// At most 50.
    pub tags: Option<Vec<Tag>>,
    /// A multi-Region primary key. It has no replicas here.
    pub multi_region: Option<bool>,
}

/// Answer of `CreateKey` and `DescribeKey`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyMetadataResponse {
    /// The key.
    pub key_metadata: KeyDescription,
}

/// AWS's `KeyMetadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct KeyDescription {
    /// The account that owns it.
    #[serde(rename = "AWSAccountId")]
    pub aws_account_id: String,
    /// Its id.
    pub key_id: String,
    /// Its ARN.
    pub arn: String,
    /// When it was made.
    pub creation_date: Timestamp,
    /// Whether `key_state` is `Enabled`.
    pub enabled: bool,
    /// What it is for.
    pub description: String,
    /// See [`super::KeyUsage`].
    pub key_usage: &'static str,
    /// See [`sealvol_envelope::KeyState`].
    pub key_state: &'static str,
    /// When it goes; only while it is pending deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_date: Option<Timestamp>,
    /// See [`super::Origin`].
    pub origin: &'static str,
    /// `CUSTOMER` or `AWS`.
    pub key_manager: &'static str,
    /// The old name of `key_spec`.
    pub customer_master_key_spec: &'static str,
    /// See [`super::KeySpec`].
    pub key_spec: &'static str,
    /// For keys that encrypt.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub encryption_algorithms: &'static [&'static str],
    /// For keys that sign.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub signing_algorithms: &'static [&'static str],
    /// For keys that authenticate messages.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub mac_algorithms: &'static [&'static str],
    /// For keys that agree on secrets.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub key_agreement_algorithms: &'static [&'static str],
    /// Whether it is a multi-Region key.
    pub multi_region: bool,
    /// For multi-Region keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_region_configuration: Option<MultiRegionConfiguration>,
    /// The material that new ciphertexts are made with; symmetric keys only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_key_material_id: Option<String>,
}

/// `MultiRegionConfiguration`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MultiRegionConfiguration {
    /// `PRIMARY`
    pub multi_region_key_type: &'static str,
    /// The key itself.
    pub primary_key: MultiRegionKey,
    /// None here.
    pub replica_keys: Vec<MultiRegionKey>,
}

/// `MultiRegionKey`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MultiRegionKey {
    /// Its ARN.
    pub arn: String,
    /// Its region.
    pub region: String,
}

/// `DescribeKey`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeKeyRequest {
    /// Key id, key ARN, alias name or alias ARN.
    pub key_id: String,
    /// Grants to consider at once.
    pub grant_tokens: Option<Vec<GrantToken>>,
}

/// `ListKeys`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListKeysRequest {
    /// 1 to 1000; 100 unless given.
    pub limit: Option<i64>,
    /// `NextMarker` of the page before.
    pub marker: Option<String>,
}

/// Answer of `ListKeys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeysResponse {
    /// By key id.
    pub keys: Vec<KeyListEntry>,
    /// Where the next page starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// Whether there is one.
    pub truncated: bool,
}

/// A key of `ListKeys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyListEntry {
    /// Its id.
    pub key_id: String,
    /// Its ARN.
    pub key_arn: String,
}

/// A request that names a key and nothing else: `EnableKey`, `DisableKey`, `CancelKeyDeletion`,
/// `DisableKeyRotation`, `GetKeyRotationStatus`, `RotateKeyOnDemand`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KeyRequest {
    /// Key id or key ARN.
    pub key_id: String,
}

impl KeyRequest {
    /// Names a key.
    pub fn new(key_id: impl Into<String>) -> Self {
        Self { key_id: key_id.into() }
    }
}

/// An answer that names a key and nothing else: `CancelKeyDeletion`, `RotateKeyOnDemand`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyResponse {
    /// The key's ARN.
    pub key_id: String,
}

/// `ScheduleKeyDeletion`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ScheduleKeyDeletionRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// 7 to 30; 30 unless given.
    pub pending_window_in_days: Option<i64>,
}

/// Answer of `ScheduleKeyDeletion`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScheduleKeyDeletionResponse {
    /// The key's ARN.
    pub key_id: String,
    /// When it goes.
    pub deletion_date: Timestamp,
    /// `PendingDeletion`
    pub key_state: &'static str,
    /// The window.
    pub pending_window_in_days: i64,
}

/// `UpdateKeyDescription`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateKeyDescriptionRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// At most 8192 characters; may be empty, not missing.
    pub description: Option<String>,
}
