//! Units that must not be mixed: block addresses, block counts, byte lengths, and the volume id.

use std::fmt;
use std::str::FromStr;

/// Bytes in one logical block.
pub const BLOCK_LEN: usize = 4096;
/// [`BLOCK_LEN`] for arithmetic with file offsets.
pub const BLOCK_LEN_U64: u64 = 4096;

/// A logical block address: the index of a 4 KiB block of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lba(pub u64);

impl Lba {
    /// The byte offset of this block in the volume.
    #[must_use]
    pub const fn byte_offset(self) -> u64 {
        self.0 * BLOCK_LEN_U64
    }
}

impl fmt::Display for Lba {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LBA {}", self.0)
    }
}

/// A number of 4 KiB blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BlockCount(pub u64);

impl BlockCount {
    /// The length in bytes.
    #[must_use]
    pub const fn byte_len(self) -> ByteLen {
        ByteLen(self.0 * BLOCK_LEN_U64)
    }
}

/// A length in bytes. Parses and prints binary units: `512MiB`, `20GiB`, `1TiB`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct ByteLen(pub u64);

impl ByteLen {
    /// `n` binary kilobytes.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` binary megabytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` binary gigabytes.
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The number of blocks, if this is a whole number of them.
    #[must_use]
    pub const fn blocks(self) -> Option<BlockCount> {
        if self.0.is_multiple_of(BLOCK_LEN_U64) {
            Some(BlockCount(self.0 / BLOCK_LEN_U64))
        } else {
            None
        }
    }
}

const SUFFIXES: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl fmt::Display for ByteLen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suffix, shift) in SUFFIXES {
            let unit = 1_u64 << shift;
            if self.0 >= unit && (shift == 0 || self.0.is_multiple_of(unit)) {
                return write!(f, "{} {suffix}", self.0 >> shift);
            }
        }
        write!(f, "0 B")
    }
}

/// Why a length such as `512MiB` did not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseByteLenError {
    /// The text is not a whole number followed by a unit.
    #[error("'{0}' is not a size: write a whole number and a unit, such as 512MiB, 20GiB or 4096")]
    Syntax(String),
    /// The value does not fit into 64 bits.
    #[error("'{0}' is too large: the largest size is 128TiB")]
    TooLarge(String),
}

impl FromStr for ByteLen {
    type Err = ParseByteLenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let digits = trimmed.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let unit = trimmed.get(digits.len()..).unwrap_or("").trim();
        let value: u64 = match digits.parse() {
            Ok(value) => value,
            Err(e) if *e.kind() == std::num::IntErrorKind::PosOverflow => {
                return Err(ParseByteLenError::TooLarge(text.into()));
            }
            Err(_) => return Err(ParseByteLenError::Syntax(text.into())),
        };
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "kib" | "k" => 10,
            "mib" | "m" => 20,
            "gib" | "g" => 30,
            "tib" | "t" => 40,
            _ => return Err(ParseByteLenError::Syntax(text.into())),
        };
        match value.checked_mul(1 << shift) {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(ParseByteLenError::TooLarge(text.into())),
        }
    }
}

/// The 16-byte identity of a volume. It salts every key derivation and is part of every block's
/// associated data, so no block of one volume opens as a block of another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub [u8; 16]);

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VolumeId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_with_binary_units() {
        assert_eq!("512MiB".parse(), Ok(ByteLen::mib(512)));
        assert_eq!("20 GiB".parse(), Ok(ByteLen::gib(20)));
        assert_eq!("4096".parse(), Ok(ByteLen(4096)));
        assert_eq!("1TiB".parse(), Ok(ByteLen(1 << 40)));
    }

    #[test]
    fn bad_sizes_say_what_to_write() {
        assert!(matches!("".parse::<ByteLen>(), Err(ParseByteLenError::Syntax(_))));
        assert!(matches!("-1".parse::<ByteLen>(), Err(ParseByteLenError::Syntax(_))));
        assert!(matches!("5MB".parse::<ByteLen>(), Err(ParseByteLenError::Syntax(_))));
        assert!(matches!("99999999999TiB".parse::<ByteLen>(), Err(ParseByteLenError::TooLarge(_))));
        assert!(matches!(
            "99999999999999999999999".parse::<ByteLen>(),
            Err(ParseByteLenError::TooLarge(_))
        ));
    }

    #[test]
    fn sizes_print_in_the_largest_whole_unit() {
        assert_eq!(ByteLen::mib(512).to_string(), "512 MiB");
        assert_eq!(ByteLen(4097).to_string(), "4097 B");
        assert_eq!(ByteLen(0).to_string(), "0 B");
    }
}
