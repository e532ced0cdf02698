//! A send buffer: replies are encoded and device reads land in it, one behind the other, so that
//! many leave in one system call and no data is copied on the way.

use crate::proto::Errno;
use crate::proto::reply;

/// Memory above this is given back once it is empty.
const KEEP_LEN: usize = 4 << 20;

/// Replies that are not sent yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// As long as it ever had to be; only the first `used` bytes mean anything. Cutting it to size
    /// would mean zeroing it again for every read.
    buf: Vec<u8>,
    used: usize,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.used
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buf.get(..self.used).unwrap_or_default()
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.space(bytes.len()).copy_from_slice(bytes);
    }

    /// Appends `len` bytes of whatever is there, for the caller to fill.
    pub(super) fn space(&mut self, len: usize) -> &mut [u8] {
        let start = self.used;
        self.used = start.saturating_add(len);
        if self.buf.len() < self.used {
            self.buf.resize(self.used.next_multiple_of(64 << 10), 0);
        }
        self.buf.get_mut(start..self.used).unwrap_or_default()
    }

    /// Takes back everything after the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.used = self.used.min(len);
    }

    /// Forgets everything, for instance because it was sent.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        if self.buf.len() > KEEP_LEN {
            self.buf = Vec::new();
        }
    }

    /// Takes the contents out.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.buf);
        bytes.truncate(self.used);
        self.used = 0;
        bytes
    }

    /// Appends what `encode` appends to a vector; for the rare replies of variable size.
    pub(super) fn put_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        self.put(&bytes);
    }

    /// Appends the success reply of a request without content.
    pub(super) fn put_success(&mut self, cookie: u64) {
        // Allowed also where structured replies were negotiated, and four bytes shorter.
        self.put(&reply::simple(None, cookie));
    }

    /// Appends an error reply.
    pub(super) fn put_error(
        &mut self,
        structured: bool,
        cookie: u64,
        errno: Errno,
        message: &str,
        offset: Option<u64>,
    ) {
        if structured {
            self.put_with(|out| reply::error(out, cookie, errno, message, offset));
        } else {
            self.put(&reply::simple(Some(errno), cookie));
        }
    }
}
