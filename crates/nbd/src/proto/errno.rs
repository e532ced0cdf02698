//! The protocol's error numbers, and which of them each [`ErrorKind`] becomes.

use sealvol_core::ErrorKind;

/// An error number that NBD defines. The values are the protocol's, not the operating system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(clippy::exhaustive_enums, reason = "the protocol fixes the set")]
pub enum Errno {
    /// `EPERM`: the export is read-only, or the operation is forbidden.
    Perm = 1,
    /// `EIO`: the device failed, or stored data is damaged.
    Io = 5,
    /// `EINVAL`: the request is malformed.
    Inval = 22,
    /// `ENOSPC`: no space, or a write past the end.
    NoSpc = 28,
    /// `EOVERFLOW`: too large to answer in one piece.
    Overflow = 75,
    /// `ENOTSUP`: not supported by this export.
    NotSup = 95,
    /// `ESHUTDOWN`: the server, or this export, is going away.
    Shutdown = 108,
}

impl Errno {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }
}

impl From<ErrorKind> for Errno {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Denied => Self::Perm,
            ErrorKind::Invalid => Self::Inval,
            ErrorKind::NoSpace => Self::NoSpc,
            ErrorKind::Unsupported => Self::NotSup,
            // Another opener owns the volume now: this export will never work again.
            ErrorKind::Fenced => Self::Shutdown,
            // Everything else, kinds added later included, means to a disk's user that I/O failed.
            _ => Self::Io,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_map_to_the_protocols_numbers() {
        let table = [
            (ErrorKind::Denied, 1),
            (ErrorKind::Corrupt, 5),
            (ErrorKind::Io, 5),
            (ErrorKind::Poisoned, 5),
            (ErrorKind::Invalid, 22),
            (ErrorKind::NoSpace, 28),
            (ErrorKind::Unsupported, 95),
            (ErrorKind::Fenced, 108),
        ];
        for (kind, code) in table {
            assert_eq!(Errno::from(kind).code(), code, "{kind:?}");
        }
    }
}
