//! The transmission phase of one connection, on the connection's own thread.
//!
//! The loop takes every request that the receive buffer holds, runs it here if it is hot, gathers
//! the replies, sends them, and only then receives again. Requests that wait for the disk go to
//! the pool when others are behind them, so that they hold nobody up; of long reads from memory one
//! at a time goes there, so that it is opened while the next one is.

use std::io;
use std::sync::Arc;

use sealvol_core::{BlockDevice, WriteFlags, WriteRequest};

use super::Shared;
use super::execute::{Executor, Mode, Ran, describe, removed_error};
use super::exports::Entry;
use super::link::{InFlight, Link};
use super::outbox::Outbox;
use super::pool::Job;
use super::settings::{INLINE_ZERO_LEN, MAX_BATCH, MAX_BATCH_LEN, PIECE_LEN, SEND_AT};
use super::socket::Wait;
use super::spin::Spin;
use super::stats::Command;
use crate::proto::{Errno, Inbox, Item, Request, Session, WriteItem};

/// One connection in transmission.
pub(super) struct Transmission<'a> {
    shared: &'a Shared,
    link: &'a Arc<Link>,
    export: Arc<Entry>,
    session: Session,
    inbox: Inbox,
    out: Outbox,
    batch: Vec<WriteItem>,
    batch_len: usize,
    /// The long write that is coming in, in pieces.
    long_write: Option<LongWrite>,
    spin: Spin,
}

/// A write longer than the receive buffer's pieces.
#[derive(Debug)]
struct LongWrite {
    len: u64,
    error: Option<(Errno, String)>,
}

impl<'a> Transmission<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        link: &'a Arc<Link>,
        export: Arc<Entry>,
        session: Session,
        inbox: Inbox,
    ) -> Self {
        Self {
            shared,
            link,
            export,
            session,
            inbox,
            out: Outbox::default(),
            batch: Vec::new(),
            batch_len: 0,
            long_write: None,
            spin: Spin::new(shared.settings.spin_limit),
        }
    }

    /// Serves requests until the client disconnects or breaks the protocol.
    ///
    /// # Errors
    /// The connection failed.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let served = self.serve();
        // Also after an error: workers may still run this connection's requests.
        let drained = self.link.wait_until(|link| link.in_flight() == 0);
        served.and(drained).and_then(|()| self.link.send_left_behind())
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            let item = match self.inbox.next(&self.session) {
                Ok(item) => item,
                Err(bad_magic) => {
                    self.finish()?;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, bad_magic));
                }
            };
            match item {
                Item::Write(write) if write.first && write.last => self.batch_write(write)?,
                item => {
                    self.run_batch()?;
                    match item {
                        Item::NeedInput => {
                            self.send()?;
                            if !self.receive()? {
                                return Ok(());
                            }
                        }
                        Item::Write(write) => self.write_piece(&write)?,
                        Item::Request { request: Request::Disconnect, .. } => {
                            return self.finish();
                        }
                        Item::Request { cookie, request } => self.handle(cookie, request)?,
                        Item::Rejected { cookie, reject, close } => {
                            self.link.counters.record(Command::Rejected, 0, true);
                            self.put_error(cookie, reject.errno, reject.reason);
                            if close {
                                return self.finish();
                            }
                        }
                    }
                }
            }
            if self.out.len() >= SEND_AT {
                self.send()?;
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.run_batch()?;
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        if self.out.len() > 0 { self.link.send(&mut self.out) } else { Ok(()) }
    }

    fn put_error(&mut self, cookie: u64, errno: Errno, message: &str) {
        self.out.put_error(self.session.structured, cookie, errno, message, None);
    }

    /// Receives at least a byte; `false` at the end of the stream.
    fn receive(&mut self) -> io::Result<bool> {
        let received = loop {
            if self.link.in_flight() > 0 {
                // Workers may leave replies behind, so sleep where they can wake this thread.
                self.link.send_left_behind()?;
                let room = self.inbox.spare();
                if let Some(len) = self.link.socket.receive(room, Wait::No)? {
                    break len;
                }
                self.link.wait_for_input()?;
                continue;
            }
            self.link.send_left_behind()?;
            let socket = &self.link.socket;
            let room = self.inbox.spare();
            if let Some(len) = self.spin.find(|| socket.receive(room, Wait::No))? {
                break len;
            }
            if let Some(len) = self.link.socket.receive(self.inbox.spare(), Wait::Yes)? {
                break len;
            }
        };
        self.inbox.filled(received);
        // Once per receive rather than per request: a device grows rarely.
        if let Some(device) = self.export.enter() {
            let info = device.info();
            self.session.export.len = info.len.0;
            self.session.export.read_only = info.read_only;
        }
        Ok(received > 0)
    }

    fn handle(&mut self, cookie: u64, request: Request) -> io::Result<()> {
        if self.refuse_in_shutdown(cookie) {
            return Ok(());
        }
        if let Request::Read { len: 0, .. } = request {
            self.link.counters.record(Command::Read, 0, false);
            if self.session.structured {
                self.out.put(&crate::proto::reply::none(cookie));
            } else {
                self.out.put_success(cookie);
            }
            return Ok(());
        }
        let slow = match request {
            Request::Flush | Request::Cache { .. } | Request::BlockStatus { .. } => true,
            Request::Trim { len, fua, .. } => fua || len > INLINE_ZERO_LEN,
            Request::WriteZeroes { len, fua, .. } => fua || len > INLINE_ZERO_LEN,
            _ => false,
        };
        // Alone it runs here, where no thread has to be woken for it.
        if slow && !self.is_alone() && self.defer(cookie, request)? {
            return Ok(());
        }
        if self.is_shared(&request) && self.defer(cookie, request)? {
            return Ok(());
        }
        if self.execute(cookie, &request, if slow { Mode::Blocking } else { Mode::Hot })?
            == Ran::WouldBlock
            && !self.defer(cookie, request)?
        {
            self.execute(cookie, &request, Mode::Blocking)?;
        }
        Ok(())
    }

    fn is_alone(&self) -> bool {
        !self.inbox.has_input() && self.link.in_flight() == 0
    }

    /// Whether a worker should run a request though it waits for nothing: a read that is long beside
    /// the waking of a thread, with more input behind it to go on with here, and not with a worker to
    /// wait for, as those may all be waiting for the disk.
    fn is_shared(&self, request: &Request) -> bool {
        let Request::Read { len, .. } = *request else { return false };
        let least = self.shared.settings.share_read_len;
        least > 0
            && usize::try_from(len).is_ok_and(|len| (least..=PIECE_LEN).contains(&len))
            && self.inbox.has_input()
            && self.link.in_flight() == 0
            && self.shared.pool.has_room()
    }

    fn execute(&mut self, cookie: u64, request: &Request, mode: Mode) -> io::Result<Ran> {
        let executor = Executor {
            export: &self.export,
            counters: &self.link.counters,
            structured: self.session.structured,
            budget: &self.shared.budget,
        };
        let link = self.link;
        executor.run(cookie, request, mode, &mut self.out, &mut |out| link.send(out))
    }

    /// Hands a request to the pool; `false` when it has to run here.
    fn defer(&mut self, cookie: u64, request: Request) -> io::Result<bool> {
        let settings = &self.shared.settings;
        let len = match request {
            Request::Read { len, .. } => u64::from(len),
            _ => 0,
        };
        if len > settings.max_in_flight_len || !self.link.prepare_wake() {
            return Ok(false);
        }
        let fits = |link: &Link| {
            link.in_flight() < settings.max_in_flight.max(1)
                && link.in_flight_len() + len <= settings.max_in_flight_len
        };
        if !fits(self.link) {
            self.send()?;
            self.link.wait_until(fits)?;
        }
        let Some(grant) = self.shared.budget.take(len) else {
            return Ok(false);
        };
        let job = Job {
            in_flight: InFlight::begin(self.link, grant),
            export: Arc::clone(&self.export),
            structured: self.session.structured,
            cookie,
            request,
        };
        Ok(self.shared.pool.submit(job).is_ok())
    }

    fn refuse_in_shutdown(&mut self, cookie: u64) -> bool {
        let refuse = self.shared.is_stopping();
        if refuse {
            self.link.counters.record(Command::Rejected, 0, true);
            self.put_error(cookie, Errno::Shutdown, "the server is shutting down");
        }
        refuse
    }

    /// Adds a whole write to the batch.
    fn batch_write(&mut self, write: WriteItem) -> io::Result<()> {
        if self.refuse_in_shutdown(write.cookie) {
            return Ok(());
        }
        let len = write.data.len();
        if len == 0 {
            // Done before it starts; devices need not know of such writes.
            self.answer_write(write.cookie, 0, None);
            return Ok(());
        }
        if self.batch.len() == MAX_BATCH || self.batch_len + len > MAX_BATCH_LEN {
            self.run_batch()?;
        }
        self.batch_len += len;
        self.batch.push(write);
        Ok(())
    }

    /// Gives the gathered writes to the device in one call.
    fn run_batch(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.batch_len = 0;
        let requests: Vec<WriteRequest<'_>> = batch
            .iter()
            .map(|write| WriteRequest {
                offset: write.offset,
                data: self.inbox.payload(&write.data),
                flags: WriteFlags { fua: write.fua },
            })
            .collect();
        let results = match self.export.enter() {
            Some(device) => write_all(&*device, &requests),
            None => batch.iter().map(|_| Err(removed_error())).collect(),
        };
        drop(requests);
        let mut results = results.into_iter();
        for write in &batch {
            // A device that answers for fewer writes than it was given has not done the others.
            let result = results.next().unwrap_or_else(|| Err(removed_error()));
            self.answer_write(write.cookie, write.data.len() as u64, result.err());
        }
        // Keep the allocation.
        self.batch = batch;
        self.batch.clear();
        Ok(())
    }

    fn answer_write(&mut self, cookie: u64, len: u64, error: Option<sealvol_core::Error>) {
        self.link.counters.record(Command::Write, len, error.is_some());
        match error {
            None => self.out.put_success(cookie),
            Some(error) => {
                let (errno, message) = describe(&error);
                tracing::debug!(connection = self.link.id, ?error, "write failed");
                self.put_error(cookie, errno, &message);
            }
        }
    }

    /// Writes one piece of a long write, and answers after the last.
    fn write_piece(&mut self, piece: &WriteItem) -> io::Result<()> {
        if piece.first {
            self.long_write = Some(LongWrite { len: 0, error: None });
        }
        let Some(mut write) = self.long_write.take() else {
            return Ok(());
        };
        write.len += piece.data.len() as u64;
        if write.error.is_none() {
            let data = self.inbox.payload(&piece.data);
            let result = match self.export.enter() {
                _ if self.shared.is_stopping() => Err(removed_error()),
                None => Err(removed_error()),
                Some(device) => {
                    // One flush at the end costs less than force unit access for every piece.
                    let written = device.write(piece.offset, data, WriteFlags::default());
                    if piece.last && piece.fua {
                        written.and_then(|()| device.flush())
                    } else {
                        written
                    }
                }
            };
            write.error = result.err().map(|error| describe(&error));
        }
        if !piece.last {
            self.long_write = Some(write);
            return Ok(());
        }
        self.link.counters.record(Command::Write, write.len, write.error.is_some());
        match write.error {
            None => self.out.put_success(piece.cookie),
            Some((errno, message)) => self.put_error(piece.cookie, errno, &message),
        }
        Ok(())
    }
}

fn write_all(
    device: &dyn BlockDevice,
    requests: &[WriteRequest<'_>],
) -> Vec<sealvol_core::Result<()>> {
    match requests {
        [one] => vec![device.write(one.offset, one.data, one.flags)],
        many => device.write_batch(many),
    }
}
