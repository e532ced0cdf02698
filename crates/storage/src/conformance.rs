//! The conformance suite of [`Storage`]: what every backend and every wrapper must do. Each check is
//! a function of its own, so that a failure names the promise that was broken.

#![expect(clippy::missing_panics_doc, reason = "a conformance check fails by panicking")]

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, Ordering};

use sealvol_core::ErrorKind;

use crate::Storage;

/// Runs every check, each on a fresh, empty storage from `make`.
pub fn run(make: impl Fn() -> Box<dyn Storage>) {
    starts_empty(&*make());
    reads_back_what_was_written(&*make());
    writes_slices_in_order(&*make());
    writes_more_slices_than_one_call_takes(&*make());
    growing_leaves_zeros_in_between(&*make());
    reads_past_the_end_fail(&*make());
    nowait_reads_agree_with_reads(&*make());
    allocated_space_reads(&*make());
    prewriting_extends_and_leaves_neighbours(&*make());
    punched_space_reads_zero(&*make());
    empty_requests_do_nothing(&*make());
    hints_change_nothing(&*make());
    concurrent_readers_see_only_written_bytes(&*make());
    concurrent_writers_do_not_disturb_each_other(&*make());
}

/// Bytes that differ at every position and for every seed.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn part(data: &[u8], range: std::ops::Range<usize>) -> &[u8] {
    data.get(range).expect("a range of the test's own data")
}

fn write(storage: &dyn Storage, offset: u64, data: &[u8]) {
    storage.write_at(offset, &[IoSlice::new(data)]).expect("write");
}

fn read(storage: &dyn Storage, offset: u64, len: usize) -> Vec<u8> {
    let mut buf = vec![0xa5; len];
    storage.read_at(offset, &mut buf).expect("read");
    buf
}

/// A new storage has no bytes.
pub fn starts_empty(storage: &dyn Storage) {
    assert_eq!(storage.len().expect("len"), 0);
}

/// What was written is read, before and after a sync, at aligned and odd offsets, also rewritten.
pub fn reads_back_what_was_written(storage: &dyn Storage) {
    for (seed, offset, len) in
        [(1, 0, 4096), (2, 4096, 512), (3, 10_001, 7777), (4, 4000, 300), (5, 0, 65_536)]
    {
        let data = pattern(seed, len);
        write(storage, offset, &data);
        assert!(read(storage, offset, len) == data, "offset {offset}, {len} bytes");
        storage.sync().expect("sync");
        assert!(read(storage, offset, len) == data, "offset {offset}, {len} bytes, synced");
    }
    assert_eq!(storage.len().expect("len"), 65_536);
    // A part of a larger write.
    assert!(read(storage, 12_345, 99) == part(&pattern(5, 65_536), 12_345..12_444));
}

/// Slices land one after the other, whatever their lengths, empty ones included.
pub fn writes_slices_in_order(storage: &dyn Storage) {
    let parts: Vec<Vec<u8>> =
        [1, 0, 4095, 512, 0, 3, 70_000].iter().map(|n| pattern(*n as u64, *n)).collect();
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|p| IoSlice::new(p)).collect();
    storage.write_at(777, &slices).expect("write");
    let all = parts.concat();
    assert!(read(storage, 777, all.len()) == all);
    assert_eq!(storage.len().expect("len"), 777 + all.len() as u64);
}

/// A request may have more slices than the system takes in one call (1024 on Linux).
pub fn writes_more_slices_than_one_call_takes(storage: &dyn Storage) {
    let data = pattern(9, 3000 * 17);
    let slices: Vec<IoSlice<'_>> = data.chunks(17).map(IoSlice::new).collect();
    assert_eq!(slices.len(), 3000);
    storage.write_at(100, &slices).expect("write");
    assert!(read(storage, 100, data.len()) == data);
}

/// Writing past the end grows the storage; the gap reads as zeros.
pub fn growing_leaves_zeros_in_between(storage: &dyn Storage) {
    write(storage, 0, &[1; 10]);
    write(storage, 100_000, &[2; 10]);
    assert_eq!(storage.len().expect("len"), 100_010);
    assert!(read(storage, 10, 99_990).iter().all(|b| *b == 0));
    assert_eq!(read(storage, 0, 10), [1; 10]);
    assert_eq!(read(storage, 100_000, 10), [2; 10]);
}

/// A read that ends past the end is an error, not a short read.
pub fn reads_past_the_end_fail(storage: &dyn Storage) {
    let mut buf = [0; 512];
    let error = storage.read_at(0, &mut buf).expect_err("a read of an empty storage");
    assert_eq!(error.kind(), ErrorKind::Io);
    write(storage, 0, &[7; 1000]);
    storage.read_at(488, &mut buf).expect("a read that ends at the end");
    for offset in [489, 1000, 5000, 1 << 40] {
        let error = storage.read_at(offset, &mut buf).expect_err("a read past the end");
        assert_eq!(error.kind(), ErrorKind::Io, "offset {offset}");
        // Refusing to wait is no way around it: it fails, or sends the caller to the blocking call.
        assert!(!matches!(storage.read_at_nowait(offset, &mut buf), Ok(true)), "offset {offset}");
    }
}

/// A read that does not wait gives the right bytes or says that it would wait.
pub fn nowait_reads_agree_with_reads(storage: &dyn Storage) {
    let data = pattern(3, 20_000);
    write(storage, 0, &data);
    let mut buf = vec![0; 5000];
    if storage.read_at_nowait(1234, &mut buf).expect("nowait read") {
        assert!(buf == part(&data, 1234..6234));
    }
}

/// Allocated space is inside the storage and keeps what is written there.
pub fn allocated_space_reads(storage: &dyn Storage) {
    storage.allocate(8192, 1 << 20, false).expect("allocate");
    assert!(storage.len().expect("len") >= 8192 + (1 << 20));
    // The content is undefined; that it can be read is not.
    assert_eq!(read(storage, 8192, 1 << 20).len(), 1 << 20);
    let data = pattern(4, 4096);
    write(storage, 16_384, &data);
    storage.sync().expect("sync");
    assert!(read(storage, 16_384, 4096) == data);
    // Allocating inside does not shrink.
    storage.allocate(0, 4096, false).expect("allocate");
    assert!(storage.len().expect("len") >= 8192 + (1 << 20));
}

/// Pre-writing extends the storage and leaves the bytes on both sides alone.
pub fn prewriting_extends_and_leaves_neighbours(storage: &dyn Storage) {
    let (before, after) = (pattern(1, 5000), pattern(2, 5000));
    let len = (3 << 20) + 512;
    write(storage, 0, &before);
    write(storage, 5000 + len, &after);
    storage.allocate(5000, len, true).expect("allocate");
    assert!(read(storage, 0, 5000) == before);
    assert!(read(storage, 5000 + len, 5000) == after);
    storage.allocate(1 << 23, 4096, true).expect("allocate");
    assert_eq!(storage.len().expect("len"), (1 << 23) + 4096);
}

/// A punched range reads as zeros, its neighbours stay, and the length does not change.
pub fn punched_space_reads_zero(storage: &dyn Storage) {
    let data = pattern(6, 1 << 20);
    write(storage, 0, &data);
    storage.sync().expect("sync");
    storage.punch(65_536, 131_072).expect("punch");
    assert_eq!(storage.len().expect("len"), 1 << 20);
    assert!(read(storage, 65_536, 131_072).iter().all(|b| *b == 0));
    assert!(read(storage, 0, 65_536) == part(&data, 0..65_536));
    assert!(read(storage, 196_608, 4096) == part(&data, 196_608..200_704));
    // Past the end nothing is there to give back.
    storage.punch((1 << 20) - 4096, 1 << 20).expect("punch over the end");
    assert_eq!(storage.len().expect("len"), 1 << 20);
    write(storage, 65_536, part(&data, 0..4096));
    assert!(read(storage, 65_536, 4096) == part(&data, 0..4096));
}

/// Requests of no bytes succeed and do nothing.
pub fn empty_requests_do_nothing(storage: &dyn Storage) {
    write(storage, 0, &[1; 100]);
    storage.write_at(5000, &[]).expect("write of nothing");
    storage.write_at(5000, &[IoSlice::new(&[])]).expect("write of an empty slice");
    storage.read_at(50, &mut []).expect("read of nothing");
    storage.allocate(50, 0, true).expect("allocation of nothing");
    storage.punch(0, 0).expect("punch of nothing");
    assert_eq!(storage.len().expect("len"), 100);
    assert_eq!(read(storage, 0, 100), [1; 100]);
}

/// Hints may be ignored, for any range, and change no byte.
pub fn hints_change_nothing(storage: &dyn Storage) {
    let data = pattern(8, 10_000);
    write(storage, 0, &data);
    for (offset, len) in [(0, 10_000), (5000, 0), (1 << 40, 4096), (u64::MAX, u64::MAX)] {
        storage.start_writeback(offset, len);
        storage.prefetch(offset, len);
    }
    assert!(read(storage, 0, 10_000) == data);
    assert_eq!(storage.len().expect("len"), 10_000);
}

/// Readers run beside a writer that also grows the storage, and see only bytes that were written.
pub fn concurrent_readers_see_only_written_bytes(storage: &dyn Storage) {
    write(storage, 0, &[1; 4096]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..400_u64 {
                let value = if round % 2 == 0 { 2 } else { 1 };
                write(storage, 0, &[value; 4096]);
                write(storage, 8192 + round * 4096, &[value; 4096]);
            }
            done.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut rounds = 0_u32;
                while !done.load(Ordering::Acquire) || rounds < 10 {
                    assert!(read(storage, 0, 4096).iter().all(|b| *b == 1 || *b == 2));
                    rounds += 1;
                }
            });
        }
    });
    assert_eq!(read(storage, 0, 4096), [1; 4096]);
}

/// Writers of different ranges, and punches and syncs beside them, lose nothing of each other.
pub fn concurrent_writers_do_not_disturb_each_other(storage: &dyn Storage) {
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            scope.spawn(move || {
                for round in 0..50 {
                    // Interleaved ranges of an odd length, so that threads share pages and sectors.
                    let data = pattern(thread * 1000 + round, 1000);
                    write(storage, (round * 4 + thread) * 1000, &data);
                    if round % 16 == thread {
                        storage.sync().expect("sync");
                    }
                }
            });
        }
    });
    for thread in 0..4_u64 {
        for round in 0..50 {
            let at = (round * 4 + thread) * 1000;
            assert!(
                read(storage, at, 1000) == pattern(thread * 1000 + round, 1000),
                "thread {thread}, round {round}"
            );
        }
    }
}
