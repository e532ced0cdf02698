//! One transmission request: its header on the wire, and whether this session allows it.

use super::errno::Errno;
use super::options::{ExportInfo, Fields};
use super::wire::{
    MAX_PAYLOAD_LEN, MIN_BLOCK_LEN, REQUEST_LEN, REQUEST_MAGIC, command, command_flag as flag,
};

/// The bytes where a request should start are not one: the stream is lost, close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad request magic")]
pub struct BadMagic;

/// A request as it came, not judged yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// `NBD_CMD_FLAG_*`.
    pub flags: u16,
    /// `NBD_CMD_*`.
    pub command: u16,
    /// The client's name for the request, returned in its reply.
    pub cookie: u64,
    /// Byte offset.
    pub offset: u64,
    /// Length in bytes. 64 bits wide, because extended headers will need it.
    pub len: u64,
}

impl Header {
    /// Decodes the header at the front of `bytes`; `None` when it is not all there.
    ///
    /// # Errors
    /// [`BadMagic`], as soon as the magic is there and wrong.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, BadMagic> {
        let mut fields = Fields::new(bytes);
        match fields.u32() {
            None => return Ok(None),
            Some(REQUEST_MAGIC) => {}
            Some(_) => return Err(BadMagic),
        }
        if bytes.len() < REQUEST_LEN {
            return Ok(None);
        }
        let header = || {
            Some(Self {
                flags: fields.u16()?,
                command: fields.u16()?,
                cookie: fields.u64()?,
                offset: fields.u64()?,
                len: u64::from(fields.u32()?),
            })
        };
        Ok({ header }())
    }

    /// Bytes of payload that follow the header on the wire.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        if self.command == command::WRITE { self.len } else { 0 }
    }
}

/// A request that this session allows: in range, aligned, with flags that its command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a server must answer each")]
#[expect(missing_docs, reason = "the fields are the protocol's, described at Header")]
pub enum Request {
    /// Read; `whole` asks for one content chunk (`NBD_CMD_FLAG_DF`).
    Read { offset: u64, len: u32, whole: bool },
    /// Write; the payload follows.
    Write { offset: u64, len: u32, fua: bool },
    /// Orderly end; there is no reply.
    Disconnect,
    /// Make completed writes durable.
    Flush,
    /// Discard.
    Trim { offset: u64, len: u64, fua: bool },
    /// Read ahead.
    Cache { offset: u64, len: u64 },
    /// Write zeroes; `no_hole` keeps the range allocated.
    WriteZeroes { offset: u64, len: u64, fua: bool, no_hole: bool },
    /// Query `base:allocation`; `one` asks for a single extent.
    BlockStatus { offset: u64, len: u64, one: bool },
}

/// A refusal: the reply's error number, and a short reason for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Reject {
    /// Goes into the reply.
    pub errno: Errno,
    /// Goes into a structured reply's message.
    pub reason: &'static str,
}

const fn reject(errno: Errno, reason: &'static str) -> Reject {
    Reject { errno, reason }
}

/// What a handshake negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The chosen export. The server keeps `len` up to date when the device grows.
    pub export: ExportInfo,
    /// Whether replies may be, and for READ must be, structured.
    pub structured: bool,
    /// Whether `base:allocation` was selected for this export.
    pub block_status: bool,
}

impl Session {
    /// Judges a header.
    ///
    /// # Errors
    /// The [`Reject`] that the protocol prescribes.
    pub fn check(&self, header: &Header) -> Result<Request, Reject> {
        let Header { flags, command, offset, len, .. } = *header;
        // FUA is accepted on every command, because clients are known to set it on any.
        let allowed = flag::FUA
            | match command {
                command::READ if self.structured => flag::DF,
                command::WRITE_ZEROES => flag::NO_HOLE | flag::FAST_ZERO,
                command::BLOCK_STATUS => flag::REQ_ONE,
                _ => 0,
            };
        let fua = flags & flag::FUA != 0;
        if flags & !allowed != 0 && command != command::DISC {
            return Err(reject(Errno::Inval, "a flag that the command does not have"));
        }
        match command {
            command::DISC => Ok(Request::Disconnect),
            command::READ => {
                let len = payload_len(len)?;
                self.range(header, Errno::Inval)?;
                Ok(Request::Read { offset, len, whole: flags & flag::DF != 0 })
            }
            command::WRITE => {
                self.writable()?;
                let len = payload_len(len)?;
                self.range(header, Errno::NoSpc)?;
                Ok(Request::Write { offset, len, fua })
            }
            command::FLUSH if offset != 0 || len != 0 => {
                Err(reject(Errno::Inval, "a flush covers the whole export"))
            }
            command::FLUSH => Ok(Request::Flush),
            command::TRIM => {
                self.writable()?;
                self.range(header, Errno::Inval)?;
                Ok(Request::Trim { offset, len, fua })
            }
            command::CACHE => {
                self.range(header, Errno::Inval)?;
                Ok(Request::Cache { offset, len })
            }
            command::WRITE_ZEROES => {
                self.writable()?;
                self.range(header, Errno::NoSpc)?;
                let no_hole = flags & flag::NO_HOLE != 0;
                Ok(Request::WriteZeroes { offset, len, fua, no_hole })
            }
            command::BLOCK_STATUS if !self.block_status => {
                Err(reject(Errno::Inval, "no metadata context was negotiated"))
            }
            command::BLOCK_STATUS if len == 0 => {
                Err(reject(Errno::Inval, "an empty range has no status"))
            }
            command::BLOCK_STATUS => {
                self.range(header, Errno::Inval)?;
                Ok(Request::BlockStatus { offset, len, one: flags & flag::REQ_ONE != 0 })
            }
            _ => Err(reject(Errno::Inval, "unknown command")),
        }
    }

    fn writable(&self) -> Result<(), Reject> {
        if self.export.read_only {
            return Err(reject(Errno::Perm, "the export is read-only"));
        }
        Ok(())
    }

    fn range(&self, header: &Header, past_end: Errno) -> Result<(), Reject> {
        let unit = u64::from(MIN_BLOCK_LEN);
        if !header.offset.is_multiple_of(unit) || !header.len.is_multiple_of(unit) {
            return Err(reject(Errno::Inval, "offset and length must be multiples of 512"));
        }
        let end = header.offset.checked_add(header.len);
        if end.is_none_or(|end| end > self.export.len) {
            return Err(reject(past_end, "the range reaches past the end of the export"));
        }
        Ok(())
    }
}

fn payload_len(len: u64) -> Result<u32, Reject> {
    match u32::try_from(len) {
        Ok(len) if len <= MAX_PAYLOAD_LEN => Ok(len),
        _ => Err(reject(Errno::Inval, "longer than the maximum of 32 MiB")),
    }
}

#[cfg(test)]
mod tests;
