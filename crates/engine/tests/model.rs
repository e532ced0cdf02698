//! Goal: an open volume behaves as an array of sectors, through checkpoints, collection, reopening
//! and crashes of the process. Method: random operations from a seed against a plain array.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test: a panic is its way to fail, and its figures go to the terminal"
)]

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealvol_core::{
    BlockCount, BlockDevice, ByteLen, VolumeId, WriteFlags, WriteRequest, ZeroFlags,
};
use sealvol_engine::{CreateOptions, Engine, Settings, create};
use sealvol_envelope::DataKey;
use sealvol_format::{Geometry, StoredKey};
use sealvol_storage::{MemoryStorage, Storage};

const BLOCKS: u64 = 600;

fn key() -> DataKey {
    DataKey::take(&mut [7; 64])
}

fn stored_key() -> StoredKey {
    StoredKey {
        id: 1,
        lineage: [1; 16],
        commitment: [0; 32],
        key_arn: "arn:aws:kms:us-east-1:000000000000:key/test".into(),
        context: Vec::new(),
        blob: vec![1, 2, 3],
    }
}

fn new_storage(slots: u32, blocks: u64) -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new());
    let options = CreateOptions {
        volume: VolumeId([9; 16]),
        blocks: BlockCount(blocks),
        key: stored_key(),
        geometry: Geometry::new(slots).unwrap(),
        space_percent: 130,
    };
    create(&*storage, &options).unwrap();
    storage
}

fn open(storage: &Arc<MemoryStorage>) -> Engine {
    let storage: Arc<dyn Storage> = Arc::clone(storage) as Arc<dyn Storage>;
    let settings = Settings {
        map_cache: ByteLen::kib(64),
        prewrite_segments: 0,
        keep_free_segments: 4,
        reap_pages: 3,
        ..Settings::default()
    };
    Engine::builder(storage).settings(settings).background(false).open(vec![(1, key())]).unwrap().0
}

fn run(seed: u64, slots: u32, steps: u32) {
    let mut rng = StdRng::seed_from_u64(seed);
    let storage = new_storage(slots, BLOCKS);
    let mut model = vec![0_u8; BLOCKS as usize * 4096];
    let mut engine = Some(open(&storage));
    for step in 0..steps {
        let device = engine.as_ref().unwrap();
        let sectors = BLOCKS * 8;
        let unit = if rng.random_bool(0.7) { 8 } else { 1 };
        let longest = if rng.random_bool(0.1) { 400 } else { 20_u64 };
        let len = rng.random_range(1..=longest);
        let start = rng.random_range(0..sectors / unit) * unit;
        let len = (len * unit).min(sectors - start);
        let (offset, bytes) = (start * 512, len * 512);
        let range = offset as usize..(offset + bytes) as usize;
        match rng.random_range(0..100) {
            0..55 => {
                let mut data = vec![0; bytes as usize];
                rng.fill(&mut data[..]);
                device.write(offset, &data, WriteFlags { fua: rng.random_bool(0.1) }).unwrap();
                model[range].copy_from_slice(&data);
            }
            55..60 => {
                let data: Vec<Vec<u8>> = (0..5).map(|_| vec![rng.random(); 4096]).collect();
                let offsets: Vec<u64> =
                    (0..5).map(|_| rng.random_range(0..BLOCKS) * 4096).collect();
                let batch: Vec<WriteRequest<'_>> = offsets
                    .iter()
                    .zip(&data)
                    .map(|(offset, data)| WriteRequest {
                        offset: *offset,
                        data,
                        flags: WriteFlags::default(),
                    })
                    .collect();
                for result in device.write_batch(&batch) {
                    result.unwrap();
                }
                for (offset, data) in offsets.iter().zip(&data) {
                    model[*offset as usize..*offset as usize + 4096].copy_from_slice(data);
                }
            }
            60..68 => {
                device.discard(offset, bytes).unwrap();
                model[range].fill(0);
            }
            68..72 => {
                device.write_zeroes(offset, bytes, ZeroFlags::default()).unwrap();
                model[range].fill(0);
            }
            72..74 => {
                let from = rng.random_range(0..BLOCKS) * 4096;
                device.discard(from, BLOCKS * 4096 - from).unwrap();
                model[from as usize..].fill(0);
            }
            74..80 => device.flush().unwrap(),
            80..84 => device.checkpoint().unwrap(),
            84..87 => {
                device.collect().unwrap();
            }
            87..90 => device.maintain().unwrap(),
            90..92 => {
                engine.take().unwrap().close().unwrap();
                engine = Some(open(&storage));
            }
            92..94 => {
                drop(engine.take());
                engine = Some(open(&storage));
            }
            _ => {
                let mut data = vec![1; bytes as usize];
                device.read(offset, &mut data).unwrap();
                assert!(data == model[range], "seed {seed} step {step}: read at {offset}+{bytes}");
            }
        }
        if step % 50 == 0 {
            let mut all = vec![1; model.len()];
            let device = engine.as_ref().unwrap();
            device.read(0, &mut all).unwrap();
            for (lba, (a, b)) in all.chunks(4096).zip(model.chunks(4096)).enumerate() {
                assert!(a == b, "seed {seed} step {step}: LBA {lba} differs");
            }
            for extent in device.extents(0, BLOCKS * 4096, usize::MAX).unwrap() {
                if extent.kind != sealvol_core::ExtentKind::Data {
                    let range = extent.offset as usize..(extent.offset + extent.len) as usize;
                    assert!(model[range].iter().all(|b| *b == 0), "seed {seed}: extents lie");
                }
            }
        }
    }
}

#[test]
fn behaves_as_an_array_of_sectors() {
    for seed in 0..30 {
        for slots in [16, 32, 256] {
            run(seed, slots, 400);
        }
    }
}
