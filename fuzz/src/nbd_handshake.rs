//! The NBD handshake against any client: it ends or asks for more, says only well-formed things, of
//! bounded length, and how the bytes are cut into pieces makes no difference.

use sealvol_nbd::proto::wire::{EXPORT_NAME_ZEROES, OPTION_REPLY_HEADER_LEN, OPTION_REPLY_MAGIC};
use sealvol_nbd::proto::{ExportDirectory, ExportInfo, Handshake, Limits, Progress, Session};

use crate::input::Input;
use crate::memory::bounded;

struct Directory {
    flags: u8,
}

impl ExportDirectory for Directory {
    fn list(&self) -> Vec<(String, String)> {
        let names = ["", "vol-0123456789abcdef0", "vol-2"];
        names.map(|name| (name.to_owned(), format!("volume {name}"))).to_vec()
    }

    fn find(&self, name: &str) -> Option<ExportInfo> {
        self.list().into_iter().find(|(known, _)| known == name).map(|(name, description)| {
            ExportInfo {
                name,
                description,
                len: 1 << 30,
                read_only: self.flags & 1 != 0,
                preferred_block_len: 4096,
            }
        })
    }

    fn is_shutting_down(&self) -> bool {
        self.flags & 2 != 0
    }
}

/// How a negotiation ended.
#[derive(Debug, PartialEq)]
enum End {
    Starved,
    Ready(Box<Session>),
    Closed(sealvol_nbd::proto::Close),
}

/// The target's body: a byte of flags, a piece length, then what the client sends.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.u8();
    let piece = usize::from(input.u8()) + 1;
    let limits = if flags & 4 != 0 {
        Limits { max_option_len: 64, max_options: 4, max_total_len: 1 << 10 }
    } else {
        Limits::default()
    };
    let sent = input.all();
    let whole = bounded(4 << 20, || negotiate(flags, limits, sent, sent.len().max(1)));
    let pieces = bounded(4 << 20, || negotiate(flags, limits, sent, piece));
    assert_eq!(whole, pieces, "how the bytes arrive changed the outcome");
    check_output(&whole);
}

/// Everything that the server says, how many bytes it used, and how it ended.
fn negotiate(flags: u8, limits: Limits, sent: &[u8], piece: usize) -> (Vec<u8>, usize, End) {
    let directory = Directory { flags };
    let mut handshake = Handshake::new(limits);
    let (mut out, mut start, mut end) = (Vec::new(), 0, 0);
    loop {
        let input = &sent[start..end];
        let (used, progress) = handshake.advance(input, &directory, &mut out);
        assert!(used <= input.len());
        start += used;
        assert!(start as u64 <= limits.max_total_len + 20, "used more than the limit");
        match progress {
            Progress::NeedMore => {
                assert!(
                    used > 0 || input.len() < handshake.max_message_len(),
                    "wants more than the longest message"
                );
                if end == sent.len() {
                    return (out, start, End::Starved);
                }
                end = sent.len().min(end + piece);
            }
            Progress::Continue => assert!(used > 0, "went on without using anything"),
            Progress::Ready(session) => return (out, start, End::Ready(session)),
            Progress::Closed(close) => {
                let again = handshake.advance(&sent[start..], &directory, &mut out);
                assert!(matches!(again, (0, Progress::Closed(_))), "went on after its end");
                return (out, start, End::Closed(close));
            }
        }
    }
}

/// What the server said is a row of option replies, and behind them at most the answer to
/// `NBD_OPT_EXPORT_NAME`.
fn check_output((out, _, end): &(Vec<u8>, usize, End)) {
    assert!(out.len() <= 128 << 10, "{} bytes of answers", out.len());
    let mut rest = out.as_slice();
    while rest.starts_with(&OPTION_REPLY_MAGIC.to_be_bytes()) {
        let (header, tail) = rest.split_at(OPTION_REPLY_HEADER_LEN);
        let len = header.last_chunk().map_or(0, |len| u32::from_be_bytes(*len)) as usize;
        assert!(len <= tail.len(), "a reply is shorter than it says");
        rest = &tail[len..];
    }
    match end {
        End::Ready(_) => {
            assert!([0, 10, 10 + EXPORT_NAME_ZEROES].contains(&rest.len()), "{} bytes", rest.len());
        }
        End::Starved | End::Closed(_) => assert!(rest.is_empty(), "{} stray bytes", rest.len()),
    }
}
