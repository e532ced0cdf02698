//! STS behind the endpoint: `GetCallerIdentity` and `AssumeRole`, in the query protocol.

use http::Method;
use sealvol_aws_wire::fault::{Fault, Protocol};
use sealvol_aws_wire::query::{self, Limits, Params, Xml};
use sealvol_aws_wire::sigv4::AmzDate;
use sealvol_core::UnixMillis;
use sealvol_iam::{AssumeRole, CallerIdentity, StsError};
use sealvol_kms::Origin;
use sealvol_policy::{ConditionKeys, Values};

use crate::answer::Answer;
use crate::endpoint::{Call, EndpointParts, Outcome};

const VERSION: &str = "2011-06-15";

/// Parameters of `AssumeRole` that would limit or mark the session and that are not understood:
/// refused, because a session without them would be another one.
const NOT_UNDERSTOOD: [&str; 7] = [
    "PolicyArns",
    "ProvidedContexts",
    "SerialNumber",
    "SourceIdentity",
    "Tags",
    "TokenCode",
    "TransitiveTagKeys",
];

/// Answers an authenticated request.
pub(crate) fn answer(parts: &EndpointParts, call: &Call<'_>) -> Outcome {
    let mut operation = "unknown";
    let body = run(parts, call, &mut operation);
    let answer = match body {
        // An answer may hold a session's credentials.
        Ok(body) => Answer::secret(query::CONTENT_TYPE, body.into_bytes().into()),
        Err(fault) => Answer::fault(Protocol::Query, &fault, call.request_id),
    };
    Outcome { operation, answer }
}

fn run(
    parts: &EndpointParts,
    call: &Call<'_>,
    operation: &mut &'static str,
) -> Result<String, Fault> {
    let params = match call.parts.method {
        Method::GET => Params::parse(call.parts.uri.query().unwrap_or_default(), Limits::default()),
        _ => Params::parse_body(&call.body, Limits::default()),
    };
    let params = params.map_err(|fault| fault.fault(Protocol::Query))?;
    let action = params.action().map_err(|fault| fault.fault(Protocol::Query))?;
    let version = params.version().unwrap_or(VERSION);
    match action {
        "GetCallerIdentity" if version == VERSION => {
            *operation = "GetCallerIdentity";
            get_caller_identity(call)
        }
        "AssumeRole" if version == VERSION => {
            *operation = "AssumeRole";
            assume_role(parts, call, &params)
        }
        _ => Err(Fault::new(Protocol::Query, "InvalidAction")
            .with_message(format!("Could not find operation {action} for version {version}"))),
    }
}

fn get_caller_identity(call: &Call<'_>) -> Result<String, Fault> {
    let Some(who) = CallerIdentity::of(&call.sender.identity) else {
        let fault = Fault::new(Protocol::Query, "AccessDenied");
        return Err(fault.with_message("Services have no caller identity."));
    };
    Ok(envelope("GetCallerIdentity", call.request_id, |xml| {
        xml.leaf("Arn", &who.arn);
        xml.leaf("UserId", &who.user_id);
        xml.leaf("Account", who.account.as_str());
    }))
}

fn assume_role(parts: &EndpointParts, call: &Call<'_>, params: &Params) -> Result<String, Fault> {
    let invalid = |text: String| Fault::new(Protocol::Query, "ValidationError").with_message(text);
    // Of lists, any element: `Tags.member.1.Key`.
    let base = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
    let mut given = params.iter().map(|(name, _)| base(name));
    if let Some(name) = given.find(|name| NOT_UNDERSTOOD.contains(&name.as_str())) {
        return Err(invalid(format!("The parameter {name} is not supported.")));
    }
    let duration_seconds = match params.get("DurationSeconds") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            Fault::new(Protocol::Query, "MalformedInput")
                .with_message("DurationSeconds is not a number")
        })?),
    };
    let request = AssumeRole {
        role_arn: params.get("RoleArn").unwrap_or_default(),
        session_name: params.get("RoleSessionName").unwrap_or_default(),
        duration_seconds,
        external_id: params.get("ExternalId"),
        policy: params.get("Policy"),
    };
    let now = parts.clock.now();
    let context = RequestContext::new(&call.origin, &parts.region, now);
    let (directory, caller) = (&*parts.directory, &call.sender.identity);
    let assumed =
        parts.sessions.assume_role(directory, caller, &request, &context, now, &*parts.entropy);
    let session = assumed.map_err(|error| {
        if let StsError::Internal(cause) = &error {
            tracing::error!(%cause, "a session could not be made");
        }
        Fault::new(Protocol::Query, error.code()).with_message(error.to_string())
    })?;
    Ok(envelope("AssumeRole", call.request_id, |xml| {
        xml.element("Credentials", |xml| {
            xml.leaf("AccessKeyId", &session.access_key_id);
            xml.leaf("SecretAccessKey", session.secret.expose_secret());
            xml.leaf("SessionToken", &session.token);
            xml.leaf("Expiration", &iso_8601(session.expires));
        });
        xml.element("AssumedRoleUser", |xml| {
            xml.leaf("AssumedRoleId", &session.assumed_role_id);
            xml.leaf("Arn", &session.arn);
        });
    }))
}

fn envelope(action: &str, request_id: &str, result: impl FnOnce(&mut Xml)) -> String {
    query::success_envelope(action, query::STS_NAMESPACE, request_id, result)
}

/// `2026-01-01T00:00:00Z`
fn iso_8601(at: UnixMillis) -> String {
    let date = AmzDate::from_millis(at);
    let part = |from: usize, to: usize| date.as_str().get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(9, 11),
        part(11, 13),
        part(13, 15)
    )
}

/// What a request says of itself, for trust policies.
struct RequestContext<'a> {
    origin: &'a Origin,
    source_ip: Option<String>,
    region: &'a str,
    now: UnixMillis,
}

impl<'a> RequestContext<'a> {
    fn new(origin: &'a Origin, region: &'a str, now: UnixMillis) -> Self {
        let source_ip = origin.source_ip.map(|ip| ip.to_string());
        Self { origin, source_ip, region, now }
    }
}

impl ConditionKeys for RequestContext<'_> {
    fn get(&self, key: &str) -> Option<Values<'_>> {
        match key {
            "aws:currenttime" => Some(Values::one(iso_8601(self.now))),
            "aws:epochtime" => Some(Values::one((self.now.0 / 1000).to_string())),
            "aws:requestedregion" => Some(Values::one(self.region)),
            "aws:securetransport" => Some(Values::bool(self.origin.secure_transport)),
            "aws:sourceip" => self.source_ip.as_deref().map(Values::one),
            "aws:useragent" => self.origin.user_agent.as_deref().map(Values::one),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_8601() {
        assert_eq!(iso_8601(UnixMillis(1_440_938_160_999)), "2015-08-30T12:36:00Z");
    }
}
