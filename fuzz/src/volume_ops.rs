//! An open volume is an array of sectors: any sequence of operations, with checkpoints, collection,
//! orderly and sudden reopening between them, reads as the same sequence on plain bytes. No
//! operation fails, and no nonce is used twice under one key.

use std::sync::Arc;
use std::time::Duration;

use sealvol_core::{BlockDevice, ExtentKind, SECTOR_LEN, WriteFlags, WriteRequest, ZeroFlags};
use sealvol_engine::{Engine, Mode};
use sealvol_storage::{MemoryStorage, Storage};

use crate::input::Input;
use crate::memory::bounded;
use crate::volume::{Shape, World, create_volume, data_key};

/// Most operations of one run: beyond this they only cost time.
const OPS_MAX: usize = 200;
/// Most memory of one run: storage, model and engine.
const BUDGET: usize = 256 << 20;

/// One operation. Places and lengths are in sectors and are brought into range.
#[derive(Debug, Clone, Copy)]
enum Op {
    Write { at: u16, len: u8, fua: bool },
    Batch { at: u16, count: u8 },
    Discard { at: u16, len: u16 },
    Zero { at: u16, len: u8, flags: ZeroFlags },
    Flush,
    Checkpoint,
    Collect,
    Maintain { seconds: u8 },
    Reopen,
    Crash,
    Read { at: u16, len: u8 },
    Verify,
}

fn next_op(input: &mut Input<'_>) -> Op {
    let code = input.u8();
    // The high bit asks for whole blocks, which take another way than parts of blocks.
    let place = |input: &mut Input<'_>| {
        let at = input.u16();
        if code & 0x80 == 0 { at & !7 } else { at }
    };
    match code % 20 {
        0..6 => {
            let (at, len) = (place(input), input.u8());
            // Mostly short, for the sake of speed; the longest take several groups.
            let len = if len < 250 { len % 32 } else { len };
            Op::Write { at, len, fua: code & 0x40 != 0 }
        }
        6 => Op::Batch { at: input.u16(), count: input.u8() % 12 },
        7 | 8 => Op::Discard { at: place(input), len: input.u16() },
        9 => {
            let (at, len) = (place(input), input.u8());
            let flags = ZeroFlags { fua: code & 0x40 != 0, keep_allocated: code & 0x20 != 0 };
            Op::Zero { at, len, flags }
        }
        10 | 11 => Op::Flush,
        12 => Op::Checkpoint,
        13 | 14 => Op::Collect,
        15 => Op::Maintain { seconds: input.u8() },
        16 => Op::Reopen,
        17 => Op::Crash,
        18 => Op::Read { at: input.u16(), len: input.u8() },
        _ => Op::Verify,
    }
}

struct Run {
    world: World,
    storage: Arc<MemoryStorage>,
    engine: Option<Engine>,
    model: Vec<u8>,
    writes: u64,
}

/// The target's body: the volume's shape, then operations.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let shape = Shape {
        blocks: u64::from(input.u16()) % 300 + 1,
        slots: [16, 32, 64, 256][usize::from(input.u8() % 4)],
        percent: [110, 130, 130, 200][usize::from(input.u8() % 4)],
    };
    bounded(BUDGET, || {
        let mut run = Run::new(shape);
        for _ in 0..OPS_MAX {
            if input.is_empty() {
                break;
            }
            let op = next_op(&mut input);
            run.apply(op);
        }
        run.finish();
    });
}

impl Run {
    fn new(shape: Shape) -> Self {
        let storage = Arc::new(MemoryStorage::new());
        create_volume(&*storage, shape).expect("a possible shape");
        let model = vec![0; shape.blocks as usize * 4096];
        let mut run = Self { world: World::default(), storage, engine: None, model, writes: 0 };
        run.open();
        run
    }

    fn open(&mut self) {
        let storage = Arc::clone(&self.storage) as Arc<dyn Storage>;
        self.engine = Some(self.world.open(storage).expect("the volume opens"));
    }

    fn device(&self) -> &Engine {
        self.engine.as_ref().expect("open between operations")
    }

    /// The byte range of `len` sectors from `at`, brought into the volume.
    fn range(&self, at: u16, len: u64) -> std::ops::Range<usize> {
        let sectors = self.model.len() as u64 / SECTOR_LEN;
        let at = u64::from(at) % sectors;
        let len = len.clamp(1, sectors - at);
        (at * SECTOR_LEN) as usize..((at + len) * SECTOR_LEN) as usize
    }

    /// Bytes that no other write has: each sector names its write and its place in it.
    fn fresh(&mut self, len: usize) -> Vec<u8> {
        self.writes += 1;
        let mut data = vec![0; len];
        for (at, word) in data.chunks_exact_mut(16).enumerate() {
            word[..8].copy_from_slice(&self.writes.to_le_bytes());
            word[8..].copy_from_slice(&(at as u64).to_le_bytes());
        }
        data
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Write { at, len, fua } => {
                let range = self.range(at, u64::from(len));
                let data = self.fresh(range.len());
                let flags = WriteFlags { fua };
                self.device().write(range.start as u64, &data, flags).expect("a write");
                self.model[range].copy_from_slice(&data);
            }
            Op::Batch { at, count } => {
                let pieces: Vec<(std::ops::Range<usize>, Vec<u8>)> = (0..u16::from(count))
                    .map(|n| {
                        // Near each other, so that some overlap.
                        let range = self.range(at.wrapping_add(n * 5), 8);
                        let data = self.fresh(range.len());
                        (range, data)
                    })
                    .collect();
                let batch: Vec<WriteRequest<'_>> = pieces
                    .iter()
                    .map(|(range, data)| WriteRequest {
                        offset: range.start as u64,
                        data,
                        flags: WriteFlags::default(),
                    })
                    .collect();
                for outcome in self.device().write_batch(&batch) {
                    outcome.expect("a write of a batch");
                }
                for (range, data) in pieces {
                    self.model[range].copy_from_slice(&data);
                }
            }
            Op::Discard { at, len } => {
                let range = self.range(at, u64::from(len));
                self.device().discard(range.start as u64, range.len() as u64).expect("a discard");
                self.model[range].fill(0);
            }
            Op::Zero { at, len, flags } => {
                let range = self.range(at, u64::from(len));
                let (offset, len) = (range.start as u64, range.len() as u64);
                self.device().write_zeroes(offset, len, flags).expect("zeroes");
                self.model[range].fill(0);
            }
            Op::Flush => self.device().flush().expect("a flush"),
            Op::Checkpoint => self.device().checkpoint().expect("a checkpoint"),
            Op::Collect => drop(self.device().collect().expect("a collection")),
            Op::Maintain { seconds } => {
                self.world.clock.advance(Duration::from_secs(seconds.into()));
                self.device().maintain().expect("maintenance");
            }
            Op::Reopen => {
                if let Some(engine) = self.engine.take() {
                    engine.close().expect("an orderly close");
                }
                self.open();
            }
            Op::Crash => {
                self.engine = None;
                self.open();
            }
            Op::Read { at, len } => {
                let range = self.range(at, u64::from(len));
                let mut found = vec![0xa5; range.len()];
                self.device().read(range.start as u64, &mut found).expect("a read");
                assert!(found == self.model[range.clone()], "bytes {range:?} differ");
            }
            Op::Verify => self.verify(),
        }
    }

    fn verify(&self) {
        let report = self.device().verify(&mut |_, _| true).expect("the scan runs");
        assert!(report.is_sound(), "{report:?}");
    }

    fn compare(&self, device: &Engine) {
        let mut all = vec![0xa5; self.model.len()];
        device.read(0, &mut all).expect("the whole volume reads");
        for (lba, (found, right)) in all.chunks(4096).zip(self.model.chunks(4096)).enumerate() {
            assert!(found == right, "LBA {lba} differs");
        }
        let mut at = 0;
        let extents = device.extents(0, all.len() as u64, usize::MAX).expect("extents");
        for extent in extents {
            assert!(extent.offset == at && extent.len > 0, "extents leave a gap");
            at += extent.len;
            let range = extent.offset as usize..at as usize;
            let zeros = self.model[range.clone()].iter().all(|byte| *byte == 0);
            assert!(extent.kind == ExtentKind::Data || zeros, "extent {range:?} hides data");
        }
        assert_eq!(at, all.len() as u64, "extents end early");
    }

    /// The volume is right now, after an orderly close, and to a reader.
    fn finish(mut self) {
        self.compare(self.device());
        self.verify();
        self.apply(Op::Reopen);
        self.compare(self.device());
        self.engine = None;
        let storage = Arc::clone(&self.storage) as Arc<dyn Storage>;
        let builder = self.world.builder(storage).mode(Mode::ReadOnly);
        let (reader, report) = builder.open(vec![(1, data_key())]).expect("opens read-only");
        assert_eq!(report.corruption, None);
        self.compare(&reader);
    }
}
