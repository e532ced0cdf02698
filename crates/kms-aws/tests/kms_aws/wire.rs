//! Real sockets that misbehave: what the HTTP client makes of them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sealvol_envelope::{KeyService as _, KmsErrorKind as Kind};
use sealvol_kms_aws::{AwsKms, AwsKmsSettings, StaticCredentials};

use crate::script::{decrypt, grant};

/// Longer than a busy machine takes for anything here.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a connection meets after its request was read.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// These bytes, then the end.
    Say(&'static str),
    /// The end at once.
    Close,
    /// A reset: the request is left unread.
    Reset,
    /// Silence.
    Hang,
}

/// A server that does its acts one connection at a time; the last one is repeated.
struct Server {
    endpoint: String,
    served: Arc<Mutex<usize>>,
    attempt_timeout: Duration,
}

impl Server {
    fn start(acts: &'static [Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(Mutex::new(0));
        let count = Arc::clone(&served);
        // Ends with the process.
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut served = count.lock().unwrap();
                let act = acts.get(*served).or(acts.last()).copied().unwrap();
                *served += 1;
                match act {
                    Act::Reset => {
                        // Something must be there to be left unread.
                        let read = connection.read(&mut [0; 1]);
                        drop(read);
                    }
                    Act::Close => read_request(&mut connection),
                    Act::Hang => {
                        read_request(&mut connection);
                        silent.push(connection);
                    }
                    Act::Say(bytes) => {
                        read_request(&mut connection);
                        let written = connection.write_all(bytes.as_bytes());
                        drop(written);
                    }
                }
            }
        });
        let attempt_timeout = match acts.iter().any(|act| matches!(act, Act::Hang)) {
            true => Duration::from_secs(1),
            false => PATIENCE,
        };
        Self { endpoint, served, attempt_timeout }
    }

    async fn kms(&self) -> Arc<AwsKms> {
        let settings = AwsKmsSettings {
            endpoint: Some(self.endpoint.clone()),
            region: Some("us-east-1".into()),
            attempt_timeout: self.attempt_timeout,
            call_deadline: 3 * PATIENCE,
            backoff_base: Duration::from_millis(1),
            max_attempts: 3,
            ..AwsKmsSettings::default()
        };
        AwsKms::connect_as(settings, StaticCredentials::new("a", "b", None)).await.unwrap()
    }

    fn served(&self) -> usize {
        *self.served.lock().unwrap()
    }
}

/// Headers and body.
fn read_request(connection: &mut TcpStream) {
    let mut request = Vec::new();
    let mut part = [0; 4096];
    loop {
        let len = connection.read(&mut part).unwrap_or(0);
        if len == 0 {
            return;
        }
        request.extend_from_slice(&part[..len]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return;
            }
        }
    }
}

const GOOD: Act = Act::Say(
    "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: 40\r\n\
     connection: close\r\n\r\n{\"Plaintext\":\"ZGF0YQ==\",\"KeyId\":\"arn:k\"}",
);
const TRUNCATED: Act = Act::Say(
    "HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{\"Plaintext\":\"ZGF0YQ==\",\"KeyId\":\"ar",
);
const HALF_A_HEADER: Act = Act::Say("HTTP/1.1 200 OK\r\ncontent-le");
const NOT_HTTP: Act = Act::Say("220 mail.example ESMTP\r\n");
const BAD_CHUNK: Act =
    Act::Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n");
const BUSY: Act =
    Act::Say("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
const THROTTLED: Act = Act::Say(
    "HTTP/1.1 400 Bad Request\r\ncontent-length: 32\r\nconnection: close\r\n\r\n\
     {\"__type\":\"ThrottlingException\"}",
);

#[tokio::test]
async fn broken_answers_are_asked_again_and_then_told() {
    for (acts, code) in [
        (&[TRUNCATED][..], "InvalidResponse"),
        (&[HALF_A_HEADER], "ConnectionFailure"),
        (&[NOT_HTTP], "ConnectionFailure"),
        (&[BAD_CHUNK], "InvalidResponse"),
        (&[Act::Close], "ConnectionFailure"),
        (&[Act::Reset], "ConnectionFailure"),
        (&[BUSY], "ServiceUnavailable"),
        (&[THROTTLED], "ThrottlingException"),
        (&[Act::Hang], "RequestTimeout"),
    ] {
        let server = Server::start(acts);
        let kms = server.kms().await;
        let error = kms.decrypt(decrypt(b"x")).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Retry, code), "{acts:?}: {error}");
        assert_eq!(server.served(), 3, "{acts:?}");
    }
}

#[tokio::test]
async fn one_good_answer_is_enough() {
    for acts in [
        &[TRUNCATED, Act::Reset, GOOD][..],
        &[Act::Close, THROTTLED, GOOD],
        &[NOT_HTTP, BUSY, GOOD],
        &[Act::Hang, GOOD],
    ] {
        let server = Server::start(acts);
        let key = server.kms().await.decrypt(decrypt(b"x")).await.unwrap();
        assert!(key.expose_secret() == b"data");
        assert_eq!(server.served(), acts.len(), "{acts:?}");
    }
}

#[tokio::test]
async fn a_grant_of_unknown_fate_is_not_made_again() {
    for acts in [&[Act::Close][..], &[Act::Hang], &[TRUNCATED]] {
        let server = Server::start(acts);
        let error = server.kms().await.create_grant(grant(None)).await.unwrap_err();
        assert!(error.to_string().contains("may have been done"), "{acts:?}: {error}");
        assert_eq!(server.served(), 1, "{acts:?}");
    }
}

#[tokio::test]
async fn nobody_listens() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let server = Server { endpoint, served: Arc::default(), attempt_timeout: PATIENCE };
    let kms = server.kms().await;
    for error in [
        kms.decrypt(decrypt(b"x")).await.map(drop).unwrap_err(),
        // Nothing was sent, so that even this may be tried again.
        kms.create_grant(grant(None)).await.map(drop).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.code()), (Kind::Retry, "ConnectionFailure"));
        assert!(error.to_string().contains("3 attempts"), "{error}");
    }
}

#[test]
fn it_works_from_one_runtime_after_another() {
    let server = Server::start(&[GOOD]);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kms = runtime().block_on(server.kms());
    for _ in 0..3 {
        assert!(runtime().block_on(kms.decrypt(decrypt(b"x"))).is_ok());
    }
}

#[tokio::test]
async fn endpoints_that_show_keys_to_the_network_are_refused() {
    let settings =
        AwsKmsSettings { endpoint: Some("http://192.0.2.1".into()), ..AwsKmsSettings::default() };
    let error = AwsKms::connect(settings).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("https"), "{error}");
}
