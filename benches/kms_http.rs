//! How many requests a second the KMS endpoint answers on this machine, client included:
//! `GenerateDataKeyWithoutPlaintext` and `Decrypt` in turn, each signed (SigV4) and verified, recorded
//! in the audit, over connections that are kept alive; and the same requests to moto's server, in turn
//! with it. The bars are 5,000 requests/s on 2 cores, and 10 times moto's rate.
//!
//! moto comes from PyPI, into a Python environment under `target/`; without Python only our own rate
//! is told. `SEALVOL_BENCH_SECONDS` (5) and `SEALVOL_BENCH_REPEATS` (7) are settings.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench tells what it measured")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use sealvol_api::{AuthMode, Endpoint, EndpointParts, IamPrincipals, Server, ServerSettings};
use sealvol_aws_wire::sigv4::{Credentials, RequestHead, Signer, SigningKeyCache, payload_sha256};
use sealvol_benches::{Config, Moto, Result, median};
use sealvol_core::{Clock, SystemClock, SystemEntropy};
use sealvol_iam::{Directory, IamConfig, Known, Sessions};
use sealvol_kms::audit::{JsonlAudit, JsonlSettings};
use sealvol_kms::{Kms, KmsParts, KmsSettings, RootKeySource};
use sealvol_policy::{AccountId, Limits};

const ID: &str = "AKIALOADLOADLOADLOAD";
const SECRET: &str = "load-load-load-load-load-load-load-load-";
const ACCOUNT: &str = "000000000000";
const REGION: &str = "us-east-1";

/// Whom to call, as whom.
struct Target {
    address: SocketAddr,
    id: String,
    secret: String,
    keys: SigningKeyCache,
    clock: SystemClock,
}

/// One connection.
struct Client {
    target: Arc<Target>,
    send: SendRequest<Full<Bytes>>,
}

impl Client {
    async fn connect(target: Arc<Target>) -> Result<Self> {
        let stream = tokio::net::TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let (send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { target, send })
    }

    async fn call(&mut self, operation: &str, body: String) -> Result<serde_json::Value> {
        let target = &self.target;
        let mut request = Request::post("/").body(Full::new(Bytes::from(body.clone())))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&target.address.to_string())?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers
            .insert("x-amz-target", HeaderValue::from_str(&format!("TrentService.{operation}"))?);
        let signer = Signer {
            credentials: Credentials {
                access_key_id: &target.id,
                secret_access_key: &target.secret,
                session_token: None,
            },
            region: REGION,
            service: "kms",
            keys: &target.keys,
        };
        let head = RequestHead {
            method: "POST",
            path: "/",
            query: "",
            headers: request.headers(),
            authority: None,
        };
        let added = signer.sign(&head, &payload_sha256(body.as_bytes()), target.clock.now())?;
        request.headers_mut().extend(added);
        // moto's server ends the connection after each answer.
        if self.send.ready().await.is_err() {
            self.send = Self::connect(Arc::clone(&self.target)).await?.send;
        }
        let answer = self.send.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{operation}: {status} {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

fn text<'a>(answer: &'a serde_json::Value, member: &str) -> Result<&'a str> {
    answer.get(member).and_then(|value| value.as_str()).ok_or_else(|| member.to_owned().into())
}

/// Calls until told to end; how many calls.
async fn work(target: Arc<Target>, key: String, ended: Arc<AtomicBool>) -> Result<u64> {
    let mut client = Client::connect(target).await?;
    let context = r#""EncryptionContext":{"aws:ebs:id":"vol-00000000000000000"}"#;
    let mut calls = 0;
    while !ended.load(Ordering::Relaxed) {
        let body = format!(r#"{{"KeyId":"{key}","NumberOfBytes":64,{context}}}"#);
        let made = client.call("GenerateDataKeyWithoutPlaintext", body).await?;
        let blob = text(&made, "CiphertextBlob")?;
        let body = format!(r#"{{"CiphertextBlob":"{blob}",{context}}}"#);
        client.call("Decrypt", body).await?;
        calls += 2;
    }
    Ok(calls)
}

/// A server of our own; it ends with the process.
async fn serve(dir: &std::path::Path) -> Result<SocketAddr> {
    let mut config = IamConfig::default();
    let account = format!(
        "[[account]]\nid = \"{ACCOUNT}\"\naccess_keys = [{{ id = \"{ID}\", secret = \"{SECRET}\" }}]"
    );
    config.account = IamConfig::from_toml(&account)?.account;
    let mut no_files = |_: &str| Err(String::new());
    let directory = Directory::build(config, Known::Configured, &Limits::default(), &mut no_files)?;
    let (directory, clock) = (Arc::new(directory), Arc::new(SystemClock::new()));
    let entropy = Arc::new(SystemEntropy);
    let settings = JsonlSettings::default();
    let audit = Arc::new(JsonlAudit::open(&dir.join("audit"), settings, clock.clone())?);
    let parts = KmsParts {
        directory: Some(Arc::new(IamPrincipals::new(Arc::clone(&directory)))),
        audit: Some(audit.clone()),
    };
    let kms = Kms::open_dir_with(
        &dir.join("kms"),
        &RootKeySource::KeyFile,
        KmsSettings::default(),
        clock.clone(),
        entropy.clone(),
        parts,
    )?;
    let endpoint = Endpoint::new(EndpointParts {
        kms: Some(kms),
        directory,
        sessions: Arc::new(Sessions::new(&[7; 32])),
        auth: AuthMode::Signature,
        account: AccountId::parse(ACCOUNT).ok_or("an account")?,
        region: REGION.to_owned(),
        clock,
        entropy,
        audit: Some(audit),
        settings: ServerSettings::default(),
    });
    let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), endpoint).await?;
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    Ok(address)
}

/// Requests per second of `address`.
async fn rate(address: SocketAddr, connections: usize, seconds: f64) -> Result<f64> {
    let clock = SystemClock::new();
    let target = Arc::new(Target {
        address,
        id: ID.to_owned(),
        secret: SECRET.to_owned(),
        keys: SigningKeyCache::default(),
        clock,
    });
    let mut first = Client::connect(Arc::clone(&target)).await?;
    let made = first.call("CreateKey", "{}".to_owned()).await?;
    let key = made.get("KeyMetadata").ok_or("KeyMetadata")?;
    let key = text(key, "KeyId")?.to_owned();
    let ended = Arc::new(AtomicBool::new(false));
    let started = clock.monotonic();
    let workers: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(work(Arc::clone(&target), key.clone(), Arc::clone(&ended))))
        .collect();
    let pause = std::future::pending::<()>();
    let _elapsed = tokio::time::timeout(Duration::from_secs_f64(seconds), pause).await;
    ended.store(true, Ordering::Relaxed);
    let mut calls = 0_u64;
    for worker in workers {
        calls += worker.await??;
    }
    let took = (clock.monotonic() - started).as_secs_f64();
    Ok(calls as f64 / took)
}

fn main() -> Result<()> {
    let config = Config::from_env();
    let dir = config.bench_dir()?;
    let connections = config.pick(16, 4);
    let seconds = config.number("SEALVOL_BENCH_SECONDS", 5.0, 0.5)?;
    let repeats = config.repeats()?;
    let moto = match Moto::start() {
        Ok(moto) => Some(moto),
        Err(error) => {
            eprintln!("moto is not measured: {error}");
            None
        }
    };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let address = serve(dir.path()).await?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..repeats {
            ours.push(rate(address, connections, seconds).await?);
            if let Some(moto) = &moto {
                theirs.push(rate(moto.address(), connections, seconds).await?);
            }
        }
        let ours = median(&ours);
        let mut missed = 0;
        let mut verdict = |met: bool| {
            missed += usize::from(!met);
            if met { "met" } else { "MISSED" }
        };
        println!(
            "sealvol  {ours:9.0} requests/s over {connections} connections, bar 5000: {}",
            verdict(ours >= 5000.0)
        );
        if moto.is_some() {
            let (theirs, ratio) = (median(&theirs), ours / median(&theirs));
            println!("moto     {theirs:9.0} requests/s");
            println!("ratio    {ratio:9.1}, bar 10: {}", verdict(ratio >= 10.0));
        }
        config.judge(missed)
    })
}
