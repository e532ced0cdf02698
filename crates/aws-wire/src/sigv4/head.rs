//! The parts of a request that a signature covers, borrowed.

use std::fmt;

use http::HeaderMap;

/// A request without its body, as it came off the wire: nothing decoded, nothing normalised.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// `POST`.
    pub method: &'a str,
    /// The path, still percent-encoded; empty means `/`.
    pub path: &'a str,
    /// The query without its `?`, still percent-encoded.
    pub query: &'a str,
    /// Every header, in order.
    pub headers: &'a HeaderMap,
    /// HTTP/2's `:authority`, which stands for `host` when that header is absent.
    pub authority: Option<&'a str>,
}

impl<'a> From<&'a http::request::Parts> for RequestHead<'a> {
    fn from(parts: &'a http::request::Parts) -> Self {
        Self {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            authority: parts.uri.authority().map(|authority| authority.as_str()),
        }
    }
}

// Headers and query hold signatures and session tokens.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
