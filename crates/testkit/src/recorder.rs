//! Drives a block device and keeps the model and the disk's journal in step: each request is recorded
//! before it is submitted and after it returned, and each event leaves its tick in the journal, so
//! that a crash at any operation knows what had been promised by then.

use std::sync::Arc;

use parking_lot::Mutex;
use sealvol_core::{BLOCK_LEN_U64, BlockDevice, Result, WriteFlags, ZeroFlags};

use crate::model::{
    CrashKind, ModelVolume, MutationId, Prefix, Tick, Violation, fill_block, identify_block,
    read_versions,
};
use crate::sim::{CrashMode, SimStorage};

/// A model volume with the disk whose journal it marks. May be shared by many threads.
#[derive(Debug)]
pub struct Recorder {
    model: Mutex<ModelVolume>,
    disk: Option<Arc<SimStorage>>,
}

impl Recorder {
    /// Records `model`'s events on `disk`, or nowhere, for a test that does not replay a journal.
    #[must_use]
    pub fn new(model: ModelVolume, disk: Option<Arc<SimStorage>>) -> Self {
        Self { model: Mutex::new(model), disk }
    }

    /// Records an event. The mark is made under the model's lock, so that marks ascend.
    fn event<T>(&self, f: impl FnOnce(&mut ModelVolume) -> T) -> T {
        let mut model = self.model.lock();
        let value = f(&mut model);
        if let Some(disk) = &self.disk {
            disk.mark(model.now().0);
        }
        value
    }

    /// A copy of the model as it is now.
    #[must_use]
    pub fn model(&self) -> ModelVolume {
        self.model.lock().clone()
    }

    fn finish(&self, id: MutationId, outcome: Result<()>) -> Result<()> {
        self.event(|model| match &outcome {
            Ok(()) => model.acknowledge(id),
            Err(_) => model.fail(id),
        });
        outcome
    }

    /// Records the start of a request that sets `count` blocks to one version, 0 or a new one.
    fn start(&self, lba: u64, count: u64, zero: bool, fua: bool) -> (MutationId, u64) {
        self.event(|model| {
            let version = if zero { 0 } else { model.new_version() };
            let changes: Vec<(u64, u64)> = (lba..lba + count).map(|lba| (lba, version)).collect();
            let id = if fua { model.begin_fua(&changes) } else { model.begin(&changes) };
            (id, version)
        })
    }

    /// Writes a new version to `count` blocks from `lba` on, as one request.
    ///
    /// # Errors
    /// As [`BlockDevice::write`].
    pub fn write(
        &self,
        device: &dyn BlockDevice,
        lba: u64,
        count: u64,
        flags: WriteFlags,
    ) -> Result<()> {
        let (id, version) = self.start(lba, count, false, flags.fua);
        let data: Vec<u8> = (lba..lba + count).flat_map(|lba| fill_block(lba, version)).collect();
        self.finish(id, device.write(lba * BLOCK_LEN_U64, &data, flags))
    }

    /// Writes zeroes to `count` blocks from `lba` on.
    ///
    /// # Errors
    /// As [`BlockDevice::write_zeroes`].
    pub fn write_zeroes(
        &self,
        device: &dyn BlockDevice,
        lba: u64,
        count: u64,
        flags: ZeroFlags,
    ) -> Result<()> {
        let (id, _) = self.start(lba, count, true, flags.fua);
        let outcome = device.write_zeroes(lba * BLOCK_LEN_U64, count * BLOCK_LEN_U64, flags);
        self.finish(id, outcome)
    }

    /// Discards `count` blocks from `lba` on.
    ///
    /// # Errors
    /// As [`BlockDevice::discard`].
    pub fn discard(&self, device: &dyn BlockDevice, lba: u64, count: u64) -> Result<()> {
        let (id, _) = self.start(lba, count, true, false);
        self.finish(id, device.discard(lba * BLOCK_LEN_U64, count * BLOCK_LEN_U64))
    }

    /// Flushes.
    ///
    /// # Errors
    /// As [`BlockDevice::flush`].
    pub fn flush(&self, device: &dyn BlockDevice) -> Result<()> {
        let ticket = self.event(ModelVolume::begin_flush);
        device.flush()?;
        self.event(|model| model.end_flush(ticket));
        Ok(())
    }

    /// Reads a block, and checks that it may hold what it holds. Only for a block that no other
    /// thread writes meanwhile.
    ///
    /// # Errors
    /// The [`Violation`], [`Violation::Unreadable`] when the read fails.
    pub fn read(&self, device: &dyn BlockDevice, lba: u64) -> Result<u64, Violation> {
        let mut block = fill_block(lba, u64::MAX);
        device
            .read(lba * BLOCK_LEN_U64, &mut block)
            .map_err(|e| Violation::Unreadable(format!("block {lba}: {e:?}")))?;
        let version = identify_block(lba, &block).ok_or(Violation::Garbage { lba })?;
        if self.model.lock().may_read(lba, version) {
            Ok(version)
        } else {
            Err(Violation::Lost { lba, version })
        }
    }

    /// Judges a device that was opened on the disk after a crash. `last_mark` is
    /// [`Cursor::last_mark`](crate::Cursor::last_mark) at the crash; `mode` tells power loss from the
    /// death of the process. Returns the versions found, from which a model can resume.
    ///
    /// # Errors
    /// The [`Violation`].
    pub fn check(
        &self,
        last_mark: Option<u64>,
        mode: CrashMode,
        device: &dyn BlockDevice,
    ) -> Result<(Vec<u64>, Prefix), Violation> {
        let versions = read_versions(device)?;
        let kind = match mode {
            CrashMode::KeepAll => CrashKind::Kill,
            CrashMode::PowerLoss | CrashMode::DropAll | CrashMode::Torn => CrashKind::PowerLoss,
        };
        let at = Tick(last_mark.unwrap_or(0));
        let prefix = self.model.lock().check_at(at, kind, &versions)?;
        Ok((versions, prefix))
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};
    use sealvol_core::{DeviceInfo, Extent};
    use sealvol_storage::Storage;

    use super::*;

    /// Sloppy volumes, each with a flaw that a crash test must find; `Sound` has none.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Flaw {
        Sound,
        /// A flush does nothing.
        NoSync,
        /// Blocks are overwritten in place, without a log.
        InPlace,
    }

    const BLOCKS: u64 = 16;
    /// Every version of the device goes to a place of its own, the number of the newest last.
    const IMAGE_LEN: u64 = BLOCKS * BLOCK_LEN_U64 + 4096;

    struct Toy {
        disk: Arc<SimStorage>,
        flaw: Flaw,
        cached: Mutex<(u64, Vec<u8>)>,
    }

    impl Toy {
        fn open(disk: Arc<SimStorage>, flaw: Flaw) -> Self {
            let mut cached = (0, vec![0; usize::try_from(BLOCKS * BLOCK_LEN_U64).unwrap()]);
            if flaw == Flaw::InPlace {
                let len = disk.len().unwrap().min(BLOCKS * BLOCK_LEN_U64);
                disk.read_at(0, &mut cached.1[..usize::try_from(len).unwrap()]).unwrap();
            }
            for place in 0..disk.len().unwrap() / IMAGE_LEN {
                let mut image = vec![0; usize::try_from(IMAGE_LEN).unwrap()];
                disk.read_at(place * IMAGE_LEN, &mut image).unwrap();
                let (data, tail) = image.split_at(cached.1.len());
                // The tail repeats a checksum of a kind: the place and the sum of all bytes.
                if flaw != Flaw::InPlace && tail[..16] == seal(place, data) {
                    cached = (place + 1, data.to_vec());
                }
            }
            Self { disk, flaw, cached: Mutex::new(cached) }
        }
    }

    fn seal(place: u64, data: &[u8]) -> [u8; 16] {
        let sum = data.iter().zip(1_u64..).fold(!place, |sum, (byte, at)| {
            sum.rotate_left(7).wrapping_add(u64::from(*byte) ^ at).wrapping_mul(0x100_0000_01b3)
        });
        let mut seal = [0; 16];
        seal[..8].copy_from_slice(&(place + 1).to_le_bytes());
        seal[8..].copy_from_slice(&sum.to_le_bytes());
        seal
    }

    impl BlockDevice for Toy {
        fn info(&self) -> DeviceInfo {
            let len = sealvol_core::ByteLen(BLOCKS * BLOCK_LEN_U64);
            DeviceInfo { len, read_only: false, preferred_block_len: 4096 }
        }

        fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
            let start = usize::try_from(offset).unwrap();
            buf.copy_from_slice(&self.cached.lock().1[start..start + buf.len()]);
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8], flags: WriteFlags) -> Result<()> {
            let mut cached = self.cached.lock();
            let start = usize::try_from(offset).unwrap();
            cached.1[start..start + data.len()].copy_from_slice(data);
            if self.flaw == Flaw::InPlace {
                self.disk.write_at(offset, &[std::io::IoSlice::new(data)])?;
            } else {
                let place = cached.0;
                let seal = seal(place, &cached.1);
                let slices = [&cached.1[..], &seal[..], &[0; 4080][..]].map(std::io::IoSlice::new);
                self.disk.write_at(place * IMAGE_LEN, &slices)?;
                cached.0 += 1;
            }
            drop(cached);
            if flags.fua { self.flush() } else { Ok(()) }
        }

        fn flush(&self) -> Result<()> {
            if self.flaw == Flaw::NoSync { Ok(()) } else { self.disk.sync() }
        }

        fn discard(&self, offset: u64, len: u64) -> Result<()> {
            self.write_zeroes(offset, len, ZeroFlags::default())
        }

        fn write_zeroes(&self, offset: u64, len: u64, flags: ZeroFlags) -> Result<()> {
            let zeros = vec![0; usize::try_from(len).unwrap()];
            self.write(offset, &zeros, WriteFlags { fua: flags.fua })
        }

        fn extents(&self, _: u64, _: u64, _: usize) -> Result<Vec<Extent>> {
            Ok(Vec::new())
        }

        fn prefetch(&self, _: u64, _: u64) -> Result<()> {
            Ok(())
        }
    }

    /// Runs a seeded workload, then crashes at each operation: the shape of the engine's crash test.
    fn violations(flaw: Flaw, seed: u64) -> Vec<Violation> {
        let disk = Arc::new(SimStorage::new());
        let blocks = usize::try_from(BLOCKS).unwrap();
        let recorder = Recorder::new(ModelVolume::new(blocks), Some(Arc::clone(&disk)));
        let toy = Toy::open(Arc::clone(&disk), flaw);
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..25 {
            let lba = rng.random_range(0..BLOCKS);
            let count = rng.random_range(1..=BLOCKS - lba).min(4);
            let flags = WriteFlags { fua: rng.random_bool(0.1) };
            match rng.random_range(0..8) {
                0 => recorder.discard(&toy, lba, count).unwrap(),
                1 | 2 => recorder.flush(&toy).unwrap(),
                _ => recorder.write(&toy, lba, count, flags).unwrap(),
            }
            recorder.read(&toy, lba).unwrap();
        }
        let mut found = Vec::new();
        let mut cursor = disk.journal().cursor();
        loop {
            let more = cursor.advance_to_crash_point();
            for mode in
                [CrashMode::PowerLoss, CrashMode::Torn, CrashMode::DropAll, CrashMode::KeepAll]
            {
                let after = Arc::new(cursor.crash_during_next(&mut rng, mode));
                let toy = Toy::open(after, flaw);
                found.extend(recorder.check(cursor.last_mark(), mode, &toy).err());
            }
            if !more {
                return found;
            }
            cursor.advance();
        }
    }

    #[test]
    fn a_sound_volume_passes() {
        for seed in 0..6 {
            // Dropping a middle write of the toy's log leaves a later whole image: still a prefix,
            // because each image holds all before it.
            assert_eq!(violations(Flaw::Sound, seed), []);
        }
    }

    #[test]
    fn a_flush_that_does_nothing_is_found() {
        let found = violations(Flaw::NoSync, 1);
        assert!(found.iter().any(|v| matches!(v, Violation::Lost { .. })), "{found:?}");
    }

    #[test]
    fn writing_in_place_is_found() {
        let found = violations(Flaw::InPlace, 1);
        let has = |f: fn(&Violation) -> bool| found.iter().any(f);
        assert!(has(|v| matches!(v, Violation::Garbage { .. })), "{found:?}");
        assert!(has(|v| matches!(v, Violation::NotAPrefix { .. })), "{found:?}");
        assert!(has(|v| matches!(v, Violation::Torn { .. })), "{found:?}");
    }
}
