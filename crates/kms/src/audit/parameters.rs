//! What a record may tell of requests and answers: chosen member by member, so that nothing secret
//! gets in by being added to a request.

use sealvol_envelope::EncryptionContext;
use serde_json::{Map, Value, json};

use crate::ids::GrantId;
use crate::model::*;

/// An object without the members that are null.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let given = members.into_iter().filter(|(_, value)| !value.is_null());
    let map: Map<String, Value> = given.map(|(key, value)| (key.to_owned(), value)).collect();
    if map.is_empty() { Value::Null } else { Value::Object(map) }
}

fn text(text: Option<&String>) -> Value {
    text.map_or(Value::Null, |text| Value::String(text.clone()))
}

/// A required member; null if it was not given.
fn given(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { Value::String(text.to_owned()) }
}

fn number(number: Option<i64>) -> Value {
    number.map_or(Value::Null, Value::from)
}

/// Told only when it is true.
fn flag(flag: Option<bool>) -> Value {
    if flag == Some(true) { Value::Bool(true) } else { Value::Null }
}

fn pairs(context: &EncryptionContext) -> Value {
    if context.is_empty() {
        return Value::Null;
    }
    let pairs = context.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
    Value::Object(pairs.collect())
}

fn algorithm(algorithm: Option<&String>) -> Value {
    Value::String(algorithm.map_or_else(|| "SYMMETRIC_DEFAULT".to_owned(), Clone::clone))
}

pub(crate) fn encrypt(request: &EncryptRequest) -> Value {
    object([
        ("keyId", given(&request.key_id)),
        ("encryptionAlgorithm", algorithm(request.encryption_algorithm.as_ref())),
        ("encryptionContext", pairs(&request.encryption_context)),
        ("dryRun", flag(request.dry_run)),
    ])
}

pub(crate) fn decrypt(request: &DecryptRequest) -> Value {
    object([
        ("keyId", text(request.key_id.as_ref())),
        ("encryptionAlgorithm", algorithm(request.encryption_algorithm.as_ref())),
        ("encryptionContext", pairs(&request.encryption_context)),
        ("dryRun", flag(request.dry_run)),
    ])
}

pub(crate) fn re_encrypt(request: &ReEncryptRequest) -> Value {
    object([
        ("sourceKeyId", text(request.source_key_id.as_ref())),
        ("destinationKeyId", given(&request.destination_key_id)),
        ("sourceEncryptionAlgorithm", algorithm(request.source_encryption_algorithm.as_ref())),
        (
            "destinationEncryptionAlgorithm",
            algorithm(request.destination_encryption_algorithm.as_ref()),
        ),
        ("sourceEncryptionContext", pairs(&request.source_encryption_context)),
        ("destinationEncryptionContext", pairs(&request.destination_encryption_context)),
        ("dryRun", flag(request.dry_run)),
    ])
}

pub(crate) fn generate_data_key(request: &GenerateDataKeyRequest) -> Value {
    object([
        ("keyId", given(&request.key_id)),
        ("keySpec", text(request.key_spec.as_ref())),
        ("numberOfBytes", number(request.number_of_bytes)),
        ("encryptionContext", pairs(&request.encryption_context)),
        ("dryRun", flag(request.dry_run)),
    ])
}

pub(crate) fn generate_random(request: &GenerateRandomRequest) -> Value {
    object([("numberOfBytes", number(request.number_of_bytes))])
}

pub(crate) fn create_key(request: &CreateKeyRequest) -> Value {
    let tags = request.tags.as_ref().map_or(Value::Null, |tags| tag_list(tags));
    object([
        ("policy", text(request.policy.as_ref())),
        ("description", text(request.description.as_ref())),
        ("keyUsage", text(request.key_usage.as_ref())),
        ("keySpec", text(request.key_spec.as_ref())),
        ("customerMasterKeySpec", text(request.customer_master_key_spec.as_ref())),
        ("origin", text(request.origin.as_ref())),
        ("multiRegion", request.multi_region.map_or(Value::Null, Value::Bool)),
        (
            "bypassPolicyLockoutSafetyCheck",
            Value::Bool(request.bypass_policy_lockout_safety_check == Some(true)),
        ),
        ("tags", tags),
    ])
}

fn tag_list(tags: &[Tag]) -> Value {
    tags.iter().map(|tag| json!({"tagKey": tag.tag_key, "tagValue": tag.tag_value})).collect()
}

/// The answer of CreateKey, its members' names in CloudTrail's case.
pub(crate) fn key_metadata(metadata: &Value) -> Value {
    let Value::Object(members) = metadata else { return Value::Null };
    let lowered = members.iter().map(|(name, value)| {
        let name = match name.as_str() {
            "AWSAccountId" => "aWSAccountId".to_owned(),
            name => lower_first(name),
        };
        (name, value.clone())
    });
    json!({ "keyMetadata": Value::Object(lowered.collect()) })
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

pub(crate) fn describe_key(request: &DescribeKeyRequest) -> Value {
    object([("keyId", given(&request.key_id))])
}

pub(crate) fn list_keys(request: &ListKeysRequest) -> Value {
    object([("limit", number(request.limit)), ("marker", text(request.marker.as_ref()))])
}

pub(crate) fn update_key_description(request: &UpdateKeyDescriptionRequest) -> Value {
    let description = text(request.description.as_ref());
    object([("keyId", given(&request.key_id)), ("description", description)])
}

pub(crate) fn key(request: &KeyRequest) -> Value {
    object([("keyId", given(&request.key_id))])
}

pub(crate) fn key_response(response: &KeyResponse) -> Value {
    json!({ "keyId": response.key_id })
}

pub(crate) fn schedule_key_deletion(request: &ScheduleKeyDeletionRequest) -> Value {
    object([
        ("keyId", given(&request.key_id)),
        ("pendingWindowInDays", number(request.pending_window_in_days)),
    ])
}

pub(crate) fn scheduled(response: &ScheduleKeyDeletionResponse) -> Value {
    json!({
        "keyId": response.key_id,
        "keyState": response.key_state,
        "deletionDate": crate::time::iso(response.deletion_date.0),
        "pendingWindowInDays": response.pending_window_in_days,
    })
}

pub(crate) fn alias(request: &AliasRequest) -> Value {
    object([
        ("aliasName", given(&request.alias_name)),
        ("targetKeyId", given(&request.target_key_id)),
    ])
}

pub(crate) fn delete_alias(request: &DeleteAliasRequest) -> Value {
    object([("aliasName", given(&request.alias_name))])
}

pub(crate) fn list_aliases(request: &ListAliasesRequest) -> Value {
    object([
        ("keyId", text(request.key_id.as_ref())),
        ("limit", number(request.limit)),
        ("marker", text(request.marker.as_ref())),
    ])
}

pub(crate) fn tag_resource(request: &TagResourceRequest) -> Value {
    let tags = request.tags.as_ref().map_or(Value::Null, |tags| tag_list(tags));
    object([("keyId", given(&request.key_id)), ("tags", tags)])
}

pub(crate) fn untag_resource(request: &UntagResourceRequest) -> Value {
    let keys = request.tag_keys.as_ref();
    let keys = keys.map_or(Value::Null, |keys| keys.iter().map(String::as_str).collect());
    object([("keyId", given(&request.key_id)), ("tagKeys", keys)])
}

pub(crate) fn list_resource_tags(request: &ListResourceTagsRequest) -> Value {
    object([
        ("keyId", given(&request.key_id)),
        ("limit", number(request.limit)),
        ("marker", text(request.marker.as_ref())),
    ])
}

pub(crate) fn put_key_policy(request: &PutKeyPolicyRequest) -> Value {
    object([
        ("keyId", given(&request.key_id)),
        ("policyName", Value::String(request.policy_name.clone().unwrap_or("default".into()))),
        ("policy", given(&request.policy)),
        (
            "bypassPolicyLockoutSafetyCheck",
            Value::Bool(request.bypass_policy_lockout_safety_check == Some(true)),
        ),
    ])
}

pub(crate) fn get_key_policy(request: &GetKeyPolicyRequest) -> Value {
    let name = text(request.policy_name.as_ref());
    object([("keyId", given(&request.key_id)), ("policyName", name)])
}

pub(crate) fn list_key_policies(request: &ListKeyPoliciesRequest) -> Value {
    object([("keyId", given(&request.key_id)), ("limit", number(request.limit))])
}

pub(crate) fn enable_key_rotation(request: &EnableKeyRotationRequest) -> Value {
    let period = number(request.rotation_period_in_days);
    object([("keyId", given(&request.key_id)), ("rotationPeriodInDays", period)])
}

pub(crate) fn list_key_rotations(request: &ListKeyRotationsRequest) -> Value {
    object([
        ("keyId", given(&request.key_id)),
        ("includeKeyMaterial", text(request.include_key_material.as_ref())),
        ("limit", number(request.limit)),
        ("marker", text(request.marker.as_ref())),
    ])
}

pub(crate) fn create_grant(request: &CreateGrantRequest) -> Value {
    let operations = request.operations.iter().map(String::as_str).collect();
    object([
        ("keyId", given(&request.key_id)),
        ("granteePrincipal", text(request.grantee_principal.as_ref())),
        ("granteeServicePrincipal", text(request.grantee_service_principal.as_ref())),
        ("retiringPrincipal", text(request.retiring_principal.as_ref())),
        ("retiringServicePrincipal", text(request.retiring_service_principal.as_ref())),
        ("operations", operations),
        ("constraints", request.constraints.as_ref().map_or(Value::Null, constraints)),
        ("name", text(request.name.as_ref())),
        ("dryRun", flag(request.dry_run)),
    ])
}

fn constraints(constraints: &GrantConstraints) -> Value {
    let kind = |context: &Option<EncryptionContext>| match context {
        Some(context) => {
            Value::Object(context.iter().map(|(k, v)| (k.to_owned(), Value::from(v))).collect())
        }
        None => Value::Null,
    };
    object([
        ("encryptionContextSubset", kind(&constraints.encryption_context_subset)),
        ("encryptionContextEquals", kind(&constraints.encryption_context_equals)),
        ("sourceArn", text(constraints.source_arn.as_ref())),
    ])
}

pub(crate) fn created_grant(response: &CreateGrantResponse, key_arn: &str) -> Value {
    json!({ "grantId": response.grant_id, "keyId": key_arn })
}

/// Null, as AWS has it: the grant's id is in the additional data, and a token is never told. A dry
/// run is.
pub(crate) fn retire_grant(request: &RetireGrantRequest) -> Value {
    object([("dryRun", flag(request.dry_run))])
}

pub(crate) fn retired_grant(grant: GrantId) -> Value {
    json!({ "grantId": grant.to_string() })
}

pub(crate) fn revoke_grant(request: &RevokeGrantRequest) -> Value {
    object([
        ("keyId", given(&request.key_id)),
        ("grantId", given(&request.grant_id)),
        ("dryRun", flag(request.dry_run)),
    ])
}

pub(crate) fn list_grants(request: &ListGrantsRequest) -> Value {
    object([
        ("keyId", given(&request.key_id)),
        ("grantId", text(request.grant_id.as_ref())),
        ("granteePrincipal", text(request.grantee_principal.as_ref())),
        ("limit", number(request.limit)),
        ("marker", text(request.marker.as_ref())),
    ])
}

pub(crate) fn list_retirable_grants(request: &ListRetirableGrantsRequest) -> Value {
    object([
        ("retiringPrincipal", given(&request.retiring_principal)),
        ("limit", number(request.limit)),
        ("marker", text(request.marker.as_ref())),
    ])
}
