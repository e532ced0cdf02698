//! Making a record of a call, and of what the KMS does by itself.

use sealvol_core::Entropy;
use sealvol_envelope::{KmsError, KmsErrorKind};
use sealvol_policy::Principal;
use serde_json::{Value, json};

use super::{AuditEvent, AuditResource, AuditSink, UserIdentity};
use crate::ids::random;
use crate::kms::Kms;
use crate::operation::Operation;
use crate::requester::Requester;
use crate::time::iso;
use crate::trail::{Trail, Used};

const SOURCE: &str = "kms.amazonaws.com";
const INTERNAL: &str = "AWS Internal";
/// Longest `requestParameters` and `responseElements`, bytes.
const MEMBER_LEN_MAX: usize = 100 * 1024;

/// What is known of a call when it is over.
pub(crate) struct Record<'a> {
    pub(crate) operation: Operation,
    pub(crate) requester: &'a Requester,
    pub(crate) parameters: Value,
    pub(crate) trail: Trail,
    pub(crate) error: Option<&'a KmsError>,
}

impl Record<'_> {
    /// Hands the record to the sink: one for the caller's account, and, if the call succeeded, one
    /// for each other account whose key it used.
    pub(crate) fn write(self, kms: &Kms, sink: &dyn AuditSink) {
        let caller = self.requester.account(&kms.settings);
        let is_service = matches!(self.requester.identity.principal(), Principal::Service { .. });
        let mut others: Vec<String> = Vec::new();
        if self.error.is_none() {
            for key in &self.trail.keys {
                if key.account != caller && !others.contains(&key.account) {
                    others.push(key.account.clone());
                }
            }
        }
        let shared = (is_service || !others.is_empty()).then(|| id(&*kms.entropy));
        let event = self.event(kms, caller, shared);
        for account in others {
            let recipient = AuditEvent {
                event_id: id(&*kms.entropy),
                recipient_account_id: account,
                ..event.clone()
            };
            sink.record(recipient);
        }
        sink.record(event);
    }

    fn event(self, kms: &Kms, recipient: String, shared: Option<String>) -> AuditEvent {
        let Self { operation, requester, parameters, trail, error } = self;
        let origin = requester.origin.as_deref();
        let service = requester.via_service.clone().or_else(|| {
            let principal = requester.identity.principal();
            matches!(principal, Principal::Service { .. }).then(|| principal.name().into_owned())
        });
        let answered = error.is_none() && !operation.is_read_only();
        AuditEvent {
            event_version: "1.08",
            user_identity: user_identity(requester),
            event_time: iso(kms.clock.now()),
            event_source: SOURCE,
            event_name: operation.as_str(),
            aws_region: kms.settings.region.clone(),
            source_ip_address: service
                .clone()
                .or_else(|| Some(origin?.source_ip?.to_string()))
                .unwrap_or_else(|| "127.0.0.1".to_owned()),
            user_agent: service
                .or_else(|| origin?.user_agent.clone())
                .unwrap_or_else(|| "sealvol".to_owned()),
            error_code: error.map(error_code),
            error_message: error.and_then(|error| error.message()).map(str::to_owned),
            request_parameters: bounded("requestParameters", parameters),
            response_elements: bounded(
                "responseElements",
                trail.response.filter(|_| answered).unwrap_or_default(),
            ),
            additional_event_data: trail.additional.unwrap_or_default(),
            request_id: origin
                .and_then(|origin| origin.request_id.clone())
                .unwrap_or_else(|| id(&*kms.entropy)),
            event_id: id(&*kms.entropy),
            read_only: operation.is_read_only(),
            resources: trail.keys.into_iter().map(resource).collect(),
            event_type: "AwsApiCall",
            management_event: true,
            recipient_account_id: recipient,
            shared_event_id: shared,
            service_event_details: Value::Null,
            event_category: "Management",
        }
    }
}

/// A record of something that the KMS did to a key by itself: `RotateKey`, `DeleteKey`.
pub(crate) fn service_event(kms: &Kms, name: &'static str, key: Used) -> AuditEvent {
    AuditEvent {
        event_version: "1.08",
        user_identity: UserIdentity {
            account_id: Some(key.account.clone()),
            invoked_by: Some(INTERNAL.to_owned()),
            ..UserIdentity::default()
        },
        event_time: iso(kms.clock.now()),
        event_source: SOURCE,
        event_name: name,
        aws_region: kms.settings.region.clone(),
        source_ip_address: INTERNAL.to_owned(),
        user_agent: INTERNAL.to_owned(),
        error_code: None,
        error_message: None,
        request_parameters: Value::Null,
        response_elements: Value::Null,
        additional_event_data: Value::Null,
        request_id: id(&*kms.entropy),
        event_id: id(&*kms.entropy),
        read_only: false,
        event_type: "AwsServiceEvent",
        management_event: true,
        recipient_account_id: key.account.clone(),
        shared_event_id: None,
        service_event_details: json!({ "keyId": key.id.to_string() }),
        resources: vec![resource(key)],
        event_category: "Management",
    }
}

/// What CloudTrail puts in the place of a member over its limit of 100 KB, so that a record's length does
/// not follow what somebody sends.
fn bounded(member: &str, value: Value) -> Value {
    let len = value_len(&value);
    if len <= MEMBER_LEN_MAX {
        return value;
    }
    json!({ "omitted": true, "originalSize": len, "reason": format!("{member} too large") })
}

/// About how long a value is as text, bytes.
fn value_len(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 3,
        Value::Array(values) => 2 + values.iter().map(value_len).sum::<usize>(),
        Value::Object(members) => {
            2 + members.iter().map(|(name, value)| name.len() + 4 + value_len(value)).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

impl AuditEvent {
    /// About how long the record is as text, bytes: for bounding what waits.
    pub(super) fn approximate_len(&self) -> usize {
        /// Names, times and ids, which hardly vary.
        const REST: usize = 1024;
        REST + self.user_agent.len()
            + self.error_message.as_ref().map_or(0, String::len)
            + value_len(&self.request_parameters)
            + value_len(&self.response_elements)
    }
}

/// CloudTrail names the refusal of a call without the suffix.
fn error_code(error: &KmsError) -> &'static str {
    match error.kind() {
        KmsErrorKind::Denied if error.code() == "AccessDeniedException" => "AccessDenied",
        _ => error.code(),
    }
}

fn resource(key: Used) -> AuditResource {
    AuditResource { account_id: key.account, kind: "AWS::KMS::Key", arn: key.arn }
}

fn user_identity(requester: &Requester) -> UserIdentity {
    let identity = &requester.identity;
    let principal = identity.principal();
    let account_id = principal.account().map(|account| account.as_str().to_owned());
    let common = UserIdentity {
        principal_id: identity.user_id().map(str::to_owned).or_else(|| account_id.clone()),
        arn: Some(principal.name().into_owned()),
        account_id,
        access_key_id: requester.origin.as_ref().and_then(|origin| origin.access_key_id.clone()),
        invoked_by: requester.via_service.clone(),
        ..UserIdentity::default()
    };
    match principal {
        Principal::AccountRoot { .. } => UserIdentity { kind: Some("Root"), ..common },
        Principal::User { arn, .. } => UserIdentity {
            kind: Some("IAMUser"),
            user_name: arn.rsplit('/').next().map(str::to_owned),
            ..common
        },
        Principal::Role { .. } => UserIdentity { kind: Some("AssumedRole"), ..common },
        Principal::RoleSession { role_arn, .. } => UserIdentity {
            kind: Some("AssumedRole"),
            session_context: Some(json!({
                "sessionIssuer": {
                    "type": "Role",
                    "arn": role_arn,
                    "accountId": common.account_id,
                    "userName": role_arn.rsplit('/').next(),
                }
            })),
            ..common
        },
        Principal::Service { .. } => UserIdentity {
            kind: Some("AWSService"),
            invoked_by: Some(principal.name().into_owned()),
            ..UserIdentity::default()
        },
        Principal::Anonymous => UserIdentity { kind: Some("Unknown"), ..UserIdentity::default() },
    }
}

/// A random UUID. A record without one is better than no record.
fn id(entropy: &dyn Entropy) -> String {
    let bytes: [u8; 16] = random(entropy).unwrap_or_default();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_members_are_left_out_as_cloudtrail_does() {
        let short = json!({ "policy": "x".repeat(90_000), "n": [1, null, true] });
        assert_eq!(bounded("requestParameters", short.clone()), short);
        let long = bounded("requestParameters", json!({ "policy": "x".repeat(200_000) }));
        assert_eq!(long["omitted"], true);
        assert_eq!(long["reason"], "requestParameters too large");
        assert!(long["originalSize"].as_u64() > Some(200_000));
    }

    #[test]
    fn lengths_are_about_right() {
        let value = json!({ "a": { "b": ["c", "dd", null], "e": "f".repeat(1000) }, "g": 1 });
        let real = value.to_string().len();
        assert!((real..real * 2).contains(&value_len(&value)), "{real} {}", value_len(&value));
    }
}
