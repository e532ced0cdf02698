//! Framing: payloads whole and in pieces, draining, and agreement whatever the cuts.

use proptest::prelude::*;

use super::super::options::ExportInfo;
use super::super::wire::{MAX_PAYLOAD_LEN, REQUEST_MAGIC, command};
use super::*;

const PIECE: usize = 1024;
const SLACK: usize = 256;

fn session() -> Session {
    let export = ExportInfo {
        name: String::new(),
        description: String::new(),
        len: 1 << 30,
        read_only: false,
        preferred_block_len: 4096,
    };
    Session { export, structured: true, block_status: true }
}

fn request(command: u16, cookie: u64, offset: u64, len: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = REQUEST_MAGIC.to_be_bytes().to_vec();
    bytes.extend(0_u16.to_be_bytes());
    bytes.extend(command.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What a stream means, whichever way it was cut.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Item(Item),
    Write { cookie: u64, offset: u64, data: Vec<u8> },
    BadMagic,
}

/// Feeds `stream` in steps of the given sizes; asserts that memory stays what it was.
fn feed(stream: &[u8], mut step: impl FnMut() -> usize) -> Vec<Seen> {
    let mut inbox = Inbox::new(PIECE, SLACK);
    let capacity = inbox.buf.len();
    let session = session();
    let mut seen = Vec::new();
    let mut at = 0;
    loop {
        match inbox.next(&session) {
            Ok(Item::NeedInput) => {
                if at == stream.len() {
                    return seen;
                }
                let room = inbox.spare();
                assert!(!room.is_empty());
                let len = step().clamp(1, room.len()).min(stream.len() - at);
                room[..len].copy_from_slice(&stream[at..at + len]);
                inbox.filled(len);
                at += len;
                assert_eq!(inbox.buf.capacity(), capacity);
            }
            Ok(Item::Write(write)) => {
                let data = inbox.payload(&write.data).to_vec();
                assert_eq!(data.len(), write.data.len());
                match seen.last_mut() {
                    Some(Seen::Write { cookie, data: all, .. }) if !write.first => {
                        assert_eq!(*cookie, write.cookie);
                        all.extend(data);
                    }
                    _ => {
                        let WriteItem { cookie, offset, .. } = write;
                        seen.push(Seen::Write { cookie, offset, data });
                    }
                }
            }
            Ok(item @ Item::Rejected { close: true, .. }) => {
                seen.push(Seen::Item(item));
                return seen;
            }
            Ok(item) => seen.push(Seen::Item(item)),
            Err(BadMagic) => {
                seen.push(Seen::BadMagic);
                return seen;
            }
        }
    }
}

#[test]
fn writes_whole_and_in_pieces_keep_every_byte() {
    let long: Vec<u8> = (0..5 * 512_u32).map(|i| i.to_be_bytes()[3]).collect();
    let mut stream = request(command::WRITE, 1, 512, 512, &long[..512]);
    stream.extend(request(command::WRITE, 2, 4096, 2560, &long));
    stream.extend(request(command::READ, 3, 0, 512, b""));
    for step in [1, 27, 28, 512, 1000, 100_000] {
        let seen = feed(&stream, || step);
        let read = Request::Read { offset: 0, len: 512, whole: false };
        assert_eq!(
            seen,
            [
                Seen::Write { cookie: 1, offset: 512, data: long[..512].to_vec() },
                Seen::Write { cookie: 2, offset: 4096, data: long.clone() },
                Seen::Item(Item::Request { cookie: 3, request: read }),
            ],
            "in steps of {step}"
        );
    }
}

#[test]
fn refused_writes_are_drained_and_the_stream_goes_on() {
    let mut stream = request(command::WRITE, 1, 1, 5000, &[9; 5000]);
    stream.extend(request(command::FLUSH, 2, 0, 0, b""));
    let seen = feed(&stream, || 333);
    assert!(
        matches!(
            seen[..],
            [
                Seen::Item(Item::Rejected { cookie: 1, close: false, .. }),
                Seen::Item(Item::Request { cookie: 2, request: Request::Flush }),
            ]
        ),
        "{seen:?}"
    );
}

#[test]
fn payloads_too_long_to_drain_close() {
    let stream = request(command::WRITE, 1, 0, u32::MAX, b"");
    assert!(matches!(feed(&stream, || 7)[..], [Seen::Item(Item::Rejected { close: true, .. })]));
    let stream = request(command::WRITE, 1, 0, MAX_PAYLOAD_LEN + 512, b"");
    assert!(feed(&stream, || 7).is_empty(), "waits for the payload to drain");
}

#[test]
fn empty_writes_are_one_item() {
    let stream = request(command::WRITE, 1, 0, 0, b"");
    let expected = Seen::Write { cookie: 1, offset: 0, data: vec![] };
    assert_eq!(feed(&stream, || 28), [expected]);
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    let request = (0_u16..9, any::<u64>(), 0_u64..8, 0_u32..8, any::<u8>()).prop_map(
        |(command, cookie, offset, len, fill)| {
            let len = len * 512;
            let payload = if command == command::WRITE { vec![fill; len as usize] } else { vec![] };
            request(command, cookie, offset * 256, len, &payload)
        },
    );
    let noise = proptest::collection::vec(any::<u8>(), 0..40);
    proptest::collection::vec(prop_oneof![20 => request, 1 => noise], 0..30)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn cuts_do_not_matter(stream in streams(), cuts in proptest::collection::vec(1_usize..900, 1..20)) {
        let mut cuts = cuts.into_iter().cycle();
        let in_pieces = feed(&stream, || cuts.next().unwrap_or(1));
        let at_once = feed(&stream, || usize::MAX);
        prop_assert_eq!(in_pieces, at_once);
    }

    #[test]
    fn noise_never_panics(stream in proptest::collection::vec(any::<u8>(), 0..4096), magic in any::<bool>()) {
        let mut stream = stream;
        if magic && stream.len() > 4 {
            stream[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
        }
        feed(&stream, || 100);
    }
}
