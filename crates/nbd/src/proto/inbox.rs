//! The receive buffer of a connection, and the framing of requests in it.
//!
//! One linear buffer: the socket fills [`Inbox::spare`], [`Inbox::next`] takes items from the
//! front. Payloads are not copied out; an item names a range of the buffer, valid until the next
//! call of `spare`, so that many writes can be gathered into one batch. A payload longer than a
//! piece comes in several items: what a client can make the server hold is the buffer, never the
//! request.

use std::ops::Range;

use super::errno::Errno;
use super::request::{BadMagic, Header, Reject, Request, Session};
use super::wire::{MAX_DRAIN_LEN, REQUEST_LEN};

/// What is at the front of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a server must handle each")]
pub enum Item {
    /// Nothing whole; fill [`Inbox::spare`].
    NeedInput,
    /// A request without payload.
    Request {
        /// Names the request in its reply.
        cookie: u64,
        /// What is asked.
        request: Request,
    },
    /// A write, or a piece of one.
    Write(WriteItem),
    /// A request to refuse; its payload, if any, is gone already.
    Rejected {
        /// Names the request in its reply.
        cookie: u64,
        /// What to answer.
        reject: Reject,
        /// The payload is too long to read away: close after the reply.
        close: bool,
    },
}

/// Payload to write.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a message of this crate's protocol")]
pub struct WriteItem {
    /// Names the request in its reply.
    pub cookie: u64,
    /// Where this item's bytes go.
    pub offset: u64,
    /// This item's bytes, for [`Inbox::payload`].
    pub data: Range<usize>,
    /// Whether the request asks for force unit access.
    pub fua: bool,
    /// Whether this item starts its request.
    pub first: bool,
    /// Whether this item ends its request.
    pub last: bool,
}

/// A connection's receive buffer.
#[derive(Debug)]
pub struct Inbox {
    buf: Vec<u8>,
    start: usize,
    end: usize,
    piece_len: usize,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Header,
    Payload { cookie: u64, offset: u64, remaining: usize, fua: bool, first: bool },
    Drain { cookie: u64, reject: Reject, remaining: u64 },
}

impl Inbox {
    /// A buffer that yields payloads of up to `piece_len` bytes in one item, and has `slack` bytes
    /// beside those for requests that are pipelined behind.
    #[must_use]
    pub fn new(piece_len: usize, slack: usize) -> Self {
        let capacity = piece_len.saturating_add(slack.max(REQUEST_LEN));
        let piece_len = piece_len.max(1);
        Self { buf: vec![0; capacity.max(1)], start: 0, end: 0, piece_len, state: State::Header }
    }

    /// Bytes that were received and not used up.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buf.get(self.start..self.end).unwrap_or_default()
    }

    /// Uses up `len` bytes from the front; for the handshake, which frames its own messages.
    pub fn consume(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
    }

    /// Whether anything is waiting behind the items taken so far.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.start < self.end
    }

    /// The room to receive into; never empty. Ranges of earlier items end here.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        // Moving what is left to the front costs a copy, so only where the next item would not fit.
        if self.buf.len() - self.end < self.missing().max(1) {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.buf.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that the first `len` bytes of [`spare`](Self::spare) hold input now.
    pub fn filled(&mut self, len: usize) {
        self.end = self.end.saturating_add(len).min(self.buf.len());
    }

    /// The bytes that an item names.
    #[must_use]
    pub fn payload(&self, range: &Range<usize>) -> &[u8] {
        self.buf.get(range.clone()).unwrap_or_default()
    }

    /// Takes the next item.
    ///
    /// # Errors
    /// [`BadMagic`]: where a request begins cannot be told any more; close the connection.
    pub fn next(&mut self, session: &Session) -> Result<Item, BadMagic> {
        if let State::Header = self.state {
            let Some(header) = Header::decode(self.bytes())? else {
                return Ok(Item::NeedInput);
            };
            self.start += REQUEST_LEN;
            if let Some(item) = self.begin(&header, session.check(&header)) {
                return Ok(item);
            }
        }
        Ok(self.advance_payload())
    }

    /// Turns a header into an item, or into the state that its payload needs.
    fn begin(&mut self, header: &Header, verdict: Result<Request, Reject>) -> Option<Item> {
        let cookie = header.cookie;
        match verdict {
            Ok(Request::Write { offset, len, fua }) => {
                let Ok(remaining) = usize::try_from(len) else {
                    let reject = Reject { errno: Errno::Inval, reason: "too long" };
                    return Some(Item::Rejected { cookie, reject, close: true });
                };
                self.state = State::Payload { cookie, offset, remaining, fua, first: true };
                None
            }
            Ok(request) => Some(Item::Request { cookie, request }),
            Err(reject) => {
                let remaining = header.payload_len();
                if remaining > u64::from(MAX_DRAIN_LEN) {
                    return Some(Item::Rejected { cookie, reject, close: true });
                }
                self.state = State::Drain { cookie, reject, remaining };
                None
            }
        }
    }

    fn advance_payload(&mut self) -> Item {
        let available = self.end - self.start;
        match self.state {
            State::Header => Item::NeedInput,
            State::Payload { cookie, offset, remaining, fua, first } => {
                let len = remaining.min(self.piece_len);
                if available < len {
                    return Item::NeedInput;
                }
                let data = self.start..self.start + len;
                self.start += len;
                let last = len == remaining;
                self.state = if last {
                    State::Header
                } else {
                    let offset = offset.saturating_add(len as u64);
                    State::Payload { cookie, offset, remaining: remaining - len, fua, first: false }
                };
                Item::Write(WriteItem { cookie, offset, data, fua, first, last })
            }
            State::Drain { cookie, reject, remaining } => {
                let here = remaining.min(available as u64);
                // Not more than `available`, which is a usize.
                self.start += usize::try_from(here).unwrap_or(available);
                if here < remaining {
                    self.state = State::Drain { cookie, reject, remaining: remaining - here };
                    return Item::NeedInput;
                }
                self.state = State::Header;
                Item::Rejected { cookie, reject, close: false }
            }
        }
    }

    /// How many more bytes make the next item whole.
    fn missing(&self) -> usize {
        let whole = match self.state {
            State::Header => REQUEST_LEN,
            State::Payload { remaining, .. } => remaining.min(self.piece_len),
            State::Drain { .. } => 1,
        };
        whole.saturating_sub(self.end - self.start)
    }
}

#[cfg(test)]
mod tests;
