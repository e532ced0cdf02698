//! Goal: requests of hundreds of blocks read back as they were written, whether they are shared
//! between cores or not, from memory or from the disk, sealed in order or all over the log, and a
//! damaged block among them fails its request and no other.
//!
//! Method: segments of the default size in memory and in a file; random writes of 1 to 600 blocks
//! against a plain array, then reads of random lengths, by `read` and by `read_hot`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a failed step fails the test"
)]

use std::io::IoSlice;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt, SeedableRng};
use sealvol_core::{BlockCount, BlockDevice, ErrorKind, Hot, VolumeId, WriteFlags};
use sealvol_engine::{CreateOptions, Engine, Settings, create};
use sealvol_envelope::DataKey;
use sealvol_format::{DATA_OFFSET, Geometry, StoredKey};
use sealvol_storage::{FileStorage, MemoryStorage, MmapStorage, Storage};

const BLOCKS: u64 = 4096;

fn open(storage: &Arc<dyn Storage>, share_from_cores: u32) -> Engine {
    let settings = Settings { share_from_cores, ..Settings::default() };
    let builder = Engine::builder(Arc::clone(storage)).settings(settings);
    builder.open(vec![(1, DataKey::take(&mut [7; 64]))]).unwrap().0
}

fn create_in(storage: &dyn Storage) {
    let key = StoredKey {
        id: 1,
        lineage: [1; 16],
        commitment: [0; 32],
        key_arn: "arn:aws:kms:us-east-1:000000000000:key/test".into(),
        context: Vec::new(),
        blob: vec![1, 2, 3],
    };
    let options = CreateOptions {
        volume: VolumeId([9; 16]),
        blocks: BlockCount(BLOCKS),
        key,
        geometry: Geometry::DEFAULT,
        space_percent: 130,
    };
    create(storage, &options).unwrap();
}

fn check(engine: &Engine, expected: &[u8], rng: &mut StdRng) {
    let mut hot = 0;
    for round in 0..60 {
        let lba = rng.random_range(0..BLOCKS);
        let count = rng.random_range(1..=900).min(BLOCKS - lba);
        let (from, to) = ((lba * 4096) as usize, ((lba + count) * 4096) as usize);
        let mut data = vec![0xa5; to - from];
        if round % 2 == 0 {
            engine.read(lba * 4096, &mut data).unwrap();
        } else if engine.read_hot(lba * 4096, &mut data).unwrap() == Hot::Done {
            hot += 1;
        } else {
            continue;
        }
        assert!(data == expected[from..to], "{count} blocks at {lba}");
    }
    assert!(hot > 10, "only {hot} reads were hot");
}

#[test]
fn long_requests_read_as_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name| FileStorage::create_new(dir.path().join(name)).unwrap();
    for share in [1, u32::MAX] {
        let storages: [Arc<dyn Storage>; 3] = [
            Arc::new(MemoryStorage::new()),
            Arc::new(file(format!("file-{share}"))),
            Arc::new(MmapStorage::new(file(format!("map-{share}"))).unwrap()),
        ];
        for storage in storages {
            create_in(&*storage);
            let mut rng = StdRng::seed_from_u64(u64::from(share));
            let mut expected = vec![0; (BLOCKS * 4096) as usize];
            let engine = open(&storage, share);
            for _ in 0..40 {
                let lba = rng.random_range(0..BLOCKS);
                let longest = if rng.random_bool(0.4) { 600 } else { 20 };
                let count = rng.random_range(1..=longest).min(BLOCKS - lba);
                let (from, to) = ((lba * 4096) as usize, ((lba + count) * 4096) as usize);
                if rng.random_bool(0.1) {
                    engine.discard(from as u64, (to - from) as u64).unwrap();
                    expected[from..to].fill(0);
                    continue;
                }
                rng.fill_bytes(&mut expected[from..to]);
                engine.write(from as u64, &expected[from..to], WriteFlags::default()).unwrap();
            }
            check(&engine, &expected, &mut rng);
            engine.close().unwrap();
            let engine = open(&storage, share);
            check(&engine, &expected, &mut rng);
            assert!(engine.verify(&mut |_, _| true).unwrap().is_sound());
        }
    }
}

#[test]
fn a_damaged_block_fails_the_long_request_that_holds_it() {
    for share in [1, u32::MAX] {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        create_in(&*storage);
        let engine = open(&storage, share);
        engine.write(0, &vec![7; 512 * 4096], WriteFlags::default()).unwrap();
        // The first group of the first segment: its commit slot, then LBA 0 and on.
        let mut byte = [0];
        let offset = DATA_OFFSET + (2 + 70) * 4096 + 9;
        storage.read_at(offset, &mut byte).unwrap();
        storage.write_at(offset, &[IoSlice::new(&[byte[0] ^ 1])]).unwrap();
        let mut data = vec![0xa5; 512 * 4096];
        let error = engine.read(0, &mut data).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("LBA 70"), "{error}");
        assert!(data.iter().all(|byte| *byte == 0), "nothing of a failed request is handed out");
        assert_eq!(engine.read_hot(0, &mut data).unwrap_err().kind(), ErrorKind::Corrupt);
        let (before, after) = data.split_at_mut(70 * 4096);
        engine.read(0, before).unwrap();
        engine.read(71 * 4096, &mut after[..440 * 4096]).unwrap();
        assert!(before.iter().chain(&after[..440 * 4096]).all(|byte| *byte == 7));
    }
}
