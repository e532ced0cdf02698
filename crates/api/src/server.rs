//! [`Server`]: a listener with limits and an orderly end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::auth::AuthMode;
use crate::connection;
use crate::endpoint::Endpoint;

/// How long accepting rests after it failed, so that a process without file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Requests that nobody authenticates are taken from this machine only.
    #[error(
        "{0} is not a loopback address, and without signatures requests are served on loopback only"
    )]
    AnyOffLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A limit that nothing could be served with.
    #[error("{0}")]
    Settings(&'static str),
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every request was answered.
    Drained,
    /// Connections were cut because they did not end in time: so many.
    Cut(usize),
}

/// A listener and what answers on it.
#[derive(Debug)]
pub struct Server {
    endpoint: Arc<Endpoint>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `address`. Port 0 is any that is free.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn bind(address: SocketAddr, endpoint: Arc<Endpoint>) -> Result<Self, ServeError> {
        endpoint.settings().check().map_err(ServeError::Settings)?;
        if endpoint.auth() == AuthMode::Any && !address.ip().to_canonical().is_loopback() {
            return Err(ServeError::AnyOffLoopback(address));
        }
        let failed = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { endpoint, listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready; then takes no more connections or requests, and waits for those
    /// that run as long as the settings say.
    ///
    /// # Cancellation
    /// Dropping it cuts all connections.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Ended {
        let settings = *self.endpoint.settings();
        let places = Arc::new(Semaphore::new(settings.connections_max));
        let (stopping, _) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            // Ended ones are let go of, lest they pile up.
            while connections.try_join_next().is_some() {}
            let next = async {
                // Never closed.
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = &mut stop => break,
                next = next => next,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (endpoint, stopping) = (Arc::clone(&self.endpoint), stopping.subscribe());
                    connections.spawn(async move {
                        at_once(&stream);
                        let peer = Some(peer.ip());
                        connection::serve(endpoint, stream, peer, stopping).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    if is_of_process(&error) {
                        drop(place);
                        // Nothing is ready before the time is over.
                        let pause = std::future::pending::<()>();
                        let _elapsed = tokio::time::timeout(ACCEPT_PAUSE, pause).await;
                    }
                }
            }
        }
        drop(self.listener);
        stopping.send_replace(true);
        let drained = async { while connections.join_next().await.is_some() {} };
        match tokio::time::timeout(settings.shutdown_timeout(), drained).await {
            Ok(()) => Ended::Drained,
            Err(_elapsed) => {
                let left = connections.len();
                connections.shutdown().await;
                Ended::Cut(left)
            }
        }
    }

    /// Serves one stream that was accepted elsewhere, until it ends: for sockets of other kinds and for
    /// tests. Its limits in time hold, its number does not count.
    pub async fn serve_stream<S>(endpoint: Arc<Endpoint>, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (_stopping, watched) = watch::channel(false);
        connection::serve(endpoint, stream, None, watched).await;
    }
}

/// Answers are written whole: nothing is gained by waiting for more.
fn at_once(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "set TCP_NODELAY");
    }
}

/// Whether an error is about this process or host, and not about the connection that was to come.
fn is_of_process(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
