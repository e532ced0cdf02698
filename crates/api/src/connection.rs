//! One connection: its requests in order, until its peer, a time limit or the server's end closes it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::endpoint::Endpoint;
use crate::patience::{Patient, Phase};

/// Headers of one request.
const HEADERS_MAX: usize = 100;

/// Serves a stream until it ends. Once `stopping` is set, the request that runs is the last one.
/// What goes wrong with a connection is its peer's affair and told in the log only.
pub(crate) async fn serve<S>(
    endpoint: Arc<Endpoint>,
    stream: S,
    peer: Option<IpAddr>,
    mut stopping: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _open = endpoint.metrics.connection();
    let settings = *endpoint.settings();
    let phase = Phase::default();
    let io = TokioIo::new(Patient::new(stream, phase.clone(), settings));
    let service = service_fn(|request| {
        let busy = phase.busy();
        let endpoint = Arc::clone(&endpoint);
        async move {
            let answer = endpoint.answer(request, peer).await;
            drop(busy);
            look_again().await;
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(settings.header_bytes_max)
        .max_headers(HEADERS_MAX)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(?peer, %error, "a connection ended");
    }
}

/// Ready once the server is to end.
async fn stop(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is gone.
    let _stopping = stopping.wait_for(|stopping| *stopping).await.is_ok();
}

/// Has the connection polled once more after this. It was last polled while a request ran, when reading
/// has no time limit; nothing else would make it look at the one that begins now.
async fn look_again() {
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Ready(())
    })
    .await;
}
