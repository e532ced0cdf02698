//! Times in JSON: a number of seconds.

use std::fmt;

use sealvol_core::UnixMillis;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A time, as seconds since 1970 with thousandths; without a fraction when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub UnixMillis);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (secs, millis) = (self.0.0 / 1000, self.0.0 % 1000);
        if millis == 0 {
            return serializer.serialize_u64(secs);
        }
        // Exact to the thousandth for tens of thousands of years: a double has 53 bits.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        serializer.serialize_f64(self.0.0 as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;
        impl Visitor<'_> for Seconds {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a timestamp")
            }

            fn visit_u64<E: de::Error>(self, secs: u64) -> Result<Timestamp, E> {
                let millis = secs.checked_mul(1000).ok_or_else(|| E::custom("too late a time"))?;
                Ok(Timestamp(UnixMillis(millis)))
            }

            fn visit_i64<E: de::Error>(self, secs: i64) -> Result<Timestamp, E> {
                let secs = u64::try_from(secs).map_err(|_| E::custom("a time before 1970"))?;
                self.visit_u64(secs)
            }

            fn visit_f64<E: de::Error>(self, secs: f64) -> Result<Timestamp, E> {
                let millis = (secs * 1000.0).round();
                // 2^53: past it thousandths would be guessed.
                if !(0.0..=9_007_199_254_740_992.0).contains(&millis) {
                    return Err(E::custom("a time out of range"));
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole, and in range as was just checked"
                )]
                Ok(Timestamp(UnixMillis(millis as u64)))
            }
        }
        deserializer.deserialize_any(Seconds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_a_fraction_only_when_there_is_one() {
        let text = |millis| serde_json::to_string(&Timestamp(UnixMillis(millis))).unwrap();
        assert_eq!(text(0), "0");
        assert_eq!(text(1_440_938_160_000), "1440938160");
        assert_eq!(text(1_440_938_160_007), "1440938160.007");
        assert_eq!(text(500), "0.5");
    }

    #[test]
    fn reads_numbers_in_range() {
        let read = |text| serde_json::from_str::<Timestamp>(text).map(|at| at.0.0).ok();
        assert_eq!(read("1.44093816E9"), Some(1_440_938_160_000));
        assert_eq!(read("-1"), None);
        assert_eq!(read("-0.001"), None);
        assert_eq!(read("1e300"), None);
        assert_eq!(read("18446744073709551615"), None);
        assert_eq!(read("\"1\""), None);
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(millis in 0..1_u64 << 50) {
            let at = Timestamp(UnixMillis(millis));
            let text = serde_json::to_string(&at).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), at);
        }
    }
}
