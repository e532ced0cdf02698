//! [`Endpoint`]: one request to one answer. Here is the order of things that all services share:
//! the body within its limit, the sender, the target.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, request};
use http_body_util::Full;
use hyper::body::Body;
use sealvol_aws_wire::fault::{Fault, Protocol};
use sealvol_aws_wire::json;
use sealvol_aws_wire::sigv4::{AuthFault, RequestHead, SigningKeyCache, payload_sha256};
use sealvol_core::{Clock, Entropy};
use sealvol_iam::{Directory, Sessions};
use sealvol_kms::audit::JsonlAudit;
use sealvol_kms::{Kms, Origin, Requester};
use sealvol_policy::AccountId;
use zeroize::Zeroizing;

use crate::answer::Answer;
use crate::auth::{AuthMode, Gate, Sender, Service, claimed_service};
use crate::body::{self, BodyFault};
use crate::metrics::{self, Metrics};
use crate::settings::ServerSettings;
use crate::{kms, sts};

/// Derived signing keys that are kept.
const SIGNING_KEYS_MAX: usize = 1024;

/// What an [`Endpoint`] is made of.
#[derive(Clone)]
pub struct EndpointParts {
    /// The KMS that is served; without one, requests for KMS are refused (after authentication).
    pub kms: Option<Arc<Kms>>,
    /// Who there is.
    pub directory: Arc<Directory>,
    /// Sessions of roles.
    pub sessions: Arc<Sessions>,
    /// How requests are authenticated.
    pub auth: AuthMode,
    /// The account that every key is the root of under [`AuthMode::Any`].
    pub account: AccountId,
    /// The region that requests must be signed for.
    pub region: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, of request ids and sessions.
    pub entropy: Arc<dyn Entropy>,
    /// The records whose losses are told in the metrics.
    pub audit: Option<Arc<JsonlAudit>>,
    /// Limits.
    pub settings: ServerSettings,
}

impl fmt::Debug for EndpointParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointParts")
            .field("auth", &self.auth)
            .field("account", &self.account)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Answers requests. It knows no socket.
#[derive(Debug)]
pub struct Endpoint {
    parts: EndpointParts,
    keys: SigningKeyCache,
    pub(crate) metrics: Metrics,
}

/// A request on its way to its service.
pub(crate) struct Call<'a> {
    pub(crate) parts: &'a request::Parts,
    pub(crate) body: Zeroizing<Vec<u8>>,
    pub(crate) sender: Sender,
    pub(crate) origin: Arc<Origin>,
    pub(crate) request_id: &'a str,
}

/// What came of a request: the operation's name for the counters, and the answer.
pub(crate) struct Outcome {
    pub(crate) operation: &'static str,
    pub(crate) answer: Answer,
}

/// The operation of requests that name none.
const NO_OPERATION: &str = "unknown";

impl Endpoint {
    /// An endpoint for `parts`.
    #[must_use]
    pub fn new(parts: EndpointParts) -> Arc<Self> {
        let metrics = Metrics::new(parts.kms.clone(), parts.audit.clone());
        Arc::new(Self { parts, keys: SigningKeyCache::new(SIGNING_KEYS_MAX), metrics })
    }

    /// How requests are authenticated.
    #[must_use]
    pub const fn auth(&self) -> AuthMode {
        self.parts.auth
    }

    /// The limits.
    #[must_use]
    pub const fn settings(&self) -> &ServerSettings {
        &self.parts.settings
    }

    /// Answers a request that came from `peer`, within the time for requests.
    pub async fn answer<B>(
        &self,
        request: Request<B>,
        peer: Option<IpAddr>,
    ) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let request_id = self.request_id();
        let (parts, body) = request.into_parts();
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        let answer = match parts.uri.path() {
            "/healthz" if is_read => self.health(),
            "/metrics" if is_read => Answer::text(metrics::CONTENT_TYPE, self.metrics.render()),
            _ => self.aws(&parts, body, peer, &request_id).await,
        };
        answer.into_http(&request_id)
    }

    fn request_id(&self) -> String {
        let mut bytes = [0; 16];
        if let Err(error) = self.parts.entropy.fill(&mut bytes) {
            tracing::error!(%error, "no randomness for a request's id");
        }
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    fn health(&self) -> Answer {
        let kms = if self.parts.kms.is_some() { "embedded" } else { "off" };
        let version = env!("CARGO_PKG_VERSION");
        let body = serde_json::json!({ "status": "ok", "version": version, "kms": kms });
        Answer::text("application/json", body.to_string())
    }

    async fn aws<B>(
        &self,
        parts: &request::Parts,
        body: B,
        peer: Option<IpAddr>,
        request_id: &str,
    ) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let service = service(parts);
        let time = self.parts.settings.request_timeout();
        let work = self.call(parts, body, peer, request_id, service);
        let Outcome { operation, answer } =
            tokio::time::timeout(time, work).await.unwrap_or_else(|_elapsed| {
                let fault = Fault::new(protocol(service), "RequestTimeoutException")
                    .with_message("The request took longer than this server allows.");
                Outcome {
                    operation: NO_OPERATION,
                    answer: Answer::fault(protocol(service), &fault, request_id).closing(),
                }
            });
        let status = answer.status.as_u16();
        self.metrics.count_request(service.as_str(), operation, status);
        tracing::debug!(request_id, service = service.as_str(), operation, status, "request");
        answer
    }

    async fn call<B>(
        &self,
        parts: &request::Parts,
        body: B,
        peer: Option<IpAddr>,
        request_id: &str,
        service: Service,
    ) -> Outcome
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let protocol = protocol(service);
        let refused = |fault: &Fault| Outcome {
            operation: NO_OPERATION,
            answer: Answer::fault(protocol, fault, request_id),
        };
        // Signatures cover the body: without all of it nobody is known.
        let body = match body::read(body, self.parts.settings.body_bytes_max).await {
            Ok(body) => body,
            Err(fault) => {
                let Outcome { operation, answer } = refused(&body_fault(fault, protocol));
                return Outcome { operation, answer: answer.closing() };
            }
        };
        let sender = match self.sender(parts, &body, service) {
            Ok(sender) => sender,
            Err(fault) => {
                let fault = fault.fault(protocol);
                self.metrics.count_auth_failure(fault.code());
                return refused(&fault);
            }
        };
        let origin = Arc::new(Origin {
            source_ip: peer.map(|ip| ip.to_canonical()),
            user_agent: text(&parts.headers, USER_AGENT.as_str()),
            access_key_id: Some(sender.access_key_id.clone()),
            request_id: Some(request_id.to_owned()),
            secure_transport: false,
        });
        let call = Call { parts, body, sender, origin, request_id };
        match service {
            Service::Kms => self.kms(call).await,
            Service::Sts => sts::answer(&self.parts, &call),
        }
    }

    fn sender(
        &self,
        parts: &request::Parts,
        body: &[u8],
        service: Service,
    ) -> Result<Sender, AuthFault> {
        let gate = Gate {
            mode: self.parts.auth,
            account: self.parts.account,
            region: &self.parts.region,
            directory: &self.parts.directory,
            sessions: &self.parts.sessions,
            keys: &self.keys,
            now: self.parts.clock.now(),
        };
        gate.sender(&RequestHead::from(parts), || payload_sha256(body), service)
    }

    async fn kms(&self, call: Call<'_>) -> Outcome {
        let refused = |operation, fault: &Fault| Outcome {
            operation,
            answer: Answer::fault(Protocol::Json, fault, call.request_id),
        };
        if call.parts.method != Method::POST || call.parts.uri.path() != "/" {
            return refused(NO_OPERATION, &json::UnknownOperation.into());
        }
        let operation = match kms::operation(&call.parts.headers) {
            Ok(operation) => operation,
            Err(fault) => return refused(NO_OPERATION, &fault),
        };
        let name = operation.as_str();
        let Some(kms) = &self.parts.kms else {
            let fault = Fault::new(Protocol::Json, "UnsupportedOperationException");
            let why = "This server uses AWS KMS; it serves no KMS of its own.";
            return refused(name, &fault.with_message(why));
        };
        let Call { body, sender, origin, request_id, .. } = call;
        match kms::run(kms, requester(sender, origin), operation, body).await {
            Ok(body) => {
                Outcome { operation: name, answer: Answer::secret(json::CONTENT_TYPE, body) }
            }
            Err(fault) => Outcome {
                operation: name,
                answer: Answer::fault(Protocol::Json, &fault, request_id),
            },
        }
    }
}

/// The sender as the KMS knows callers.
fn requester(sender: Sender, origin: Arc<Origin>) -> Requester {
    let (account, arn) = match sender.source {
        Some(source) => (source.account.map(|account| account.to_string()), source.arn),
        None => (None, None),
    };
    Requester {
        identity: sender.identity,
        acting_account: account.clone(),
        via_service: sender.via_service,
        source_arn: arn,
        source_account: account,
        origin: Some(origin),
    }
}

/// The service that a request is for: by its target, its type, its query, then by what it was signed
/// for.
fn service(parts: &request::Parts) -> Service {
    if parts.headers.contains_key("x-amz-target") {
        return Service::Kms;
    }
    let content_type = parts.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let is = |start: &str| {
        let head = content_type.and_then(|text| text.get(..start.len()));
        head.is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
    };
    if is("application/x-www-form-urlencoded") {
        return Service::Sts;
    }
    if is("application/x-amz-json") {
        return Service::Kms;
    }
    let query = parts.uri.query().unwrap_or_default();
    if query.split('&').any(|pair| pair.starts_with("Action=")) {
        return Service::Sts;
    }
    claimed_service(&RequestHead::from(parts)).unwrap_or(Service::Kms)
}

const fn protocol(service: Service) -> Protocol {
    match service {
        Service::Kms => Protocol::Json,
        Service::Sts => Protocol::Query,
    }
}

fn body_fault(fault: BodyFault, protocol: Protocol) -> Fault {
    let (code, message) = match (fault, protocol) {
        (BodyFault::TooLarge, Protocol::Json) => {
            ("RequestEntityTooLargeException", "Request is too large.")
        }
        (BodyFault::TooLarge, _) => ("RequestEntityTooLarge", "Request is too large."),
        (BodyFault::Broken, Protocol::Json) => {
            ("SerializationException", "The request's body ended early.")
        }
        (BodyFault::Broken, _) => ("MalformedInput", "The request's body ended early."),
    };
    Fault::new(protocol, code).with_message(message)
}

/// The value of a header, when there is one and it is text.
pub(crate) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
