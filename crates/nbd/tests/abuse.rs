//! Goal: nothing that a client sends, or does not send, ends the server, makes it hold memory
//! without bound, or hurts another connection. Method: raw sockets.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed step fails the test")]

#[expect(dead_code, reason = "each test binary uses a part")]
#[path = "support/client.rs"]
mod client;
#[expect(dead_code, reason = "each test binary uses a part")]
#[path = "support/device.rs"]
mod device;
#[expect(dead_code, reason = "each test binary uses a part")]
#[path = "support/harness.rs"]
mod harness;

use std::io::{ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use client::{Client, Reply, option_bytes, request_bytes};
use harness::{Harness, eventually};
use sealvol_core::{BlockDevice as _, ByteLen, WriteFlags};
use sealvol_nbd::proto::wire::{command, option, option_reply};
use sealvol_nbd::{Command, Settings};

const LEN: ByteLen = ByteLen::mib(4);

/// Asserts that the server still serves others.
fn assert_alive(harness: &Harness) {
    let mut client = Client::open(&harness.path(), false);
    client.request(command::READ, 0, 1, 0, 512);
    assert_eq!(client.simple(1), 0);
    assert_eq!(client.take(512).len(), 512);
}

fn resident_len() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn bad_magic_closes_only_that_connection() {
    let harness = Harness::new(LEN);
    let mut bystander = Client::open(&harness.path(), false);

    let mut client = Client::connect(&harness.path());
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.take_rest(), b"");

    let mut client = Client::open(&harness.path(), false);
    let mut bytes = request_bytes(command::FLUSH, 0, 1, 0, 0);
    bytes.extend([0xff; 28]);
    client.send(&bytes);
    assert_eq!(client.simple(1), 0, "what came before is answered");
    assert_eq!(client.take_rest(), b"");

    bystander.request(command::FLUSH, 0, 2, 0, 0);
    assert_eq!(bystander.simple(2), 0);
}

#[test]
fn unknown_and_oversize_options_are_answered() {
    let harness = Harness::new(LEN);
    let mut client = Client::connect(&harness.path());
    assert_eq!(client.option(12345, b"data")[0].0, option_reply::ERR_UNSUP);
    assert_eq!(client.option(option::STARTTLS, b"")[0].0, option_reply::ERR_UNSUP);
    assert_eq!(client.option(option::LIST, &[0; 100_000])[0].0, option_reply::ERR_TOO_BIG);
    assert_eq!(client.option(option::LIST, b"").last().unwrap().0, option_reply::ACK);
    // One more would pass the limit on all that a handshake may send.
    client.send(&option_bytes(option::LIST, &[])[..12]);
    client.send(&200_000_u32.to_be_bytes());
    assert_eq!(client.take_rest(), b"");
    assert_alive(&harness);
    assert_eq!(harness.server.stats().handshakes_failed, 1);
}

#[test]
fn refused_requests_leave_the_connection_usable() {
    let harness = Harness::new(LEN);
    for structured in [false, true] {
        let mut client = Client::open(&harness.path(), structured);
        let mut refused = |command, flags, offset, len, payload: usize, errno| {
            client.request(command, flags, 7, offset, len);
            client.send(&vec![0; payload]);
            let reply = client.reply();
            assert_eq!(reply.errno(), errno, "command {command} {flags} {offset} {len}");
            assert_eq!(reply.cookie(), 7);
            assert_eq!(matches!(reply, Reply::Chunk { .. }), structured);
        };
        refused(99, 0, 0, 0, 0, 22);
        refused(command::READ, 0, 1, 512, 0, 22);
        refused(command::READ, 0, LEN.0, 512, 0, 22);
        refused(command::READ, 0, 0, u32::MAX, 0, 22);
        refused(command::READ, 0x8000, 0, 512, 0, 22);
        refused(command::WRITE, 0, 0, 100, 100, 22);
        refused(command::WRITE, 0, LEN.0, 512, 512, 28);
        refused(command::WRITE, 0, 0, (32 << 20) + 512, (32 << 20) + 512, 22);
        refused(command::TRIM, 0, u64::MAX - 511, 512, 0, 22);
        refused(command::FLUSH, 0, 512, 0, 0, 22);
        client.request(command::FLUSH, 0, 8, 0, 0);
        assert_eq!(client.simple(8), 0);
    }
    assert_eq!(harness.server.stats().command(Command::Rejected).errors, 20);
}

#[test]
fn payloads_too_long_to_drain_end_the_connection() {
    let harness = Harness::new(LEN);
    let mut client = Client::open(&harness.path(), false);
    client.request(command::WRITE, 0, 1, 0, u32::MAX - 511);
    assert_eq!(client.simple(1), 22);
    assert_eq!(client.take_rest(), b"");
    assert_alive(&harness);
}

#[test]
fn half_handshakes_end_at_their_deadline() {
    let settings =
        Settings { handshake_timeout: Duration::from_millis(200), ..Settings::default() };
    let harness = Harness::with(LEN, settings);
    let mut silent = Client::connect(&harness.path());
    let mut dripping = Client::connect(&harness.path());
    let mut rest = option_bytes(option::EXPORT_NAME, &[b'x'; 4000]).into_iter();
    dripping.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    // A byte at a time does not extend the deadline.
    let mut closed = false;
    for byte in rest.by_ref() {
        let mut answer = [0; 1];
        closed = dripping.stream.write_all(&[byte]).is_err()
            || match std::io::Read::read(&mut dripping.stream, &mut answer) {
                Ok(0) => true,
                Err(e) => e.kind() != ErrorKind::WouldBlock,
                Ok(_) => false,
            };
        if closed {
            break;
        }
    }
    assert!(closed && rest.len() > 0);
    assert_eq!(silent.take_rest(), b"");
    let mut established = Client::open(&harness.path(), false);
    eventually("handshakes end", || harness.server.stats().connections_open == 1);
    established.request(command::FLUSH, 0, 1, 0, 0);
    assert_eq!(established.simple(1), 0);
}

#[test]
fn connections_beyond_the_limit_are_closed() {
    let harness = Harness::with(LEN, Settings { max_connections: 2, ..Settings::default() });
    let first = Client::open(&harness.path(), false);
    let mut second = Client::open(&harness.path(), false);
    let third = UnixStream::connect(harness.path()).unwrap();
    third.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(Client { stream: third }.take_rest(), b"");
    second.request(command::FLUSH, 0, 1, 0, 0);
    assert_eq!(second.simple(1), 0);
    drop(first);
    eventually("a place is free", || harness.server.stats().connections_open == 1);
    assert_alive(&harness);
    assert_eq!(harness.server.stats().connections_refused, 1);
}

#[test]
fn hundreds_of_connections_come_and_go() {
    let harness = Harness::new(LEN);
    for round in 0..200 {
        match round % 4 {
            0 => drop(UnixStream::connect(harness.path()).unwrap()),
            1 => drop(Client::connect(&harness.path())),
            2 => drop(Client::open(&harness.path(), true)),
            _ => {
                let mut client = Client::open(&harness.path(), false);
                client.request(command::WRITE, 0, 1, 0, 1 << 20);
                client.send(&[1; 1000]);
            }
        }
    }
    eventually("all are gone", || harness.server.stats().connections_open == 0);
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(descriptors < 100, "{descriptors} descriptors are open");
    assert_alive(&harness);
}

#[test]
fn a_flood_without_reading_replies_is_bounded() {
    for cold in [false, true] {
        let harness = Harness::new(LEN);
        // Holes would be answered in a few bytes, and the flood would not be one.
        harness.device.write(0, &[1; 4 << 20], WriteFlags::default()).unwrap();
        if cold {
            harness.device.cold_below.store(u64::MAX, SeqCst);
        }
        assert_alive(&harness);
        let before = resident_len();
        let mut floods: Vec<Client> =
            (0..4).map(|i| Client::open(&harness.path(), i % 2 == 0)).collect();
        for client in &mut floods {
            client.stream.set_nonblocking(true).unwrap();
            let requests: Vec<u8> = (0..1000_u64)
                .flat_map(|i| request_bytes(command::READ, 0, i, 0, 4 << 20))
                .collect();
            // 4 GB of replies are asked for; the server stops taking requests long before.
            // Stops where the server stops reading, with part of a request in the socket.
            while let Ok(()) = client.stream.write_all(&requests) {}
        }
        for _ in 0..20 {
            assert_alive(&harness);
        }
        let grown = resident_len().saturating_sub(before);
        assert!(grown < 160 << 20, "{grown} bytes for clients that do not read (cold: {cold})");
        drop(floods);
        eventually("floods end", || harness.server.stats().connections_open == 0);
    }
}

#[test]
fn noise_after_the_handshake_harms_nobody() {
    let harness = Harness::new(LEN);
    let mut state = 0x1234_5678_9abc_def1_u64;
    for round in 0..200 {
        let mut client = Client::open(&harness.path(), round % 2 == 0);
        let mut bytes = Vec::new();
        for _ in 0..20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let [a, b, c, d, e, ..] = state.to_be_bytes();
            let command = u16::from(a % 9);
            let flags = if b < 200 { 0 } else { u16::from(c) };
            let len = if d % 4 == 0 { u32::from(e) } else { u32::from(e) * 512 };
            bytes.extend(request_bytes(command, flags, state, u64::from(c) * 512, len));
            if command == command::WRITE {
                bytes.resize(bytes.len() + len as usize, e);
            }
        }
        // The server may have closed already, for instance after a disconnect request.
        match client.stream.write_all(&bytes) {
            Ok(()) | Err(_) => {}
        }
    }
    eventually("all are gone", || harness.server.stats().connections_open == 0);
    assert_alive(&harness);
}
