//! Listening sockets: binding them safely, and accepting until told to stop.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use sealvol_core::{Error, ErrorKind, Result};

use super::Shared;
use super::socket::Socket;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;
/// How long to leave a client waiting when accepting failed for want of descriptors.
const RETRY_ACCEPT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A bound socket.
#[derive(Debug)]
pub(super) struct Listener {
    fd: OwnedFd,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Unix(SocketFile),
    Tcp(SocketAddr),
}

/// A socket's name in the file system, removed when dropped.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: another server may have taken the name over.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path) == Some(self.identity) {
            // Gone already is as good.
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

impl Listener {
    /// Binds a Unix socket that only this user can connect to. A socket file that nobody listens
    /// on any more is replaced.
    pub(super) fn unix(path: &Path) -> Result<Self> {
        let op = "listen on NBD socket";
        let fail = |e: rustix::io::Errno| Error::io(op, path.display().to_string(), e.into());
        let address = SocketAddrUnix::new(path).map_err(fail)?;
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(fail)?;
        // Before bind: Linux gives the file the socket's own mode, so there is no moment in which
        // others could connect.
        fchmod(&fd, Mode::RUSR | Mode::WUSR).map_err(fail)?;
        match rustix::net::bind(&fd, &address) {
            Err(rustix::io::Errno::ADDRINUSE) => {
                remove_stale(path, op)?;
                rustix::net::bind(&fd, &address).map_err(fail)?;
            }
            other => other.map_err(fail)?,
        }
        let identity = identity(path).unwrap_or_default();
        let file = SocketFile { path: path.to_owned(), identity };
        rustix::net::listen(&fd, BACKLOG).map_err(fail)?;
        rustix::io::ioctl_fionbio(&fd, true).map_err(fail)?;
        Ok(Self { fd, kind: Kind::Unix(file) })
    }

    /// Binds a TCP address.
    pub(super) fn tcp(address: SocketAddr) -> Result<(Self, SocketAddr)> {
        let fail = |e| Error::io("listen for NBD", address.to_string(), e);
        let listener = TcpListener::bind(address).map_err(fail)?;
        let bound = listener.local_addr().map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        Ok((Self { fd: listener.into(), kind: Kind::Tcp(bound) }, bound))
    }

    /// Accepts connections until `stop` becomes readable.
    pub(super) fn run(&self, shared: &Arc<Shared>, stop: &OwnedFd) {
        loop {
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, address = %self, "cannot wait for NBD connections");
                    return;
                }
            }
            if shared.is_stopping() {
                return;
            }
            if fds.first().is_none_or(|fd| fd.revents().is_empty()) {
                continue;
            }
            match rustix::net::accept_with(&self.fd, SocketFlags::CLOEXEC) {
                Ok(fd) => {
                    self.prepare(&fd, shared);
                    shared.open(Socket::new(fd));
                }
                // The client gave up first, or a signal came. (The listener does not block, so
                // that a client that gives up cannot hold this thread in accept.)
                Err(
                    rustix::io::Errno::CONNABORTED
                    | rustix::io::Errno::AGAIN
                    | rustix::io::Errno::INTR,
                ) => {}
                Err(error) => {
                    tracing::warn!(%error, address = %self, "cannot accept an NBD connection");
                    // Most likely out of descriptors: wait for some to be closed, or for the stop.
                    let mut fds = [PollFd::new(stop, PollFlags::IN)];
                    let _stop_or_time = poll(&mut fds, Some(&RETRY_ACCEPT));
                }
            }
        }
    }

    /// Sets what makes a connection fast or robust; it works without, so errors are only logged.
    fn prepare(&self, fd: &OwnedFd, shared: &Shared) {
        let fd = fd.as_fd();
        let len = shared.settings.socket_buffer_len;
        let result = match self.kind {
            Kind::Unix(_) => sockopt::set_socket_send_buffer_size(fd, len)
                .and_then(|()| sockopt::set_socket_recv_buffer_size(fd, len)),
            // TCP sizes its buffers itself, and better.
            Kind::Tcp(_) => sockopt::set_tcp_nodelay(fd, true)
                .and_then(|()| sockopt::set_socket_keepalive(fd, true)),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "cannot set NBD socket options");
        }
    }
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Unix(file) => write!(f, "unix:{}", file.path.display()),
            Kind::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Removes a socket file whose server is gone; anything else that has the name stays.
fn remove_stale(path: &Path, op: &'static str) -> Result<()> {
    let fail = |e| Error::io(op, path.display().to_string(), e);
    let conflict = |what: &str| {
        let context = format!("{} {what}: choose another path", path.display());
        Error::new(ErrorKind::Conflict, op, context)
    };
    if !std::fs::symlink_metadata(path).map_err(fail)?.file_type().is_socket() {
        return Err(conflict("exists and is not a socket"));
    }
    match UnixStream::connect(path) {
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(fail)
        }
        _ => Err(conflict("is in use by another server")),
    }
}
