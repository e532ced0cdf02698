//! The server's side of fixed newstyle negotiation, as a state machine over bytes.
//!
//! It owns what a client may do before transmission and how much of it; sockets and time limits
//! belong to the caller, and which exports exist to an [`ExportDirectory`].

use super::options::{
    ExportDirectory, ExportInfo, Fields, InfoRequest, MetaRequest, put_infos, put_reply,
    put_server, string,
};
use super::request::Session;
use super::wire::{
    BASE_ALLOCATION, BASE_ALLOCATION_ID, CLIENT_FLAGS_LEN, EXPORT_NAME_ZEROES, GREETING_LEN,
    INIT_MAGIC, OPTION_HEADER_LEN, OPTION_MAGIC, handshake_flag, option, option_reply as rep,
};

/// How much a client may send before transmission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest option data that is answered; longer is skipped and answered with `ERR_TOO_BIG`.
    pub max_option_len: u32,
    /// Most options.
    pub max_options: u32,
    /// Most bytes, skipped ones included.
    pub max_total_len: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_option_len: 16 << 10, max_options: 128, max_total_len: 256 << 10 }
    }
}

/// Why a handshake ended without transmission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Close {
    /// The client said `NBD_OPT_ABORT`.
    #[error("the client aborted the negotiation")]
    Aborted,
    /// Wrong magic, unknown client flags, or an option that needs fixed newstyle.
    #[error("the client broke the protocol: {0}")]
    Violation(&'static str),
    /// Past a [`Limits`] bound.
    #[error("the client sent more than a handshake may hold: {0}")]
    TooMuch(&'static str),
    /// `NBD_OPT_EXPORT_NAME` for a name that does not exist; that option cannot carry an error.
    #[error("the client asked for an export that does not exist")]
    UnknownExport,
}

/// What [`Handshake::advance`] came to.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller must act on each")]
pub enum Progress {
    /// The input does not hold a whole message; call again with more.
    NeedMore,
    /// One message was answered; send the output, then call again.
    Continue,
    /// Send the output; transmission starts.
    Ready(Box<Session>),
    /// Send the output, then close.
    Closed(Close),
}

/// One connection's negotiation.
#[derive(Debug)]
pub struct Handshake {
    limits: Limits,
    state: State,
    received: u64,
    options: u32,
    fixed: bool,
    no_zeroes: bool,
    structured: bool,
    /// The export for which `base:allocation` was selected.
    context_export: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    ClientFlags,
    Options,
    /// Dropping an oversize option's data before refusing it.
    Skip {
        option: u32,
        remaining: u32,
    },
    Over,
}

impl Handshake {
    /// A negotiation in which nothing was said yet. Send [`greeting`](Self::greeting) first.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::ClientFlags,
            received: 0,
            options: 0,
            fixed: false,
            no_zeroes: false,
            structured: false,
            context_export: None,
        }
    }

    /// What the server says first.
    #[must_use]
    pub fn greeting() -> [u8; GREETING_LEN] {
        let flags = handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES;
        let mut bytes = [0; GREETING_LEN];
        let fields = INIT_MAGIC.to_be_bytes().into_iter().chain(OPTION_MAGIC.to_be_bytes());
        for (slot, byte) in bytes.iter_mut().zip(fields.chain(flags.to_be_bytes())) {
            *slot = byte;
        }
        bytes
    }

    /// The longest input that [`advance`](Self::advance) may need to see at once.
    #[must_use]
    pub fn max_message_len(&self) -> usize {
        let option = usize::try_from(self.limits.max_option_len).unwrap_or(usize::MAX);
        option.saturating_add(OPTION_HEADER_LEN)
    }

    /// Handles at most one message at the front of `input`, appends the answer to `out`, and says
    /// how many bytes of `input` are used up.
    pub fn advance(
        &mut self,
        input: &[u8],
        exports: &dyn ExportDirectory,
        out: &mut Vec<u8>,
    ) -> (usize, Progress) {
        let (consumed, progress) = match self.state {
            State::ClientFlags => self.client_flags(input),
            State::Options => self.option(input, exports, out),
            State::Skip { option, remaining } => self.skip(input, option, remaining, out),
            State::Over => (0, Progress::Closed(Close::Violation("the handshake is over"))),
        };
        self.received = self.received.saturating_add(consumed as u64);
        if matches!(progress, Progress::Ready(_) | Progress::Closed(_)) {
            self.state = State::Over;
        }
        (consumed, progress)
    }

    fn client_flags(&mut self, input: &[u8]) -> (usize, Progress) {
        let Some(flags) = Fields::new(input).u32() else {
            return (0, Progress::NeedMore);
        };
        self.fixed = flags & handshake_flag::C_FIXED_NEWSTYLE != 0;
        self.no_zeroes = flags & handshake_flag::C_NO_ZEROES != 0;
        if flags & !(handshake_flag::C_FIXED_NEWSTYLE | handshake_flag::C_NO_ZEROES) != 0 {
            let close = Close::Violation("unknown client flags");
            return (CLIENT_FLAGS_LEN, Progress::Closed(close));
        }
        self.state = State::Options;
        (CLIENT_FLAGS_LEN, Progress::Continue)
    }

    fn option(
        &mut self,
        input: &[u8],
        exports: &dyn ExportDirectory,
        out: &mut Vec<u8>,
    ) -> (usize, Progress) {
        let mut fields = Fields::new(input);
        // Judge the magic as soon as it is there: a client of another protocol gets no patience.
        match fields.u64() {
            None => return (0, Progress::NeedMore),
            Some(OPTION_MAGIC) => {}
            Some(_) => return (0, Progress::Closed(Close::Violation("bad option magic"))),
        }
        let (Some(option), Some(len)) = (fields.u32(), fields.u32()) else {
            return (0, Progress::NeedMore);
        };
        if self.options >= self.limits.max_options {
            return (0, Progress::Closed(Close::TooMuch("options")));
        }
        let message_len = OPTION_HEADER_LEN as u64 + u64::from(len);
        if self.received.saturating_add(message_len) > self.limits.max_total_len {
            return (0, Progress::Closed(Close::TooMuch("bytes")));
        }
        if !self.fixed && option != option::EXPORT_NAME {
            let close = Close::Violation("an option without fixed newstyle");
            return (0, Progress::Closed(close));
        }
        if len > self.limits.max_option_len {
            if option == option::EXPORT_NAME {
                return (0, Progress::Closed(Close::TooMuch("export name")));
            }
            self.options += 1;
            self.state = State::Skip { option, remaining: len };
            return (OPTION_HEADER_LEN, Progress::Continue);
        }
        let Some(data) = usize::try_from(len).ok().and_then(|len| fields.bytes(len)) else {
            return (0, Progress::NeedMore);
        };
        self.options += 1;
        let progress = self.answer(option, data, exports, out);
        (OPTION_HEADER_LEN + data.len(), progress)
    }

    fn skip(
        &mut self,
        input: &[u8],
        option: u32,
        remaining: u32,
        out: &mut Vec<u8>,
    ) -> (usize, Progress) {
        let here = u32::try_from(input.len()).unwrap_or(u32::MAX).min(remaining);
        let left = remaining - here;
        let consumed = usize::try_from(here).unwrap_or(input.len());
        if left > 0 {
            self.state = State::Skip { option, remaining: left };
            return (consumed, Progress::NeedMore);
        }
        put_reply(out, option, rep::ERR_TOO_BIG, &[b"the option is too large"]);
        self.state = State::Options;
        (consumed, Progress::Continue)
    }

    fn answer(
        &mut self,
        option: u32,
        data: &[u8],
        exports: &dyn ExportDirectory,
        out: &mut Vec<u8>,
    ) -> Progress {
        if option == option::ABORT {
            put_reply(out, option, rep::ACK, &[]);
            return Progress::Closed(Close::Aborted);
        }
        if option == option::EXPORT_NAME {
            return self.export_name(data, exports, out);
        }
        if exports.is_shutting_down() {
            put_reply(out, option, rep::ERR_SHUTDOWN, &[b"the server is shutting down"]);
            return Progress::Continue;
        }
        let answered = match option {
            option::LIST => list(data, exports, out),
            option::INFO | option::GO => return self.info(option, data, exports, out),
            option::STRUCTURED_REPLY => self.structured_reply(data, out),
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                self.meta_context(option, data, exports, out)
            }
            // STARTTLS is unknown to a server without TLS, and comes under this arm.
            _ => Err((rep::ERR_UNSUP, "the option is not supported")),
        };
        if let Err((kind, message)) = answered {
            put_reply(out, option, kind, &[message.as_bytes()]);
        }
        Progress::Continue
    }

    fn export_name(
        &mut self,
        data: &[u8],
        exports: &dyn ExportDirectory,
        out: &mut Vec<u8>,
    ) -> Progress {
        let found = string(data).filter(|_| !exports.is_shutting_down());
        let Some(export) = found.and_then(|name| exports.find(name)) else {
            return Progress::Closed(Close::UnknownExport);
        };
        out.extend_from_slice(&export.len.to_be_bytes());
        out.extend_from_slice(&export.transmission_flags(self.structured).to_be_bytes());
        if !self.no_zeroes {
            out.extend_from_slice(&[0; EXPORT_NAME_ZEROES]);
        }
        self.ready(export)
    }

    fn info(
        &mut self,
        option: u32,
        data: &[u8],
        exports: &dyn ExportDirectory,
        out: &mut Vec<u8>,
    ) -> Progress {
        let Some(request) = InfoRequest::parse(data) else {
            put_reply(out, option, rep::ERR_INVALID, &[b"malformed information request"]);
            return Progress::Continue;
        };
        let Some(export) = exports.find(request.name) else {
            put_reply(out, option, rep::ERR_UNKNOWN, &[b"no such export"]);
            return Progress::Continue;
        };
        put_infos(out, option, &export, &request, self.structured);
        put_reply(out, option, rep::ACK, &[]);
        if option == option::GO { self.ready(export) } else { Progress::Continue }
    }

    fn structured_reply(&mut self, data: &[u8], out: &mut Vec<u8>) -> Answered {
        if !data.is_empty() {
            return Err((rep::ERR_INVALID, "the option takes no data"));
        }
        self.structured = true;
        put_reply(out, option::STRUCTURED_REPLY, rep::ACK, &[]);
        Ok(())
    }

    fn meta_context(
        &mut self,
        option: u32,
        data: &[u8],
        exports: &dyn ExportDirectory,
        out: &mut Vec<u8>,
    ) -> Answered {
        let set = option == option::SET_META_CONTEXT;
        if set {
            // A new selection replaces the old one, also when it fails.
            self.context_export = None;
        }
        if !self.structured {
            return Err((rep::ERR_INVALID, "negotiate structured replies first"));
        }
        let request = MetaRequest::parse(data)
            .ok_or((rep::ERR_INVALID, "malformed metadata context request"))?;
        let export = exports.find(request.export).ok_or((rep::ERR_UNKNOWN, "no such export"))?;
        // `base:` alone, or no query, lists what there is but selects nothing.
        let matched = request.exact || (!set && (request.namespace || request.no_queries));
        if matched {
            // The id means something only where a context is selected; in a list it is reserved.
            let id = if set { BASE_ALLOCATION_ID } else { 0 };
            let parts: [&[u8]; 2] = [&id.to_be_bytes(), BASE_ALLOCATION.as_bytes()];
            put_reply(out, option, rep::META_CONTEXT, &parts);
            if set {
                self.context_export = Some(export.name);
            }
        }
        put_reply(out, option, rep::ACK, &[]);
        Ok(())
    }

    fn ready(&mut self, export: ExportInfo) -> Progress {
        // A selection made for another export does not count for this one.
        let block_status = self.context_export.as_deref() == Some(export.name.as_str());
        Progress::Ready(Box::new(Session { export, structured: self.structured, block_status }))
    }
}

/// An option's error reply, or nothing where the reply is already written.
type Answered = Result<(), (u32, &'static str)>;

fn list(data: &[u8], exports: &dyn ExportDirectory, out: &mut Vec<u8>) -> Answered {
    if !data.is_empty() {
        return Err((rep::ERR_INVALID, "the option takes no data"));
    }
    for (name, description) in exports.list() {
        put_server(out, option::LIST, &name, &description);
    }
    put_reply(out, option::LIST, rep::ACK, &[]);
    Ok(())
}

#[cfg(test)]
mod tests;
