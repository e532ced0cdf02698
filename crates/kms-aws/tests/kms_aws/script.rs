//! An HTTP client that answers from a script, under tokio's clock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use sealvol_core::{Clock, SystemEntropy, UnixMillis};
use sealvol_envelope::{
    CreateGrantRequest, DecryptRequest, EncryptionContext, GenerateDataKeyRequest, GrantOperation,
    GrantTokens,
};
use sealvol_kms_aws::aws_sdk_kms::config::http::{HttpRequest, HttpResponse};
use sealvol_kms_aws::aws_sdk_kms::config::{Builder, Credentials, Region};
use sealvol_kms_aws::{AwsKms, AwsKmsSettings};
use tokio::time::Instant;

/// 2026-01-01T00:00:00Z, when every test begins.
pub(crate) const START_MS: u64 = 1_767_225_600_000;

/// Tokio's clock, which stands still while the test has something to do.
#[derive(Debug)]
pub(crate) struct TokioClock(Instant);

impl TokioClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(START_MS + u64::try_from(self.monotonic().as_millis()).unwrap())
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What one request meets.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Nothing, ever.
    Hang,
    /// The answer comes late.
    Late(Duration, Box<Self>),
    /// No connection was made.
    Refused,
    /// The connection broke.
    Broken,
}

pub(crate) fn ok(body: &str) -> Step {
    let headers = vec![("x-amzn-requestid", "r-0".into())];
    Step::Answer { status: 200, headers, body: body.to_owned() }
}

pub(crate) fn status(status: u16, body: &str) -> Step {
    Step::Answer { status, headers: Vec::new(), body: body.to_owned() }
}

/// An error as KMS sends it.
pub(crate) fn exception(name: &str) -> Step {
    let body = format!(r#"{{"__type":"{name}","message":"told by the service"}}"#);
    Step::Answer { status: 400, headers: vec![("x-amzn-requestid", "r-1".into())], body }
}

/// One request as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) operation: String,
    pub(crate) body: serde_json::Value,
    pub(crate) signed_at: String,
}

/// The script; when it is used up its last step is repeated.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    steps: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let steps = Arc::new(Mutex::new(steps.into_iter().collect()));
        Self { steps, seen: Arc::default() }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn kms(&self, settings: AwsKmsSettings) -> Arc<AwsKms> {
        let credentials = Credentials::new("AKIDTEST", "secret", None, None, "test");
        self.kms_of(Builder::new().credentials_provider(credentials), settings)
    }

    pub(crate) fn kms_of(&self, config: Builder, settings: AwsKmsSettings) -> Arc<AwsKms> {
        let config = config.region(Region::new("us-east-1")).http_client(self.clone());
        let clock = Arc::new(TokioClock::new());
        AwsKms::from_config(config, settings, clock, Arc::new(SystemEntropy))
    }
}

impl HttpClient for Script {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let header = |name| request.headers().get(name).unwrap_or_default().to_owned();
        let target = header("x-amz-target");
        self.seen.lock().unwrap().push(Seen {
            operation: target.strip_prefix("TrentService.").unwrap_or_default().to_owned(),
            body: serde_json::from_slice(request.body().bytes().unwrap()).unwrap(),
            signed_at: header("x-amz-date"),
        });
        let mut steps = self.steps.lock().unwrap();
        let step = if steps.len() > 1 { steps.pop_front() } else { steps.front().cloned() };
        HttpConnectorFuture::new(perform(step.expect("the script has a step")))
    }
}

async fn perform(mut step: Step) -> Result<HttpResponse, ConnectorError> {
    let io = |kind| ConnectorError::io(std::io::Error::from(kind).into());
    loop {
        match step {
            Step::Hang => std::future::pending().await,
            Step::Refused => return Err(io(std::io::ErrorKind::ConnectionRefused)),
            Step::Broken => return Err(io(std::io::ErrorKind::ConnectionReset)),
            Step::Late(delay, then) => {
                // A deadline that nothing meets is a delay.
                let late = tokio::time::timeout(delay, std::future::pending::<()>()).await;
                assert!(late.is_err());
                step = *then;
            }
            Step::Answer { status, headers, body } => {
                let status = status.try_into().unwrap();
                let mut response = HttpResponse::new(status, SdkBody::from(body));
                for (name, value) in headers {
                    response.headers_mut().insert(name, value);
                }
                return Ok(response);
            }
        }
    }
}

pub(crate) fn tokens(tokens: &[&str]) -> GrantTokens {
    GrantTokens(tokens.iter().map(|token| (*token).to_owned()).collect())
}

pub(crate) fn context() -> EncryptionContext {
    EncryptionContext::for_volume("vol-1").unwrap()
}

pub(crate) fn decrypt(blob: &[u8]) -> DecryptRequest {
    DecryptRequest {
        ciphertext: blob.to_vec(),
        context: context(),
        key_id: None,
        grant_tokens: GrantTokens::default(),
    }
}

pub(crate) fn generate() -> GenerateDataKeyRequest {
    GenerateDataKeyRequest {
        key_id: "alias/a".into(),
        context: context(),
        number_of_bytes: 4,
        grant_tokens: GrantTokens::default(),
    }
}

pub(crate) fn grant(name: Option<&str>) -> CreateGrantRequest {
    CreateGrantRequest {
        key_id: "k".into(),
        grantee_principal: "arn:aws:iam::000000000000:role/r".into(),
        retiring_principal: None,
        operations: vec![GrantOperation::Decrypt],
        constraint: None,
        name: name.map(str::to_owned),
        grant_tokens: GrantTokens::default(),
    }
}
