//! The server: listeners, connections, and their common end.

mod connection;
mod execute;
mod exports;
mod link;
mod listener;
mod outbox;
mod pool;
mod settings;
mod socket;
mod spin;
mod stats;
mod transmission;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::event::{EventfdFlags, eventfd};
use sealvol_core::{Clock, Error, ErrorKind, Result, SystemClock};

pub use exports::{Export, Exports};
pub use settings::Settings;
pub use stats::{Command, CommandStats, ServerStats};

use link::{Budget, Link};
use listener::Listener;
use pool::Pool;
use socket::Socket;
use stats::Counters;

/// Collects what a [`Server`] is made of.
pub struct ServerBuilder {
    settings: Settings,
    exports: Exports,
    clock: Arc<dyn Clock>,
}

impl ServerBuilder {
    /// Replaces the default limits.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Serves these exports; keep a clone to add and remove some later.
    #[must_use]
    pub fn exports(mut self, exports: Exports) -> Self {
        self.exports = exports;
        self
    }

    /// Takes time from `clock` (handshake deadlines).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the server. It has no socket until it is told to listen on one.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the process is out of descriptors.
    pub fn build(self) -> Result<Server> {
        let Self { settings, exports, clock } = self;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| Error::io("start NBD server", "make an eventfd", e.into()))?;
        let budget = Arc::new(Budget::new(settings.max_reply_memory_len));
        let shared = Shared {
            pool: Pool::new(settings.pool_threads, settings.pool_queue, Arc::clone(&budget)),
            settings,
            exports,
            clock,
            budget,
            stopping: AtomicBool::new(false),
            table: Arc::default(),
            tally: Tally::default(),
        };
        Ok(Server { shared: Arc::new(shared), stop: Arc::new(stop), listeners: Mutex::default() })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A running NBD server. Dropping it closes every connection at once; prefer
/// [`shutdown`](Self::shutdown).
pub struct Server {
    shared: Arc<Shared>,
    stop: Arc<OwnedFd>,
    listeners: Mutex<Vec<JoinHandle<()>>>,
}

impl Server {
    /// Starts with default settings, no exports and the system's clock.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            settings: Settings::default(),
            exports: Exports::new(),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Listens on a Unix socket at `path`, with mode 0600. A socket file left by a server that is
    /// gone is replaced; the file is removed again at shutdown.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the path is in use; [`ErrorKind::Io`] and its kin when it
    /// cannot be bound.
    pub fn listen_unix(&self, path: impl AsRef<Path>) -> Result<()> {
        self.spawn(Listener::unix(path.as_ref())?)
    }

    /// Listens on a TCP address, and says which port it got if 0 was asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] and its kin when the address cannot be bound.
    pub fn listen_tcp(&self, address: SocketAddr) -> Result<SocketAddr> {
        let (listener, bound) = Listener::tcp(address)?;
        self.spawn(listener)?;
        Ok(bound)
    }

    fn spawn(&self, listener: Listener) -> Result<()> {
        let op = "start NBD server";
        let mut listeners = self.listeners.lock();
        if self.shared.is_stopping() {
            return Err(Error::new(ErrorKind::Invalid, op, "the server was shut down"));
        }
        tracing::info!(address = %listener, "NBD server listens");
        let (shared, stop) = (Arc::clone(&self.shared), Arc::clone(&self.stop));
        let thread = std::thread::Builder::new()
            .name("nbd-accept".into())
            .spawn(move || listener.run(&shared, &stop))
            .map_err(|e| Error::io(op, "start the accept thread", e))?;
        listeners.push(thread);
        Ok(())
    }

    /// The exports served.
    #[must_use]
    pub fn exports(&self) -> &Exports {
        &self.shared.exports
    }

    /// The counters as they are now.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.shared.stats()
    }

    /// Stops accepting, answers requests not yet begun with `ESHUTDOWN`, gives those begun `grace`
    /// to end and their replies to leave, closes every connection, and joins the threads.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`] when a device still holds requests after twice `grace`; their threads
    /// end when the device returns.
    pub fn shutdown(&self, grace: Duration) -> Result<()> {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // The counter can only be full if a stop was signalled before.
        let _full = rustix::io::write(&*self.stop, &[1; 8]);
        let listeners = std::mem::take(&mut *self.listeners.lock());
        for thread in listeners {
            if thread.join().is_err() {
                tracing::error!("an NBD accept thread had panicked");
            }
        }
        let stuck = self.shared.close_all(grace);
        if stuck > 0 {
            let context = format!("{stuck} connections still wait for their device: call again");
            return Err(Error::new(ErrorKind::Retry, "shut NBD server down", context));
        }
        self.shared.pool.stop();
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown(Duration::ZERO) {
            tracing::warn!(%error, "NBD server dropped with requests running");
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

/// Counts that belong to no open connection.
#[derive(Debug, Default)]
struct Tally {
    accepted: AtomicU64,
    refused: AtomicU64,
    failed_handshakes: AtomicU64,
}

/// What all threads of a server share.
struct Shared {
    settings: Settings,
    exports: Exports,
    clock: Arc<dyn Clock>,
    budget: Arc<Budget>,
    pool: Pool,
    stopping: AtomicBool,
    table: Arc<Table>,
    tally: Tally,
}

/// The open connections. Apart from what else is shared, so that a connection's thread can let go of
/// that, and with it of the devices, before it leaves the table: whoever waits for an empty table may
/// then close the devices.
#[derive(Default)]
struct Table {
    connections: Mutex<HashMap<u64, Arc<Link>>>,
    /// Signalled when a connection leaves `connections`.
    closed: Condvar,
    /// Of connections that have left.
    counters: Counters,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn count_failed_handshake(&self) {
        self.tally.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives a new connection its thread, or closes it where there are too many.
    fn open(self: &Arc<Self>, socket: Socket) {
        let id = self.tally.accepted.fetch_add(1, Ordering::Relaxed);
        let link = Arc::new(Link::new(id, socket));
        {
            let mut connections = self.table.connections.lock();
            if connections.len() >= self.settings.max_connections {
                self.tally.refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(connection = id, "too many NBD connections: closing this one");
                return;
            }
            connections.insert(id, Arc::clone(&link));
        }
        let guard = Registered { table: Arc::clone(&self.table), link };
        let shared = Arc::clone(self);
        let spawned = std::thread::Builder::new().name("nbd-conn".into()).spawn(move || {
            // Declared first, so that it is dropped last, also when the thread panics.
            let guard = guard;
            let shared = shared;
            connection::serve(&shared, &guard.link);
        });
        if let Err(error) = spawned {
            tracing::warn!(connection = id, %error, "no thread for an NBD connection");
        }
    }

    /// Ends every connection; returns how many would not end.
    fn close_all(&self, grace: Duration) -> usize {
        let end_receiving = |link: &Link| link.socket.stop_receiving();
        let end_both = |link: &Link| link.socket.close_both();
        // What has arrived is answered in the first round; whoever does not take the answers, or
        // does not get to them, is cut off in the second.
        let rounds: [&dyn Fn(&Link); 2] = [&end_receiving, &end_both];
        let mut connections = self.table.connections.lock();
        for end in rounds {
            for link in connections.values() {
                end(link);
            }
            let deadline = self.clock.monotonic() + grace.max(LEAST_GRACE);
            while !connections.is_empty() {
                let left = deadline.saturating_sub(self.clock.monotonic());
                if left.is_zero() {
                    break;
                }
                self.table.closed.wait_for(&mut connections, left);
            }
        }
        connections.len()
    }

    fn stats(&self) -> ServerStats {
        let mut stats = ServerStats {
            connections_accepted: self.tally.accepted.load(Ordering::Relaxed),
            connections_refused: self.tally.refused.load(Ordering::Relaxed),
            handshakes_failed: self.tally.failed_handshakes.load(Ordering::Relaxed),
            ..ServerStats::default()
        };
        // Under the lock, so that a connection that closes is counted exactly once.
        let connections = self.table.connections.lock();
        stats.connections_open = connections.len();
        self.table.counters.add_to(&mut stats.commands);
        for link in connections.values() {
            link.counters.add_to(&mut stats.commands);
        }
        stats
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Threads need a moment to leave even when no request runs.
const LEAST_GRACE: Duration = Duration::from_millis(500);

/// Takes a connection out of the table whichever way its thread ends.
struct Registered {
    table: Arc<Table>,
    link: Arc<Link>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.link.socket.close_both();
        // In case the thread panicked in a device: workers may hold requests of this connection.
        self.link.abandon();
        let mut connections = self.table.connections.lock();
        self.table.counters.absorb(&self.link.counters);
        connections.remove(&self.link.id);
        self.table.closed.notify_all();
    }
}
