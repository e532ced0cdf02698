//! What options carry: the parsers of their data, the exports they ask about, and the encoders of
//! their replies.

use super::wire::{
    MAX_PAYLOAD_LEN, MAX_STRING_LEN, MIN_BLOCK_LEN, OPTION_REPLY_MAGIC, info, option_reply,
    transmission_flag as flag,
};

/// What a client may learn of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportInfo {
    /// The name under which it is listed.
    pub name: String,
    /// Text for people; may be empty.
    pub description: String,
    /// Size in bytes.
    pub len: u64,
    /// Whether writes are refused.
    pub read_only: bool,
    /// The request size that the device serves best: a power of two.
    pub preferred_block_len: u32,
}

impl ExportInfo {
    /// The transmission flags for a client that did or did not negotiate structured replies.
    #[must_use]
    pub fn transmission_flags(&self, structured: bool) -> u16 {
        let mut flags = flag::HAS_FLAGS
            | flag::SEND_FLUSH
            | flag::SEND_FUA
            | flag::CAN_MULTI_CONN
            | flag::SEND_CACHE;
        flags |= if self.read_only {
            flag::READ_ONLY
        } else {
            flag::SEND_TRIM | flag::SEND_WRITE_ZEROES | flag::SEND_FAST_ZERO
        };
        if structured {
            flags |= flag::SEND_DF;
        }
        flags
    }
}

/// The exports as one client sees them. An implementation that hides some from some clients
/// answers for those exactly as for names that do not exist.
pub trait ExportDirectory {
    /// Names and descriptions, for `NBD_OPT_LIST`.
    fn list(&self) -> Vec<(String, String)>;

    /// One export by name; the empty name is the default export.
    fn find(&self, name: &str) -> Option<ExportInfo>;

    /// Whether the server is going away, so that options are answered with `ERR_SHUTDOWN`.
    fn is_shutting_down(&self) -> bool {
        false
    }
}

/// Takes big-endian fields off the front of option data.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        self.rest = tail;
        Some(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A string with its 32-bit length in front.
    pub(super) fn string(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.u32()?).ok()?;
        string(self.bytes(len)?)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Checks the protocol's rules for strings: UTF-8, no NUL, at most 4096 bytes.
pub(super) fn string(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > MAX_STRING_LEN || bytes.contains(&0) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

/// The data of `NBD_OPT_INFO` and `NBD_OPT_GO`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InfoRequest<'a> {
    pub(super) name: &'a str,
    pub(super) wants_name: bool,
    pub(super) wants_description: bool,
}

impl<'a> InfoRequest<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(data);
        let name = fields.string()?;
        let mut request = Self { name, wants_name: false, wants_description: false };
        for _ in 0..fields.u16()? {
            match fields.u16()? {
                info::NAME => request.wants_name = true,
                info::DESCRIPTION => request.wants_description = true,
                // EXPORT and BLOCK_SIZE are always sent; unknown types are ignored as specified.
                _ => {}
            }
        }
        fields.is_empty().then_some(request)
    }
}

/// The data of `NBD_OPT_LIST_META_CONTEXT` and `NBD_OPT_SET_META_CONTEXT`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MetaRequest<'a> {
    pub(super) export: &'a str,
    /// Whether there was no query at all, which lists everything.
    pub(super) no_queries: bool,
    /// Whether a query names `base:allocation`.
    pub(super) exact: bool,
    /// Whether a query asks for all of `base:`.
    pub(super) namespace: bool,
}

impl<'a> MetaRequest<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(data);
        let export = fields.string()?;
        let count = fields.u32()?;
        let mut request = Self { export, no_queries: count == 0, exact: false, namespace: false };
        for _ in 0..count {
            match fields.string()? {
                super::wire::BASE_ALLOCATION => request.exact = true,
                "base:" => request.namespace = true,
                // Contexts of other namespaces are not an error; they select nothing.
                _ => {}
            }
        }
        fields.is_empty().then_some(request)
    }
}

/// Appends one option reply.
pub(super) fn put_reply(out: &mut Vec<u8>, option: u32, kind: u32, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&OPTION_REPLY_MAGIC.to_be_bytes());
    out.extend_from_slice(&option.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends one `NBD_REP_SERVER`.
pub(super) fn put_server(out: &mut Vec<u8>, option: u32, name: &str, description: &str) {
    let name_len = u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes();
    let parts: [&[u8]; 3] = [&name_len, name.as_bytes(), description.as_bytes()];
    put_reply(out, option, option_reply::SERVER, &parts);
}

/// Appends the `NBD_REP_INFO` replies for one export.
pub(super) fn put_infos(
    out: &mut Vec<u8>,
    option: u32,
    export: &ExportInfo,
    request: &InfoRequest<'_>,
    structured: bool,
) {
    let mut put = |kind: u16, parts: [&[u8]; 3]| {
        let [a, b, c] = parts;
        put_reply(out, option, option_reply::INFO, &[&kind.to_be_bytes(), a, b, c]);
    };
    if request.wants_name {
        put(info::NAME, [export.name.as_bytes(), &[], &[]]);
    }
    if request.wants_description && !export.description.is_empty() {
        put(info::DESCRIPTION, [export.description.as_bytes(), &[], &[]]);
    }
    // Sent to those who did not ask as well, which the protocol allows: a client that knows the
    // minimum never meets the EINVAL of a misaligned request.
    let preferred = export.preferred_block_len.clamp(MIN_BLOCK_LEN, MAX_PAYLOAD_LEN);
    let sizes = [MIN_BLOCK_LEN, preferred, MAX_PAYLOAD_LEN].map(u32::to_be_bytes);
    let [min, preferred, max] = &sizes;
    put(info::BLOCK_SIZE, [min, preferred, max]);
    let flags = export.transmission_flags(structured).to_be_bytes();
    put(info::EXPORT, [&export.len.to_be_bytes(), &flags, &[]]);
}
