//! The authentication that a request presents, read but not yet believed.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, DATE};
use http::{HeaderMap, HeaderName};

use super::ALGORITHM;
use super::canonical::SIGNATURE_PARAM;
use super::fault::AuthFault;
use super::head::RequestHead;
use super::time::AmzDate;
use crate::percent;

pub(crate) const DATE_HEADER: HeaderName = HeaderName::from_static("x-amz-date");
pub(crate) const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-amz-security-token");

/// A presigned request lives a week at most.
const EXPIRES_SECS_MAX: u64 = 604_800;

/// How a request is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// By the `Authorization` header.
    Header,
    /// By its query: presigned.
    Query {
        /// How long it lives.
        expires: Duration,
    },
}

/// Whose signature a request presents, and when and for what it was made. Nothing of it is to be
/// believed before [`verify`](Self::verify).
#[derive(Clone)]
pub struct Presented<'a> {
    credential: Cow<'a, str>,
    signed_headers: Cow<'a, str>,
    // `None`: not 64 lower-case hexadecimal digits, hence the signature of nothing.
    signature: Option<[u8; 32]>,
    session_token: Option<Cow<'a, str>>,
    at: AmzDate,
    form: Form,
}

impl<'a> Presented<'a> {
    /// Reads the authentication of `head`, `None` when it has none ([`AuthFault::Missing`]).
    ///
    /// # Errors
    /// [`AuthFault::Incomplete`] when a part is missing, given twice, or cannot be read.
    pub fn parse(head: &RequestHead<'a>) -> Result<Option<Self>, AuthFault> {
        let from_query = QueryAuth::read(head.query)?;
        let mut headers = head.headers.get_all(AUTHORIZATION).iter();
        let header = headers.next();
        if headers.next().is_some() || (header.is_some() && from_query.is_some()) {
            return Err(AuthFault::incomplete(
                "Only one authentication may be given: one Authorization header, or one X-Amz-Signature.",
            ));
        }
        match (header, from_query) {
            (Some(header), _) => {
                let text = header.to_str().map_err(|_| {
                    AuthFault::incomplete("The Authorization header holds more than ASCII.")
                })?;
                Self::from_header(text, head.headers).map(Some)
            }
            (None, Some(query)) => query.presented().map(Some),
            (None, None) => Ok(None),
        }
    }

    fn from_header(text: &'a str, headers: &'a HeaderMap) -> Result<Self, AuthFault> {
        let (algorithm, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if algorithm != ALGORITHM {
            return Err(unsupported(algorithm));
        }
        let mut parts = Parts::new(["Credential", "Signature", "SignedHeaders"]);
        // AWS's clients write ", "; a comma or a space alone is understood as well.
        let pairs = rest.split(|c: char| c == ',' || c.is_ascii_whitespace());
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(AuthFault::incomplete(
                    "Invalid key=value pair (missing equal-sign) in Authorization header.",
                ));
            };
            parts.put(name, value)?;
        }
        let at = header_date(headers)?;
        let lacks: Vec<String> = parts
            .lacking()
            .map(|name| format!("Authorization header requires '{name}' parameter."))
            .chain(at.is_none().then(|| {
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
                    .to_owned()
            }))
            .collect();
        let (Some(at), [Some(credential), Some(signature), Some(signed)]) = (at, parts.values)
        else {
            return Err(AuthFault::incomplete(lacks.join(" ")));
        };
        let token = one(headers, &TOKEN_HEADER)?;
        Self {
            credential: Cow::Borrowed(credential),
            signed_headers: Cow::Borrowed(signed),
            signature: read_signature(signature),
            session_token: token.map(Cow::Borrowed),
            at,
            form: Form::Header,
        }
        .checked()
    }

    /// Checks what does not depend on the request: the credential's shape, the list's order.
    fn checked(self) -> Result<Self, AuthFault> {
        let parts = self.credential.split('/').count();
        if parts != 5 || self.credential.split('/').any(str::is_empty) {
            return Err(AuthFault::incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. \
                 keyid/date/region/service/term, got '{}'",
                self.credential
            )));
        }
        let names = || self.signed_headers.split(';');
        let sorted = names().zip(names().skip(1)).all(|(name, next)| name < next);
        let lower = names()
            .all(|name| !name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
        if !sorted || !lower {
            return Err(AuthFault::incomplete(
                "SignedHeaders must be names in lower case, each once, sorted, separated by ';'.",
            ));
        }
        Ok(self)
    }

    fn part(&self, index: usize) -> &str {
        // `checked` saw to it that there are five.
        self.credential.split('/').nth(index).unwrap_or_default()
    }

    /// The id of the access key, by which the caller finds the secret.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        self.part(0)
    }

    /// The day of the scope, `20150830`.
    #[must_use]
    pub fn scope_day(&self) -> &str {
        self.part(1)
    }

    /// The region of the scope.
    #[must_use]
    pub fn scope_region(&self) -> &str {
        self.part(2)
    }

    /// The service of the scope.
    #[must_use]
    pub fn scope_service(&self) -> &str {
        self.part(3)
    }

    pub(crate) fn scope_terminator(&self) -> &str {
        self.part(4)
    }

    /// All of the scope.
    pub(crate) fn scope(&self) -> &str {
        self.credential.split_once('/').map_or("", |(_, scope)| scope)
    }

    /// The session token, when the key is a temporary one. That it belongs to the key is for the
    /// caller to check; that it is signed, [`verify`](Self::verify) does.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }

    /// When it says it was signed.
    #[must_use]
    pub fn signed_at(&self) -> AmzDate {
        self.at
    }

    /// In which form.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// The names of the signed headers, sorted, separated by `;`.
    #[must_use]
    pub fn signed_headers(&self) -> &str {
        &self.signed_headers
    }

    pub(crate) fn signature(&self) -> Option<&[u8; 32]> {
        self.signature.as_ref()
    }
}

// Signature and token could be sent again.
impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented")
            .field("credential", &self.credential)
            .field("signed_headers", &self.signed_headers)
            .field("at", &self.at)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

fn unsupported(algorithm: &str) -> AuthFault {
    if algorithm.starts_with("AWS4-") {
        return AuthFault::incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}'"));
    }
    // Another scheme altogether (Basic, Bearer): its text may be a password and is not repeated.
    AuthFault::incomplete(
        "Authorization header requires 'Credential' parameter. Authorization header requires \
         'Signature' parameter. Authorization header requires 'SignedHeaders' parameter.",
    )
}

fn read_signature(text: &str) -> Option<[u8; 32]> {
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let mut bytes = [0; 32];
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// The one value of a header; more than one would leave open which is meant.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, AuthFault> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    match (first.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => {
            Err(AuthFault::incomplete(format!("The header '{name}' must have one value in ASCII.")))
        }
    }
}

fn header_date(headers: &HeaderMap) -> Result<Option<AmzDate>, AuthFault> {
    let (text, may_be_http) = match one(headers, &DATE_HEADER)? {
        Some(text) => (text, false),
        None => match one(headers, &DATE)? {
            Some(text) => (text, true),
            None => return Ok(None),
        },
    };
    let text = text.trim_matches(' ');
    let date = AmzDate::parse_basic(text)
        .or_else(|| may_be_http.then(|| AmzDate::parse_http(text)).flatten());
    date.map(Some).ok_or_else(|| not_a_date(text))
}

fn not_a_date(text: &str) -> AuthFault {
    AuthFault::incomplete(format!(
        "Date must be in ISO-8601 'basic format'. Got '{text}'. See \
         http://en.wikipedia.org/wiki/ISO_8601"
    ))
}

/// Named values, each at most once.
struct Parts<T, const N: usize> {
    names: [&'static str; N],
    values: [Option<T>; N],
}

impl<T, const N: usize> Parts<T, N> {
    fn new(names: [&'static str; N]) -> Self {
        Self { names, values: [const { None }; N] }
    }

    /// Takes a value; what is not asked for is passed over.
    fn put(&mut self, name: &str, value: T) -> Result<(), AuthFault> {
        let places = self.names.iter().zip(self.values.iter_mut());
        let Some((name, place)) = places.into_iter().find(|(known, _)| **known == name) else {
            return Ok(());
        };
        if place.replace(value).is_some() {
            return Err(AuthFault::incomplete(format!("'{name}' is given more than once.")));
        }
        Ok(())
    }

    fn lacking(&self) -> impl Iterator<Item = &'static str> {
        let parts = self.names.iter().zip(&self.values);
        parts.filter(|(_, value)| value.is_none()).map(|(name, _)| *name)
    }
}

const QUERY_PARTS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    SIGNATURE_PARAM,
    "X-Amz-SignedHeaders",
    "X-Amz-Security-Token",
];

/// The authentication parameters of a query.
struct QueryAuth<'a>(Parts<Cow<'a, str>, 7>);

impl<'a> QueryAuth<'a> {
    /// `None` when the query does not claim to be signed.
    fn read(query: &'a str) -> Result<Option<Self>, AuthFault> {
        if query.is_empty() {
            return Ok(None);
        }
        let mut parts = Parts::new(QUERY_PARTS);
        for (name, value) in percent::pairs(query) {
            let name = percent::decode_form(name);
            let Ok(name) = std::str::from_utf8(&name) else { continue };
            if QUERY_PARTS.contains(&name) {
                parts.put(name, text(percent::decode_form(value), name)?)?;
            }
        }
        let [algorithm, credential, _, _, signature, ..] = &parts.values;
        let claims = algorithm.is_some() || credential.is_some() || signature.is_some();
        Ok(claims.then_some(Self(parts)))
    }

    fn presented(self) -> Result<Presented<'a>, AuthFault> {
        let lacks: Vec<String> = self
            .0
            .lacking()
            .filter(|name| *name != "X-Amz-Security-Token")
            .map(|name| format!("AWS query-string parameters must include '{name}'."))
            .collect();
        let [
            Some(algorithm),
            Some(credential),
            Some(date),
            Some(expires),
            Some(signature),
            Some(signed_headers),
            session_token,
        ] = self.0.values
        else {
            return Err(AuthFault::incomplete(lacks.join(" ")));
        };
        if algorithm != ALGORITHM {
            return Err(AuthFault::incomplete(format!(
                "Unsupported AWS 'algorithm': '{algorithm}'"
            )));
        }
        let at = AmzDate::parse_basic(&date).ok_or_else(|| not_a_date(&date))?;
        let plain = expires.bytes().all(|byte| byte.is_ascii_digit());
        let expires =
            expires.parse().ok().filter(|secs| plain && (1..=EXPIRES_SECS_MAX).contains(secs));
        let Some(expires) = expires else {
            return Err(AuthFault::incomplete(
                "X-Amz-Expires must be a number of seconds from 1 to 604800.",
            ));
        };
        Presented {
            credential,
            signed_headers,
            signature: read_signature(&signature),
            session_token,
            at,
            form: Form::Query { expires: Duration::from_secs(expires) },
        }
        .checked()
    }
}

fn text<'a>(bytes: Cow<'a, [u8]>, name: &str) -> Result<Cow<'a, str>, AuthFault> {
    let text = match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    };
    text.ok_or_else(|| AuthFault::incomplete(format!("'{name}' is not UTF-8.")))
}
