//! Times as signatures write them: `20150830T123600Z`.

use std::fmt;
use std::time::Duration;

use sealvol_core::UnixMillis;

const DAY_SECS: u64 = 86_400;

/// 9999-12-31T23:59:59Z, the last second that has four digits for its year.
const LAST_SECS: u64 = 253_402_300_799;

/// A second in ISO 8601's basic form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AmzDate {
    unix_secs: u64,
    text: [u8; 16],
}

impl AmzDate {
    /// The second that `at` lies in. What lies past the year 9999 is its last second.
    #[must_use]
    pub fn from_millis(at: UnixMillis) -> Self {
        Self::from_secs(at.0 / 1000)
    }

    fn from_secs(unix_secs: u64) -> Self {
        let unix_secs = unix_secs.min(LAST_SECS);
        let (year, month, day) = civil(unix_secs / DAY_SECS);
        let second = unix_secs % DAY_SECS;
        let mut text = *b"00000000T000000Z";
        let parts = [
            (year, 0, 4),
            (month, 4, 2),
            (day, 6, 2),
            (second / 3600, 9, 2),
            (second / 60 % 60, 11, 2),
            (second % 60, 13, 2),
        ];
        for (mut value, at, len) in parts {
            for place in text.iter_mut().skip(at).take(len).rev() {
                *place = b'0' + u8::try_from(value % 10).unwrap_or_default();
                value /= 10;
            }
        }
        Self { unix_secs, text }
    }

    /// Reads `20150830T123600Z`.
    #[must_use]
    pub fn parse_basic(text: &str) -> Option<Self> {
        let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
        let number = |from: usize, to: usize| {
            let digits = bytes.get(from..to)?;
            digits.iter().try_fold(0, |sum: u64, digit| {
                digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
            })
        };
        let fields = [
            number(0, 4)?,
            number(4, 6)?,
            number(6, 8)?,
            number(9, 11)?,
            number(11, 13)?,
            number(13, 15)?,
        ];
        let date = Self::of_fields(fields)?;
        // Also compares the separators.
        (date.text == *bytes).then_some(date)
    }

    /// Reads HTTP's date, `Sun, 30 Aug 2015 12:36:00 GMT`.
    #[must_use]
    pub fn parse_http(text: &str) -> Option<Self> {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (_weekday, rest) = text.split_once(", ")?;
        let mut words = rest.split(' ');
        let day: u64 = digits(words.next()?)?;
        let month = words.next()?;
        let month = MONTHS.iter().position(|name| *name == month)? + 1;
        let year = digits(words.next()?)?;
        let mut clock = words.next()?.split(':').map(digits);
        let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
        if clock.next().is_some() || words.next() != Some("GMT") || words.next().is_some() {
            return None;
        }
        Self::of_fields([year, u64::try_from(month).ok()?, day, hour, minute, second])
    }

    fn of_fields([year, month, day, hour, minute, second]: [u64; 6]) -> Option<Self> {
        let in_range = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !in_range {
            return None;
        }
        let days = days(year, month, day);
        // The 31st of a shorter month names no day.
        (civil(days) == (year, month, day))
            .then(|| Self::from_secs(days * DAY_SECS + hour * 3600 + minute * 60 + second))
    }

    /// `20150830T123600Z`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// `20150830`.
    #[must_use]
    pub fn day(&self) -> &str {
        self.as_str().get(..8).unwrap_or_default()
    }

    /// Its beginning.
    #[must_use]
    pub fn unix_millis(&self) -> UnixMillis {
        UnixMillis(self.unix_secs * 1000)
    }

    pub(crate) fn plus(&self, time: Duration) -> Self {
        Self::from_secs(self.unix_secs.saturating_add(time.as_secs()))
    }

    pub(crate) fn minus(&self, time: Duration) -> Self {
        Self::from_secs(self.unix_secs.saturating_sub(time.as_secs()))
    }

    pub(crate) fn is_after(&self, other: &Self) -> bool {
        self.unix_secs > other.unix_secs
    }
}

impl fmt::Display for AmzDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AmzDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn digits(text: &str) -> Option<u64> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here, so that the
/// leap day is the last one (Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date that lies `days` after 1970-01-01: year, month, day.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_seconds() {
        for (secs, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (LAST_SECS, "99991231T235959Z"),
        ] {
            let date = AmzDate::parse_basic(text).unwrap();
            assert_eq!(date.unix_millis(), UnixMillis(secs * 1000));
            assert_eq!(AmzDate::from_millis(UnixMillis(secs * 1000 + 999)), date);
        }
        let http = AmzDate::parse_http("Sun, 30 Aug 2015 12:36:00 GMT").unwrap();
        assert_eq!(http.as_str(), "20150830T123600Z");
        assert_eq!(http.day(), "20150830");
    }

    #[test]
    fn what_names_no_second_is_refused() {
        for text in [
            "",
            "20150830",
            "20150830T123600",
            "20150830t123600Z",
            "20150230T000000Z",
            "19000229T000000Z",
            "20151330T000000Z",
            "20150830T240000Z",
            "20150830T006000Z",
            "+0150830T123600Z",
            "2015-08-30T12:3Z",
            "19691231T235959Z",
            "20150830T12360\u{e9}",
        ] {
            assert_eq!(AmzDate::parse_basic(text), None, "{text}");
        }
        for text in [
            "",
            "Sun, 30 Aug 2015 12:36:00",
            "Sun, 31 Feb 2015 12:36:00 GMT",
            "Sun, 30 Aug 2015 12:36 GMT",
        ] {
            assert_eq!(AmzDate::parse_http(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_second_reads_back(secs in 0..=LAST_SECS) {
            let date = AmzDate::from_secs(secs);
            prop_assert_eq!(AmzDate::parse_basic(date.as_str()), Some(date));
        }
    }
}
