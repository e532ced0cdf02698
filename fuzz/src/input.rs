//! Takes a target's parameters off the front of its input. Past the end everything reads as zero, so
//! that every input means something and a mutation changes one thing.

/// The rest of an input.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of `data`.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Up to `len` bytes.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (head, tail) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = tail;
        head
    }

    /// Everything that is left.
    pub fn all(&mut self) -> &'a [u8] {
        self.bytes(self.rest.len())
    }

    /// `N` bytes, padded with zeros.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for (to, from) in out.iter_mut().zip(self.bytes(N)) {
            *to = *from;
        }
        out
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Three bytes, little-endian.
    pub fn u24(&mut self) -> u32 {
        let [a, b, c] = self.array();
        u32::from_le_bytes([a, b, c, 0])
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A string: a length byte, then as many bytes, those that are not UTF-8 replaced.
    pub fn text(&mut self) -> String {
        let len = usize::from(self.u8());
        String::from_utf8_lossy(self.bytes(len)).into_owned()
    }

    /// Edits `bytes` as the input says: flips, overwrites, copies within, cuts and appends. For
    /// damage to something that starts out valid.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        while !self.is_empty() {
            let kind = self.u8();
            let at = self.u24() as usize % (bytes.len() + 1);
            match kind % 5 {
                0 => {
                    let flip = self.u8();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= flip;
                    }
                }
                1 => {
                    let len = usize::from(self.u8());
                    for (to, from) in bytes.iter_mut().skip(at).zip(self.bytes(len)) {
                        *to = *from;
                    }
                }
                2 => {
                    let from = self.u24() as usize % (bytes.len() + 1);
                    let len = usize::from(self.u8()).min(bytes.len() - from.max(at));
                    bytes.copy_within(from..from + len, at);
                }
                3 => bytes.truncate(at),
                _ => {
                    let len = usize::from(self.u8());
                    bytes.extend_from_slice(self.bytes(len));
                }
            }
        }
    }
}
