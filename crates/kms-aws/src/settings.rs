//! What an embedder chooses: plain data.

use std::time::Duration;

use sealvol_envelope::{KmsError, KmsErrorKind};
use serde::{Deserialize, Serialize};

/// Settings of [`crate::AwsKms`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AwsKmsSettings {
    /// URL of what answers as KMS. `None` is AWS's endpoint of the region (or what
    /// `AWS_ENDPOINT_URL_KMS` names, as in every SDK).
    pub endpoint: Option<String>,
    /// Accepts an `http:` endpoint that is not this machine. Answers carry data keys: whoever is
    /// on the way then has them.
    pub allow_plain_http: bool,
    /// Region. `None` is the usual chain: environment, profile, instance metadata. With an endpoint
    /// and none in environment and profile, it is `us-east-1`, which is only signed with.
    pub region: Option<String>,
    /// Profile of the shared configuration files. `None` is `AWS_PROFILE`, else `default`.
    pub profile: Option<String>,
    /// The longest that one call may take, all attempts and waits included.
    pub call_deadline: Duration,
    /// The longest that one attempt may take, loading credentials included.
    pub attempt_timeout: Duration,
    /// The longest that connecting may take.
    pub connect_timeout: Duration,
    /// Attempts of one call that end in a passing failure. The first one counts.
    pub max_attempts: u32,
    /// The wait before the second attempt is random, up to this; then the limit doubles.
    pub backoff_base: Duration,
    /// The longest wait between attempts.
    pub backoff_cap: Duration,
    /// How long a call that carries grant tokens goes on asking after it was denied or told that
    /// the key is not there: a new grant spreads within seconds. Zero does not ask again.
    pub propagation_window: Duration,
    /// Different unwraps under way at once that others may join. Beyond it each call goes alone.
    pub coalesced_max: usize,
}

impl Default for AwsKmsSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            allow_plain_http: false,
            region: None,
            profile: None,
            call_deadline: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            max_attempts: 5,
            backoff_base: Duration::from_millis(200),
            backoff_cap: Duration::from_secs(5),
            propagation_window: Duration::from_secs(5),
            coalesced_max: 1024,
        }
    }
}

impl AwsKmsSettings {
    /// Refuses what cannot work, and an endpoint that would show data keys to the network.
    pub(crate) fn check(&self) -> Result<(), KmsError> {
        let invalid =
            |text: String| Err(KmsError::new(KmsErrorKind::Invalid, "InvalidClientSettings", text));
        if self.max_attempts == 0 || self.call_deadline.is_zero() || self.attempt_timeout.is_zero()
        {
            return invalid("max_attempts, call_deadline and attempt_timeout must not be 0".into());
        }
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        match endpoint.split_once("://") {
            Some(("https", host)) if !host.is_empty() => Ok(()),
            Some(("http", host)) if self.allow_plain_http || is_loopback(host) => Ok(()),
            Some(("http", _)) => invalid(format!(
                "the KMS endpoint {endpoint} is neither https nor this machine: data keys would \
                 cross the network in clear; use https, or allow_plain_http where the network is \
                 trusted"
            )),
            _ => {
                invalid(format!("the KMS endpoint {endpoint} is no URL; write https://HOST[:PORT]"))
            }
        }
    }
}

/// Whether what follows `http://` names this machine.
fn is_loopback(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // What stands before `@` is a user name, and not where the request goes.
    let host_port = authority.rsplit('@').next().unwrap_or_default();
    let host = match host_port.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host_port.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str) -> bool {
        let settings =
            AwsKmsSettings { endpoint: Some(endpoint.to_owned()), ..AwsKmsSettings::default() };
        settings.check().is_ok()
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        for good in [
            "https://kms.example",
            "http://127.0.0.1:4599",
            "http://localhost",
            "http://LocalHost:1/",
            "http://[::1]:80/x",
            "http://user@127.0.0.2",
        ] {
            assert!(check(good), "{good}");
        }
        for bad in [
            "http://10.0.0.1",
            "http://localhost.example",
            "http://localhost@kms.example",
            "http://kms.example/127.0.0.1",
            "ftp://127.0.0.1",
            "127.0.0.1:80",
            "https://",
            "",
        ] {
            assert!(!check(bad), "{bad}");
        }
        let open = AwsKmsSettings {
            endpoint: Some("http://10.0.0.1".into()),
            allow_plain_http: true,
            ..AwsKmsSettings::default()
        };
        assert!(open.check().is_ok());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let good = AwsKmsSettings::default();
        assert!(good.check().is_ok());
        for bad in [
            AwsKmsSettings { max_attempts: 0, ..good.clone() },
            AwsKmsSettings { call_deadline: Duration::ZERO, ..good.clone() },
            AwsKmsSettings { attempt_timeout: Duration::ZERO, ..good },
        ] {
            assert_eq!(bad.check().unwrap_err().kind(), KmsErrorKind::Invalid);
        }
    }
}
