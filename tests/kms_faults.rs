//! Goal: whatever goes wrong between a host and its KMS, attaching a volume waits for what passes
//! and says what does not, in time; and nothing is half-made or harmed by it.
//!
//! Method: volumes are created and opened through kms-aws, through a proxy that fails by script, at
//! a real daemon. Each fault is passing (some requests, then none) and permanent. After each one the
//! volume opens with what was written to it and verifies, the directory holds what it held, and the
//! key has the grants that it had.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sealvol::{
    BlockDevice as _, ByteLen, Error, ErrorKind, Job, OpenOptions, Volume, VolumeSpec, WriteFlags,
};
use sealvol_core::{Clock, SystemClock, SystemEntropy, UnixMillis};
use sealvol_envelope::{
    CreateGrantRequest, GrantOperation, GrantTokens, KeyService as _, KmsErrorKind,
    RetireGrantRequest,
};
use sealvol_kms_aws::aws_sdk_kms::config::{Builder, Credentials, Region};
use sealvol_kms_aws::{AwsKms, AwsKmsSettings, Operation, StaticCredentials};
use sealvol_tests::cli::Sandbox;
use sealvol_tests::daemon::{AccessKey, Daemon};
use sealvol_tests::kms_client::{Answer, KmsClient};
use sealvol_tests::kms_proxy::{Fault, KmsProxy};
use sealvol_tests::tools::Stopwatch;
use serde_json::{Value, json};

const CONFIG: &str = r#"
[[account]]
id = "000000000000"

[[account.user]]
name = "host"
access_keys = [{ id = "AKIATESTHOST", secret = "secret-of-host" }]
"#;
const HOST: &str = "arn:aws:iam::000000000000:user/host";

/// More than a loaded machine needs to notice that a deadline has come.
const SLACK: Duration = Duration::from_secs(3);

/// A daemon, a proxy before it, a key, and a volume with something in it.
struct World {
    sandbox: Sandbox,
    daemon: Daemon,
    proxy: KmsProxy,
    key: String,
    volumes: PathBuf,
}

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::new(env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(sandbox.path("config.toml"), CONFIG).unwrap();
        let daemon = Daemon::start(&sandbox);
        let proxy = KmsProxy::start(&daemon.address);
        let volumes = sandbox.path("volumes");
        std::fs::create_dir(&volumes).unwrap();
        let mut world = Self { sandbox, daemon, proxy, key: String::new(), volumes };
        let made = world.admin("CreateKey", json!({ "Description": "volumes" })).await;
        world.key = made.body["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
        let kms = connect(&world.daemon.url(), &world.daemon.root_key, quick()).await;
        let spec = VolumeSpec::new(ByteLen::mib(16), &world.key);
        Volume::create(world.volume(), spec, &*kms).await.unwrap();
        let volume = Volume::open(world.volume(), OpenOptions::new(), &*kms).await.unwrap();
        write(&volume, 1);
        volume.close().unwrap();
        world
    }

    fn volume(&self) -> PathBuf {
        self.volumes.join("volume")
    }

    /// As the account root, past the proxy.
    async fn admin(&self, operation: &str, request: Value) -> Answer {
        let mut client = KmsClient::new(self.daemon.root_key.clone());
        let answer = client.call(&self.daemon.address, operation, &request).await.unwrap();
        assert!(answer.is_ok(), "{operation}: {answer:?}");
        answer
    }

    async fn on_key(&self, operation: &str) -> Answer {
        self.admin(operation, json!({ "KeyId": self.key })).await
    }

    /// Through the proxy, as the account root.
    async fn kms(&self, settings: AwsKmsSettings) -> Arc<AwsKms> {
        connect(&self.proxy.url(), &self.daemon.root_key, settings).await
    }

    async fn open(&self, kms: &AwsKms) -> Result<Volume, Error> {
        Volume::open(self.volume(), OpenOptions::new(), kms).await
    }

    async fn create(&self, kms: &AwsKms) -> Result<PathBuf, Error> {
        let path = self.volumes.join("new");
        let spec = VolumeSpec::new(ByteLen::mib(16), &self.key);
        Volume::create(&path, spec, kms).await.map(|_| path)
    }

    async fn grants(&self) -> Vec<Value> {
        let listed = self.on_key("ListGrants").await;
        listed.body["Grants"].as_array().unwrap().clone()
    }

    /// Nothing was harmed, nothing is left over.
    async fn unharmed(&self, when: &str) {
        let kms = connect(&self.daemon.url(), &self.daemon.root_key, quick()).await;
        let report =
            sealvol::verify(self.volume(), OpenOptions::new(), &*kms, Job::new()).await.unwrap();
        assert!(report.sound && report.clean, "{when}: {report:?}");
        let volume = self.open(&kms).await.unwrap();
        assert_eq!(read(&volume, 1), [1; 4096], "{when}");
        volume.close().unwrap();
        assert_eq!(names(&self.volumes), ["volume"], "{when}");
        assert_eq!(self.grants().await, Vec::<Value>::new(), "{when}");
    }

    /// A volume that was made in spite of a fault is one.
    async fn usable(&self, path: &Path) {
        let kms = connect(&self.daemon.url(), &self.daemon.root_key, quick()).await;
        let volume = Volume::open(path, OpenOptions::new(), &*kms).await.unwrap();
        write(&volume, 2);
        volume.close().unwrap();
        std::fs::remove_file(path).unwrap();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn write(volume: &Volume, byte: u8) {
    volume.write(u64::from(byte) * 4096, &[byte; 4096], WriteFlags::default()).unwrap();
    volume.flush().unwrap();
}

fn read(volume: &Volume, byte: u8) -> [u8; 4096] {
    let mut buffer = [0; 4096];
    volume.read(u64::from(byte) * 4096, &mut buffer).unwrap();
    buffer
}

/// Settings that give up soon.
fn quick() -> AwsKmsSettings {
    AwsKmsSettings {
        region: Some("us-east-1".into()),
        call_deadline: Duration::from_secs(20),
        attempt_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        max_attempts: 4,
        backoff_base: Duration::from_millis(10),
        backoff_cap: Duration::from_millis(50),
        propagation_window: Duration::ZERO,
        ..AwsKmsSettings::default()
    }
}

/// Settings that go on until the deadline. Attempts are given up soon: only where nothing answers.
fn patient(call_deadline: Duration) -> AwsKmsSettings {
    AwsKmsSettings {
        call_deadline,
        attempt_timeout: Duration::from_millis(250),
        max_attempts: u32::MAX,
        ..quick()
    }
}

async fn connect(url: &str, key: &AccessKey, settings: AwsKmsSettings) -> Arc<AwsKms> {
    let settings = AwsKmsSettings { endpoint: Some(url.to_owned()), ..settings };
    let credentials = StaticCredentials::new(&key.id, &key.secret, None);
    AwsKms::connect_as(settings, credentials).await.unwrap()
}

/// The engine's kind, the KMS's kind and code, of what was refused.
#[track_caller]
fn told<T>(outcome: Result<T, Error>) -> (ErrorKind, KmsErrorKind, &'static str) {
    let Err(error) = outcome else { panic!("it succeeded") };
    let kms = error.kms().unwrap_or_else(|| panic!("not of the KMS: {error:?}"));
    (error.kind(), kms.kind(), kms.code())
}

fn attempts(kms: &AwsKms, operation: Operation) -> u64 {
    kms.metrics().of(operation).attempts
}

/// A fault that passes, and what is said of it if it does not.
struct Passing {
    name: &'static str,
    fault: Fault,
    kind: ErrorKind,
    kms_kind: KmsErrorKind,
    code: &'static str,
}

fn passing_faults() -> Vec<Passing> {
    let retry = |name, fault, code| Passing {
        name,
        fault,
        kind: ErrorKind::Retry,
        kms_kind: KmsErrorKind::Retry,
        code,
    };
    let unreadable = |name, fault| Passing {
        name,
        fault,
        kind: ErrorKind::Io,
        kms_kind: KmsErrorKind::Internal,
        code: "InvalidResponse",
    };
    let json = "application/x-amz-json-1.1";
    vec![
        retry("reset before", Fault::ResetBefore, "ConnectionFailure"),
        retry("reset after", Fault::ResetAfter, "ConnectionFailure"),
        retry("truncated", Fault::Truncated, "InvalidResponse"),
        retry("500", Fault::body(500, json, ""), "InternalFailure"),
        retry(
            "500 of KMS",
            Fault::exception(500, "KMSInternalException", "x"),
            "KMSInternalException",
        ),
        retry("502 of a gateway", Fault::body(502, "text/html", "<html>Bad"), "InternalFailure"),
        retry("503", Fault::body(503, "text/plain", "busy"), "ServiceUnavailable"),
        retry(
            "throttled",
            Fault::exception(400, "ThrottlingException", "Rate exceeded"),
            "ThrottlingException",
        ),
        retry("429", Fault::body(429, "text/plain", ""), "TooManyRequestsException"),
        unreadable("malformed JSON", Fault::body(200, json, "{\"KeyId\": \"arn:aws")),
        unreadable("wrong content", Fault::body(200, "text/html", "<html>Sign in, guest</html>")),
        unreadable("empty JSON", Fault::body(200, json, "{}")),
        unreadable("no body", Fault::body(200, json, "")),
        unreadable("wrong members", Fault::body(200, json, "{\"Plaintext\":7,\"KeyId\":[]}")),
        unreadable("no base64", Fault::body(200, json, "{\"Plaintext\":\"*\",\"KeyId\":\"k\"}")),
    ]
}

/// Three requests fail and the fourth is answered; then all fail, as many as are tried.
#[tokio::test]
async fn passing_faults_are_waited_for_and_permanent_ones_are_told() {
    let world = World::new().await;
    let faults = passing_faults();
    for Passing { name, fault, kind, kms_kind, code } in &faults {
        for times in [1, 3] {
            let kms = world.kms(quick()).await;
            world.proxy.fail_times(fault, times);
            let volume = world.open(&kms).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_eq!(read(&volume, 1), [1; 4096]);
            volume.close().unwrap();
            assert_eq!(attempts(&kms, Operation::Decrypt), times as u64 + 1, "{name}");
            world.proxy.fail_times(fault, times);
            let path = world.create(&kms).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
            world.usable(&path).await;
        }
        world.unharmed(name).await;

        let kms = world.kms(quick()).await;
        let watch = Stopwatch::new();
        world.proxy.fail_always(fault);
        assert_eq!(told(world.open(&kms).await), (*kind, *kms_kind, *code), "{name}");
        assert_eq!(attempts(&kms, Operation::Decrypt), 4, "{name}");
        assert_eq!(told(world.create(&kms).await), (*kind, *kms_kind, *code), "{name}");
        assert!(watch.elapsed() < 2 * quick().call_deadline, "{name}: {:?}", watch.elapsed());
        world.unharmed(name).await;
        world.proxy.heal();
        world.open(&kms).await.unwrap().close().unwrap();
    }
    println!("{} faults, passing and permanent", faults.len());
}

/// The same until the deadline instead of a number of attempts.
#[tokio::test]
async fn a_deadline_ends_what_would_go_on() {
    let world = World::new().await;
    let deadline = Duration::from_millis(1500);
    for (name, fault) in [
        ("silence", Fault::Silence),
        ("reset after", Fault::ResetAfter),
        ("503", Fault::body(503, "text/plain", "busy")),
    ] {
        let kms = world.kms(patient(deadline)).await;
        world.proxy.fail_always(&fault);
        for creates in [false, true] {
            let watch = Stopwatch::new();
            let (kind, kms_kind, _) = match creates {
                false => told(world.open(&kms).await),
                true => told(world.create(&kms).await),
            };
            assert_eq!((kind, kms_kind), (ErrorKind::Retry, KmsErrorKind::Retry), "{name}");
            let elapsed = watch.elapsed();
            assert!(elapsed > deadline - Duration::from_millis(100), "{name}: {elapsed:?}");
            assert!(elapsed < deadline + SLACK, "{name}: {elapsed:?}");
        }
        assert!(attempts(&kms, Operation::Decrypt) > 3, "{name}");
        world.unharmed(name).await;
        world.proxy.heal();
    }
}

/// An answer that does not come within the attempt's time is asked for again.
#[tokio::test]
async fn slow_answers_are_given_up_and_asked_for_again() {
    let world = World::new().await;
    let settings = patient(Duration::from_secs(20));
    let kms = world.kms(settings.clone()).await;
    world.proxy.fail_times(&Fault::Silence, 2);
    world.open(&kms).await.unwrap().close().unwrap();
    assert!(attempts(&kms, Operation::Decrypt) >= 3);
    world.proxy.fail_times(&Fault::Silence, 2);
    let path = world.create(&kms).await.unwrap();
    world.usable(&path).await;
    world.unharmed("slow").await;

    let kms = world.kms(AwsKmsSettings { max_attempts: 4, ..settings.clone() }).await;
    world.proxy.fail_always(&Fault::Silence);
    let watch = Stopwatch::new();
    let expected = (ErrorKind::Retry, KmsErrorKind::Retry, "RequestTimeout");
    assert_eq!(told(world.open(&kms).await), expected);
    let least = 4 * settings.attempt_timeout - Duration::from_millis(50);
    assert!((least..least + SLACK).contains(&watch.elapsed()), "{:?}", watch.elapsed());
    assert_eq!(told(world.create(&kms).await), expected);
    world.unharmed("silence").await;
}

/// Nobody listens; then somebody does, while the attach is waiting.
#[tokio::test]
async fn refused_connections_are_tried_again() {
    let world = World::new().await;
    let deadline = Duration::from_secs(1);
    let proxy = KmsProxy::refusing(&world.daemon.address);
    let root = &world.daemon.root_key;
    let kms = connect(&proxy.url(), root, patient(deadline)).await;
    for creates in [false, true] {
        let watch = Stopwatch::new();
        let told = match creates {
            false => told(world.open(&kms).await),
            true => told(world.create(&kms).await),
        };
        let expected = (ErrorKind::Retry, KmsErrorKind::Retry, "ConnectionFailure");
        assert_eq!(told, expected);
        assert!(watch.elapsed() < deadline + SLACK, "{:?}", watch.elapsed());
    }
    world.unharmed("refused").await;

    let settings = AwsKmsSettings { max_attempts: u32::MAX, ..quick() };
    let kms = connect(&proxy.url(), root, settings).await;
    let waiting = async {
        while attempts(&kms, Operation::Decrypt) < 3 {
            tokio::task::yield_now().await;
        }
        proxy.listen();
    };
    let (opened, ()) = tokio::join!(world.open(&kms), waiting);
    opened.unwrap().close().unwrap();
    world.unharmed("refused for a while").await;
}

/// A wall clock that is off.
struct Skewed(SystemClock, i64);

impl Clock for Skewed {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.now().0.saturating_add_signed(self.1))
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

/// A host whose clock is an hour off is told so by the daemon's refusal, and signs again by the
/// daemon's time. If that is refused, too, the clock is what the error names.
#[tokio::test]
async fn a_clock_that_is_off_is_corrected_once() {
    let world = World::new().await;
    let hour = 3_600_000;
    for offset in [-hour, hour] {
        let root = &world.daemon.root_key;
        let credentials = Credentials::new(&root.id, &root.secret, None, None, "test");
        let config = Builder::new()
            .region(Region::new("us-east-1"))
            .endpoint_url(world.proxy.url())
            .credentials_provider(credentials);
        let clock = Arc::new(Skewed(SystemClock::new(), offset));
        let kms = AwsKms::from_config(config, quick(), clock, Arc::new(SystemEntropy));
        let (before, _) = world.proxy.counts();
        world.open(&kms).await.unwrap().close().unwrap();
        assert_eq!(attempts(&kms, Operation::Decrypt), 2);
        assert_eq!(world.proxy.counts().0 - before, 2);
        let path = world.create(&kms).await.unwrap();
        world.usable(&path).await;
    }
    world.unharmed("skew").await;

    let said = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z";
    let Fault::Answer { status, headers, body } =
        Fault::exception(400, "InvalidSignatureException", said)
    else {
        panic!("an exception is an answer");
    };
    let headers = format!("{headers}date: Thu, 01 Jan 2026 00:15:00 GMT\r\n");
    let expired = Fault::Answer { status, headers, body };
    let kms = world.kms(quick()).await;
    world.proxy.fail_times(&expired, 1);
    // By the time that the proxy told, the daemon refuses, and nothing is tried for ever.
    let expected = (ErrorKind::Denied, KmsErrorKind::Denied, "InvalidSignatureException");
    assert_eq!(told(world.open(&kms).await), expected);
    assert_eq!(attempts(&kms, Operation::Decrypt), 2);

    world.proxy.fail_always(&expired);
    let kms = world.kms(quick()).await;
    let error = world.open(&kms).await.unwrap_err();
    let text = error.kms().unwrap().message().unwrap().to_owned();
    assert!(text.contains("set this machine's clock"), "{text}");
    assert_eq!(told(world.create(&kms).await), expected);
    world.unharmed("skew for ever").await;
}

/// An answer that looks right and holds another key: what it unwraps is not believed.
#[tokio::test]
async fn a_wrong_key_does_not_open_a_volume() {
    let world = World::new().await;
    for len in [1, 32, 64, 1024] {
        use base64::Engine as _;
        let key = base64::engine::general_purpose::STANDARD.encode(vec![7; len]);
        let body = json!({ "Plaintext": key, "KeyId": world.key }).to_string();
        world.proxy.fail_always(&Fault::body(200, "application/x-amz-json-1.1", &body));
        let kms = world.kms(quick()).await;
        let error = world.open(&kms).await.unwrap_err();
        // Of the right length it is a key, and the KMS is another one.
        let kind = if len == 64 { ErrorKind::Denied } else { ErrorKind::Corrupt };
        assert_eq!(error.kind(), kind, "{len} bytes: {error:?}");
        world.unharmed("a wrong key").await;
    }
}

/// Each state of the key at the attach has its answer, which is not tried again; the data stays.
#[tokio::test]
async fn an_unusable_key_is_told_and_harms_nothing() {
    let world = World::new().await;
    let kms = world.kms(quick()).await;
    let refused = async |kind: KmsErrorKind, code: &str| {
        let (before, _) = world.proxy.counts();
        let expected = (ErrorKind::Denied, kind, code);
        assert_eq!(told(world.open(&kms).await), expected);
        assert_eq!(told(world.create(&kms).await), expected);
        assert_eq!(world.proxy.counts().0 - before, 2, "{code}: asked once each");
    };
    world.on_key("DisableKey").await;
    refused(KmsErrorKind::KeyUnusable, "DisabledException").await;
    let request = json!({ "KeyId": world.key, "PendingWindowInDays": 7 });
    world.admin("ScheduleKeyDeletion", request).await;
    refused(KmsErrorKind::KeyUnusable, "KMSInvalidStateException").await;
    world.on_key("CancelKeyDeletion").await;
    refused(KmsErrorKind::KeyUnusable, "DisabledException").await;
    world.on_key("EnableKey").await;
    world.unharmed("states").await;

    // By the key's policy, for everybody but those who manage it.
    let original = world.admin("GetKeyPolicy", json!({ "KeyId": world.key })).await;
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*" },
        { "Effect": "Deny", "Principal": "*", "Resource": "*",
          "Action": ["kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext"] },
    ]});
    let put = async |policy: &str| {
        world.admin("PutKeyPolicy", json!({ "KeyId": world.key, "Policy": policy })).await
    };
    put(&policy.to_string()).await;
    refused(KmsErrorKind::Denied, "AccessDeniedException").await;
    put(original.text("Policy")).await;
    world.unharmed("denied by policy").await;

    // A host that was given nothing, or whose secret is another.
    for (key, code) in [
        (AccessKey::new("AKIATESTHOST", "secret-of-host"), "AccessDeniedException"),
        (AccessKey::new("AKIATESTHOST", "another"), "InvalidSignatureException"),
        (AccessKey::new("AKIATESTNOBODY", "x"), "UnrecognizedClientException"),
    ] {
        let kms = connect(&world.proxy.url(), &key, quick()).await;
        let expected = (ErrorKind::Denied, KmsErrorKind::Denied, code);
        assert_eq!(told(world.open(&kms).await), expected);
        assert_eq!(told(world.create(&kms).await), expected);
    }
    world.unharmed("denied").await;
}

fn grant(key: &str, name: Option<&str>) -> CreateGrantRequest {
    CreateGrantRequest {
        key_id: key.to_owned(),
        grantee_principal: HOST.to_owned(),
        retiring_principal: Some(HOST.to_owned()),
        operations: vec![GrantOperation::Decrypt],
        constraint: None,
        name: name.map(str::to_owned),
        grant_tokens: GrantTokens::default(),
    }
}

/// An attachment by grant through every passing fault: one grant while it is attached, none after,
/// whatever was lost. A grant without a name whose answer is lost is the documented exception: it may
/// be there, which the error says, and it is never made twice.
#[tokio::test]
async fn lost_answers_leave_no_grants_behind() {
    let world = World::new().await;
    let host_key = AccessKey::new("AKIATESTHOST", "secret-of-host");
    let mut lost = 0;
    for Passing { name, fault, .. } in passing_faults() {
        let owner = world.kms(quick()).await;
        world.proxy.fail_times(&fault, 2);
        let made = owner.create_grant(grant(&world.key, Some("attachment"))).await.unwrap();
        assert_eq!(world.grants().await.len(), 1, "{name}");
        let host = connect(&world.proxy.url(), &host_key, quick()).await;
        let tokens = GrantTokens(vec![made.grant_token.clone()]);
        let options = OpenOptions::new().grant_tokens(tokens.clone());
        world.proxy.fail_times(&fault, 3);
        let volume = Volume::open(world.volume(), options, &*host).await.unwrap();
        assert_eq!(read(&volume, 1), [1; 4096]);
        volume.close().unwrap();
        world.proxy.fail_times(&fault, 2);
        host.retire_grant(RetireGrantRequest::Token(tokens)).await.unwrap();
        world.unharmed(name).await;

        world.proxy.fail_times(&fault, 1);
        let made = owner.create_grant(grant(&world.key, None)).await;
        let listed = world.grants().await;
        match made {
            // Refused for its rate, so tried again.
            Ok(made) => assert_eq!(listed[0]["GrantId"], made.grant_id, "{name}"),
            Err(error) => {
                let text = error.message().unwrap_or_default();
                assert!(text.contains("it may have been done all the same"), "{name}: {error}");
                lost += listed.len();
            }
        }
        assert!(listed.len() <= 1, "{name}: {listed:?}");
        for left in listed {
            let request = json!({ "KeyId": world.key, "GrantId": left["GrantId"] });
            world.admin("RevokeGrant", request).await;
        }
        world.unharmed(name).await;
    }
    assert_eq!(lost, 2, "the two faults that lose the answer of what was done");
}

/// The KMS dies while a volume is attached: nothing is noticed until the next attach, which waits in
/// vain and says so; when the KMS is back on its directory, it succeeds.
#[tokio::test]
async fn a_dead_kms_stops_no_attached_volume() {
    let World { sandbox, daemon, proxy, key, volumes } = World::new().await;
    let root = daemon.root_key.clone();
    let kms = connect(&proxy.url(), &root, patient(Duration::from_secs(1))).await;
    let path = volumes.join("volume");
    let volume = Volume::open(&path, OpenOptions::new(), &*kms).await.unwrap();
    write(&volume, 2);
    daemon.kill();
    for byte in 3..=100 {
        write(&volume, byte);
    }
    assert_eq!(read(&volume, 1), [1; 4096]);
    volume.close().unwrap();

    let watch = Stopwatch::new();
    let (kind, kms_kind, _) = told(Volume::open(&path, OpenOptions::new(), &*kms).await);
    assert_eq!((kind, kms_kind), (ErrorKind::Retry, KmsErrorKind::Retry));
    assert!(watch.elapsed() < Duration::from_secs(1) + SLACK, "{:?}", watch.elapsed());
    let spec = VolumeSpec::new(ByteLen::mib(16), &key);
    let (kind, _, _) = told(Volume::create(volumes.join("new"), spec, &*kms).await);
    assert_eq!(kind, ErrorKind::Retry);

    let daemon = Daemon::start(&sandbox);
    assert_eq!(daemon.root_key.id, root.id);
    proxy.set_upstream(&daemon.address);
    let volume = Volume::open(&path, OpenOptions::new(), &*kms).await.unwrap();
    for byte in 1..=100 {
        assert_eq!(read(&volume, byte), [byte; 4096]);
    }
    volume.close().unwrap();
    let world = World { sandbox, daemon, proxy, key, volumes };
    world.unharmed("after its restart").await;
    world.daemon.stop();
}
