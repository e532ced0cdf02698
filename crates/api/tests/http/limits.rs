//! What no client may do: send too much, take too long, take every place.

use std::sync::Arc;

use sealvol_api::{AuthMode, Server, ServerSettings};
use sealvol_core::Clock as _;
use sealvol_testkit::SimClock;
use tokio::io::DuplexStream;
use tokio::time::Instant;

use crate::support::{Client, Key, Wire, World, endpoint};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n";

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let world = World::new().await;
    let big = Wire::kms("Encrypt", &" ".repeat(2 << 20));
    let mut client = world.client().await;
    // The head alone says too much.
    client.send(big.head().as_bytes()).await;
    let answer = client.receive().await.unwrap();
    assert_eq!((answer.status, answer.fault().as_str()), (413, "RequestEntityTooLargeException"));
    assert_eq!(answer.headers["connection"], "close");
    assert!(client.is_closed().await);

    // One that does not announce its length is cut where the limit is.
    let chunked = Wire::kms("Encrypt", "").with("transfer-encoding", "chunked");
    let mut client = world.client().await;
    client.send(chunked.head().as_bytes()).await;
    let chunk = [b"10000\r\n", &[b' '; 0x10000][..], b"\r\n"].concat();
    for _ in 0..16 {
        client.send(&chunk).await;
    }
    client.try_send(&chunk).await;
    assert_eq!(client.receive().await.unwrap().status, 413);

    // In the form's protocol, and at the limit.
    let mut client = world.client().await;
    client.send(Wire::sts(&" ".repeat(2 << 20)).head().as_bytes()).await;
    let answer = client.receive().await.unwrap();
    assert_eq!((answer.status, answer.element("Code")), (413, "RequestEntityTooLarge"));
    let body = format!("{{}}{}", " ".repeat((1 << 20) - 2));
    assert_eq!(world.call(&Key::root(), "ListKeys", &body).await.status, 200);
    assert_eq!(world.call(&Key::root(), "ListKeys", &format!("{body} ")).await.status, 413);
}

#[tokio::test]
async fn headers_over_the_limit_and_what_is_no_http_end_the_connection_only() {
    let world = World::new().await;
    let long = Wire::kms("ListKeys", "{}").with("x-long", &"x".repeat(200 << 10));
    let mut many = Wire::kms("ListKeys", "{}");
    many.headers.extend((0..101).map(|n| (format!("x-{n}"), String::new())));
    for (bytes, status) in [
        (long.bytes(), 431),
        (many.bytes(), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_vec(), 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: x\r\n\r\n".to_vec(), 400),
        (
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                .to_vec(),
            400,
        ),
    ] {
        let mut client = world.client().await;
        client.try_send(&bytes).await;
        // A reset may overtake the answer.
        if let Some(answer) = client.receive().await {
            let start = String::from_utf8_lossy(&bytes[..10]).into_owned();
            assert_eq!(answer.status, status, "{start} {}", bytes.len());
            assert!(client.is_closed().await);
        }
    }
    // One that ends in the middle of its body.
    let mut client = world.client().await;
    client.send(Wire::kms("ListKeys", "{}").with("content-length", "9").head().as_bytes()).await;
    drop(client);
    assert_eq!(world.call(&Key::root(), "ListKeys", "{}").await.status, 200);
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let world = World::new().await;
    let signed = |operation, body: &str| {
        Wire::kms(operation, body).signed(&Key::root(), world.now()).bytes()
    };
    let mut client = world.client().await;
    let all = [
        signed("CreateKey", "{}"),
        signed("Nonsense", "{}"),
        HEALTH.to_vec(),
        signed("GenerateRandom", r#"{"NumberOfBytes":1}"#),
    ];
    client.send(&all.concat()).await;
    assert!(client.receive().await.unwrap().json()["KeyMetadata"].is_object());
    assert_eq!(client.receive().await.unwrap().fault(), "UnknownOperationException");
    assert_eq!(client.receive().await.unwrap().json()["status"], "ok");
    assert!(client.receive().await.unwrap().json()["Plaintext"].is_string());
    // What has come of the next request is in no answer's way.
    let (some, rest) = HEALTH.split_at(10);
    client.send(&[HEALTH, some].concat()).await;
    assert_eq!(client.receive().await.unwrap().status, 200);
    client.send(rest).await;
    assert_eq!(client.receive().await.unwrap().status, 200);
    // An error does not end the connection either.
    client.send(HEALTH).await;
    assert_eq!(client.receive().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_hundred_idle_connections_are_in_nobodys_way() {
    let world = World::new().await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut client = world.client().await;
        client.send(HEALTH).await;
        assert_eq!(client.receive().await.unwrap().status, 200);
        idle.push(client);
    }
    assert_eq!(world.call(&Key::root(), "ListKeys", "{}").await.status, 200);
    for mut client in idle {
        client.send(HEALTH).await;
        assert_eq!(client.receive().await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn more_connections_than_places_wait() {
    let settings = ServerSettings { connections_max: 2, ..ServerSettings::default() };
    let world = World::with(AuthMode::Signature, settings).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = world.client().await;
        client.send(HEALTH).await;
        assert_eq!(client.receive().await.unwrap().status, 200);
        open.push(client);
    }
    let mut third = world.client().await;
    third.send(HEALTH).await;
    {
        let receive = third.receive();
        tokio::pin!(receive);
        // Those that are served go on while the third one waits.
        for client in &mut open {
            client.send(HEALTH).await;
            tokio::select! {
                biased;
                answer = client.receive() => assert_eq!(answer.unwrap().status, 200),
                _ = &mut receive => panic!("served beyond the limit"),
            }
        }
        open.pop();
        assert_eq!(receive.await.unwrap().status, 200);
    }
}

/// A connection in memory, under paused time.
fn in_memory() -> Client<DuplexStream> {
    let settings = ServerSettings {
        header_timeout_ms: 10_000,
        idle_timeout_ms: 60_000,
        request_timeout_ms: 30_000,
        ..ServerSettings::default()
    };
    let endpoint = endpoint(AuthMode::Signature, settings, &SimClock::new());
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(Server::serve_stream(Arc::clone(&endpoint), theirs));
    Client::over(ours)
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_ends() {
    let started = Instant::now();
    let mut client = in_memory();
    assert!(client.is_closed().await);
    assert_eq!(started.elapsed().as_secs(), 60);
    // After a request, too.
    let started = Instant::now();
    let mut client = in_memory();
    client.send(HEALTH).await;
    assert_eq!(client.receive().await.unwrap().status, 200);
    assert!(client.is_closed().await);
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn headers_that_trickle_do_not_buy_time() {
    let mut client = in_memory();
    let started = Instant::now();
    client.send(b"GET /healthz HTTP/1.1\r\n").await;
    // A header each second.
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
    let mut sent = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                client.try_send(format!("x-{sent}: 1\r\n").as_bytes()).await;
                sent += 1;
                assert!(sent < 30, "it is still open");
                if started.elapsed().as_secs() > 11 {
                    break;
                }
            }
        }
    }
    assert!(client.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_ends_its_request() {
    let mut client = in_memory();
    let started = Instant::now();
    let wire = Wire::kms("Encrypt", "{}").signed(&Key::root(), SimClock::new().now());
    client.send(wire.with("content-length", "9").head().as_bytes()).await;
    client.send(b"{").await;
    let answer = client.receive().await.unwrap();
    assert_eq!((answer.status, answer.fault().as_str()), (400, "RequestTimeoutException"));
    assert_eq!(started.elapsed().as_secs(), 30);
    assert!(client.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_left() {
    let endpoint = endpoint(AuthMode::Signature, ServerSettings::default(), &SimClock::new());
    let (mut ours, theirs) = tokio::io::duplex(64);
    let served = tokio::spawn(Server::serve_stream(endpoint, theirs));
    let started = Instant::now();
    tokio::io::AsyncWriteExt::write_all(&mut ours, HEALTH).await.unwrap();
    // The answer does not fit the stream, and nobody takes it out.
    served.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 30);
    drop(ours);
}
