//! Goal: each decision of the engine's design that guards data has a test that fails without it
//! (ARCHITECTURE.md, section 7). Those that no other test file shows are here: the bounded tail and
//! its stamps, the fence, quarantine, a seal that fails, the kernel's boot id, and a discard that
//! collection must not undo.
//!
//! Method: a simulated disk or one in memory, a test's clock, and the smallest history that shows the
//! decision. `cargo xtask mutants` takes each decision out of the code and asks for a failing test.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sealvol_core::{BlockDevice, ByteLen, ErrorKind, Result, WriteFlags};
use sealvol_engine::{Engine, ExpandKey, Mode, OpenReport, Settings};
use sealvol_envelope::aead::{AeadBackend, AeadKey, AuthError, Nonce, SealError, Tag};
use sealvol_format::{DATA_OFFSET, SegmentHeader, SegmentKind};
use sealvol_storage::{MemoryStorage, Storage};
use sealvol_testkit::{CrashMode, SimStorage};
use sealvol_tests::{Shape, World, busy_settings, create_volume, data_key};

const SHAPE: Shape = Shape { blocks: 400, slots: 16, percent: 130 };
const SLOT: u64 = 4096;

fn put(engine: &Engine, lba: u64, byte: u8, blocks: usize) -> Result<()> {
    engine.write(lba * SLOT, &vec![byte; 4096 * blocks], WriteFlags::default())
}

fn first_byte(engine: &Engine, lba: u64) -> Result<u8> {
    let mut block = [9; 4096];
    engine.read(lba * SLOT, &mut block)?;
    Ok(block[0])
}

fn new_disk() -> Arc<SimStorage> {
    let disk = Arc::new(SimStorage::new());
    create_volume(&*disk, SHAPE).unwrap();
    disk
}

fn open(world: &World, disk: &Arc<SimStorage>, seed: u64) -> Engine {
    world.open(Arc::clone(disk) as Arc<dyn Storage>, seed).unwrap().0
}

/// What a power loss leaves, when nothing unsynced survives it.
fn after_power_loss(disk: &SimStorage, seed: u64) -> Engine {
    let mut rng = StdRng::seed_from_u64(seed);
    let left = Arc::new(disk.crash_image(&mut rng, CrashMode::DropAll));
    open(&World::new(), &left, seed)
}

/// Decision 11: what nobody flushes is durable a second later.
#[test]
fn unflushed_writes_are_durable_after_a_second() {
    let (world, disk) = (World::new(), new_disk());
    let engine = open(&world, &disk, 1);
    put(&engine, 7, 1, 1).unwrap();
    engine.maintain().unwrap();
    assert_eq!(first_byte(&after_power_loss(&disk, 2), 7).unwrap(), 0, "it was not flushed");
    world.clock.advance(Duration::from_millis(1001));
    engine.maintain().unwrap();
    assert_eq!(first_byte(&after_power_loss(&disk, 3), 7).unwrap(), 1);
}

/// Decision 11: and at once, when there is much of it.
#[test]
fn much_unflushed_data_is_synced_at_once() {
    let (world, disk) = (World::new(), new_disk());
    let settings = Settings { unsynced: ByteLen::kib(64), ..busy_settings() };
    let builder = world.builder(Arc::clone(&disk) as Arc<dyn Storage>, 1).settings(settings);
    let engine = builder.open(vec![(1, data_key())]).unwrap().0;
    put(&engine, 0, 1, 4).unwrap();
    engine.maintain().unwrap();
    assert_eq!(first_byte(&after_power_loss(&disk, 2), 0).unwrap(), 0, "it is only a little");
    put(&engine, 20, 2, 14).unwrap();
    engine.maintain().unwrap();
    let left = after_power_loss(&disk, 3);
    assert_eq!((first_byte(&left, 0).unwrap(), first_byte(&left, 33).unwrap()), (1, 2));
}

/// Decisions 10 and 11: a flush that a stamp proves cannot be rolled back by damage behind it.
#[test]
fn a_stamp_proves_the_last_flush() {
    let (world, disk) = (World::new(), new_disk());
    let engine = open(&world, &disk, 1);
    put(&engine, 0, 1, 1).unwrap();
    engine.flush().unwrap();
    engine.maintain().unwrap();
    world.clock.advance(Duration::from_millis(1001));
    engine.maintain().unwrap();
    drop(engine);
    // The first user segment is the first one of all; its first group's commit slot is slot 1.
    let commit_slot = DATA_OFFSET + SLOT;
    let damaged = disk.fork();
    damaged.flip_bit(commit_slot + 4090, 0);
    let error = World::new().open(Arc::new(damaged), 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert_eq!(first_byte(&open(&World::new(), &disk, 3), 0).unwrap(), 1);
}

/// Decision 20: whoever lost the volume to another writer stops before its next superblock.
#[test]
fn a_writer_that_was_superseded_is_fenced() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    create_volume(&*storage, SHAPE).unwrap();
    let first = World::new().open(Arc::clone(&storage), 1).unwrap().0;
    put(&first, 0, 1, 1).unwrap();
    first.flush().unwrap();
    // No file lock in the way here.
    let second = World::new().open(Arc::clone(&storage), 2).unwrap().0;
    let generation = || sealvol_engine::read_public(&*storage).unwrap().state.generation;
    let before = generation();
    let error = first.checkpoint().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error:?}");
    assert_eq!(generation(), before, "the superseded writer wrote a superblock");
    let error = put(&first, 1, 1, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned, "{error:?}");
    drop(second);
}

/// Decision 15: a block that does not authenticate when its segment is collected stays where it is
/// and stays an error: it does not become zeros or an older version, and its segment is not reused.
#[test]
fn collection_leaves_a_damaged_block_where_it_is() {
    let (world, disk) = (World::new(), new_disk());
    let engine = open(&world, &disk, 1);
    for lba in 0..12 {
        put(&engine, lba, 1, 1).unwrap();
    }
    for lba in (12..SHAPE.blocks - 14).step_by(14) {
        put(&engine, lba, 2, 14).unwrap();
    }
    engine.checkpoint().unwrap();
    assert_eq!(engine.stats().segments_collected, 0, "nothing has moved yet");
    // Group after group of two slots: LBA 3 is in slot 1 + 2 * 3 + 1.
    disk.flip_bit(DATA_OFFSET + 8 * SLOT + 100, 3);
    assert_eq!(first_byte(&engine, 3).unwrap_err().kind(), ErrorKind::Corrupt);
    for round in 0..12 {
        // All but the damaged block and its neighbour are written anew, over and over.
        for lba in (0..SHAPE.blocks).filter(|lba| !(3..5).contains(lba)) {
            put(&engine, lba, round, 1).unwrap();
        }
        engine.collect().unwrap();
    }
    assert!(engine.stats().segments_collected > 20, "{:?}", engine.stats());
    let check = |engine: &Engine| {
        assert_eq!(first_byte(engine, 3).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(first_byte(engine, 4).unwrap(), 1);
        assert_eq!(first_byte(engine, 5).unwrap(), 11);
    };
    check(&engine);
    engine.close().unwrap();
    let engine = open(&world, &disk, 2);
    check(&engine);
    assert!(!engine.verify(&mut |_, _| true).unwrap().is_sound());
    // Writing it is the way out.
    put(&engine, 3, 7, 1).unwrap();
    assert_eq!(first_byte(&engine, 3).unwrap(), 7);
}

/// Decision 3: the report tells whether the kernel is the one of the last open.
#[test]
fn a_reopen_under_the_same_kernel_is_known() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    create_volume(&*storage, SHAPE).unwrap();
    let open = || World::new().open(Arc::clone(&storage), 1).unwrap();
    let report = |(_, report): (Engine, OpenReport)| report;
    assert!(!report(open()).same_boot, "it was never opened");
    assert_eq!(report(open()).same_boot, sealvol_storage::boot_id().is_some());
}

/// An AEAD whose n-th seal of a whole block fails.
struct FailingKey {
    inner: Box<dyn AeadKey>,
    left: Arc<AtomicU64>,
}

impl AeadKey for FailingKey {
    fn seal(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> std::result::Result<Tag, SealError> {
        if plaintext.len() == 4096 && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            return Err(SealError);
        }
        self.inner.seal(nonce, aad, plaintext, ciphertext)
    }

    fn open(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        ciphertext: &[u8],
        tag: &Tag,
        plaintext: &mut [u8],
    ) -> std::result::Result<(), AuthError> {
        self.inner.open(nonce, aad, ciphertext, tag, plaintext)
    }

    fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        tag: &Tag,
        in_out: &mut [u8],
    ) -> std::result::Result<(), AuthError> {
        self.inner.open_in_place(nonce, aad, tag, in_out)
    }
}

/// Decision 2: a seal that fails leaves VOID records: its request is refused, and nothing else.
#[test]
fn a_failed_seal_refuses_its_own_request_only() {
    let (world, disk) = (World::new(), new_disk());
    let left = Arc::new(AtomicU64::new(u64::MAX));
    let counter = Arc::clone(&left);
    let expand: ExpandKey = Arc::new(move |key| {
        let inner = AeadBackend::fastest().expand(key);
        Box::new(FailingKey { inner, left: Arc::clone(&counter) })
    });
    let builder = world.builder(Arc::clone(&disk) as Arc<dyn Storage>, 1).aead_with(expand);
    let engine = builder.open(vec![(1, data_key())]).unwrap().0;
    put(&engine, 0, 1, 4).unwrap();
    left.store(3, Ordering::SeqCst);
    let error = put(&engine, 0, 2, 4).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error:?}");
    put(&engine, 10, 3, 4).unwrap();
    drop(engine);
    // All or nothing of the refused request, which is less than 64 KiB.
    let engine = open(&World::new(), &disk, 2);
    for lba in 0..4 {
        assert_eq!(first_byte(&engine, lba).unwrap(), 1, "block {lba}");
        assert_eq!(first_byte(&engine, 10 + lba).unwrap(), 3);
    }
    assert!(engine.verify(&mut |_, _| true).unwrap().is_sound());
}

/// Decisions 7 and 8: blocks that are moved while they are discarded stay discarded, also in replay.
#[test]
fn a_discard_outlives_a_move() {
    let (world, disk) = (World::new(), new_disk());
    let engine = open(&world, &disk, 1);
    for round in 1..8 {
        for lba in (0..SHAPE.blocks).filter(|lba| round == 1 || lba % 4 != 0) {
            put(&engine, lba, round, 1).unwrap();
        }
        engine.discard(0, 100 * SLOT).unwrap();
        engine.collect().unwrap();
        engine.collect().unwrap();
    }
    engine.flush().unwrap();
    drop(engine);
    for mode in [Mode::ReadOnly, Mode::ReadWrite] {
        let builder = World::new().builder(Arc::clone(&disk) as Arc<dyn Storage>, 5).mode(mode);
        let engine = builder.open(vec![(1, data_key())]).unwrap().0;
        for lba in 0..100 {
            assert_eq!(first_byte(&engine, lba).unwrap(), 0, "block {lba} came back");
        }
        assert_eq!(first_byte(&engine, 100).unwrap(), 1);
        assert_eq!(first_byte(&engine, 101).unwrap(), 7);
    }
}

/// Decision 6: no two segments ever have one sequence number, whichever opening of the volume opened
/// them, and however it ended.
#[test]
fn sequence_numbers_never_repeat() {
    let disk = new_disk();
    let mut seen: HashMap<u64, [u8; 32]> = HashMap::new();
    for session in 0..12_u64 {
        let engine = open(&World::new(), &disk, session);
        for round in 0..6 {
            put(&engine, (session * 31 + round * 14) % 380, 1, 14).unwrap();
        }
        if session % 3 == 0 {
            engine.flush().unwrap();
        }
        if session % 4 == 1 {
            engine.close().unwrap();
        } else {
            drop(engine);
        }
        let segments = (disk.len().unwrap() - DATA_OFFSET) / (16 * SLOT);
        for segment in 0..segments {
            let mut slot = [0; 4096];
            disk.read_at(DATA_OFFSET + segment * 16 * SLOT, &mut slot).unwrap();
            let Ok((header, _)) = SegmentHeader::decode(&slot) else { continue };
            let known = *seen.entry(header.seq).or_insert(header.salt);
            assert_eq!(known, header.salt, "session {session}: {:#x} names two", header.seq);
        }
    }
    assert!(seen.len() > 60, "only {} segments were opened", seen.len());
}

/// What is about to be done to a [`Waits`].
enum Access<'a> {
    Read(u64),
    Write(&'a [IoSlice<'a>]),
}

/// A disk on which the first access of a kind waits until it may go on.
struct Waits<F> {
    disk: Arc<SimStorage>,
    is_it: F,
    reached: AtomicBool,
    go_on: AtomicBool,
}

impl<F: Fn(&Access<'_>) -> bool> Waits<F> {
    fn new(disk: Arc<SimStorage>, is_it: F) -> Arc<Self> {
        let (reached, go_on) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { disk, is_it, reached, go_on })
    }

    fn before(&self, access: &Access<'_>) {
        if (self.is_it)(access) && !self.reached.swap(true, Ordering::SeqCst) {
            while !self.go_on.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        }
    }

    fn wait_until_reached(&self) {
        while !self.reached.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    }
}

impl<F: Fn(&Access<'_>) -> bool + Send + Sync> Storage for Waits<F> {
    fn len(&self) -> Result<u64> {
        self.disk.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.before(&Access::Read(offset));
        self.disk.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[IoSlice<'_>]) -> Result<()> {
        self.before(&Access::Write(data));
        self.disk.write_at(offset, data)
    }

    fn sync(&self) -> Result<()> {
        self.disk.sync()
    }

    fn allocate(&self, offset: u64, len: u64, prewrite: bool) -> Result<()> {
        self.disk.allocate(offset, len, prewrite)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.disk.punch(offset, len)
    }
}

/// Whether a segment for moved blocks is being opened.
fn opens_gc_segment(access: &Access<'_>) -> bool {
    let Access::Write(data) = access else { return false };
    let slot = data.first().and_then(|slice| slice.first_chunk::<4096>());
    let header = slot.and_then(|slot| SegmentHeader::decode(slot).ok());
    header.is_some_and(|(header, _)| header.kind == SegmentKind::Gc)
}

/// Decision 7: a MOVE that reached the log behind an overwrite of its block is nothing, live and in
/// replay.
#[test]
fn a_move_that_lost_to_a_write_changes_nothing() {
    let disk = new_disk();
    let waits = Waits::new(Arc::clone(&disk), opens_gc_segment);
    let engine = World::new().open(Arc::clone(&waits) as Arc<dyn Storage>, 1).unwrap().0;
    for lba in (0..280).step_by(14) {
        put(&engine, lba, 1, 14).unwrap();
    }
    // Every segment keeps a few blocks.
    for lba in (0..280).step_by(14) {
        engine.discard(lba * SLOT, 10 * SLOT).unwrap();
    }
    engine.checkpoint().unwrap();
    engine.checkpoint().unwrap();
    put(&engine, 300, 1, 1).unwrap();
    // Collection looks its blocks up, and then opens a segment to move them into.
    std::thread::scope(|scope| {
        let engine = &engine;
        let collecting = scope.spawn(move || engine.collect().unwrap());
        waits.wait_until_reached();
        for lba in (0..280).filter(|lba| lba % 14 >= 10) {
            put(engine, lba, 2, 1).unwrap();
        }
        disk.mark(1);
        waits.go_on.store(true, Ordering::SeqCst);
        assert!(collecting.join().unwrap());
    });
    assert!(engine.stats().blocks_moved >= 8, "{:?}", engine.stats());
    let check = |engine: &Engine, when: &str| {
        for lba in (0..280).filter(|lba| lba % 14 >= 10) {
            assert_eq!(first_byte(engine, lba).unwrap(), 2, "{when}: block {lba}");
        }
    };
    check(&engine, "live");
    // The process dies at any moment behind the overwrites, also while only the log has the lost
    // moves and no checkpoint has settled them.
    let mut cursor = disk.journal().cursor();
    let mut rng = StdRng::seed_from_u64(1);
    let mut tried = 0;
    loop {
        let more = cursor.advance_to_crash_point();
        if cursor.last_mark() == Some(1) {
            let left = Arc::new(cursor.crash_during_next(&mut rng, CrashMode::KeepAll));
            let engine = open(&World::new(), &left, cursor.index() as u64);
            check(&engine, &format!("died at operation {}", cursor.index()));
            tried += 1;
        }
        if !more || cursor.advance().is_none() {
            break;
        }
    }
    assert!(tried > 5, "{tried}");
}

/// Decision 18: a reader whose block's segment was released and reused between its lookup and its
/// read finds the block where it is now.
#[test]
fn a_reader_that_lost_its_segment_looks_again() {
    let disk = new_disk();
    // Behind the first commit slot of the first segment.
    let place = DATA_OFFSET + 2 * SLOT;
    let is_block = move |access: &Access<'_>| matches!(access, Access::Read(at) if *at == place);
    let waits = Waits::new(Arc::clone(&disk), is_block);
    let engine = World::new().open(Arc::clone(&waits) as Arc<dyn Storage>, 1).unwrap().0;
    put(&engine, 0, 1, 1).unwrap();
    let content = || {
        let mut slot = [0; 4096];
        disk.read_at(place, &mut slot).unwrap();
        slot
    };
    let before = content();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| first_byte(&engine, 0));
        waits.wait_until_reached();
        let mut round = 0;
        while content() == before {
            round += 1;
            assert!(round < 500, "the segment is never reused");
            put(&engine, 0, 2, 1).unwrap();
            put(&engine, 14 + round % 300, 3, 14).unwrap();
            engine.checkpoint().unwrap();
        }
        waits.go_on.store(true, Ordering::SeqCst);
        assert_eq!(reader.join().unwrap().unwrap(), 2);
    });
    assert_eq!(engine.stats().integrity_errors, 0);
}
