//! Runs one request against the device and encodes its reply. The same code serves a connection's
//! own thread and the pool's workers; they differ in whether they may wait for the disk, and in
//! how bytes leave ([`Emit`]).

use std::io;

use sealvol_core::{BlockDevice, ErrorKind, ExtentKind, Hot, Result, ZeroFlags};

use super::exports::Entry;
use super::link::{Budget, Grant};
use super::outbox::Outbox;
use super::settings::{
    MAX_DESCRIPTORS, MAX_READ_RUNS, MIN_HOLE_LEN, PIECE_LEN, SEND_AT, SPARSE_READ_LEN,
};
use super::stats::{Command, Counters};
use crate::proto::reply::{self, Descriptor};
use crate::proto::wire::{STATE_HOLE, STATE_ZERO};
use crate::proto::{Errno, Request};

/// The longest run that a 32-bit length field holds in whole sectors.
const MAX_RUN_LEN: u32 = !511;

/// Sends what is in an outbox and empties it.
pub(super) type Emit<'a> = &'a mut dyn FnMut(&mut Outbox) -> io::Result<()>;

/// Whether a request may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Give a read back when its first byte is not in memory.
    Hot,
    /// Wait.
    Blocking,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// Its reply is in the outbox, or sent.
    Replied,
    /// Nothing was done; run it in [`Mode::Blocking`].
    WouldBlock,
}

/// Where a request runs.
pub(super) struct Executor<'a> {
    pub(super) export: &'a Entry,
    pub(super) counters: &'a Counters,
    pub(super) structured: bool,
    pub(super) budget: &'a std::sync::Arc<Budget>,
}

/// A failure on the way to a reply: the device's, which becomes a reply, or the connection's.
enum Failure {
    Reply { errno: Errno, message: String, offset: Option<u64> },
    Link(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Link(error)
    }
}

impl From<sealvol_core::Error> for Failure {
    fn from(error: sealvol_core::Error) -> Self {
        // The kind and the operation only: the context may name paths that are not the client's.
        let message = format!("{}: {}", error.op(), error.kind().as_str());
        Self::Reply { errno: error.kind().into(), message, offset: None }
    }
}

impl Executor<'_> {
    /// Runs `request`, anything but a write, a disconnect or an empty read.
    ///
    /// # Errors
    /// The connection failed, or must be closed because a reply cannot be completed.
    pub(super) fn run(
        &self,
        cookie: u64,
        request: &Request,
        mode: Mode,
        out: &mut Outbox,
        emit: Emit<'_>,
    ) -> io::Result<Ran> {
        let (result, bytes) = match *request {
            Request::Read { offset, len, whole } => {
                let read = Read { cookie, offset, len, whole, mode };
                (self.read(&read, out, emit), u64::from(len))
            }
            Request::BlockStatus { offset, len, one } => {
                (self.block_status(cookie, offset, len, one, out), len)
            }
            Request::Trim { len, .. }
            | Request::Cache { len, .. }
            | Request::WriteZeroes { len, .. } => (self.plain(cookie, request, out), len),
            Request::Flush | Request::Write { .. } | Request::Disconnect => {
                (self.plain(cookie, request, out), 0)
            }
        };
        let failed = match result {
            Ok(Ran::WouldBlock) => return Ok(Ran::WouldBlock),
            Ok(Ran::Replied) => false,
            Err(Failure::Link(error)) => return Err(error),
            Err(Failure::Reply { errno, message, offset }) => {
                tracing::debug!(?request, ?errno, %message, "request failed");
                out.put_error(self.structured, cookie, errno, &message, offset);
                true
            }
        };
        self.counters.record(Command::of(request), bytes, failed);
        Ok(Ran::Replied)
    }

    /// Calls the device, unless the export is being removed. Never called from within itself:
    /// see [`Entry::enter`].
    fn on_device<T>(&self, call: impl FnOnce(&dyn BlockDevice) -> Result<T>) -> Result<T, Failure> {
        match self.export.enter() {
            Some(device) => Ok(call(&*device)?),
            None => Err(removed()),
        }
    }

    fn plain(&self, cookie: u64, request: &Request, out: &mut Outbox) -> Result<Ran, Failure> {
        self.on_device(|device| match *request {
            // An empty range is no reason to bother the device, whose own rule it may break.
            Request::Trim { len: 0, .. }
            | Request::Cache { len: 0, .. }
            | Request::WriteZeroes { len: 0, .. } => Ok(()),
            Request::Flush => device.flush(),
            Request::Trim { offset, len, fua } => {
                device.discard(offset, len)?;
                if fua { device.flush() } else { Ok(()) }
            }
            Request::WriteZeroes { offset, len, fua, no_hole } => {
                let flags = ZeroFlags { fua, keep_allocated: no_hole };
                device.write_zeroes(offset, len, flags)
            }
            Request::Cache { offset, len } => device.prefetch(offset, len),
            // Handled elsewhere.
            Request::Read { .. }
            | Request::Write { .. }
            | Request::BlockStatus { .. }
            | Request::Disconnect => Ok(()),
        })?;
        out.put_success(cookie);
        Ok(Ran::Replied)
    }

    fn block_status(
        &self,
        cookie: u64,
        offset: u64,
        len: u64,
        one: bool,
        out: &mut Outbox,
    ) -> Result<Ran, Failure> {
        let max = if one { 1 } else { MAX_DESCRIPTORS };
        let runs = self.on_device(|device| device.extents(offset, len, max))?;
        let mut descriptors: Vec<Descriptor> = Vec::new();
        let mut left = len;
        for run in runs.iter().take(max) {
            let flags = match run.kind {
                ExtentKind::Data => 0,
                ExtentKind::Hole => STATE_HOLE | STATE_ZERO,
                ExtentKind::Zero => STATE_ZERO,
            };
            // A request's length fits 32 bits, hence also every part of it.
            let len = u32::try_from(run.len.min(left)).unwrap_or(MAX_RUN_LEN);
            left -= u64::from(len);
            match descriptors.last_mut() {
                Some(last) if last.flags == flags => last.len = last.len.saturating_add(len),
                _ if len > 0 => descriptors.push(Descriptor { len, flags }),
                _ => break,
            }
        }
        if descriptors.is_empty() {
            let message = "no extents for the range".to_owned();
            return Err(Failure::Reply { errno: Errno::Io, message, offset: None });
        }
        out.put_with(|bytes| reply::block_status(bytes, cookie, &descriptors));
        Ok(Ran::Replied)
    }

    fn read(&self, read: &Read, out: &mut Outbox, emit: Emit<'_>) -> Result<Ran, Failure> {
        if self.structured && !read.whole {
            return self.read_in_chunks(read, out, emit);
        }
        self.read_whole(read, out, emit)
    }

    /// A structured reply: holes as holes, long data in pieces that leave as they are read.
    fn read_in_chunks(
        &self,
        read: &Read,
        out: &mut Outbox,
        emit: Emit<'_>,
    ) -> Result<Ran, Failure> {
        let end = read.offset + u64::from(read.len);
        let runs = match read.len {
            len if len >= SPARSE_READ_LEN => self.runs(read)?,
            _ => Vec::new(),
        };
        let mut runs = runs.into_iter();
        let mut at = read.offset;
        let mut mode = read.mode;
        while at < end {
            let run = runs.next().unwrap_or(Run { end, hole: false });
            while at < run.end {
                let limit = if run.hole { u64::from(MAX_RUN_LEN) } else { PIECE_LEN as u64 };
                // Parts of a request, so they fit 32 bits.
                let len = u32::try_from((run.end - at).min(limit)).unwrap_or(MAX_RUN_LEN);
                let next = at + u64::from(len);
                let done = next == end;
                if run.hole {
                    out.put(&reply::offset_hole(done, read.cookie, at, len));
                } else {
                    let mark = out.len();
                    out.put(&reply::offset_data(done, read.cookie, at, len));
                    match self.fill(at, usize::try_from(len).unwrap_or(0), mode, out) {
                        Ok(Hot::Done) => {}
                        Ok(Hot::WouldBlock) => {
                            out.truncate(mark);
                            return Ok(Ran::WouldBlock);
                        }
                        Err(failure) => {
                            out.truncate(mark);
                            return Err(failure.at(at, read.offset));
                        }
                    }
                }
                // Content went out, or is about to: too late to start again on another thread.
                mode = Mode::Blocking;
                at = next;
                if out.len() >= SEND_AT {
                    emit(out)?;
                }
            }
        }
        Ok(Ran::Replied)
    }

    /// One header and all of the data behind it.
    fn read_whole(&self, read: &Read, out: &mut Outbox, emit: Emit<'_>) -> Result<Ran, Failure> {
        let len = usize::try_from(read.len).unwrap_or(usize::MAX);
        let grant = if len <= PIECE_LEN {
            None
        } else {
            if out.len() > 0 {
                emit(out)?;
            }
            match self.budget.take(u64::from(read.len)) {
                Some(grant) => Some(grant),
                None => return self.read_unbuffered(read, out, emit),
            }
        };
        let mark = out.len();
        self.put_data_header(read, out);
        match self.fill(read.offset, len, read.mode, out) {
            Ok(Hot::Done) => {}
            Ok(Hot::WouldBlock) => {
                out.truncate(mark);
                return Ok(Ran::WouldBlock);
            }
            Err(failure) => {
                out.truncate(mark);
                return Err(failure);
            }
        }
        if out.len() >= SEND_AT {
            emit(out)?;
        }
        drop::<Option<Grant>>(grant);
        Ok(Ran::Replied)
    }

    /// A long read in one chunk while reply memory is used up: the header goes out before the data
    /// is known to be good, so that a device error can only end the connection.
    fn read_unbuffered(
        &self,
        read: &Read,
        out: &mut Outbox,
        emit: Emit<'_>,
    ) -> Result<Ran, Failure> {
        if self.structured {
            let message = "too long to answer in one piece now".to_owned();
            return Err(Failure::Reply { errno: Errno::Overflow, message, offset: None });
        }
        self.put_data_header(read, out);
        let end = read.offset + u64::from(read.len);
        let mut at = read.offset;
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(PIECE_LEN);
            if let Err(Failure::Reply { message, .. }) = self.fill(at, len, Mode::Blocking, out) {
                return Err(io::Error::other(format!("read failed midway: {message}")).into());
            }
            emit(out)?;
            at += len as u64;
        }
        Ok(Ran::Replied)
    }

    fn put_data_header(&self, read: &Read, out: &mut Outbox) {
        if self.structured {
            out.put(&reply::offset_data(true, read.cookie, read.offset, read.len));
        } else {
            out.put(&reply::simple(None, read.cookie));
        }
    }

    fn fill(&self, at: u64, len: usize, mode: Mode, out: &mut Outbox) -> Result<Hot, Failure> {
        let buf = out.space(len);
        self.on_device(|device| match mode {
            Mode::Hot => device.read_hot(at, buf),
            Mode::Blocking => device.read(at, buf).map(|()| Hot::Done),
        })
    }

    /// The request's range as runs of data and of holes worth telling; may end early, after which
    /// everything is data.
    fn runs(&self, read: &Read) -> Result<Vec<Run>, Failure> {
        let len = u64::from(read.len);
        let extents = self.on_device(|device| device.extents(read.offset, len, MAX_READ_RUNS))?;
        let end = read.offset + len;
        let mut runs: Vec<Run> = Vec::with_capacity(extents.len());
        for extent in extents {
            let hole = extent.kind != ExtentKind::Data && extent.len >= MIN_HOLE_LEN;
            let extent_end = extent.offset.saturating_add(extent.len).min(end);
            match runs.last_mut() {
                Some(last) if last.hole == hole => last.end = extent_end,
                _ => runs.push(Run { end: extent_end, hole }),
            }
        }
        Ok(runs)
    }
}

/// A run of a read; it starts where the one before ends.
#[derive(Debug, Clone, Copy)]
struct Run {
    end: u64,
    hole: bool,
}

/// A read to answer.
#[derive(Debug, Clone, Copy)]
struct Read {
    cookie: u64,
    offset: u64,
    len: u32,
    whole: bool,
    mode: Mode,
}

impl Failure {
    /// Names the failing offset, where part of the reply may have gone out before it.
    fn at(mut self, at: u64, start: u64) -> Self {
        if let Self::Reply { offset, .. } = &mut self {
            *offset = (at > start).then_some(at);
        }
        self
    }
}

fn removed() -> Failure {
    let message = "the export is being removed".to_owned();
    Failure::Reply { errno: Errno::Shutdown, message, offset: None }
}

/// The error number and text for a failed device call outside an [`Executor`].
pub(super) fn describe(error: &sealvol_core::Error) -> (Errno, String) {
    (error.kind().into(), format!("{}: {}", error.op(), error.kind().as_str()))
}

/// As a device would say it of an export that is being removed.
pub(super) fn removed_error() -> sealvol_core::Error {
    sealvol_core::Error::new(ErrorKind::Fenced, "use NBD export", "the export is being removed")
}
