//! The record, member for member as in CloudTrail (event version 1.08).

use serde::Serialize;
use serde_json::Value;

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AuditEvent {
    /// `1.08`
    pub event_version: &'static str,
    /// Who called.
    pub user_identity: UserIdentity,
    /// RFC 3339, UTC, to the second.
    pub event_time: String,
    /// `kms.amazonaws.com`
    pub event_source: &'static str,
    /// The operation.
    pub event_name: &'static str,
    /// The region.
    pub aws_region: String,
    /// Where the call came from; a service's name for calls of services.
    #[serde(rename = "sourceIPAddress")]
    pub source_ip_address: String,
    /// What called.
    pub user_agent: String,
    /// The exception, for calls that failed. A dry run always does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<&'static str>,
    /// Its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// What may be told of the request.
    pub request_parameters: Value,
    /// What may be told of the answer; null for cryptography.
    pub response_elements: Value,
    /// What fits nowhere else, such as the id of a grant that was retired by token.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub additional_event_data: Value,
    /// The id that the answer carries.
    #[serde(rename = "requestID")]
    pub request_id: String,
    /// Of this record alone.
    #[serde(rename = "eventID")]
    pub event_id: String,
    /// Whether nothing was changed.
    pub read_only: bool,
    /// The keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<AuditResource>,
    /// `AwsApiCall`, or `AwsServiceEvent` for what the KMS does by itself.
    pub event_type: &'static str,
    /// True.
    pub management_event: bool,
    /// The account in whose trail the record is.
    pub recipient_account_id: String,
    /// The same in the records that one call leaves in several accounts.
    #[serde(rename = "sharedEventID", skip_serializing_if = "Option::is_none")]
    pub shared_event_id: Option<String>,
    /// What a service event is about.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub service_event_details: Value,
    /// `Management`
    pub event_category: &'static str,
}

/// `userIdentity`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UserIdentity {
    /// `Root`, `IAMUser`, `AssumedRole`, `AWSService` or `Unknown`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// A unique id, where the principal has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal_id: Option<String>,
    /// Its ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// Its account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The access key that signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// The name of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The role of a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_context: Option<Value>,
    /// The service that called, by itself or for somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoked_by: Option<String>,
}

/// A resource that a call used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditResource {
    /// The account that owns it.
    #[serde(rename = "accountId")]
    pub account_id: String,
    /// `AWS::KMS::Key`
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its ARN.
    #[serde(rename = "ARN")]
    pub arn: String,
}
