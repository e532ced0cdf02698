//! A buffer for bodies that may hold plaintexts: it leaves no copy behind.

use std::io;

use zeroize::Zeroizing;

/// Growing bytes. Where a `Vec` would move them and free the old ones as they are, this one wipes
/// the old ones; and all of them when it is dropped.
#[derive(Default)]
pub(crate) struct SecretBuffer(Zeroizing<Vec<u8>>);

impl SecretBuffer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn push(&mut self, more: &[u8]) {
        let len = self.0.len() + more.len();
        if len > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(len.max(2 * self.0.capacity())));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(more);
    }

    pub(crate) fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl io::Write for SecretBuffer {
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
    fn it_grows() {
        let mut buffer = SecretBuffer::with_capacity(1);
        for _ in 0..100 {
            buffer.push(b"0123456789");
        }
        assert_eq!(buffer.len(), 1000);
        assert_eq!(*buffer.into_inner(), b"0123456789".repeat(100));
    }
}
