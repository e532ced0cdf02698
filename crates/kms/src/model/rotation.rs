//! Rotation.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// `EnableKeyRotation`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EnableKeyRotationRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// 90 to 2560; 365 unless given, or what it was.
    pub rotation_period_in_days: Option<i64>,
}

/// Answer of `GetKeyRotationStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyRotationStatus {
    /// Whether the key rotates by itself.
    pub key_rotation_enabled: bool,
    /// The key's ARN.
    pub key_id: String,
    /// Only if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_period_in_days: Option<i64>,
    /// Only if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_rotation_date: Option<Timestamp>,
    /// Only while a rotation on demand is in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_demand_rotation_start_date: Option<Timestamp>,
}

/// `ListKeyRotations`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListKeyRotationsRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// `ROTATIONS_ONLY` (unless given) or `ALL_KEY_MATERIAL`.
    pub include_key_material: Option<String>,
    /// 1 to 1000; 100 unless given.
    pub limit: Option<i64>,
    /// `NextMarker` of the page before.
    pub marker: Option<String>,
}

/// Answer of `ListKeyRotations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeyRotationsResponse {
    /// Newest last.
    pub rotations: Vec<RotationsListEntry>,
    /// Where the next page starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// Whether there is one.
    pub truncated: bool,
}

/// One material of a key, with the rotation that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RotationsListEntry {
    /// The key's ARN.
    pub key_id: String,
    /// The material.
    pub key_material_id: String,
    /// `CURRENT` or `NON_CURRENT`.
    pub key_material_state: &'static str,
    /// Absent for the first material.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_date: Option<Timestamp>,
    /// `AUTOMATIC` or `ON_DEMAND`; absent for the first material.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_type: Option<&'static str>,
}
