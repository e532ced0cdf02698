//! Goal: what the server promises its embedder and one client the other: ordering, sharing, holes,
//! errors, sockets, removal, shutdown. Method: a raw client against a device whose gates and
//! temperature the test controls.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed step fails the test")]

#[expect(dead_code, reason = "each test binary uses a part")]
#[path = "support/client.rs"]
mod client;
#[path = "support/device.rs"]
mod device;
#[expect(dead_code, reason = "each test binary uses a part")]
#[path = "support/harness.rs"]
mod harness;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use client::{Client, Reply, be32, be64, request_bytes};
use harness::{Harness, eventually, sparse_pattern};
use sealvol_core::{BlockDevice, ByteLen, ErrorKind, WriteFlags};
use sealvol_nbd::proto::wire::{chunk, command, command_flag as flag};
use sealvol_nbd::{Command, Exports, Server, Settings};

const LEN: ByteLen = ByteLen::mib(4);

#[test]
fn socket_is_private_and_unlinked_at_shutdown() {
    let harness = Harness::new(LEN);
    let mode = std::fs::metadata(harness.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    harness.server.shutdown(Duration::from_secs(1)).unwrap();
    assert!(!harness.path().exists());
}

#[test]
fn stale_sockets_are_replaced_and_others_left() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::builder().exports(Exports::new()).build().unwrap();

    let stale = dir.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    server.listen_unix(&stale).unwrap();

    let live = dir.path().join("live");
    let _listener = UnixListener::bind(&live).unwrap();
    assert_eq!(server.listen_unix(&live).unwrap_err().kind(), ErrorKind::Conflict);

    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert_eq!(server.listen_unix(&file).unwrap_err().kind(), ErrorKind::Conflict);

    // Somebody else's socket under our name survives our end.
    std::fs::remove_file(&stale).unwrap();
    let _other = UnixListener::bind(&stale).unwrap();
    server.shutdown(Duration::ZERO).unwrap();
    assert!(stale.exists() && live.exists() && file.exists());
    assert!(server.listen_unix(dir.path().join("late")).is_err(), "it was shut down");
}

#[test]
fn simple_replies_serve_all_sizes() {
    let harness = Harness::new(LEN);
    let image = sparse_pattern(usize::try_from(LEN.0).unwrap());
    let mut client = Client::open(&harness.path(), false);
    // Longer than a piece: streamed into the device.
    client.request(command::WRITE, 0, 1, 0, 4 << 20);
    client.send(&image);
    assert_eq!(client.simple(1), 0);
    assert!(harness.device.contents() == image);
    for (cookie, len) in [(2, 512), (3, 4096), (4, 256 << 10), (5, 4 << 20), (6, 0)] {
        client.request(command::READ, 0, cookie, 0, len);
        assert_eq!(client.simple(cookie), 0);
        assert!(client.take(len as usize) == image[..len as usize], "{len} bytes");
    }
    client.request(command::DISC, 0, 0, 0, 0);
    assert_eq!(client.take_rest(), b"");
}

#[test]
fn long_fua_writes_flush_once() {
    let harness = Harness::new(LEN);
    let mut client = Client::open(&harness.path(), false);
    client.request(command::WRITE, flag::FUA, 1, 0, 1 << 20);
    client.send(&vec![1; 1 << 20]);
    assert_eq!(client.simple(1), 0);
    assert_eq!(harness.device.flushes.load(SeqCst), 1);
    client.request(command::TRIM, flag::FUA, 2, 0, 4096);
    assert_eq!(client.simple(2), 0);
    assert_eq!(harness.device.flushes.load(SeqCst), 2, "trim with FUA flushes");
    client.request(command::CACHE, 0, 3, 0, 4096);
    assert_eq!(client.simple(3), 0);
    assert_eq!(harness.device.prefetches.load(SeqCst), 1);
}

/// Puts a structured READ reply together again, checking that nothing overlaps or is missing.
fn assemble(chunks: &[Reply], offset: u64, len: usize) -> (Vec<u8>, usize) {
    let (mut bytes, mut covered, mut holes) = (vec![0xee; len], 0, 0);
    for reply in chunks {
        let Reply::Chunk { kind, payload, .. } = reply else { panic!("{reply:?}") };
        let at = || usize::try_from(be64(payload, 0) - offset).unwrap();
        match *kind {
            chunk::OFFSET_DATA => {
                let data = &payload[8..];
                bytes[at()..at() + data.len()].copy_from_slice(data);
                covered += data.len();
            }
            chunk::OFFSET_HOLE => {
                let len = be32(payload, 8) as usize;
                bytes[at()..at() + len].fill(0);
                covered += len;
                holes += 1;
            }
            chunk::NONE => {}
            other => panic!("chunk type {other}"),
        }
    }
    assert_eq!(covered, len);
    (bytes, holes)
}

#[test]
fn structured_reads_show_holes_unless_asked_not_to() {
    let harness = Harness::new(LEN);
    let image = sparse_pattern(usize::try_from(LEN.0).unwrap());
    harness.device.write(0, &image, WriteFlags::default()).unwrap();
    let mut client = Client::open(&harness.path(), true);
    for (cookie, offset, len) in [(1, 0, 4 << 20), (2, 131_072, 131_072), (3, 4096, 1 << 20)] {
        client.request(command::READ, 0, cookie, offset, len);
        let (bytes, holes) = assemble(&client.chunks(), offset, len as usize);
        let start = usize::try_from(offset).unwrap();
        assert!(bytes == image[start..start + len as usize]);
        assert!(holes > 0);
    }
    client.request(command::READ, 0, 4, 131_072, 4096);
    assert_eq!(assemble(&client.chunks(), 131_072, 4096).1, 0, "short reads ask for no holes");
    client.request(command::READ, flag::DF, 5, 0, 4 << 20);
    let chunks = client.chunks();
    assert_eq!(chunks.len(), 1);
    assert!(assemble(&chunks, 0, 4 << 20).0 == image);
    client.request(command::READ, 0, 6, 0, 0);
    assert!(matches!(client.chunks()[..], [Reply::Chunk { kind: chunk::NONE, .. }]));
}

#[test]
fn block_status_merges_and_honours_req_one() {
    let harness = Harness::new(LEN);
    let image = sparse_pattern(usize::try_from(LEN.0).unwrap());
    harness.device.write(0, &image, WriteFlags::default()).unwrap();
    let mut client = Client::open(&harness.path(), true);
    for (flags, runs) in [(0, 17), (flag::REQ_ONE, 1)] {
        client.request(command::BLOCK_STATUS, flags, 1, 0, 4 << 20);
        let Reply::Chunk { kind, payload, .. } = client.reply() else { panic!() };
        assert_eq!((kind, payload.len()), (chunk::BLOCK_STATUS, 4 + 8 * runs));
        assert_eq!((be32(&payload, 4), be32(&payload, 8)), (131_072, 0));
    }
}

#[test]
fn device_errors_become_replies_that_leak_nothing() {
    let harness = Harness::new(LEN);
    harness.device.write(0, &[1; 4 << 20], WriteFlags::default()).unwrap();
    harness.device.bad_offset.store(1 << 20, SeqCst);
    let mut client = Client::open(&harness.path(), true);

    client.request(command::READ, 0, 1, 1 << 20, 4096);
    let Reply::Chunk { kind, payload, done, .. } = client.reply() else { panic!() };
    assert_eq!((kind, done, be32(&payload, 0)), (chunk::ERROR, true, 5));
    let message = String::from_utf8(payload[6..].to_vec()).unwrap();
    assert!(message.contains("corrupt") && !message.contains("secret"), "{message}");

    client.request(command::READ, 0, 2, 0, 2 << 20);
    let chunks = client.chunks();
    let Reply::Chunk { kind, payload, .. } = chunks.last().unwrap() else { panic!() };
    assert_eq!(*kind, chunk::ERROR_OFFSET, "data before it went out already");
    assert_eq!(be64(payload, payload.len() - 8), 1 << 20);

    let mut simple = Client::open(&harness.path(), false);
    simple.request(command::READ, 0, 3, 0, 2 << 20);
    assert_eq!(simple.simple(3), 5, "read as a whole before the header goes out");
    harness.device.no_space.store(true, SeqCst);
    simple.request(command::WRITE, 0, 4, 0, 512);
    simple.send(&[2; 512]);
    assert_eq!(simple.simple(4), 28);
    simple.request(command::WRITE_ZEROES, 0, 5, 0, 4096);
    assert_eq!(simple.simple(5), 28);
    let stats = harness.server.stats();
    assert_eq!(stats.command(Command::Read).errors, 3);
    assert_eq!(stats.command(Command::Write).errors, 1);
}

#[test]
fn read_only_exports_refuse_writes_with_eperm() {
    let harness = Harness::new(LEN);
    harness.device.read_only.store(true, SeqCst);
    let mut client = Client::open(&harness.path(), false);
    client.request(command::WRITE, 0, 1, 0, 512);
    client.send(&[1; 512]);
    assert_eq!(client.simple(1), 1);
    client.request(command::TRIM, 0, 2, 0, 512);
    assert_eq!(client.simple(2), 1);
    client.request(command::READ, 0, 3, 0, 512);
    assert_eq!(client.simple(3), 0);
    assert_eq!(client.take(512), [0; 512]);
}

#[test]
fn hot_requests_overtake_cold_ones() {
    let harness = Harness::new(LEN);
    let device = &harness.device;
    device.cold_below.store(1 << 20, SeqCst);
    device.read_gate.close();
    device.flush_gate.close();
    let mut client = Client::open(&harness.path(), false);
    client.request(command::READ, 0, 1, 0, 4096);
    eventually("the cold read runs", || device.read_gate.waiting.load(SeqCst) == 1);
    client.request(command::FLUSH, 0, 2, 0, 0);
    eventually("the flush runs", || device.flush_gate.waiting.load(SeqCst) == 1);
    for cookie in 3..6 {
        client.request(command::READ, 0, cookie, 2 << 20, 4096);
        assert_eq!(client.simple(cookie), 0);
        client.take(4096);
    }
    device.flush_gate.open();
    assert_eq!(client.simple(2), 0);
    device.read_gate.open();
    assert_eq!(client.simple(1), 0);
    client.take(4096);
}

#[test]
fn one_long_read_at_a_time_is_opened_on_a_worker() {
    const LONG: u32 = 128 << 10;
    let settings = |share_read_len| Settings { share_read_len, ..Settings::default() };
    let long_reads = |cookies: std::ops::Range<u64>| {
        let one = |cookie| request_bytes(command::READ, 0, cookie, cookie << 17, LONG);
        cookies.flat_map(one).collect::<Vec<u8>>()
    };

    let harness = Harness::with(LEN, settings(64 << 10));
    let (device, pattern) = (&harness.device, sparse_pattern(3 << 17));
    device.write(0, &pattern, WriteFlags::default()).unwrap();
    // The test device opens this gate for what runs on a worker only.
    device.read_gate.close();
    let mut client = Client::open(&harness.path(), false);
    client.send(&long_reads(0..1));
    assert_eq!(client.simple(0), 0, "alone it runs on the connection's thread");
    client.take(LONG as usize);
    client.send(&long_reads(0..3));
    for (cookie, content) in (1..3).zip(pattern.chunks(LONG as usize).skip(1)) {
        assert_eq!(client.simple(cookie), 0, "the others do not wait for the first");
        assert_eq!(client.take(LONG as usize), content);
    }
    eventually("the first is with a worker", || device.read_gate.waiting.load(SeqCst) == 1);
    device.read_gate.open();
    assert_eq!(client.simple(0), 0);
    assert_eq!(client.take(LONG as usize), pattern[..1 << 17]);

    let harness = Harness::with(LEN, settings(0));
    harness.device.read_gate.close();
    let mut client = Client::open(&harness.path(), false);
    client.send(&long_reads(0..3));
    for cookie in 0..3 {
        assert_eq!(client.simple(cookie), 0, "turned off");
        client.take(LONG as usize);
    }
    harness.device.read_gate.open();
}

#[test]
fn reads_from_memory_do_not_wait_for_workers_that_wait_for_the_disk() {
    const LONG: u32 = 128 << 10;
    let harness = Harness::with(LEN, Settings { pool_threads: 1, ..Settings::default() });
    let device = &harness.device;
    device.cold_below.store(1 << 20, SeqCst);
    device.read_gate.close();
    let mut cold = Client::open(&harness.path(), false);
    cold.request(command::READ, 0, 9, 0, 4096);
    eventually("the only worker waits", || device.read_gate.waiting.load(SeqCst) == 1);
    let mut hot = Client::open(&harness.path(), false);
    let read = |cookie| request_bytes(command::READ, 0, cookie, 1 << 20, LONG);
    hot.send(&(0..3).flat_map(read).collect::<Vec<u8>>());
    for cookie in 0..3 {
        assert_eq!(hot.simple(cookie), 0);
        hot.take(LONG as usize);
    }
    device.read_gate.open();
    assert_eq!(cold.simple(9), 0);
}

#[test]
fn without_workers_every_request_is_still_answered() {
    let harness = Harness::with(LEN, Settings { pool_threads: 0, ..Settings::default() });
    harness.device.cold_below.store(1 << 20, SeqCst);
    let mut client = Client::open(&harness.path(), false);
    let mut bytes = request_bytes(command::READ, 0, 1, 0, 4096);
    bytes.extend(request_bytes(command::FLUSH, 0, 2, 0, 0));
    bytes.extend(request_bytes(command::READ, 0, 3, 2 << 20, 128 << 10));
    bytes.extend(request_bytes(command::READ, 0, 4, 2 << 20, 4096));
    client.send(&bytes);
    for (cookie, len) in [(1, 4096), (2, 0), (3, 128 << 10), (4, 4096)] {
        assert_eq!(client.simple(cookie), 0);
        client.take(len);
    }
}

#[test]
fn requests_in_flight_are_bounded() {
    let settings = Settings { max_in_flight: 3, ..Settings::default() };
    let harness = Harness::with(LEN, settings);
    let device = &harness.device;
    device.cold_below.store(u64::MAX, SeqCst);
    device.read_gate.close();
    let mut client = Client::open(&harness.path(), false);
    for cookie in 0..10 {
        client.request(command::READ, 0, cookie, 0, 4096);
    }
    eventually("the bound is reached", || device.read_gate.waiting.load(SeqCst) == 3);
    let mut other = Client::open(&harness.path(), false);
    other.request(command::WRITE, 0, 1, 0, 512);
    other.send(&[1; 512]);
    assert_eq!(other.simple(1), 0, "another connection goes on");
    assert_eq!(device.read_gate.waiting.load(SeqCst), 3);
    device.read_gate.open();
    let mut cookies: Vec<u64> = (0..10)
        .map(|_| {
            let reply = client.reply();
            client.take(4096);
            reply.cookie()
        })
        .collect();
    cookies.sort_unstable();
    assert_eq!(cookies, (0..10).collect::<Vec<_>>());
}

#[test]
fn pipelined_writes_reach_the_device_as_one_batch() {
    let harness = Harness::new(LEN);
    let mut client = Client::open(&harness.path(), false);
    let mut bytes = Vec::new();
    for cookie in 0..16_u64 {
        bytes.extend(request_bytes(command::WRITE, 0, cookie, cookie * 4096, 4096));
        bytes.extend([u8::try_from(cookie).unwrap() + 1; 4096]);
    }
    client.send(&bytes);
    for cookie in 0..16 {
        assert_eq!(client.simple(cookie), 0);
    }
    let contents = harness.device.contents();
    assert!((0..16).all(|i| contents[i * 4096] == u8::try_from(i).unwrap() + 1));
    assert!(harness.device.largest_batch.load(SeqCst) > 1);
}

#[test]
fn connections_share_the_device() {
    let harness = Harness::new(LEN);
    let mut one = Client::open(&harness.path(), false);
    let mut two = Client::open(&harness.path(), false);
    one.request(command::WRITE, 0, 1, 8192, 512);
    one.send(&[9; 512]);
    assert_eq!(one.simple(1), 0);
    two.request(command::FLUSH, 0, 1, 0, 0);
    assert_eq!(two.simple(1), 0);
    two.request(command::READ, 0, 2, 8192, 512);
    assert_eq!(two.simple(2), 0);
    assert_eq!(two.take(512), [9; 512]);
}

#[test]
fn a_device_that_grows_is_served_whole() {
    let harness = Harness::new(LEN);
    harness.device.len.store(1 << 20, SeqCst);
    let mut client = Client::open(&harness.path(), false);
    client.request(command::READ, 0, 1, 1 << 20, 512);
    assert_eq!(client.simple(1), 22);
    harness.device.len.store(2 << 20, SeqCst);
    client.request(command::READ, 0, 2, 1 << 20, 512);
    assert_eq!(client.simple(2), 0);
    client.take(512);
}

#[test]
fn removing_an_export_drains_it_and_frees_the_device() {
    let harness = Harness::new(LEN);
    let device = &harness.device;
    device.cold_below.store(u64::MAX, SeqCst);
    device.read_gate.close();
    let mut client = Client::open(&harness.path(), false);
    client.request(command::READ, 0, 1, 0, 512);
    eventually("the read runs", || device.read_gate.waiting.load(SeqCst) == 1);
    let exports = harness.server.exports();
    let early = exports.remove("", Duration::from_millis(10)).err().map(|e| e.kind());
    assert_eq!(early, Some(ErrorKind::Retry));

    client.request(command::READ, 0, 2, 0, 512);
    assert_eq!(client.simple(2), 108, "new requests are refused while it drains");
    device.read_gate.open();
    let removed = exports.remove("", Duration::from_secs(20)).unwrap();
    assert_eq!(client.simple(1), 0, "the running request got its reply");
    client.take(512);
    drop(removed);
    assert_eq!(Arc::strong_count(device), 1, "no connection keeps the device");

    client.request(command::WRITE, 0, 3, 0, 512);
    client.send(&[1; 512]);
    assert_eq!(client.simple(3), 108);
    client.request(command::FLUSH, 0, 4, 0, 0);
    assert_eq!(client.simple(4), 108);
    assert_eq!(
        exports.remove("", Duration::ZERO).err().map(|e| e.kind()),
        Some(ErrorKind::NotFound)
    );
    let again: Arc<dyn BlockDevice> = device.clone();
    exports.add(sealvol_nbd::Export::new("", again)).unwrap();
    client.request(command::FLUSH, 0, 5, 0, 0);
    assert_eq!(client.simple(5), 108, "an old connection does not move to the new export");
}

#[test]
fn shutdown_lets_running_requests_finish() {
    let harness = Harness::new(LEN);
    let device = &harness.device;
    device.cold_below.store(u64::MAX, SeqCst);
    device.read_gate.close();
    let mut client = Client::open(&harness.path(), false);
    let mut idle = Client::open(&harness.path(), false);
    client.request(command::READ, 0, 1, 0, 512);
    eventually("the read runs", || device.read_gate.waiting.load(SeqCst) == 1);
    std::thread::scope(|scope| {
        let down = scope.spawn(|| harness.server.shutdown(Duration::from_secs(20)));
        assert_eq!(idle.take_rest(), b"");
        device.read_gate.open();
        assert_eq!(client.simple(1), 0);
        client.take(512);
        assert_eq!(client.take_rest(), b"");
        down.join().unwrap().unwrap();
    });
    assert_eq!(harness.server.stats().connections_open, 0);
}

#[test]
fn shutdown_reports_a_device_that_never_returns() {
    let harness = Harness::new(LEN);
    let device = &harness.device;
    device.flush_gate.close();
    let mut client = Client::open(&harness.path(), false);
    client.request(command::FLUSH, 0, 1, 0, 0);
    eventually("the flush runs", || device.flush_gate.waiting.load(SeqCst) == 1);
    let error = harness.server.shutdown(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    device.flush_gate.open();
    harness.server.shutdown(Duration::from_secs(20)).unwrap();
}

/// Whoever has shut the server down may close the devices: no thread of a connection that ended
/// holds one any more.
#[test]
fn after_shutdown_nobody_holds_a_device() {
    for round in 0..200 {
        let Harness { dir, server, device } = Harness::new(LEN);
        let clients: Vec<_> = (0..3)
            .map(|_| std::os::unix::net::UnixStream::connect(dir.path().join("nbd.sock")).unwrap())
            .collect();
        eventually("accepted", || server.stats().connections_accepted == 3);
        drop(clients);
        server.shutdown(Duration::from_secs(5)).unwrap();
        drop(server);
        assert_eq!(Arc::strong_count(&device), 1, "round {round}");
    }
}
