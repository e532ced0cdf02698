//! Key policies.

use serde::{Deserialize, Serialize};

/// `PutKeyPolicy`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PutKeyPolicyRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// `default`
    pub policy_name: Option<String>,
    /// A JSON document.
    pub policy: String,
    /// Takes a policy that locks its maker out.
    pub bypass_policy_lockout_safety_check: Option<bool>,
}

/// `GetKeyPolicy`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GetKeyPolicyRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// `default`
    pub policy_name: Option<String>,
}

/// Answer of `GetKeyPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetKeyPolicyResponse {
    /// The document as it was put.
    pub policy: String,
    /// `default`
    pub policy_name: &'static str,
}

/// `ListKeyPolicies`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListKeyPoliciesRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// 1 to 1000; 100 unless given.
    pub limit: Option<i64>,
    /// `NextMarker` of the page before.
    pub marker: Option<String>,
}

/// Answer of `ListKeyPolicies`: every key has one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeyPoliciesResponse {
    /// `default`
    pub policy_names: Vec<&'static str>,
    /// Always false.
    pub truncated: bool,
}
