//! Listings in pages. A marker is the place of the last entry, in base64 with a check, so that a
//! marker of another listing is not taken for one of this.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealvol_envelope::KmsError;
use sha2::{Digest, Sha256};

use crate::fault;
use crate::validate::Checks;

const CHECK_LEN: usize = 8;

/// How long pages are: unless asked for otherwise, and at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageSize {
    pub(super) default: usize,
    pub(super) max: usize,
}

/// What a request says about its page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) limit: usize,
    /// The place of the last entry of the page before.
    pub(super) after: Option<String>,
    kind: &'static str,
}

/// A page, with what the request for the next one says.
#[derive(Debug)]
pub(super) struct Cut<T> {
    pub(super) entries: Vec<T>,
    pub(super) next_marker: Option<String>,
}

impl Page {
    /// # Errors
    /// `ValidationException` for a limit out of range, `InvalidMarkerException`.
    pub(super) fn parse(
        kind: &'static str,
        size: PageSize,
        limit: Option<i64>,
        marker: Option<&str>,
    ) -> Result<Self, KmsError> {
        let mut checks = Checks::default();
        checks.range("limit", limit, 1, i64::try_from(size.max).unwrap_or(i64::MAX));
        if let Some(marker) = marker {
            checks.length("marker", marker, 1, 1024);
        }
        checks.finish()?;
        let after = match marker {
            None => None,
            Some(marker) => Some(decode(kind, marker).ok_or_else(fault::invalid_marker)?),
        };
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(size.default);
        Ok(Self { limit, after, kind })
    }

    /// The first entries of what is left, with their places.
    pub(super) fn cut<T>(&self, entries: impl Iterator<Item = (String, T)>) -> Cut<T> {
        let mut last = String::new();
        let mut taken = Vec::new();
        for (place, entry) in entries {
            if taken.len() == self.limit {
                return Cut { entries: taken, next_marker: Some(encode(self.kind, &last)) };
            }
            taken.push(entry);
            last = place;
        }
        Cut { entries: taken, next_marker: None }
    }
}

fn encode(kind: &str, place: &str) -> String {
    let mut bytes = check(kind, place).to_vec();
    bytes.extend_from_slice(place.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(kind: &str, marker: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok()?;
    let (found, place) = bytes.split_first_chunk::<CHECK_LEN>()?;
    let place = String::from_utf8(place.to_vec()).ok()?;
    (*found == check(kind, &place)).then_some(place)
}

fn check(kind: &str, place: &str) -> [u8; CHECK_LEN] {
    let digest: [u8; 32] =
        Sha256::new().chain_update(kind).chain_update([0]).chain_update(place).finalize().into();
    let mut check = [0; CHECK_LEN];
    for (to, from) in check.iter_mut().zip(digest) {
        *to = from;
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: PageSize = PageSize { default: 3, max: 10 };

    #[test]
    fn pages_follow_each_other() {
        let all: Vec<String> = (0..7).map(|n| format!("k{n}")).collect();
        let (mut seen, mut marker, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let page = Page::parse("t", SIZE, None, marker.as_deref()).unwrap();
            let rest = all.iter().filter(|k| page.after.as_ref().is_none_or(|after| *k > after));
            let cut = page.cut(rest.map(|k| (k.clone(), k.clone())));
            seen.extend(cut.entries);
            pages += 1;
            marker = cut.next_marker;
            if marker.is_none() {
                break;
            }
        }
        assert_eq!((seen, pages), (all, 3));
    }

    #[test]
    fn foreign_markers_are_refused() {
        let marker = encode("grants", "x");
        assert!(Page::parse("grants", SIZE, None, Some(&marker)).is_ok());
        for (kind, marker) in [("keys", marker.as_str()), ("grants", "x"), ("grants", "!!")] {
            let error = Page::parse(kind, SIZE, None, Some(marker)).unwrap_err();
            assert_eq!(error.code(), "InvalidMarkerException");
        }
        for limit in [0, 11] {
            let error = Page::parse("grants", SIZE, Some(limit), None).unwrap_err();
            assert_eq!(error.code(), "ValidationException");
        }
    }
}
