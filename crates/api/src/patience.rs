//! A stream whose peer may not keep us waiting: for a request, for the rest of its headers, for the
//! reading of an answer. The time of a request itself is the endpoint's to limit.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::settings::ServerSettings;

/// What a connection waits for, shared by its stream and its service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase(Arc<AtomicU8>);

/// For the first byte of a request.
const IDLE: u8 = 0;
/// For the end of its headers.
const HEADERS: u8 = 1;
/// For nothing of the peer's but, maybe, the body.
const BUSY: u8 = 2;

impl Phase {
    /// A request's headers are complete. It lasts until the result is dropped.
    pub(crate) fn busy(&self) -> Busy {
        self.0.store(BUSY, Ordering::Release);
        Busy(self.clone())
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// A request that runs.
pub(crate) struct Busy(Phase);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.store(IDLE, Ordering::Release);
    }
}

/// A time limit that is kept only while somebody waits.
#[derive(Default)]
struct Limit {
    timer: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Limit {
    fn disarm(&mut self) {
        self.armed = false;
    }

    /// Whether the time since the first call after `disarm` has passed `time`.
    fn is_over(&mut self, time: Duration, cx: &mut Context<'_>) -> bool {
        if !self.armed {
            self.armed = true;
            let end = Instant::now() + time;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(end),
                None => self.timer = Some(Box::pin(sleep_until(end))),
            }
        }
        self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
    }
}

/// The stream.
pub(crate) struct Patient<S> {
    stream: S,
    phase: Phase,
    settings: ServerSettings,
    reading: Limit,
    /// The phase that `reading` is armed for.
    reading_for: u8,
    writing: Limit,
}

impl<S> Patient<S> {
    pub(crate) fn new(stream: S, phase: Phase, settings: ServerSettings) -> Self {
        let (reading, writing) = (Limit::default(), Limit::default());
        Self { stream, phase, settings, reading, reading_for: IDLE, writing }
    }
}

fn too_slow() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let phase = this.phase.get();
        if phase != this.reading_for {
            this.reading_for = phase;
            this.reading.disarm();
        }
        let limit = match phase {
            IDLE => Some(this.settings.idle_timeout()),
            HEADERS => Some(this.settings.header_timeout()),
            _ => None,
        };
        // Of headers that trickle in, before they are read: bytes do not buy time.
        if phase == HEADERS && this.reading.is_over(this.settings.header_timeout(), cx) {
            return Poll::Ready(Err(too_slow()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                if phase == IDLE && buf.filled().len() > before {
                    // Not if a request has begun meanwhile.
                    let (done, not) = (Ordering::AcqRel, Ordering::Acquire);
                    let _phase = this.phase.0.compare_exchange(IDLE, HEADERS, done, not);
                }
                Poll::Ready(read)
            }
            Poll::Pending => match limit {
                Some(time) if this.reading.is_over(time, cx) => Poll::Ready(Err(too_slow())),
                _ => Poll::Pending,
            },
        }
    }
}

impl<S: AsyncWrite + Unpin> Patient<S> {
    /// Ends a wait for the peer to read.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(result) => {
                self.writing.disarm();
                Poll::Ready(result)
            }
            Poll::Pending if self.writing.is_over(self.settings.request_timeout(), cx) => {
                Poll::Ready(Err(too_slow()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        Poll::Ready(done)
    }
}
