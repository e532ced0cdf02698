//! The server's end: what runs is finished, what idles is closed, what hangs is cut.

use sealvol_api::{AuthMode, Ended, ServerSettings};
use tokio::net::TcpStream;

use crate::support::{Key, Wire, World};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n";

/// A request whose body the server waits for.
fn waiting(world: &World) -> Wire {
    Wire::kms("CreateKey", "{}").signed(&Key::root(), world.now()).with("expect", "100-continue")
}

#[tokio::test]
async fn a_request_that_runs_is_finished() {
    let mut world = World::new().await;
    let (mut idle, mut fresh, mut busy) =
        (world.client().await, world.client().await, world.client().await);
    idle.send(HEALTH).await;
    assert_eq!(idle.receive().await.unwrap().status, 200);
    busy.send(waiting(&world).head().as_bytes()).await;
    assert_eq!(busy.receive().await.unwrap().status, 100);

    world.stop();
    assert!(idle.is_closed().await);
    assert!(fresh.is_closed().await);
    assert!(TcpStream::connect(world.address).await.is_err(), "it still listens");
    busy.send(b"{}").await;
    let answer = busy.receive().await.unwrap();
    assert_eq!((answer.status, answer.headers["connection"].as_str()), (200, "close"));
    assert!(busy.is_closed().await);
    assert_eq!(world.ended().await, Ended::Drained);
}

#[tokio::test]
async fn a_request_that_hangs_is_cut() {
    let settings = ServerSettings { shutdown_timeout_ms: 1, ..ServerSettings::default() };
    let mut world = World::with(AuthMode::Signature, settings).await;
    let mut busy = world.client().await;
    busy.send(waiting(&world).head().as_bytes()).await;
    assert_eq!(busy.receive().await.unwrap().status, 100);
    world.stop();
    assert!(busy.is_closed().await);
    assert_eq!(world.ended().await, Ended::Cut(1));
}
