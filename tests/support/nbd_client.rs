//! A small blocking NBD client (fixed newstyle, simple replies, a Unix socket) that pipelines: it
//! sends any number of requests before it takes the first reply. For tests that must know what was
//! acknowledged when the server died.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const INFO_EXPORT: u16 = 0;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const FLAG_FUA: u16 = 1;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the commands that tests use")]
pub enum Verb {
    /// Read.
    Read = 0,
    /// Write.
    Write = 1,
    /// Flush.
    Flush = 3,
    /// Trim.
    Trim = 4,
    /// Write zeroes.
    WriteZeroes = 6,
}

/// One reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// Which request it answers.
    pub cookie: u64,
    /// The error number; 0 is success.
    pub errno: u32,
    /// What was read.
    pub data: Vec<u8>,
}

/// A connection in its transmission phase.
#[derive(Debug)]
pub struct NbdClient {
    stream: UnixStream,
    /// Size of the export in bytes.
    pub len: u64,
    next_cookie: u64,
    /// Lengths of the reads that wait for their replies.
    reads: HashMap<u64, usize>,
}

fn protocol_error(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl NbdClient {
    /// Connects to the default export.
    ///
    /// # Errors
    /// When the server is not there, refuses, or breaks the protocol.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        // A server that never answers must fail a test, not hang it.
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        let mut client = Self { stream, len: 0, next_cookie: 1, reads: HashMap::new() };
        let greeting = client.take::<18>()?;
        if !greeting.starts_with(b"NBDMAGICIHAVEOPT") {
            return Err(protocol_error(format!("greeting {greeting:?}")));
        }
        // Fixed newstyle, no padding.
        client.stream.write_all(&3_u32.to_be_bytes())?;
        let mut option = OPTION_MAGIC.to_vec();
        option.extend(OPTION_GO.to_be_bytes());
        option.extend(6_u32.to_be_bytes());
        // An empty name and no information requests.
        option.extend([0; 6]);
        client.stream.write_all(&option)?;
        loop {
            let magic = u64::from_be_bytes(client.take()?);
            let _option = client.take::<4>()?;
            let kind = u32::from_be_bytes(client.take()?);
            let len = u32::from_be_bytes(client.take()?);
            let mut data = vec![0; usize::try_from(len).unwrap_or(0)];
            client.stream.read_exact(&mut data)?;
            match kind {
                _ if magic != OPTION_REPLY_MAGIC => {
                    return Err(protocol_error(format!("option reply magic {magic:#x}")));
                }
                REPLY_ACK => return Ok(client),
                REPLY_INFO => {
                    if let Some((kind, rest)) = data.split_first_chunk::<2>()
                        && u16::from_be_bytes(*kind) == INFO_EXPORT
                        && let Some(len) = rest.first_chunk::<8>()
                    {
                        client.len = u64::from_be_bytes(*len);
                    }
                }
                _ => return Err(protocol_error(format!("option reply {kind:#x}: {data:?}"))),
            }
        }
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Sends a request and returns its cookie. `data` is what a write carries.
    ///
    /// # Errors
    /// When the connection is gone. What became of the request is unknown then.
    pub fn send(
        &mut self,
        verb: Verb,
        fua: bool,
        offset: u64,
        len: u32,
        data: &[u8],
    ) -> io::Result<u64> {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        let flags = if fua { FLAG_FUA } else { 0 };
        let mut bytes = Vec::with_capacity(28 + data.len());
        bytes.extend(REQUEST_MAGIC.to_be_bytes());
        bytes.extend(flags.to_be_bytes());
        bytes.extend((verb as u16).to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        bytes.extend(data);
        if verb == Verb::Read {
            self.reads.insert(cookie, usize::try_from(len).unwrap_or(0));
        }
        self.stream.write_all(&bytes)?;
        Ok(cookie)
    }

    /// Takes the next reply, in whatever order the server sends them.
    ///
    /// # Errors
    /// When the connection is gone or the server breaks the protocol.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let magic = u32::from_be_bytes(self.take()?);
        if magic != SIMPLE_REPLY_MAGIC {
            return Err(protocol_error(format!("reply magic {magic:#x}")));
        }
        let errno = u32::from_be_bytes(self.take()?);
        let cookie = u64::from_be_bytes(self.take()?);
        let len = self.reads.remove(&cookie).filter(|_| errno == 0).unwrap_or(0);
        let mut data = vec![0; len];
        self.stream.read_exact(&mut data)?;
        Ok(Reply { cookie, errno, data })
    }

    /// Reads a range, alone.
    ///
    /// # Errors
    /// When the connection is gone or the server answers with an error.
    pub fn read(&mut self, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        let cookie = self.send(Verb::Read, false, offset, len, &[])?;
        let reply = self.reply()?;
        if reply.errno != 0 || reply.cookie != cookie {
            let what = format!("read of {len} at {offset}: error {}", reply.errno);
            return Err(io::Error::other(what));
        }
        Ok(reply.data)
    }
}
