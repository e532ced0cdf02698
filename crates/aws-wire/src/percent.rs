//! Percent-encoding as Signature Version 4 wants it, and decoding as HTML forms have it.

use std::borrow::Cow;

const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";

/// RFC 3986's unreserved characters: all that stays as it is.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `%XX` of `byte`.
fn escape(byte: u8) -> [u8; 3] {
    let digit = |nibble: u8| UPPER_HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    [b'%', digit(byte >> 4), digit(byte & 15)]
}

/// Hands `bytes` to `sink`, everything but unreserved characters and `keep` escaped.
pub(crate) fn encode(bytes: &[u8], keep: Option<u8>, mut sink: impl FnMut(&[u8])) {
    let plain = |byte: u8| is_unreserved(byte) || Some(byte) == keep;
    let mut rest = bytes;
    // Runs that need no escape go as they are: the sink is a hasher, and most bytes are plain.
    while !rest.is_empty() {
        let run = rest.iter().position(|byte| !plain(*byte)).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(run);
        if !head.is_empty() {
            sink(head);
        }
        rest = match tail.split_first() {
            Some((byte, tail)) => {
                sink(&escape(*byte));
                tail
            }
            None => tail,
        };
    }
}

/// `bytes` with everything but unreserved characters escaped.
pub(crate) fn encoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    encode(bytes, None, |part| out.extend_from_slice(part));
    out
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// One name or value of a form: `+` is a space, `%XX` a byte. A `%` that begins no escape stands for
/// itself, as browsers have it; [`is_well_formed`] tells.
pub(crate) fn decode_form(text: &str) -> Cow<'_, [u8]> {
    if !text.bytes().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => {
                    out.push((high << 4) | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

/// Whether every `%` begins an escape.
pub(crate) fn is_well_formed(text: &str) -> bool {
    text.as_bytes().split(|byte| *byte == b'%').skip(1).all(|after| {
        matches!(after, [high, low, ..] if nibble(*high).is_some() && nibble(*low).is_some())
    })
}

/// A form's pairs, not decoded; empty ones are passed over, a missing `=` is an empty value.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encoded(b"aZ0-._~ /+%\xff"), b"aZ0-._~%20%2F%2B%25%FF");
        let mut path = Vec::new();
        encode(b"/a b/%20", Some(b'/'), |part| path.extend_from_slice(part));
        assert_eq!(path, b"/a%20b/%2520");
    }

    #[test]
    fn a_stray_percent_stands_for_itself() {
        assert_eq!(&*decode_form("%zz%4%41+%"), b"%zz%4A %");
        assert!(is_well_formed("a%41%5A"));
        assert!(!is_well_formed("%4"));
        assert!(!is_well_formed("%zz"));
        // "+" is no hexadecimal digit, though `from_str_radix` would take it.
        assert!(!is_well_formed("%+1"));
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = String::from_utf8(encoded(&bytes)).unwrap();
            prop_assert!(is_well_formed(&text));
            prop_assert_eq!(&*decode_form(&text), &bytes[..]);
        }
    }
}
