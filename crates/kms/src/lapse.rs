//! Durations in settings: `"500ms"`, `"3s"`, `"5 minutes"`, or a number of seconds.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serializer, de};

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Seconds(f64),
    /// As serde writes a `Duration`: what settings of earlier builds have.
    Parts {
        secs: u64,
        nanos: u32,
    },
}

pub(crate) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let read = match Written::deserialize(deserializer)? {
        Written::Text(text) => {
            text.parse::<SignedDuration>().ok().and_then(|lapse| Duration::try_from(lapse).ok())
        }
        Written::Seconds(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Written::Parts { secs, nanos } => {
            Duration::from_secs(secs).checked_add(Duration::from_nanos(nanos.into()))
        }
    };
    read.ok_or_else(|| de::Error::custom("not a duration: write \"500ms\", \"3s\" or seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize, serde::Serialize)]
    struct Setting(#[serde(with = "super")] Duration);

    #[test]
    fn durations_are_read_in_every_form() {
        let read = |text: &str| serde_json::from_str::<Setting>(text).ok().map(|s| s.0);
        for (text, millis) in [
            ("\"500ms\"", 500),
            ("\"3s\"", 3_000),
            ("\"5 minutes\"", 300_000),
            ("2", 2_000),
            ("0.25", 250),
            (r#"{"secs":1,"nanos":500000000}"#, 1_500),
        ] {
            assert_eq!(read(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["\"\"", "\"soon\"", "-1", "\"-3s\"", "1e300", "null", "[]"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let text = serde_json::to_string(&Setting(Duration::from_millis(1500))).unwrap();
        assert_eq!(text, "1.5");
    }
}
