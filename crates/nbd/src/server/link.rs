//! The half of a connection that its thread and the pool's workers share: sending replies, and
//! counting requests in flight.
//!
//! Rules that keep connections from hurting each other:
//! - a worker never waits for a client: what the socket does not take at once is left behind for
//!   the connection's thread ([`Link::post`]);
//! - only the connection's thread sleeps in a send, and while it does it takes no new requests.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::outbox::Outbox;
use super::socket::{Socket, Wait};
use super::stats::Counters;

/// Shared state of one connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: u64,
    pub(super) socket: Socket,
    pub(super) counters: Counters,
    sending: Mutex<Sending>,
    /// Whole replies, or whole chunks, that found the socket busy or full.
    left_behind: Mutex<VecDeque<Message>>,
    /// Nothing can be sent any more.
    dead: AtomicBool,
    in_flight: AtomicUsize,
    in_flight_len: AtomicU64,
    /// The connection's thread wants to hear of requests that end.
    waiting: AtomicBool,
    /// Made when the first request goes to the pool; most connections never need it.
    wake: OnceLock<OwnedFd>,
}

#[derive(Debug, Default)]
struct Sending {
    /// The rest of a message that went out in part; it comes before anything else.
    rest: Option<Message>,
}

/// Bytes to send, and the request that they count for until they are sent.
#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
    _request: Arc<InFlight>,
}

impl Link {
    pub(super) fn new(id: u64, socket: Socket) -> Self {
        Self {
            id,
            socket,
            counters: Counters::default(),
            sending: Mutex::default(),
            left_behind: Mutex::default(),
            dead: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            in_flight_len: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            wake: OnceLock::new(),
        }
    }

    /// Sends `out` and everything left behind, waiting for the client. For the connection's thread.
    pub(super) fn send(&self, out: &mut Outbox) -> io::Result<()> {
        let mut sending = self.sending.lock();
        let result = self.send_locked(&mut sending, out.bytes());
        out.clear();
        result
    }

    /// Sends what workers left behind, if anything.
    pub(super) fn send_left_behind(&self) -> io::Result<()> {
        self.send_locked(&mut self.sending.lock(), &[])
    }

    fn send_locked(&self, sending: &mut Sending, bytes: &[u8]) -> io::Result<()> {
        let result = self.try_send_locked(sending, bytes);
        if result.is_err() {
            sending.rest = None;
            self.abandon();
        }
        result
    }

    /// Gives up sending. What cannot be sent must not count as in flight any more.
    pub(super) fn abandon(&self) {
        self.dead.store(true, Ordering::SeqCst);
        let abandoned = std::mem::take(&mut *self.left_behind.lock());
        drop(abandoned);
    }

    fn try_send_locked(&self, sending: &mut Sending, bytes: &[u8]) -> io::Result<()> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if let Some(rest) = sending.rest.take() {
            self.socket.send_all(&rest.bytes)?;
        }
        self.socket.send_all(bytes)?;
        loop {
            // The lock on the queue ends before the send: workers must be able to add to it.
            let next = self.left_behind.lock().pop_front();
            match next {
                Some(message) => self.socket.send_all(&message.bytes)?,
                None => return Ok(()),
            }
        }
    }

    /// Sends whole messages of `request` without waiting for the client or for another sender;
    /// what does not go out is left behind for the connection's thread. For workers.
    pub(super) fn post(&self, out: &mut Outbox, request: &Arc<InFlight>) {
        if out.len() == 0 {
            return;
        }
        let message = |bytes| Message { bytes, _request: Arc::clone(request) };
        if let Some(mut sending) = self.sending.try_lock() {
            // Behind messages that wait, so that the chunks of one reply keep their order.
            if sending.rest.is_none() && self.left_behind.lock().is_empty() {
                match self.socket.send(out.bytes(), Wait::No) {
                    Ok(sent) if sent == out.len() => {
                        out.clear();
                        return;
                    }
                    Ok(0) => {}
                    Ok(sent) => {
                        sending.rest = Some(message(out.take().split_off(sent)));
                        drop(sending);
                        self.signal();
                        return;
                    }
                    // The connection's thread meets the same error, and reports it.
                    Err(_) => self.abandon(),
                }
            }
        }
        let mut left_behind = self.left_behind.lock();
        // Looked at under the lock, so that nothing stays in the queue after `abandon` emptied it.
        if self.dead.load(Ordering::SeqCst) {
            out.clear();
        } else {
            left_behind.push_back(message(out.take()));
        }
        drop(left_behind);
        self.signal();
    }

    /// Makes sure that workers can wake the connection's thread.
    pub(super) fn prepare_wake(&self) -> bool {
        if self.wake.get().is_some() {
            return true;
        }
        match eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
            Ok(fd) => self.wake.set(fd).is_ok(),
            Err(_) => false,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    pub(super) fn in_flight_len(&self) -> u64 {
        self.in_flight_len.load(Ordering::SeqCst)
    }

    /// Sleeps until the client sends something or a worker left something behind.
    pub(super) fn wait_for_input(&self) -> io::Result<()> {
        let Some(wake) = self.wake.get() else { return Ok(()) };
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
        sleep_in_poll(&mut fds)?;
        if fds.last().is_some_and(|fd| !fd.revents().is_empty()) {
            clear(wake);
        }
        Ok(())
    }

    /// Sleeps until `enough` holds, sending what is left behind meanwhile. `enough` must be a
    /// matter of the in-flight counts.
    pub(super) fn wait_until(&self, enough: impl Fn(&Self) -> bool) -> io::Result<()> {
        let mut result = Ok(());
        // Set before the counts are read, as workers lower the counts before they read it: one
        // of the two sees the other.
        self.waiting.store(true, Ordering::SeqCst);
        while !enough(self) {
            if let Err(e) = self.send_left_behind() {
                // A client that is gone; still wait for the workers that run its requests.
                result = Err(e);
            }
            let Some(wake) = self.wake.get() else { break };
            sleep_in_poll(&mut [PollFd::new(wake, PollFlags::IN)])?;
            clear(wake);
        }
        self.waiting.store(false, Ordering::SeqCst);
        result
    }

    fn signal(&self) {
        if let Some(wake) = self.wake.get() {
            // The only error is a full counter, and then the thread is awake or about to be.
            let _full = rustix::io::write(wake, &1_u64.to_ne_bytes_for_eventfd());
        }
    }
}

/// The kernel reads the counter in the machine's own byte order.
trait EventfdBytes {
    fn to_ne_bytes_for_eventfd(self) -> [u8; 8];
}

impl EventfdBytes for u64 {
    #[expect(clippy::host_endian_bytes, reason = "eventfd(2) takes a native integer")]
    fn to_ne_bytes_for_eventfd(self) -> [u8; 8] {
        self.to_ne_bytes()
    }
}

fn clear(wake: &OwnedFd) {
    let mut count = [0_u8; 8];
    // Nothing to read means that it is clear already.
    let _clear = rustix::io::read(wake, &mut count);
}

fn sleep_in_poll(fds: &mut [PollFd<'_>]) -> io::Result<()> {
    loop {
        match poll(fds, None) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Memory for replies that all connections share.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU64,
}

impl Budget {
    pub(super) fn new(len: u64) -> Self {
        Self { left: AtomicU64::new(len) }
    }

    /// Takes `len` bytes if they are there; never waits.
    pub(super) fn take(self: &Arc<Self>, len: u64) -> Option<Grant> {
        let taken = self
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |left| left.checked_sub(len));
        taken.is_ok().then(|| Grant { budget: Arc::clone(self), len })
    }
}

/// A share of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub(super) struct Grant {
    budget: Arc<Budget>,
    len: u64,
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.len, Ordering::AcqRel);
    }
}

/// A request that is with the pool; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) link: Arc<Link>,
    grant: Grant,
}

impl InFlight {
    pub(super) fn begin(link: &Arc<Link>, grant: Grant) -> Self {
        link.in_flight.fetch_add(1, Ordering::SeqCst);
        link.in_flight_len.fetch_add(grant.len, Ordering::SeqCst);
        Self { link: Arc::clone(link), grant }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.link.in_flight_len.fetch_sub(self.grant.len, Ordering::SeqCst);
        self.link.in_flight.fetch_sub(1, Ordering::SeqCst);
        if self.link.waiting.load(Ordering::SeqCst) {
            self.link.signal();
        }
    }
}
