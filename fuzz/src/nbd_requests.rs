//! The NBD transmission phase against any client: requests are framed as a second, simple reading of
//! the stream frames them, whatever pieces it arrives in; what is let through is in range; memory
//! is the buffer and no more.

use sealvol_nbd::proto::wire::{
    CHUNK_HEADER_LEN, MAX_DRAIN_LEN, MAX_PAYLOAD_LEN, MIN_BLOCK_LEN, REQUEST_LEN, REQUEST_MAGIC,
};
use sealvol_nbd::proto::{ExportInfo, Header, Inbox, Item, Reject, Request, Session, reply};

use crate::input::Input;
use crate::memory::bounded;

/// What a stream holds.
#[derive(Debug, PartialEq)]
enum Event {
    Request(u64, Request),
    /// Cookie, offset, payload so far, FUA, and whether it is whole.
    Write(u64, u64, Vec<u8>, bool, bool),
    Rejected(u64, Reject, bool),
    BadMagic,
}

/// The target's body: the session, how the stream is cut, then the stream.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.u8();
    let piece = usize::from(input.u8()) + 1;
    let piece_len = [1, 512, 4096, 64 << 10][usize::from(flags >> 6)];
    let session = Session {
        export: ExportInfo {
            name: "vol".to_owned(),
            description: String::new(),
            len: [0, 1 << 20, 1 << 45, !511][usize::from((flags >> 4) & 3)],
            read_only: flags & 1 != 0,
            preferred_block_len: 4096,
        },
        structured: flags & 2 != 0,
        block_status: flags & 4 != 0,
    };
    let stream = input.all();
    let expected = reading(&session, piece_len, stream);
    for piece in [piece, stream.len().max(1)] {
        // Twice the stream for what is collected here, and the inbox.
        let budget = (1 << 20) + 64 * stream.len();
        let events = bounded(budget, || receive(&session, piece_len, stream, piece));
        assert_eq!(events, expected);
    }
    for event in &expected {
        check(&session, event);
    }
}

fn receive(session: &Session, piece_len: usize, stream: &[u8], piece: usize) -> Vec<Event> {
    let mut inbox = Inbox::new(piece_len, 100);
    let mut events: Vec<Event> = Vec::new();
    let mut rest = stream;
    loop {
        match inbox.next(session) {
            Err(_) => {
                events.push(Event::BadMagic);
                return events;
            }
            Ok(Item::NeedInput) => {
                if rest.is_empty() {
                    return events;
                }
                let room = inbox.spare();
                assert!(!room.is_empty(), "wants input and has no room");
                let len = room.len().min(piece).min(rest.len());
                let (now, later) = rest.split_at(len);
                room[..len].copy_from_slice(now);
                inbox.filled(len);
                rest = later;
            }
            Ok(Item::Request { cookie, request }) => events.push(Event::Request(cookie, request)),
            Ok(Item::Rejected { cookie, reject, close }) => {
                events.push(Event::Rejected(cookie, reject, close));
                if close {
                    return events;
                }
            }
            Ok(Item::Write(item)) => {
                let payload = inbox.payload(&item.data);
                assert_eq!(
                    payload.len(),
                    item.data.len(),
                    "an item names bytes that are not there"
                );
                assert!(payload.len() <= piece_len);
                if item.first {
                    let start = Event::Write(item.cookie, item.offset, Vec::new(), item.fua, false);
                    events.push(start);
                }
                let Some(Event::Write(cookie, offset, so_far, fua, whole)) = events.last_mut()
                else {
                    panic!("a piece without a start");
                };
                assert_eq!((*cookie, *fua, *whole), (item.cookie, item.fua, false));
                assert_eq!(*offset + so_far.len() as u64, item.offset, "pieces are not in a row");
                so_far.extend_from_slice(payload);
                *whole = item.last;
            }
        }
    }
}

/// The same stream, read in one go.
fn reading(session: &Session, piece_len: usize, mut stream: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        if stream.len() >= 4 && !stream.starts_with(&REQUEST_MAGIC.to_be_bytes()) {
            events.push(Event::BadMagic);
            return events;
        }
        let Some((raw, rest)) = stream.split_first_chunk::<REQUEST_LEN>() else { return events };
        let mut fields = raw.iter().copied();
        let mut field =
            |len: usize| fields.by_ref().take(len).fold(0, |n, b| n << 8 | u64::from(b));
        let _magic = field(4);
        let header = Header {
            flags: field(2) as u16,
            command: field(2) as u16,
            cookie: field(8),
            offset: field(8),
            len: field(4),
        };
        assert_eq!(Header::decode(raw), Ok(Some(header)));
        let cookie = header.cookie;
        let payload_len = if header.command == 1 { header.len } else { 0 };
        let available = rest.len().min(usize::try_from(payload_len).unwrap_or(usize::MAX));
        let whole = available as u64 == payload_len;
        match session.check(&header) {
            Ok(Request::Write { offset, fua, .. }) => {
                let seen = if whole { available } else { available - available % piece_len };
                // A write of which no piece is there yet is not seen at all.
                if whole || seen > 0 {
                    events.push(Event::Write(cookie, offset, rest[..seen].to_vec(), fua, whole));
                }
            }
            Ok(request) => events.push(Event::Request(cookie, request)),
            Err(reject) => {
                let close = payload_len > u64::from(MAX_DRAIN_LEN);
                if close || whole {
                    events.push(Event::Rejected(cookie, reject, close));
                }
                if close {
                    return events;
                }
            }
        }
        if !whole {
            return events;
        }
        stream = &rest[available..];
    }
}

fn check(session: &Session, event: &Event) {
    let in_range = |offset: u64, len: u64| {
        assert!(offset.checked_add(len).is_some_and(|end| end <= session.export.len));
        assert!((offset | len).is_multiple_of(u64::from(MIN_BLOCK_LEN)));
    };
    match event {
        Event::Request(_, request) => match *request {
            Request::Read { offset, len, .. } => {
                in_range(offset, len.into());
                assert!(len <= MAX_PAYLOAD_LEN);
            }
            Request::Trim { offset, len, .. } | Request::WriteZeroes { offset, len, .. } => {
                in_range(offset, len);
                assert!(!session.export.read_only);
            }
            Request::Cache { offset, len } => in_range(offset, len),
            Request::BlockStatus { offset, len, .. } => {
                in_range(offset, len);
                assert!(session.block_status && len > 0);
            }
            Request::Write { .. } => panic!("a write without its payload"),
            Request::Disconnect | Request::Flush => {}
        },
        Event::Write(_, offset, data, _, whole) => {
            assert!(!session.export.read_only && data.len() <= MAX_PAYLOAD_LEN as usize);
            if *whole {
                in_range(*offset, data.len() as u64);
            }
        }
        Event::Rejected(cookie, reject, _) => {
            let mut out = Vec::new();
            reply::error(&mut out, *cookie, reject.errno, reject.reason, None);
            let len = out[CHUNK_HEADER_LEN - 4..CHUNK_HEADER_LEN]
                .iter()
                .fold(0, |n, b| n << 8 | usize::from(*b));
            assert_eq!(out.len(), CHUNK_HEADER_LEN + len);
        }
        Event::BadMagic => {}
    }
}
