//! Secrets between locked memory and the sealed store: key bytes that serialise.

use std::fmt;

use sealvol_envelope::{DataKey, Prk};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use zeroize::Zeroizing;

/// Salt of every [`Prk`] of a stored secret. It separates them from volumes' subkeys.
const PRK_SALT: &[u8] = b"sealvol embedded kms v1";

/// Bytes of a key material.
pub(crate) const SECRET_LEN: usize = 32;

/// A 256-bit secret of the store, with the pseudorandom key that its subkeys come from. Both are in
/// locked memory; extraction happens once, because it costs a mapping.
pub(crate) struct Secret {
    bytes: DataKey,
    prk: Prk,
}

impl Secret {
    /// Takes the bytes and zeroises `source`.
    pub(crate) fn take(source: &mut [u8; SECRET_LEN]) -> Self {
        let bytes = DataKey::take(source);
        let prk = Prk::extract(PRK_SALT, &bytes);
        Self { bytes, prk }
    }

    pub(crate) const fn prk(&self) -> &Prk {
        &self.prk
    }

    pub(crate) fn expose_secret(&self) -> &[u8] {
        self.bytes.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Zeroizing::new([0_u8; 2 * SECRET_LEN]);
        hex::encode_to_slice(self.expose_secret(), text.as_mut_slice())
            .map_err(ser::Error::custom)?;
        serializer.serialize_str(std::str::from_utf8(&*text).map_err(ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Secret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }
            // Hexadecimal digits need no escapes, so serde_json lends the digits from the (zeroised)
            // input and copies them nowhere. The error must not quote them.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                let mut bytes = Zeroizing::new([0_u8; SECRET_LEN]);
                hex::decode_to_slice(text, bytes.as_mut_slice())
                    .map_err(|_| E::custom("a secret is not 64 hexadecimal digits"))?;
                Ok(Secret::take(&mut bytes))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_round_trips_and_prints_nothing() {
        let secret = Secret::take(&mut [7; 32]);
        let text = serde_json::to_string(&secret).unwrap();
        assert_eq!(text, format!("\"{}\"", "07".repeat(32)));
        let back: Secret = serde_json::from_str(&text).unwrap();
        assert_eq!(back.expose_secret(), [7; 32]);
        assert_eq!(format!("{back:?}"), "Secret(..)");
    }

    #[test]
    fn a_malformed_secret_is_not_quoted() {
        let error = serde_json::from_str::<Secret>("\"c0ffee\"").unwrap_err().to_string();
        assert!(!error.contains("c0ffee"), "{error}");
    }
}
