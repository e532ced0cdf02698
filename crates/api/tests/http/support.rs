//! A server with a small configuration, and a client that sends bytes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use sealvol_api::{
    AuthMode, Ended, Endpoint, EndpointParts, IamPrincipals, Server, ServerSettings,
};
use sealvol_core::{Clock as _, SystemEntropy, UnixMillis};
use sealvol_iam::{Directory, IamConfig, Known, Sessions};
use sealvol_kms::{Kms, KmsParts, KmsSettings};
use sealvol_policy::{AccountId, Limits};
use sealvol_testkit::SimClock;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const ACCOUNT: &str = "000000000000";
pub(crate) const ROLE: &str = "arn:aws:iam::000000000000:role/worker";
pub(crate) const CLUSTER: &str = "arn:aws:ecs:us-east-1:000000000000:cluster/c";

const CONFIG: &str = r#"
[[account]]
id = "000000000000"
access_keys = [{ id = "AKIAROOT", secret = "root-secret" }]

[[account.user]]
name = "alice"
access_keys = [
    { id = "AKIAALICE", secret = "alice-secret" },
    { id = "AKIAVIA", secret = "via-secret", via_service = "ec2.us-east-1.amazonaws.com" },
]
[[account.user.policies]]
name = "assume"
document = '{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}'

[[account.role]]
name = "worker"
trust = '''{"Statement":{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole",
    "Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}}}'''
[[account.role.policies]]
name = "kms"
document = '{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}'

[[service]]
names = ["fargate.amazonaws.com"]
account = "000000000000"
source_arn = "arn:aws:ecs:us-east-1:000000000000:cluster/c"
access_keys = [{ id = "AKIAFARGATE", secret = "fargate-secret" }]
"#;

/// An access key, with what it signs for.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    pub(crate) region: &'static str,
    pub(crate) service: &'static str,
}

impl Key {
    pub(crate) fn new(id: &str, secret: &str) -> Self {
        let (id, secret) = (id.to_owned(), secret.to_owned());
        Self { id, secret, token: None, region: "us-east-1", service: "kms" }
    }

    pub(crate) fn root() -> Self {
        Self::new("AKIAROOT", "root-secret")
    }

    pub(crate) fn alice() -> Self {
        Self::new("AKIAALICE", "alice-secret")
    }

    pub(crate) fn fargate() -> Self {
        Self::new("AKIAFARGATE", "fargate-secret")
    }

    pub(crate) fn of(self, service: &'static str) -> Self {
        Self { service, ..self }
    }
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    pub(crate) method: &'static str,
    pub(crate) uri: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(method: &'static str, uri: &str, body: &[u8]) -> Self {
        Self { method, uri: uri.to_owned(), headers: Vec::new(), body: body.to_vec() }
    }

    pub(crate) fn kms(operation: &str, body: &str) -> Self {
        Self::new("POST", "/", body.as_bytes())
            .with("content-type", "application/x-amz-json-1.1")
            .with("x-amz-target", &format!("TrentService.{operation}"))
    }

    pub(crate) fn sts(form: &str) -> Self {
        Self::new("POST", "/", form.as_bytes())
            .with("content-type", "application/x-www-form-urlencoded; charset=utf-8")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With part of a header's value replaced.
    pub(crate) fn altered(mut self, name: &str, from: &str, to: &str) -> Self {
        let header = self.headers.iter_mut().find(|(known, _)| known == name).unwrap();
        assert!(header.1.contains(from), "{header:?}");
        header.1 = header.1.replace(from, to);
        self
    }

    pub(crate) fn signed(self, key: &Key, at: UnixMillis) -> Self {
        self.sign(key, at, SignatureLocation::Headers)
    }

    pub(crate) fn presigned(self, key: &Key, at: UnixMillis) -> Self {
        self.sign(key, at, SignatureLocation::QueryParams)
    }

    fn sign(self, key: &Key, at: UnixMillis, location: SignatureLocation) -> Self {
        let identity =
            Credentials::new(&key.id, &key.secret, key.token.clone(), None, "test").into();
        let mut settings = SigningSettings::default();
        if matches!(location, SignatureLocation::QueryParams) {
            settings.expires_in = Some(Duration::from_secs(60));
        }
        settings.signature_location = location;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(key.region)
            .name(key.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(at.0))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let uri = format!("http://sealvol.test{}", self.uri);
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body = SignableBody::Bytes(&self.body);
        let signable = SignableRequest::new(self.method, &uri, headers, body).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut request = http::Request::builder().method(self.method).uri(&uri).body(()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        let mut sent = self;
        sent.uri = request.uri().path_and_query().unwrap().to_string();
        for (name, value) in request.headers() {
            sent.headers.push((name.to_string(), value.to_str().unwrap().to_owned()));
        }
        sent
    }

    /// Request line and headers.
    pub(crate) fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: sealvol.test\r\n", self.method, self.uri);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has = |name| self.headers.iter().any(|(known, _)| known == name);
        if !has("transfer-encoding") && !has("content-length") {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head + "\r\n"
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head().as_bytes(), &self.body].concat()
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The fault that it tells in JSON.
    pub(crate) fn fault(&self) -> String {
        self.json()["__type"].as_str().unwrap().to_owned()
    }

    pub(crate) fn message(&self) -> Option<String> {
        self.json().get("message").map(|message| message.as_str().unwrap().to_owned())
    }

    /// The text of an XML element.
    pub(crate) fn element(&self, name: &str) -> &str {
        let (_, rest) = self.body.split_once(&format!("<{name}>")).unwrap_or_else(|| {
            panic!("no {name}: {self:?}");
        });
        rest.split('<').next().unwrap()
    }
}

/// A connection.
pub(crate) struct Client<S> {
    stream: S,
    unread: Vec<u8>,
}

impl Client<TcpStream> {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends what the other side may no longer take.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) {
        let _sent = self.stream.write_all(bytes).await;
    }

    /// The next answer; `None` when the connection has ended.
    pub(crate) async fn receive(&mut self) -> Option<Answer> {
        let head_len = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                assert!(self.unread.is_empty(), "half an answer: {:?}", self.unread);
                return None;
            }
        };
        let head = String::from_utf8(self.unread.drain(..head_len).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let len = headers.get("content-length").map_or(0, |len| len.parse().unwrap());
        while self.unread.len() < len {
            assert!(self.more().await, "half a body");
        }
        let body = String::from_utf8(self.unread.drain(..len).collect()).unwrap();
        Some(Answer { status, headers, body })
    }

    /// Whether the other side has closed, without another answer.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.receive().await.is_none()
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        // A reset is an end, too.
        let len = self.stream.read(&mut bytes).await.unwrap_or(0);
        self.unread.extend_from_slice(&bytes[..len]);
        len > 0
    }
}

/// What serves.
pub(crate) struct World {
    pub(crate) clock: SimClock,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Ended>,
}

/// An endpoint with a KMS in memory.
pub(crate) fn endpoint(
    auth: AuthMode,
    settings: ServerSettings,
    clock: &SimClock,
) -> Arc<Endpoint> {
    let known = match auth {
        AuthMode::Signature => Known::Configured,
        AuthMode::Any => Known::Anybody,
    };
    let mut no_files = |_: &str| Err(String::new());
    let config = IamConfig::from_toml(CONFIG).unwrap();
    let directory = Directory::build(config, known, &Limits::default(), &mut no_files).unwrap();
    let directory = Arc::new(directory);
    let principals = Arc::new(IamPrincipals::new(Arc::clone(&directory)));
    let parts = KmsParts { directory: Some(principals), audit: None };
    let (sim, entropy) = (Arc::new(clock.clone()), Arc::new(SystemEntropy));
    let kms = Kms::in_memory_with(KmsSettings::default(), sim.clone(), entropy.clone(), parts);
    Endpoint::new(EndpointParts {
        kms: Some(kms.unwrap()),
        directory,
        sessions: Arc::new(Sessions::new(&[7; 32])),
        auth,
        account: AccountId::parse(ACCOUNT).unwrap(),
        region: "us-east-1".to_owned(),
        clock: sim,
        entropy,
        audit: None,
        settings,
    })
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(AuthMode::Signature, ServerSettings::default()).await
    }

    pub(crate) async fn with(auth: AuthMode, settings: ServerSettings) -> Self {
        let clock = SimClock::new();
        let endpoint = endpoint(auth, settings, &clock);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(address, endpoint).await.unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.run(async {
            let _stopped = stopped.await.is_ok();
        }));
        Self { clock, address, stop: Some(stop), served }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take();
    }

    pub(crate) async fn ended(self) -> Ended {
        self.served.await.unwrap()
    }

    pub(crate) async fn client(&self) -> Client<TcpStream> {
        Client::connect(self.address).await
    }

    /// Sends one request as it is.
    pub(crate) async fn send(&self, wire: &Wire) -> Answer {
        let mut client = self.client().await;
        client.send(&wire.bytes()).await;
        client.receive().await.unwrap()
    }

    /// Signs and sends an operation of KMS.
    pub(crate) async fn call(&self, key: &Key, operation: &str, body: &str) -> Answer {
        self.send(&Wire::kms(operation, body).signed(key, self.now())).await
    }

    /// The same, which succeeds.
    pub(crate) async fn done(&self, key: &Key, operation: &str, body: &str) -> serde_json::Value {
        let answer = self.call(key, operation, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        if answer.body.is_empty() { serde_json::Value::Null } else { answer.json() }
    }

    pub(crate) async fn sts(&self, key: &Key, form: &str) -> Answer {
        self.send(&Wire::sts(form).signed(&key.clone().of("sts"), self.now())).await
    }

    /// A new key's id.
    pub(crate) async fn key(&self) -> String {
        let made = self.done(&Key::root(), "CreateKey", "{}").await;
        made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }

    /// The credentials of a new session of the role.
    pub(crate) async fn session(&self) -> Key {
        let form =
            format!("Action=AssumeRole&Version=2011-06-15&RoleSessionName=s-1&RoleArn={ROLE}");
        let answer = self.sts(&Key::alice(), &form).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Key {
            token: Some(answer.element("SessionToken").to_owned()),
            ..Key::new(answer.element("AccessKeyId"), answer.element("SecretAccessKey"))
        }
    }
}
