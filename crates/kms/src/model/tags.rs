//! Tags.

use serde::{Deserialize, Serialize};

/// A tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Tag {
    /// 1 to 128 characters, not beginning with `aws:`.
    pub tag_key: String,
    /// At most 256 characters.
    pub tag_value: String,
}

/// `TagResource`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TagResourceRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// Added, or given new values.
    pub tags: Option<Vec<Tag>>,
}

/// `UntagResource`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UntagResourceRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// Keys of the tags to remove; those that are not there are ignored.
    pub tag_keys: Option<Vec<String>>,
}

/// `ListResourceTags`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListResourceTagsRequest {
    /// Key id or key ARN.
    pub key_id: String,
    /// 1 to 50; 50 unless given.
    pub limit: Option<i64>,
    /// `NextMarker` of the page before.
    pub marker: Option<String>,
}

/// Answer of `ListResourceTags`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListResourceTagsResponse {
    /// By tag key.
    pub tags: Vec<Tag>,
    /// Where the next page starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// Whether there is one.
    pub truncated: bool,
}
