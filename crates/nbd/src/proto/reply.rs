//! Encodes transmission replies: simple replies, and structured chunks.
//!
//! Headers come back as arrays, so that a caller can put them in front of data that it reads
//! straight into the send buffer.

use super::errno::Errno;
use super::wire::{
    BASE_ALLOCATION_ID, CHUNK_HEADER_LEN, SIMPLE_REPLY_LEN, SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC, chunk,
};

/// Bytes in front of the data of an [`offset_data`] chunk.
pub const OFFSET_DATA_LEN: usize = CHUNK_HEADER_LEN + 8;
/// Bytes of an [`offset_hole`] chunk.
pub const OFFSET_HOLE_LEN: usize = CHUNK_HEADER_LEN + 12;
/// Longest message in an error chunk; longer ones are cut.
pub const MAX_MESSAGE_LEN: usize = 256;

/// One run of `base:allocation`: length and `STATE_*` flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Length in bytes, not zero.
    pub len: u32,
    /// `STATE_HOLE` and `STATE_ZERO`.
    pub flags: u32,
}

/// A simple reply; for a successful READ the data follows.
#[must_use]
pub fn simple(errno: Option<Errno>, cookie: u64) -> [u8; SIMPLE_REPLY_LEN] {
    let mut bytes = [0; SIMPLE_REPLY_LEN];
    let mut writer = Fill::new(&mut bytes);
    writer.put(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    writer.put(&errno.map_or(0, Errno::code).to_be_bytes());
    writer.put(&cookie.to_be_bytes());
    bytes
}

/// A chunk header.
#[must_use]
pub fn chunk_header(done: bool, kind: u16, cookie: u64, len: u32) -> [u8; CHUNK_HEADER_LEN] {
    let mut bytes = [0; CHUNK_HEADER_LEN];
    let mut writer = Fill::new(&mut bytes);
    writer.put(&STRUCTURED_REPLY_MAGIC.to_be_bytes());
    writer.put(&if done { chunk::FLAG_DONE } else { 0 }.to_be_bytes());
    writer.put(&kind.to_be_bytes());
    writer.put(&cookie.to_be_bytes());
    writer.put(&len.to_be_bytes());
    bytes
}

/// The final chunk of a reply whose content, if any, came before.
#[must_use]
pub fn none(cookie: u64) -> [u8; CHUNK_HEADER_LEN] {
    chunk_header(true, chunk::NONE, cookie, 0)
}

/// The front of a data chunk; `data_len` bytes follow. `data_len` is at most a request's length,
/// which leaves room for the offset in the length field.
#[must_use]
pub fn offset_data(done: bool, cookie: u64, offset: u64, data_len: u32) -> [u8; OFFSET_DATA_LEN] {
    let mut bytes = [0; OFFSET_DATA_LEN];
    let mut writer = Fill::new(&mut bytes);
    let header = chunk_header(done, chunk::OFFSET_DATA, cookie, data_len.saturating_add(8));
    writer.put(&header);
    writer.put(&offset.to_be_bytes());
    bytes
}

/// A whole chunk that says `[offset, offset + len)` reads as zeroes.
#[must_use]
pub fn offset_hole(done: bool, cookie: u64, offset: u64, len: u32) -> [u8; OFFSET_HOLE_LEN] {
    let mut bytes = [0; OFFSET_HOLE_LEN];
    let mut writer = Fill::new(&mut bytes);
    writer.put(&chunk_header(done, chunk::OFFSET_HOLE, cookie, 12));
    writer.put(&offset.to_be_bytes());
    writer.put(&len.to_be_bytes());
    bytes
}

/// Appends a final error chunk: `ERROR_OFFSET` where the failing offset is known, else `ERROR`.
pub fn error(out: &mut Vec<u8>, cookie: u64, errno: Errno, message: &str, offset: Option<u64>) {
    let message = truncate(message, MAX_MESSAGE_LEN);
    // Both conversions hold: the message has at most MAX_MESSAGE_LEN bytes.
    let message_len = u16::try_from(message.len()).unwrap_or(0);
    let (kind, extra) = match offset {
        Some(_) => (chunk::ERROR_OFFSET, 8),
        None => (chunk::ERROR, 0),
    };
    let len = 6 + u32::from(message_len) + extra;
    out.extend_from_slice(&chunk_header(true, kind, cookie, len));
    out.extend_from_slice(&errno.code().to_be_bytes());
    out.extend_from_slice(&message_len.to_be_bytes());
    out.extend_from_slice(message.as_bytes());
    if let Some(offset) = offset {
        out.extend_from_slice(&offset.to_be_bytes());
    }
}

/// Appends a final `base:allocation` chunk. `descriptors` must not be empty.
pub fn block_status(out: &mut Vec<u8>, cookie: u64, descriptors: &[Descriptor]) {
    let len = u32::try_from(4 + 8 * descriptors.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&chunk_header(true, chunk::BLOCK_STATUS, cookie, len));
    out.extend_from_slice(&BASE_ALLOCATION_ID.to_be_bytes());
    for run in descriptors {
        out.extend_from_slice(&run.len.to_be_bytes());
        out.extend_from_slice(&run.flags.to_be_bytes());
    }
}

/// Cuts text to at most `max` bytes at a character boundary.
fn truncate(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

/// Writes fields one after the other into a fixed array.
struct Fill<'a> {
    rest: &'a mut [u8],
}

impl<'a> Fill<'a> {
    fn new(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes }
    }

    fn put(&mut self, field: &[u8]) {
        let rest = std::mem::take(&mut self.rest);
        // The arrays above are as long as their fields together, which the golden tests pin.
        if let Some((head, tail)) = rest.split_at_mut_checked(field.len()) {
            head.copy_from_slice(field);
            self.rest = tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_reply_bytes() {
        assert_eq!(
            simple(None, 0x0102_0304_0506_0708),
            *b"\x67\x44\x66\x98\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08"
        );
        assert_eq!(simple(Some(Errno::NoSpc), 1), *b"\x67\x44\x66\x98\0\0\0\x1c\0\0\0\0\0\0\0\x01");
    }

    #[test]
    fn structured_chunk_bytes() {
        assert_eq!(none(2), *b"\x66\x8e\x33\xef\0\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0\0");
        assert_eq!(
            offset_data(false, 3, 4096, 512),
            *b"\x66\x8e\x33\xef\0\0\0\x01\0\0\0\0\0\0\0\x03\0\0\x02\x08\0\0\0\0\0\0\x10\0"
        );
        assert_eq!(
            offset_hole(true, 3, 4096, 512),
            *b"\x66\x8e\x33\xef\0\x01\0\x02\0\0\0\0\0\0\0\x03\0\0\0\x0c\0\0\0\0\0\0\x10\0\0\0\x02\0"
        );
    }

    #[test]
    fn error_chunks_carry_a_bounded_message() {
        let mut out = Vec::new();
        error(&mut out, 9, Errno::Io, "bad", Some(7));
        assert_eq!(
            out,
            b"\x66\x8e\x33\xef\0\x01\x80\x02\0\0\0\0\0\0\0\x09\0\0\0\x11\
              \0\0\0\x05\0\x03bad\0\0\0\0\0\0\0\x07"
        );
        out.clear();
        error(&mut out, 9, Errno::Io, &"\u{e9}".repeat(4000), None);
        assert_eq!(out.len(), CHUNK_HEADER_LEN + 6 + MAX_MESSAGE_LEN);
    }

    #[test]
    fn block_status_bytes() {
        let mut out = Vec::new();
        block_status(&mut out, 1, &[Descriptor { len: 4096, flags: 3 }]);
        assert_eq!(
            out,
            b"\x66\x8e\x33\xef\0\x01\0\x05\0\0\0\0\0\0\0\x01\0\0\0\x0c\
              \0\0\0\x01\0\0\x10\0\0\0\0\x03"
        );
    }
}
