//! [`WipedBuffer`]: growing bytes that leave no copy behind.

use std::fmt;
use std::io;

use zeroize::Zeroizing;

/// Bytes that may be secret. Where a `Vec` would move them and free the old ones as they are, this one
/// wipes the old ones; and all of them when it is dropped. On the ordinary heap, not locked.
#[derive(Default)]
pub struct WipedBuffer(Zeroizing<Vec<u8>>);

impl WipedBuffer {
    /// An empty buffer that takes `capacity` bytes without moving.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Adds bytes.
    pub fn push(&mut self, more: &[u8]) {
        let len = self.0.len().saturating_add(more.len());
        if len > self.0.capacity() {
            let capacity = len.max(self.0.capacity().saturating_mul(2));
            let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
            larger.extend_from_slice(&self.0);
            // The old bytes are zeroised when they are dropped here.
            self.0 = larger;
        }
        self.0.extend_from_slice(more);
    }

    /// The bytes, still to be wiped when they are dropped. Growing them may leave a copy.
    #[must_use]
    pub fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl fmt::Debug for WipedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WipedBuffer({} bytes)", self.len())
    }
}

impl io::Write for WipedBuffer {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.push(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_shows_nothing() {
        let mut buffer = WipedBuffer::with_capacity(1);
        for _ in 0..100 {
            buffer.push(b"0123456789");
        }
        assert_eq!(format!("{buffer:?}"), "WipedBuffer(1000 bytes)");
        assert_eq!(buffer.as_slice(), b"0123456789".repeat(100));
        assert_eq!(*buffer.into_inner(), b"0123456789".repeat(100));
    }
}
