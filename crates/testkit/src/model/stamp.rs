//! Block contents that carry their version: every byte of a block follows from the block's address
//! and the version, so that a block of one place, time or key never passes for another.

use sealvol_core::{BLOCK_LEN, BLOCK_LEN_U64, BlockDevice};

use super::Violation;

/// Blocks are read in requests of this many.
const READ_BLOCKS: usize = 64;

/// The content of block `lba` at `version`. Version 0 is zeros.
#[must_use]
pub fn fill_block(lba: u64, version: u64) -> [u8; BLOCK_LEN] {
    let mut block = [0; BLOCK_LEN];
    if version != 0 {
        let (words, _) = block.as_chunks_mut::<8>();
        for (target, word) in words.iter_mut().zip(words_of(lba, version)) {
            *target = word;
        }
    }
    block
}

/// The version of block `lba` that `block` holds, after a look at every byte. `None` when it is
/// no version of this block.
#[must_use]
pub fn identify_block(lba: u64, block: &[u8]) -> Option<u64> {
    let (words, []) = block.as_chunks::<8>() else { return None };
    if block.len() != BLOCK_LEN {
        return None;
    }
    if block.iter().all(|b| *b == 0) {
        return Some(0);
    }
    let version = u64::from_le_bytes(*words.first()?);
    let is_whole =
        version != 0 && words.iter().copied().eq(words_of(lba, version).take(words.len()));
    is_whole.then_some(version)
}

/// The version, then the address, then bytes that depend on both and on their place (splitmix64).
fn words_of(lba: u64, version: u64) -> impl Iterator<Item = [u8; 8]> {
    let mut state = lba.rotate_left(32) ^ version.wrapping_mul(0xd6e8_feb8_6659_fd93);
    let noise = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    });
    [version.to_le_bytes(), lba.to_le_bytes()].into_iter().chain(noise)
}

/// Reads a whole device and identifies each block.
///
/// # Errors
/// [`Violation::Garbage`] for a block that holds no version of itself, [`Violation::Unreadable`]
/// when a read fails.
pub fn read_versions(device: &dyn BlockDevice) -> Result<Vec<u64>, Violation> {
    let len = device.info().len;
    let blocks = len.blocks().and_then(|count| usize::try_from(count.0).ok()).ok_or_else(|| {
        Violation::Unreadable(format!("the device's size of {} is no whole block", len.0))
    })?;
    let mut versions = Vec::with_capacity(blocks);
    let mut buf = vec![0; READ_BLOCKS * BLOCK_LEN];
    let mut lba = 0;
    while versions.len() < blocks {
        let count = READ_BLOCKS.min(blocks - versions.len());
        let target = buf.get_mut(..count * BLOCK_LEN).unwrap_or_default();
        // What a failed or partial read leaves must not pass for content.
        target.fill(0xa5);
        device
            .read(lba * BLOCK_LEN_U64, target)
            .map_err(|e| Violation::Unreadable(format!("block {lba} and {count} on: {e:?}")))?;
        for block in target.chunks_exact(BLOCK_LEN) {
            versions.push(identify_block(lba, block).ok_or(Violation::Garbage { lba })?);
            lba += 1;
        }
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use sealvol_core::{ByteLen, MemoryDevice, WriteFlags};

    use super::*;

    #[test]
    fn blocks_are_identified() {
        for (lba, version) in [(0, 1), (7, 1), (0, u64::MAX), (u64::MAX, 3), (5, 0)] {
            assert_eq!(identify_block(lba, &fill_block(lba, version)), Some(version));
        }
    }

    #[test]
    fn a_block_of_another_place_is_foreign() {
        assert_eq!(identify_block(8, &fill_block(7, 1)), None);
    }

    #[test]
    fn every_bit_matters() {
        let block = fill_block(3, 9);
        for at in 0..BLOCK_LEN {
            let mut damaged = block;
            damaged[at] ^= 1 << (at % 8);
            assert_eq!(identify_block(3, &damaged), None, "byte {at}");
        }
        let mut mixed = block;
        mixed[512..1024].copy_from_slice(&fill_block(3, 10)[512..1024]);
        assert_eq!(identify_block(3, &mixed), None);
        assert_eq!(identify_block(3, &block[..4088]), None);
        let mut nearly_zero = [0; BLOCK_LEN];
        nearly_zero[4095] = 1;
        assert_eq!(identify_block(3, &nearly_zero), None);
    }

    #[test]
    fn devices_are_read_block_by_block() {
        let device = MemoryDevice::new(ByteLen(BLOCK_LEN_U64 * 100)).unwrap();
        let write = |lba: u64, block: &[u8]| {
            device.write(lba * BLOCK_LEN_U64, block, WriteFlags::default()).unwrap();
        };
        write(3, &fill_block(3, 11));
        write(99, &fill_block(99, 12));
        let versions = read_versions(&device).unwrap();
        assert_eq!((versions.len(), versions[3], versions[99], versions[4]), (100, 11, 12, 0));
        write(70, &fill_block(71, 1));
        assert_eq!(read_versions(&device), Err(Violation::Garbage { lba: 70 }));
    }
}
