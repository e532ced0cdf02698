//! A raw NBD client: it says exactly what a test wants it to say, right or wrong.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use sealvol_nbd::proto::wire::{self, option, option_reply};

/// One reply message of the transmission phase.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Simple { errno: u32, cookie: u64 },
    Chunk { done: bool, kind: u16, cookie: u64, payload: Vec<u8> },
}

impl Reply {
    pub(crate) fn cookie(&self) -> u64 {
        match self {
            Self::Simple { cookie, .. } | Self::Chunk { cookie, .. } => *cookie,
        }
    }

    /// The error number, 0 for success.
    pub(crate) fn errno(&self) -> u32 {
        match self {
            Self::Simple { errno, .. } => *errno,
            Self::Chunk { kind, payload, .. } if kind & 0x8000 != 0 => be32(payload, 0),
            Self::Chunk { .. } => 0,
        }
    }
}

pub(crate) struct Client {
    pub(crate) stream: UnixStream,
}

impl Client {
    /// Connects and answers the greeting.
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        // A test that waits for a reply that never comes must fail, not hang.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self { stream };
        assert_eq!(client.take(wire::GREETING_LEN), b"NBDMAGICIHAVEOPT\0\x03");
        client.send(&3_u32.to_be_bytes());
        client
    }

    /// Connects and enters transmission on the default export.
    pub(crate) fn open(path: &Path, structured: bool) -> Self {
        Self::open_export(path, "", structured)
    }

    pub(crate) fn open_export(path: &Path, name: &str, structured: bool) -> Self {
        let mut client = Self::connect(path);
        let mut named = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
        named.extend(name.as_bytes());
        if structured {
            let replies = client.option(option::STRUCTURED_REPLY, &[]);
            assert_eq!(replies.last().unwrap().0, option_reply::ACK);
            let query = wire::BASE_ALLOCATION.as_bytes();
            let mut data = named.clone();
            data.extend(1_u32.to_be_bytes());
            data.extend(u32::try_from(query.len()).unwrap().to_be_bytes());
            data.extend(query);
            let replies = client.option(option::SET_META_CONTEXT, &data);
            assert_eq!(replies.last().unwrap().0, option_reply::ACK);
        }
        named.extend(0_u16.to_be_bytes());
        let replies = client.option(option::GO, &named);
        assert_eq!(replies.last().unwrap().0, option_reply::ACK, "{replies:?}");
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Asserts that the server closes, and returns what it said before.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => {}
            // A server that closes with input unread resets the connection.
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{e}"),
        }
        bytes
    }

    /// Sends an option and takes its replies up to the final one.
    pub(crate) fn option(&mut self, number: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
        self.send(&option_bytes(number, data));
        let mut replies = Vec::new();
        loop {
            let header = self.take(wire::OPTION_REPLY_HEADER_LEN);
            assert_eq!(header[..8], wire::OPTION_REPLY_MAGIC.to_be_bytes());
            assert_eq!(be32(&header, 8), number);
            let kind = be32(&header, 12);
            let data = self.take(be32(&header, 16) as usize);
            replies.push((kind, data));
            if kind == option_reply::ACK || kind & (1 << 31) != 0 {
                return replies;
            }
        }
    }

    pub(crate) fn request(&mut self, command: u16, flags: u16, cookie: u64, offset: u64, len: u32) {
        self.send(&request_bytes(command, flags, cookie, offset, len));
    }

    /// Takes one simple reply, which must be for `cookie`; returns its error number.
    pub(crate) fn simple(&mut self, cookie: u64) -> u32 {
        match self.reply() {
            Reply::Simple { errno, cookie: got } => {
                assert_eq!(got, cookie);
                errno
            }
            chunk => panic!("not a simple reply: {chunk:?}"),
        }
    }

    /// Takes one reply or chunk. The data of a simple READ reply is left for `take`.
    pub(crate) fn reply(&mut self) -> Reply {
        let magic = be32(&self.take(4), 0);
        match magic {
            wire::SIMPLE_REPLY_MAGIC => {
                let rest = self.take(12);
                Reply::Simple { errno: be32(&rest, 0), cookie: be64(&rest, 4) }
            }
            wire::STRUCTURED_REPLY_MAGIC => {
                let rest = self.take(16);
                let payload = self.take(be32(&rest, 12) as usize);
                Reply::Chunk {
                    done: rest[1] == 1,
                    kind: u16::from_be_bytes([rest[2], rest[3]]),
                    cookie: be64(&rest, 4),
                    payload,
                }
            }
            other => panic!("bad reply magic {other:#x}"),
        }
    }

    /// Takes chunks up to the final one.
    pub(crate) fn chunks(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        loop {
            let reply = self.reply();
            let last = !matches!(reply, Reply::Chunk { done: false, .. });
            replies.push(reply);
            if last {
                return replies;
            }
        }
    }
}

pub(crate) fn option_bytes(number: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = wire::OPTION_MAGIC.to_be_bytes().to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

pub(crate) fn request_bytes(
    command: u16,
    flags: u16,
    cookie: u64,
    offset: u64,
    len: u32,
) -> Vec<u8> {
    let mut bytes = wire::REQUEST_MAGIC.to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(command.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}
