//! Which requests a session allows, and what the others are told.

use super::*;

fn session(read_only: bool, structured: bool) -> Session {
    Session {
        export: ExportInfo {
            name: String::new(),
            description: String::new(),
            len: 1 << 20,
            read_only,
            preferred_block_len: 4096,
        },
        structured,
        block_status: structured,
    }
}

fn header(command: u16, flags: u16, offset: u64, len: u64) -> Header {
    Header { flags, command, cookie: 7, offset, len }
}

#[test]
fn header_bytes() {
    let bytes = b"\x25\x60\x95\x13\x00\x05\x00\x01\x01\x02\x03\x04\x05\x06\x07\x08\
                  \0\0\0\0\0\0\x10\0\0\0\x02\0";
    let expected = Header {
        flags: 5,
        command: command::WRITE,
        cookie: 0x0102_0304_0506_0708,
        offset: 4096,
        len: 512,
    };
    assert_eq!(Header::decode(bytes), Ok(Some(expected)));
    assert_eq!(expected.payload_len(), 512);
    for len in 0..bytes.len() {
        assert_eq!(Header::decode(&bytes[..len]), Ok(None), "{len} bytes");
    }
    assert_eq!(Header::decode(b"\x25\x60\x95\x12"), Err(BadMagic));
}

#[test]
fn refusals_carry_the_protocols_numbers() {
    use command::*;
    let ok = session(false, true);
    let plain = session(false, false);
    let ro = session(true, true);
    let end = 1 << 20;
    let cases = [
        (&ok, header(99, 0, 0, 0), Errno::Inval),
        (&ok, header(READ, 0, 1, 512), Errno::Inval),
        (&ok, header(READ, 0, 0, 511), Errno::Inval),
        (&ok, header(READ, 0, end, 512), Errno::Inval),
        (&ok, header(READ, 0, u64::MAX - 511, 512), Errno::Inval),
        (&ok, header(READ, 0, 0, (32 << 20) + 512), Errno::Inval),
        (&ok, header(READ, flag::NO_HOLE, 0, 512), Errno::Inval),
        (&plain, header(READ, flag::DF, 0, 512), Errno::Inval),
        (&ok, header(WRITE, 0, end, 512), Errno::NoSpc),
        (&ok, header(WRITE, 0, 0, u64::from(u32::MAX)), Errno::Inval),
        (&ok, header(WRITE, flag::DF, 0, 512), Errno::Inval),
        (&ro, header(WRITE, 0, 0, 512), Errno::Perm),
        (&ro, header(TRIM, 0, 0, 512), Errno::Perm),
        (&ro, header(WRITE_ZEROES, 0, 0, 512), Errno::Perm),
        (&ok, header(TRIM, 0, end, 512), Errno::Inval),
        (&ok, header(WRITE_ZEROES, 0, end, 512), Errno::NoSpc),
        (&ok, header(WRITE_ZEROES, flag::REQ_ONE, 0, 512), Errno::Inval),
        (&ok, header(FLUSH, 0, 512, 0), Errno::Inval),
        (&ok, header(FLUSH, 0, 0, 512), Errno::Inval),
        (&ok, header(CACHE, 0, 512, end), Errno::Inval),
        (&plain, header(BLOCK_STATUS, 0, 0, 512), Errno::Inval),
        (&ok, header(BLOCK_STATUS, 0, 0, 0), Errno::Inval),
        (&ok, header(BLOCK_STATUS, 0, 0, end + 512), Errno::Inval),
    ];
    for (session, header, errno) in cases {
        let refused = session.check(&header).map_err(|reject| reject.errno);
        assert_eq!(refused, Err(errno), "{header:?}");
    }
}

#[test]
fn allowed_requests_keep_their_flags() {
    use command::*;
    let ok = session(false, true);
    let fua = flag::FUA;
    let cases = [
        (header(READ, flag::DF | fua, 0, 512), Request::Read { offset: 0, len: 512, whole: true }),
        (header(READ, 0, 1 << 20, 0), Request::Read { offset: 1 << 20, len: 0, whole: false }),
        (header(WRITE, fua, 512, 512), Request::Write { offset: 512, len: 512, fua: true }),
        (header(FLUSH, fua, 0, 0), Request::Flush),
        (header(TRIM, fua, 0, 512), Request::Trim { offset: 0, len: 512, fua: true }),
        (
            header(WRITE_ZEROES, flag::NO_HOLE | flag::FAST_ZERO, 0, 512),
            Request::WriteZeroes { offset: 0, len: 512, fua: false, no_hole: true },
        ),
        (
            header(BLOCK_STATUS, flag::REQ_ONE, 0, 512),
            Request::BlockStatus { offset: 0, len: 512, one: true },
        ),
        (header(CACHE, 0, 0, 512), Request::Cache { offset: 0, len: 512 }),
        (header(DISC, 0xffff, 1, 1), Request::Disconnect),
    ];
    for (header, request) in cases {
        assert_eq!(ok.check(&header), Ok(request), "{header:?}");
    }
    let ro = session(true, true);
    assert_eq!(ro.check(&header(FLUSH, 0, 0, 0)), Ok(Request::Flush), "read-only can flush");
}
