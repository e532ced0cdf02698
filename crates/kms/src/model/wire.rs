//! How blobs, times and encryption contexts look in JSON.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealvol_core::UnixMillis;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// Public bytes, in JSON in base64 (RFC 4648, section 4, padded).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a blob")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Blob, E> {
                // Without the cause, which quotes the text.
                STANDARD.decode(text).map(Blob).map_err(|_| E::custom("invalid base64"))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Secret bytes, zeroised when dropped. In JSON in base64.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretBlob(Zeroizing<Vec<u8>>);

impl SecretBlob {
    /// Takes the bytes.
    #[must_use]
    pub const fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes. Do not copy them anywhere that is not zeroised.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for moving them into locked memory.
    pub(crate) fn expose_secret_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for SecretBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBlob(..)")
    }
}

impl Serialize for SecretBlob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Of its final length at once: a text that grows would leave copies behind.
        let mut text = Zeroizing::new(vec![0; self.0.len().div_ceil(3) * 4]);
        let len = STANDARD.encode_slice(&*self.0, &mut text).map_err(serde::ser::Error::custom)?;
        let text = text.get(..len).unwrap_or_default();
        serializer.serialize_str(std::str::from_utf8(text).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for SecretBlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = SecretBlob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a blob")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretBlob, E> {
                let mut bytes = Zeroizing::new(vec![0; text.len().div_ceil(4) * 3]);
                let len = STANDARD
                    .decode_slice(text, &mut bytes)
                    .map_err(|_| E::custom("invalid base64"))?;
                // Shorter in place: nothing is moved.
                bytes.truncate(len);
                Ok(SecretBlob(bytes))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// A grant token. Not secret, but never logged.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantToken(pub String);

impl fmt::Debug for GrantToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantToken(..)")
    }
}

/// A time, in JSON as seconds since the Unix epoch, with a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub UnixMillis);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (seconds, millis) = (self.0.0 / 1000, self.0.0 % 1000);
        if millis == 0 {
            return serializer.serialize_u64(seconds);
        }
        // Exact in what is printed up to the year 287396.
        #[expect(clippy::cast_precision_loss, reason = "53 bits hold the milliseconds")]
        serializer.serialize_f64(self.0.0 as f64 / 1000.0)
    }
}

/// An encryption context as a JSON object. Its length is the operation's to check.
pub(crate) mod context {
    use std::collections::BTreeMap;

    use sealvol_envelope::EncryptionContext;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        context: &EncryptionContext,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(context.iter())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<EncryptionContext, D::Error> {
        // An explicit null is no context, as for every member.
        let pairs = Option::<BTreeMap<String, String>>::deserialize(deserializer)?;
        Ok(EncryptionContext::from_map(pairs.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions() {
        let json = |millis| serde_json::to_string(&Timestamp(UnixMillis(millis))).unwrap();
        assert_eq!(json(1_700_000_000_000), "1700000000");
        assert_eq!(json(1_700_000_000_120), "1700000000.12");
    }

    #[test]
    fn blobs_are_strict_base64() {
        assert_eq!(serde_json::from_str::<Blob>("\"AAEC\"").unwrap().0, [0, 1, 2]);
        for len in 0..10 {
            let secret = SecretBlob::new(Zeroizing::new(vec![7; len]));
            let text = serde_json::to_string(&secret).unwrap();
            assert_eq!(serde_json::from_str::<SecretBlob>(&text).unwrap(), secret);
            assert_eq!(serde_json::to_string(&Blob(vec![7; len])).unwrap(), text);
        }
        for bad in ["\"A\"", "\"AA\"", "\"AA=A\"", "\"A-_=\"", "\"A A=\"", "1"] {
            let error = serde_json::from_str::<Blob>(bad).unwrap_err();
            assert!(serde_json::from_str::<SecretBlob>(bad).is_err(), "{bad} {error}");
        }
    }
}
