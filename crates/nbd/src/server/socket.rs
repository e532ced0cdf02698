//! A connected stream socket, Unix or TCP alike: the few calls that a connection makes.
//!
//! TLS will come in here: everything above sends and receives through this type.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

/// Whether to sleep in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Yes,
    No,
}

/// A connected stream socket.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Receives into `buf`; 0 is the end of the stream, `WouldBlock` is `Ok(None)`.
    pub(super) fn receive(&self, buf: &mut [u8], wait: Wait) -> io::Result<Option<usize>> {
        let flags = match wait {
            Wait::Yes => RecvFlags::empty(),
            Wait::No => RecvFlags::DONTWAIT,
        };
        loop {
            match recv(&self.fd, &mut *buf, flags) {
                Ok((_, len)) => return Ok(Some(len)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Sends from the front of `buf` and says how much; `WouldBlock` is `Ok(0)`.
    pub(super) fn send(&self, buf: &[u8], wait: Wait) -> io::Result<usize> {
        let flags = match wait {
            Wait::Yes => SendFlags::NOSIGNAL,
            Wait::No => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        };
        loop {
            match send(&self.fd, buf, flags) {
                Ok(len) => return Ok(len),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(0),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Sends all of `buf`. A send time-out is an error.
    pub(super) fn send_all(&self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let len = self.send(buf, Wait::Yes)?;
            if len == 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"));
            }
            buf = buf.get(len..).unwrap_or_default();
        }
        Ok(())
    }

    /// Bounds each blocking receive; `None` waits for ever.
    pub(super) fn set_receive_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Ok(sockopt::set_socket_timeout(&self.fd, Timeout::Recv, timeout)?)
    }

    /// Bounds each blocking send.
    pub(super) fn set_send_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Ok(sockopt::set_socket_timeout(&self.fd, Timeout::Send, timeout)?)
    }

    /// Ends receiving: what has arrived can still be read, then comes the end of the stream.
    pub(super) fn stop_receiving(&self) {
        // The peer may have closed already; then there is nothing left to stop.
        let _gone = shutdown(&self.fd, Shutdown::Read);
    }

    /// Ends both directions, waking whoever waits in a call.
    pub(super) fn close_both(&self) {
        // As above: an error means that the socket is closed.
        let _gone = shutdown(&self.fd, Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
