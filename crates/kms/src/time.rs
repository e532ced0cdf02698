//! Times as people and policies read them (RFC 3339, UTC).

use jiff::Timestamp;
use sealvol_core::UnixMillis;

fn timestamp(time: UnixMillis) -> Timestamp {
    i64::try_from(time.0)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or_default()
}

/// `2031-02-03T04:05:06Z`, as in audit records and `aws:CurrentTime`.
pub(crate) fn iso(time: UnixMillis) -> String {
    timestamp(UnixMillis(time.0 - time.0 % 1000)).to_string()
}

/// `20310203T040506.789Z`, which sorts as the time does: for names of files.
pub(crate) fn sortable(time: UnixMillis) -> String {
    timestamp(time).strftime("%Y%m%dT%H%M%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        let time = UnixMillis(1_927_857_906_789);
        assert_eq!(iso(time), "2031-02-03T04:05:06Z");
        assert_eq!(sortable(time), "20310203T040506.789Z");
        assert_eq!(iso(UnixMillis(u64::MAX)), "1970-01-01T00:00:00Z");
    }
}
