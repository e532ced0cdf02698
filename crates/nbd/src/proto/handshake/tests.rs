//! Golden bytes of the negotiation, its limits, and random input.

use proptest::prelude::*;

use super::super::wire::info;
use super::*;

/// Two exports: the default one, and a read-only one.
struct Two {
    shutting_down: bool,
}

impl ExportDirectory for Two {
    fn list(&self) -> Vec<(String, String)> {
        vec![(String::new(), String::new()), ("ro".into(), "text".into())]
    }

    fn find(&self, name: &str) -> Option<ExportInfo> {
        let read_only = match name {
            "" => false,
            "ro" => true,
            _ => return None,
        };
        Some(ExportInfo {
            name: name.into(),
            description: if read_only { "text".into() } else { String::new() },
            len: 0x0102_0000,
            read_only,
            preferred_block_len: 4096,
        })
    }

    fn is_shutting_down(&self) -> bool {
        self.shutting_down
    }
}

const EXPORTS: Two = Two { shutting_down: false };

fn opt(option: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = OPTION_MAGIC.to_be_bytes().to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

fn go(name: &str, infos: &[u16]) -> Vec<u8> {
    let mut data = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
    data.extend(name.as_bytes());
    data.extend(u16::try_from(infos.len()).unwrap().to_be_bytes());
    data.extend(infos.iter().flat_map(|i| i.to_be_bytes()));
    data
}

fn meta(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
    data.extend(name.as_bytes());
    data.extend(u32::try_from(queries.len()).unwrap().to_be_bytes());
    for query in queries {
        data.extend(u32::try_from(query.len()).unwrap().to_be_bytes());
        data.extend(query.as_bytes());
    }
    data
}

fn reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x00\x03\xe8\x89\x04\x55\x65\xa9".to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

/// Feeds everything, and returns the output and the last progress.
fn drive(handshake: &mut Handshake, mut input: &[u8]) -> (Vec<u8>, Progress) {
    let mut out = Vec::new();
    loop {
        let (consumed, progress) = handshake.advance(input, &EXPORTS, &mut out);
        input = &input[consumed..];
        if progress != Progress::Continue {
            return (out, progress);
        }
    }
}

/// A negotiation of a client with the given flags.
fn started(flags: u32) -> Handshake {
    let mut handshake = Handshake::new(Limits::default());
    assert_eq!(drive(&mut handshake, &flags.to_be_bytes()), (vec![], Progress::NeedMore));
    handshake
}

/// The error reply type of one option to a client that did everything right so far.
fn error_of(option: u32, data: &[u8]) -> u32 {
    let (out, progress) = drive(&mut started(3), &opt(option, data));
    assert_eq!(progress, Progress::NeedMore);
    assert_eq!(out[8..12], option.to_be_bytes());
    u32::from_be_bytes(out[12..16].try_into().unwrap())
}

#[test]
fn greeting_bytes() {
    assert_eq!(Handshake::greeting(), *b"NBDMAGICIHAVEOPT\0\x03");
}

#[test]
fn go_sends_what_was_asked_and_block_sizes_always() {
    let (out, progress) = drive(&mut started(3), &opt(option::GO, &go("ro", &[info::NAME, 2, 77])));
    let mut expected = reply(7, 3, b"\x00\x01ro");
    expected.extend(reply(7, 3, b"\x00\x02text"));
    expected.extend(reply(7, 3, b"\x00\x03\0\0\x02\0\0\0\x10\0\x02\0\0\0"));
    // HAS_FLAGS, READ_ONLY, FLUSH, FUA, MULTI_CONN, CACHE.
    expected.extend(reply(7, 3, b"\x00\x00\0\0\0\0\x01\x02\0\0\x05\x0f"));
    expected.extend(reply(7, 1, b""));
    assert_eq!(out, expected);
    let Progress::Ready(session) = progress else { panic!("{progress:?}") };
    assert_eq!((session.export.name.as_str(), session.structured), ("ro", false));
}

#[test]
fn legacy_entry_sends_zeroes_unless_told_not_to() {
    for (flags, zeroes) in [(1, 124), (3, 0), (0, 124)] {
        let (out, progress) = drive(&mut started(flags), &opt(option::EXPORT_NAME, b""));
        // HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, MULTI_CONN, CACHE, FAST_ZERO.
        let mut expected = b"\0\0\0\0\x01\x02\0\0\x0d\x6d".to_vec();
        expected.resize(10 + zeroes, 0);
        assert_eq!(out, expected, "client flags {flags}");
        assert!(matches!(progress, Progress::Ready(_)));
    }
}

#[test]
fn legacy_entry_to_an_unknown_export_closes() {
    let (out, progress) = drive(&mut started(3), &opt(option::EXPORT_NAME, b"nope"));
    assert_eq!((out, progress), (vec![], Progress::Closed(Close::UnknownExport)));
}

#[test]
fn df_is_offered_only_with_structured_replies() {
    let mut handshake = started(3);
    let (out, _) = drive(&mut handshake, &opt(option::STRUCTURED_REPLY, b""));
    assert_eq!(out, reply(8, 1, b""));
    let (out, progress) = drive(&mut handshake, &opt(option::EXPORT_NAME, b""));
    assert_eq!(out, b"\0\0\0\0\x01\x02\0\0\x0d\xed");
    let Progress::Ready(session) = progress else { panic!("{progress:?}") };
    assert!(session.structured && !session.block_status);
}

#[test]
fn contexts_need_structured_replies_and_bind_to_their_export() {
    assert_eq!(error_of(option::SET_META_CONTEXT, &meta("", &[])), rep::ERR_INVALID);
    for (context, export, block_status) in [("ro", "ro", true), ("ro", "", false)] {
        let mut handshake = started(3);
        drive(&mut handshake, &opt(option::STRUCTURED_REPLY, b""));
        let queries = ["qemu:dirty-bitmap:x", BASE_ALLOCATION];
        let set = opt(option::SET_META_CONTEXT, &meta(context, &queries));
        let (out, _) = drive(&mut handshake, &set);
        let mut expected = reply(10, 4, b"\0\0\0\x01base:allocation");
        expected.extend(reply(10, 1, b""));
        assert_eq!(out, expected);
        let (_, progress) = drive(&mut handshake, &opt(option::GO, &go(export, &[])));
        let Progress::Ready(session) = progress else { panic!("{progress:?}") };
        assert_eq!(session.block_status, block_status);
    }
}

#[test]
fn a_later_selection_replaces_the_earlier() {
    let mut handshake = started(3);
    drive(&mut handshake, &opt(option::STRUCTURED_REPLY, b""));
    drive(&mut handshake, &opt(option::SET_META_CONTEXT, &meta("", &[BASE_ALLOCATION])));
    drive(&mut handshake, &opt(option::SET_META_CONTEXT, &meta("", &["base:"])));
    let (_, progress) = drive(&mut handshake, &opt(option::GO, &go("", &[])));
    assert!(matches!(progress, Progress::Ready(session) if !session.block_status));
}

#[test]
fn listing_contexts_takes_wildcards() {
    for queries in [&[][..], &["base:"], &[BASE_ALLOCATION]] {
        let mut handshake = started(3);
        drive(&mut handshake, &opt(option::STRUCTURED_REPLY, b""));
        let (out, _) = drive(&mut handshake, &opt(option::LIST_META_CONTEXT, &meta("ro", queries)));
        let mut expected = reply(9, 4, b"\0\0\0\0base:allocation");
        expected.extend(reply(9, 1, b""));
        assert_eq!(out, expected, "{queries:?}");
    }
}

#[test]
fn list_names_the_exports() {
    let (out, _) = drive(&mut started(3), &opt(option::LIST, b""));
    let mut expected = reply(3, 2, b"\0\0\0\0");
    expected.extend(reply(3, 2, b"\0\0\0\x02rotext"));
    expected.extend(reply(3, 1, b""));
    assert_eq!(out, expected);
}

#[test]
fn wrong_options_get_the_protocols_errors() {
    let unterminated = [go("", &[]), vec![0]].concat();
    let cases: [(u32, Vec<u8>, u32); 9] = [
        (option::STARTTLS, vec![], rep::ERR_UNSUP),
        (4242, vec![1, 2, 3], rep::ERR_UNSUP),
        (option::LIST, vec![0], rep::ERR_INVALID),
        (option::STRUCTURED_REPLY, vec![0], rep::ERR_INVALID),
        (option::GO, vec![], rep::ERR_INVALID),
        (option::GO, unterminated, rep::ERR_INVALID),
        (option::GO, u32::MAX.to_be_bytes().to_vec(), rep::ERR_INVALID),
        (option::GO, go("nul\0", &[]), rep::ERR_INVALID),
        (option::INFO, go("nope", &[]), rep::ERR_UNKNOWN),
    ];
    for (option, data, expected) in cases {
        assert_eq!(error_of(option, &data), expected, "option {option} with {data:?}");
    }
}

#[test]
fn oversize_options_are_skipped_and_refused() {
    let mut handshake = started(3);
    let max = Limits::default().max_option_len;
    let (out, progress) = drive(&mut handshake, &opt(option::LIST, &vec![0; max as usize + 1]));
    assert_eq!(progress, Progress::NeedMore);
    assert_eq!(out[..20], reply(3, rep::ERR_TOO_BIG, &[0; 23])[..20]);
    let (out, _) = drive(&mut handshake, &opt(option::LIST, b""));
    assert_eq!(out[12..16], rep::SERVER.to_be_bytes(), "the negotiation goes on");
}

#[test]
fn limits_close_the_connection() {
    let mut handshake = started(3);
    let many: Vec<u8> = (0..129).flat_map(|_| opt(999, b"")).collect();
    let (_, progress) = drive(&mut handshake, &many);
    assert_eq!(progress, Progress::Closed(Close::TooMuch("options")));

    let mut huge = opt(999, b"");
    huge[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
    let (_, progress) = drive(&mut started(3), &huge);
    assert_eq!(progress, Progress::Closed(Close::TooMuch("bytes")));
}

#[test]
fn violations_close_the_connection() {
    let (_, progress) = drive(&mut Handshake::new(Limits::default()), &8_u32.to_be_bytes());
    assert!(matches!(progress, Progress::Closed(Close::Violation(_))));
    let (_, progress) = drive(&mut started(3), b"GET / HT");
    assert!(matches!(progress, Progress::Closed(Close::Violation(_))));
    let (_, progress) = drive(&mut started(2), &opt(option::LIST, b""));
    assert!(matches!(progress, Progress::Closed(Close::Violation(_))), "not fixed newstyle");
}

#[test]
fn abort_is_acknowledged_also_in_shutdown() {
    let down = Two { shutting_down: true };
    let mut out = Vec::new();
    let (_, progress) = started(3).advance(&opt(option::ABORT, b""), &down, &mut out);
    assert_eq!((out, progress), (reply(2, 1, b""), Progress::Closed(Close::Aborted)));
    let mut out = Vec::new();
    started(3).advance(&opt(option::GO, &go("", &[])), &down, &mut out);
    assert_eq!(out[12..16], rep::ERR_SHUTDOWN.to_be_bytes());
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let mut input = 3_u32.to_be_bytes().to_vec();
    input.extend(opt(option::STRUCTURED_REPLY, b""));
    input.extend(opt(option::GO, &go("ro", &[info::DESCRIPTION])));
    let mut handshake = Handshake::new(Limits::default());
    let (mut held, mut out, mut ready) = (Vec::new(), Vec::new(), false);
    for byte in input {
        held.push(byte);
        let (consumed, progress) = handshake.advance(&held, &EXPORTS, &mut out);
        held.drain(..consumed);
        ready = matches!(progress, Progress::Ready(_));
    }
    assert!(ready && held.is_empty());
}

/// Input that gets past the magic numbers more often than chance would.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let option = (0_u32..14, proptest::collection::vec(any::<u8>(), 0..64));
    let proper = option.prop_map(|(option, data)| opt(option, &data));
    let sane = prop_oneof![
        Just(opt(option::STRUCTURED_REPLY, b"")),
        Just(opt(option::SET_META_CONTEXT, &meta("", &[BASE_ALLOCATION]))),
        Just(opt(option::INFO, &go("ro", &[1, 2, 3]))),
    ];
    let noise = proptest::collection::vec(any::<u8>(), 0..64);
    let messages =
        proptest::collection::vec(prop_oneof![4 => proper, 4 => sane, 1 => noise], 0..24);
    (0_u32..4, messages)
        .prop_map(|(flags, messages)| [flags.to_be_bytes().to_vec(), messages.concat()].concat())
}

proptest! {
    #[test]
    fn random_input_never_panics_nor_amplifies(input in plausible(), cuts in any::<u64>()) {
        let mut handshake = Handshake::new(Limits::default());
        let mut out = Vec::new();
        let (mut at, mut seen) = (0, 0);
        for step in 0..10_000_u64 {
            let (consumed, progress) = handshake.advance(&input[at..seen], &EXPORTS, &mut out);
            prop_assert!(consumed <= seen - at);
            at += consumed;
            // Each option gets a bounded answer: at most the list of exports.
            prop_assert!(out.len() <= 512 + 8 * 4096);
            out.clear();
            match progress {
                Progress::Continue => {}
                Progress::NeedMore if seen == input.len() => break,
                Progress::NeedMore => {
                    let cut = usize::try_from(cuts.rotate_left((step % 64) as u32) % 97).unwrap();
                    seen = (seen + 1 + cut).min(input.len());
                }
                Progress::Ready(_) | Progress::Closed(_) => break,
            }
        }
    }
}
