//! Dates in conditions: the W3C's profile of ISO 8601, or seconds since 1970.

use crate::number;

const NANOS: i128 = 1_000_000_000;

/// Nanoseconds since 1970. A date without time is its midnight, a time without zone is in UTC.
pub(crate) fn parse(text: &str) -> Option<i128> {
    // A year has four digits; AWS reads a longer number as an epoch time.
    if let Some(seconds) = number::parse(text)
        && text.len() != 4
    {
        return Some(seconds);
    }
    let (date, time) = match text.split_once(['T', 't']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut fields = date.split('-');
    let year = digits(fields.next()?, 4)?;
    let month = fields.next().map_or(Some(1), |month| digits(month, 2))?;
    let day = fields.next().map_or(Some(1), |day| digits(day, 2))?;
    if fields.next().is_some()
        || !(1..=12).contains(&month)
        || !(1..=month_days(year, month)).contains(&day)
        || (time.is_some() && date.len() != "0000-00-00".len())
    {
        return None;
    }
    let midnight = i128::from(days_since_1970(year, month, day)) * 86_400 * NANOS;
    Some(midnight + time.map_or(Some(0), time_of_day)?)
}

/// Nanoseconds after midnight in UTC, of `hh:mm[:ss[.fraction]][Z|+hh:mm]`.
fn time_of_day(text: &str) -> Option<i128> {
    let (clock, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (text.get(..at)?, text.get(at..)?),
        None => (text, "Z"),
    };
    let offset_minutes = match offset.as_bytes().first()? {
        b'Z' | b'z' if offset.len() == 1 => 0,
        sign @ (b'+' | b'-') => {
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let minutes = below(hours, 24)? * 60 + below(minutes, 60)?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    let (hours, rest) = clock.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "00"));
    let (whole, _) = seconds.split_once('.').unwrap_or((seconds, ""));
    // Numbers are billionths, and so seconds are nanoseconds.
    let nanos = if whole.len() == 2 { number::parse(seconds)? } else { return None };
    let minutes = below(hours, 24)? * 60 + below(minutes, 60)? - offset_minutes;
    // 60 is a leap second.
    (0..61 * NANOS).contains(&nanos).then_some(i128::from(minutes) * 60 * NANOS + nanos)
}

fn digits(text: &str, len: usize) -> Option<i64> {
    let is_sound = text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_sound { text.parse().ok() } else { None }
}

fn below(text: &str, end: i64) -> Option<i64> {
    digits(text, 2).filter(|value| *value < end)
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the Gregorian calendar, counted in years that begin in March, so that the leap day is the
/// last of its year.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_points_in_time() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse("2000-03-01"), Some(951_868_800 * NANOS));
        assert_eq!(parse("2024-02-29T12:30:15Z"), Some(1_709_209_815 * NANOS));
        assert_eq!(parse("2024-02-29T12:30:15+02:00"), Some((1_709_209_815 - 7200) * NANOS));
        assert_eq!(parse("2024-02-29T12:30:15.25"), Some(1_709_209_815_250_000_000));
        assert_eq!(parse("1709209815"), Some(1_709_209_815 * NANOS));
        assert_eq!(parse("1969"), Some(-365 * 86_400 * NANOS));
        assert_eq!(parse("1999-12"), Some(944_006_400 * NANOS));
        let bad = [
            "",
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-1-1",
            "2024-01-01T",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:61Z",
            "2024-01-01T00:00:00Zx",
            "2024-01-01T00:00:00+2",
            "2024-01T00:00:00Z",
            "2024-01-01-01",
            "yesterday",
        ];
        for bad in bad {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
